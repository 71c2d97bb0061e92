"""What the benchmarks count and how they tell it; the measurements themselves are for `make bench`."""

import copy
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import torch

from benchmarks import floor, ours, write
from benchmarks.peers import networks
from lenetlab import figures, models

GFLOPS = {"thread": 100.0, "threads": 150.0, "processes": 200.0}


def row(group, name, measurements, variant=None, amount=None):
    return {"group": group, "name": name, "variant": variant, "amount": amount, "measurements": measurements}


def epoch(name, *seconds):
    times = [{"seconds": value, "start_up": 5.0, "process": value + 6} for value in seconds]
    return row("epoch", name, times, "lenet5")


ROWS = [
    epoch(write.OURS, 2.0, 4.0, 3.0),
    epoch("slow & steady", 8.0, 12.0, 15.0),
    row("floor", "sgemm", [{"seconds": 3.0, "gflops": GFLOPS, "flops": {"lenet5": floor.flops("lenet5")}}]),
    row("files", "prepare", [{"seconds": 1.5, "process": 2.5, "start_up": 1.0}]),
    row("overhead", "imports of train.py", [{"seconds": 3.25}]),
    row("linearity", "epochs", [{"seconds": 3.0, "training": 6.0}], "lenet5", 1),
    row("linearity", "epochs", [{"seconds": 3.0, "training": 24.0}], "lenet5", 4),
]
MACHINE = {
    "date": "2026-01-31",
    "processor": "Abacus",
    "cores": 2,
    "commit": "0123456789abcdef",
    "dirty": False,
    **dict.fromkeys(("python", "torch", "torchvision", "pillow", "numpy", "lightning"), "1.2.3"),
}


@pytest.fixture
def results():
    images = {"train": 60_000, "test": 10_000}
    head = {"machine": MACHINE, "repeats": 3, "images": images, "seeds": 6, "epochs": 2, "notes": ["one is left out"]}
    return {**head, "cases": write.summarised(copy.deepcopy(ROWS))}


def test_the_arithmetic_of_lenet5_is_counted_from_its_layers():
    products = 6 * 25 * 28 * 28 + 16 * 150 * 10 * 10 + 400 * 120 + 120 * 84 + 84 * 10
    first = 6 * 25 * 28 * 28  # no gradient of the images
    assert floor.flops("lenet5") == {"train": 2 * (3 * products - first), "evaluate": 2 * products}
    assert floor.flops("lenet5") == {"train": 2_263_920, "evaluate": 833_040}


def test_the_arithmetic_of_the_mlp_is_counted_from_its_layers():
    products, first = 1024 * 59 + 59 * 10, 1024 * 59
    assert floor.flops("mlp") == {"train": 2 * (3 * products - first), "evaluate": 2 * products}


def test_normalisation_and_dropout_are_no_matrix_products():
    assert floor.flops("lenet5-regularized") == floor.flops("lenet5-decay-dropout-affine") == floor.flops("lenet5")


@pytest.mark.parametrize("variant", floor.VARIANTS)
def test_the_peers_train_the_same_network(variant):
    """As many parameters, and the same logits with the same weights."""
    definition = ours.study(variant, seeds=1, epochs=1).variants[variant]
    own, peer = models.build(definition, seed=0).eval(), networks.build(variant).eval()
    assert models.parameter_count(peer) == models.parameter_count(own)
    own_layers, peer_layers = _with_weights(own), _with_weights(peer)
    assert [type(layer) for layer in peer_layers] == [type(layer) for layer in own_layers]
    for layer, other in zip(peer_layers, own_layers, strict=True):
        layer.load_state_dict(other.state_dict())
    images = torch.randn(3, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(peer(images), own(images))
    rates = [{layer.p for layer in network.modules() if isinstance(layer, torch.nn.Dropout)} for network in (own, peer)]
    assert rates[0] == rates[1]


def _with_weights(network):
    """Convolutions, normalisations and linear layers, each kind in its order."""
    kinds = (torch.nn.Conv2d, torch.nn.BatchNorm2d, torch.nn.Linear)
    return [layer for kind in kinds for layer in network.modules() if isinstance(layer, kind)]


def test_the_study_that_is_timed_differs_in_size_alone():
    study = ours.study("mlp", seeds=3, epochs=2)
    assert (study.seeds, study.study, study.training.epochs, study.device) == ((0, 1, 2), ("mlp",), 2, "cpu")
    assert (study.training.batch_size, study.training.optimizer, study.training.momentum) == (64, "sgd", 0.9)


def test_ratios_are_taken_within_a_round(results):
    slow = results["cases"][1]
    assert slow["seconds"] == {"median": 12.0, "min": 8.0, "max": 15.0}
    assert slow["times_ours"] == {"median": 4.0, "min": 3.0, "max": 5.0}  # 8/2, 12/4, 15/3
    assert results["cases"][0]["times_ours"] == {"median": 1.0, "min": 1.0, "max": 1.0}
    assert "times_ours" not in results["cases"][2]


def test_the_tables_tell_all_that_was_measured(results):
    text = write.tables(results)
    assert "| **lenetlab** | 3.00 (2.00 to 4.00) | 20,000 | 1.00 (1.00 to 1.00) | 5.0 | 9.0 |" in text
    assert "| slow & steady | 12.00 (8.00 to 15.00) | 5,000 | 4.00 (3.00 to 5.00) | 5.0 | 18.0 |" in text
    assert text.index("**lenetlab**") < text.index("slow & steady")  # the quickest first
    # (60,000 × 2.264 + 10,000 × 0.833 MFLOP) / 100 and 200 GFLOP/s
    assert "2.26 MFLOP to train an image and 0.83 to evaluate one, so 1.44 s on one core and 0.72 s per run" in text
    assert "lenetlab takes 4.2 times" in text
    assert "| prepare | 1.50 (1.50 to 1.50) | 2.50 |" in text
    assert "| imports of train.py | 3.25 (3.25 to 3.25) |" in text
    assert "| epochs | 1 | 6.00 (6.00 to 6.00) | 1.00 |" in text
    assert "| epochs | 4 | 24.00 (24.00 to 24.00) | 1.00 |" in text
    assert "2 cores of Abacus" in text
    assert "commit 0123456789." in text
    assert "Note: one is left out." in text


def test_a_part_of_the_measurements_has_tables_too(results):
    results["cases"] = [case for case in results["cases"] if case["name"] == "slow & steady"]
    text = write.tables(results)
    assert "slow & steady" in text
    assert "floor" not in text


def test_only_what_is_between_the_marks_is_replaced():
    text = write.replaced(f"before\n{write.BEGIN}\nold\n{write.END}\nafter\n", "| new |")
    assert text == f"before\n{write.BEGIN}\n\n| new |\n\n{write.END}\nafter\n"
    assert write.replaced(text, "| new |") == text
    with pytest.raises(ValueError, match="no line"):
        write.replaced("no marks", "| new |")


def test_the_document_has_the_marks():
    text = write.DOCUMENT.read_text()
    assert "## What was tried" in text
    assert write.replaced(text, "x").count(write.BEGIN) == 1


def test_the_figure_names_every_way_and_its_seconds(results):
    picture = figures.standing_alone(figures.svg(write.figure(results["cases"][:2]), "performance"))
    words = " ".join(ElementTree.fromstring(picture).itertext())  # noqa: S314  made a line above
    for text in ("lenet5", "lenetlab", "3.0 s", "slow & steady", "12.0 s"):
        assert text in words


def test_lightning_runs_with_the_same_torch():
    root = Path(write.HERE).parent
    locked = (root / "requirements.lock").read_text()
    pinned = (write.HERE / "requirements-lightning.txt").read_text().split()
    for package in ("torch", "torchvision"):
        line = next(word for word in pinned if word.startswith(f"{package}=="))
        assert f"\n{line} " in locked

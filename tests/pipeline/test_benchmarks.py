"""Calculations and tables of the benchmarks. `make bench` runs the measurements themselves."""

import copy
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from benchmarks import agreement, attempts, floor, ours, record, torture, write
from benchmarks.peers import networks
from lenetlab.data import dataset
from lenetlab.evaluation import predictions
from lenetlab.networks import build, layer_table
from lenetlab.report import style
from tests.answers import make_predictions

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
    head = {
        "machine": MACHINE,
        "repeats": 3,
        "images": images,
        "seeds": 6,
        "epochs": 2,
        "notes": ["Lightning is left out"],
    }
    return {**head, "cases": write.with_summaries(copy.deepcopy(ROWS))}


def test_operations_of_lenet5():
    products = 6 * 25 * 28 * 28 + 16 * 150 * 10 * 10 + 400 * 120 + 120 * 84 + 84 * 10
    first = 6 * 25 * 28 * 28  # its input is the images, which need no gradient
    assert floor.flops("lenet5") == {"train": 2 * (3 * products - first), "evaluate": 2 * products}
    assert floor.flops("lenet5") == {"train": 2_263_920, "evaluate": 833_040}


def test_operations_of_the_mlp():
    products, first = 1024 * 59 + 59 * 10, 1024 * 59
    assert floor.flops("mlp") == {"train": 2 * (3 * products - first), "evaluate": 2 * products}


def test_normalisation_and_dropout_do_not_count():
    assert floor.flops("lenet5-regularized") == floor.flops("lenet5-decay-dropout-affine") == floor.flops("lenet5")


@pytest.mark.parametrize("variant", floor.VARIANTS)
def test_the_peers_train_the_same_network(variant):
    """The same number of parameters, and the same logits with the same weights."""
    definition = ours.study(variant, seeds=1, epochs=1).variants[variant]
    own, peer = build.build_network(definition, seed=0).eval(), networks.build(variant).eval()
    assert layer_table.parameter_count(peer) == layer_table.parameter_count(own)
    own_layers, peer_layers = _layers_with_weights(own), _layers_with_weights(peer)
    assert [type(layer) for layer in peer_layers] == [type(layer) for layer in own_layers]
    for layer, other in zip(peer_layers, own_layers, strict=True):
        layer.load_state_dict(other.state_dict())
    images = torch.randn(3, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(peer(images), own(images))
    rates = [{layer.p for layer in network.modules() if isinstance(layer, torch.nn.Dropout)} for network in (own, peer)]
    assert rates[0] == rates[1]


def _layers_with_weights(network):
    """Convolutions, then normalisations, then linear layers, each kind in its order."""
    kinds = (torch.nn.Conv2d, torch.nn.BatchNorm2d, torch.nn.Linear)
    return [layer for kind in kinds for layer in network.modules() if isinstance(layer, kind)]


def test_the_timed_study_differs_only_in_size():
    study = ours.study("mlp", seeds=3, epochs=2)
    assert (study.seeds, study.study, study.training.epochs, study.device) == ((0, 1, 2), ("mlp",), 2, "cpu")
    assert (study.training.batch_size, study.training.optimizer.name, study.training.momentum) == (64, "sgd", 0.9)


def test_ratios_are_computed_within_a_round(results):
    slow = results["cases"][1]
    assert slow["seconds"] == {"median": 12.0, "min": 8.0, "max": 15.0}
    assert slow["times_ours"] == {"median": 4.0, "min": 3.0, "max": 5.0}  # 8/2, 12/4, 15/3
    assert results["cases"][0]["times_ours"] == {"median": 1.0, "min": 1.0, "max": 1.0}
    assert "times_ours" not in results["cases"][2]


def test_the_tables_show_all_measurements(results):
    text = write.result_tables(results)
    assert "| **lenetlab** | 3.00 (2.00 to 4.00) | 20,000 | 1.00 (1.00 to 1.00) | 5.0 | 9.0 |" in text
    assert "| slow & steady | 12.00 (8.00 to 15.00) | 5,000 | 4.00 (3.00 to 5.00) | 5.0 | 18.0 |" in text
    assert text.index("**lenetlab**") < text.index("slow & steady")  # the fastest first
    # (60,000 × 2.264 + 10,000 × 0.833 MFLOP) / 100 and 200 GFLOP/s
    assert "2.26 MFLOP to train an image and 0.83 to evaluate one, so 1.44 s on one core and 0.72 s per run" in text
    assert "lenetlab takes 4.2 times" in text
    assert "| prepare | 1.50 (1.50 to 1.50) | 2.50 |" in text
    assert "| imports of train.py | 3.25 (3.25 to 3.25) |" in text
    assert "| epochs | 1 | 6.00 (6.00 to 6.00) | 1.00 |" in text
    assert "| epochs | 4 | 24.00 (24.00 to 24.00) | 1.00 |" in text
    assert "2 cores of Abacus" in text
    assert "commit 0123456789;" in text
    assert "Note: Lightning is left out." in text


def test_tables_of_a_part_of_the_measurements(results):
    results["cases"] = [case for case in results["cases"] if case["name"] == "slow & steady"]
    text = write.result_tables(results)
    assert "slow & steady" in text
    assert "floor" not in text


def test_the_table_of_attempts():
    rows = [{"name": "slow & steady", "milliseconds": write.median_and_range([4.0, 2.0, 3.0]), "times_used": 1.5}]
    text = write.attempt_tables({"machine": MACHINE, "batch": 64, "rounds": 3, "steps": 20, "tables": {"a step": rows}})
    assert "2 cores of Abacus" in text
    assert "| a step | ms per seed | times the first |" in text
    assert "| slow & steady | 3.00 (2.00 to 4.00) | 1.50 |" in text


def test_the_table_of_seconds_to_99_percent():
    times = {"training": 4.0, "seconds": 5.0, "process": 9.0}
    found = [{"seed": seed, "accuracy": accuracy, **times} for seed, accuracy in enumerate((0.990, 0.991, 0.992))]
    text = write.record_table({"machine": MACHINE, "rows": [{"name": "2 cores", "measurements": found}]})
    assert "| 2 cores | 3 | 99.10 ± 0.10 (99.00 to 99.20) | 4.00 (4.00 to 4.00) | 5.00 (5.00 to 5.00) | 9.0 |" in text


def test_two_checkouts_are_compared(tmp_path):
    """With equal predictions p is 1; with 100 % against 0 % it is the smallest value that 3 seeds can reach."""
    labels, seeds = np.arange(100, dtype=np.uint8) % 10, np.arange(3)
    correct, same = np.tile(labels, (3, 1)), np.tile(np.roll(labels, 1), (3, 1))
    same[:, :50] = labels[:50]
    for side, by_variant in (("before", {"a": same, "b": correct}), ("after", {"a": same, "b": 9 - correct})):
        for name, predicted in by_variant.items():
            (folder := tmp_path / side / "evaluations" / name).mkdir(parents=True)
            found = make_predictions(labels, predicted, seeds=seeds)
            predictions.write(found, folder / "predictions.npz")
    (tmp_path / "before" / "evaluations" / "c").mkdir()
    lines = agreement.table(tmp_path / "before", tmp_path / "after").splitlines()[2:]
    assert lines[0] == "| a | 50.00 | 50.00 | +0.00 | +0.00 to +0.00 | 1.00 |"
    assert lines[1].startswith("| b | 100.00 | 0.00 | -100.00 | ")
    assert lines[1].endswith("| 0.20 |")  # 2 of 20 permutations, times 2 for Holm
    assert len(lines) == 2


def test_the_fast_recipe_trains_lenet5():
    """Both halves of a batch share their weights, the trained network reads ten prototypes, and the bits repeat."""
    variant = ours.study("lenet5", seeds=1, epochs=1).variants["lenet5"]
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(10).repeat(256)
    prototypes = torch.randn(10, 1, 32, 32, generator=generator)
    images = prototypes[labels] + torch.randn(2560, 1, 32, 32, generator=generator)
    trained = record.train(variant, 0, dataset.Examples(images, labels, 0.0))
    assert sum(value[0].numel() for value in trained.weights.values()) == 61_706
    for value in trained.weights.values():
        assert torch.equal(value[0], value[1])
    answers = trained.evaluation_logits(prototypes)
    assert answers[0].argmax(1).tolist() == list(range(10))
    again = record.train(variant, 0, dataset.Examples(images, labels, 0.0))
    assert torch.equal(again.evaluation_logits(prototypes), answers)


@pytest.mark.parametrize("convolve", [attempts.as_group, attempts.strided, attempts.unfolded])
def test_all_forms_of_the_first_layers_compute_the_same(convolve):
    pixels, _ = attempts.random_batch(attempts.SEEDS)
    generator = torch.Generator().manual_seed(0)
    weight, bias = (torch.randn(shape, generator=generator, requires_grad=True) for shape in ((18, 1, 5, 5), (18,)))
    expected = torch.cat(
        [
            functional.max_pool2d(functional.conv2d(pixels[seed], weight[part], bias[part]), 2)
            for seed, part in enumerate((slice(0, 6), slice(6, 12), slice(12, 18)))
        ],
        dim=1,
    ).permute(0, 2, 3, 1)
    found = convolve(pixels, weight, bias)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    direction = torch.randn(found.shape, generator=generator)
    gradients, expected_gradients = (
        torch.autograd.grad(value, [weight, bias], direction) for value in (found, expected)
    )
    for gradient, expected_gradient in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(gradient, expected_gradient, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("attempt", attempts.IN_ONE_PROCESS + attempts.NORMALISED, ids=lambda attempt: attempt.name)
def test_what_an_attempt_replaces_exists(attempt):
    """`mock.patch` raises an error for functions and classes that were renamed."""
    if attempt.changed not in (attempts.memory_returned, attempts.two_threads):
        with attempt.changed():
            pass


def test_only_the_text_between_the_markers_is_replaced():
    text = write.replace_section("before\n<!-- x: begin -->\nold\n<!-- x: end -->\nafter\n", "x", "| new |")
    assert text == "before\n<!-- x: begin -->\n\n| new |\n\n<!-- x: end -->\nafter\n"
    assert write.replace_section(text, "x", "| new |") == text
    with pytest.raises(ValueError, match="no line"):
        write.replace_section(text, "y", "| new |")


@pytest.mark.parametrize("name", write.SECTIONS)
def test_the_document_has_the_markers(name):
    text = write.DOCUMENT.read_text()
    assert write.replace_section(text, name, "x").count(f"<!-- {name}: begin -->") == 1


def test_the_document_shows_the_descriptions_of_torture():
    """Only the numbers of cases change when `make torture` writes the table."""
    page = torture.PAGE.read_text()
    shown = page.partition("<!-- torture: begin -->")[2].partition("<!-- torture: end -->")[0]
    assert torture.table({}) in re.sub(r"\| [\d,]+ \| 0 \|$", "| 0 | 0 |", shown, flags=re.MULTILINE)


def test_the_figure_shows_every_way_of_training_and_its_seconds(results):
    picture = style.standalone_svg(style.svg(write.figure(results["cases"][:2]), "performance"))
    words = " ".join(ElementTree.fromstring(picture).itertext())  # noqa: S314  made a line above
    for text in ("lenet5", "lenetlab", "3.0 s", "slow & steady", "12.0 s"):
        assert text in words


def test_lightning_is_pinned_to_the_same_torch():
    root = Path(write.HERE).parent
    locked = (root / "requirements.lock").read_text()
    pinned = (write.HERE / "requirements-lightning.txt").read_text().split()
    for package in ("torch", "torchvision"):
        line = next(word for word in pinned if word.startswith(f"{package}=="))
        assert f"\n{line} " in locked

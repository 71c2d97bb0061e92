"""Descriptions of trained networks, read from `runs` and from folders."""

import pytest

from lenetlab.errors import UserError
from lenetlab.prediction import ensemble, trained
from lenetlab.storage import files
from tests.prediction import networks

OWN = """\
from torch import nn


class Own(nn.Module):
    def __init__(self, size, classes):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(size * size, classes))

    def forward(self, images):
        return self.layers(images)
"""


def test_the_last_epoch_of_every_seed_that_finished(tmp_path):
    networks.make_outputs(tmp_path, "lenet5", seeds=3, diverged=(1,))
    model = trained.of_outputs(tmp_path, "lenet5", [0, 1, 2])
    assert model.seeds == (0, 2)
    assert [path.relative_to(tmp_path / "runs/lenet5").as_posix() for path in model.weights] == [
        "seed-0/epoch-02.safetensors",
        "seed-2/epoch-02.safetensors",
    ]


def test_what_was_written_is_read(tmp_path):
    networks.make_outputs(tmp_path, "lenet5-regularized")
    model = trained.of_outputs(tmp_path, "lenet5-regularized", [0, 1])
    trained.write(model, tmp_path / "folder")
    again = trained.of_folder(tmp_path / "folder")
    assert again.description() == model.description()
    pixels = networks.random_pixels()
    found = [ensemble.Ensemble(one).probabilities(pixels).tolist() for one in (model, again)]
    assert found[0] == found[1]


def test_seeds_and_weights_belong_together_in_any_order_of_params(tmp_path):
    networks.make_outputs(tmp_path, "mlp", seeds=3)
    model = trained.of_outputs(tmp_path, "mlp", [2, 0])
    trained.write(model, tmp_path / "folder")
    again = trained.of_folder(tmp_path / "folder")
    for seed in model.seeds:
        (before,), (after,) = model.only(seed).weights, again.only(seed).weights
        assert before.read_bytes() == after.read_bytes()


def test_a_class_of_the_user_travels_with_its_weights(tmp_path):
    from torch import nn

    folder = networks.make_folder(tmp_path / "made")
    content = files.read_json(folder / "model.json")
    content["settings"]["model"] = {"name": "Own", "file": "networks/own.py"}
    files.write_json(folder / "model.json", content)
    files.write_text(folder / "networks" / "own.py", OWN)
    import safetensors.torch

    for seed in (0, 1):
        linear = nn.Sequential(nn.Flatten(), nn.Linear(32 * 32, 10))
        state = {f"layers.{name}": value for name, value in linear.state_dict().items()}
        safetensors.torch.save_file(state, folder / f"weights-{seed}.safetensors")
    trained.write(trained.of_folder(folder), tmp_path / "copy")
    found = ensemble.Ensemble(trained.of_folder(tmp_path / "copy")).probabilities(networks.random_pixels())
    assert found.shape == (2, 5, 10)


def test_other_data_are_refused(tmp_path):
    networks.make_outputs(tmp_path, "mlp")
    profile = tmp_path / "data/prepared/train/profile.json"
    files.write_json(profile, files.read_json(profile) | {"digest": "e" * 64})
    with pytest.raises(UserError, match="mlp: trained with other data than data/prepared/train; remedy: dvc repro"):
        trained.of_outputs(tmp_path, "mlp", [0])


def test_damaged_weights_are_refused(tmp_path):
    networks.make_outputs(tmp_path, "mlp")
    (tmp_path / "runs/mlp/seed-1/epoch-02.safetensors").write_bytes(b"x")
    with pytest.raises(
        UserError, match=r"seed-1/epoch-02\.safetensors: cannot be read .* remedy: dvc checkout --force"
    ):
        trained.of_outputs(tmp_path, "mlp", [0, 1])


def test_a_variant_whose_seeds_all_diverged_has_no_network(tmp_path):
    networks.make_outputs(tmp_path, "mlp", diverged=(0, 1))
    with pytest.raises(UserError, match="mlp: all 2 seeds diverged"):
        trained.of_outputs(tmp_path, "mlp", [0, 1])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "model.json").unlink(),
        lambda folder: (folder / "model.json").write_text("[]"),
        lambda folder: (folder / "model.json").write_text('{"variant": "a"}'),
        lambda folder: [path.unlink() for path in folder.glob("*.safetensors")],
        lambda folder: files.write_json(
            folder / "model.json", files.read_json(folder / "model.json") | {"settings": {"model": {"name": "x"}}}
        ),
    ],
)
def test_a_folder_that_is_no_model_is_refused(tmp_path, spoil):
    folder = networks.make_folder(tmp_path / "model")
    spoil(folder)
    with pytest.raises(UserError, match=r"model/model\.json: cannot be read \(.+\); allowed: the folder of a model"):
        trained.of_folder(folder)

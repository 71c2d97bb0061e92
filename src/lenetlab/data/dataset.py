"""The prepared digits as tensors on a device; the whole set is held there, so no loader waits for files."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from lenetlab.errors import UserError
from lenetlab.settings import schema
from lenetlab.storage import files
from lenetlab.storage.digests import sha256


@dataclass(frozen=True)
class Normalization:
    """Subtracted from pixels in [0, 1], and divided by."""

    mean: float
    std: float


@dataclass(frozen=True)
class Digits:
    """Images (N, 1, size, size) float32, labels (N) int64, and the value that a black pixel has in them."""

    images: torch.Tensor
    labels: torch.Tensor
    black: float

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Prepared:
    """One prepared set as it lies on the disk, in the order of its index."""

    pixels: np.ndarray  # (N, 28, 28) uint8
    labels: np.ndarray  # (N) uint8
    numbers: np.ndarray  # (N) int64, as in the file names
    splits: np.ndarray  # (N) str: training, validation or test
    profile: dict

    @property
    def digest(self) -> str:
        return self.profile["digest"]

    def normalization(self, form: schema.InputSettings) -> Normalization:
        """Mean and standard deviation of the training split, where the variant asks for them."""
        if not form.normalize:
            return Normalization(mean=0.0, std=1.0)
        training = self.profile["splits"]["training"]
        return Normalization(mean=training["mean"], std=training["std"] or 1.0)

    def digits(
        self, split: str, form: schema.InputSettings, normalization: Normalization, device: torch.device, most: int = 0
    ) -> Digits:
        """One split in the form that a variant reads, on the device that computes.

        At `most` so many of its images, if that is not 0: the first of a shuffle that is always the same, so that the
        smaller of two such choices is part of the larger.
        """
        chosen = np.flatnonzero(self.splits == split)
        if most and most < len(chosen):
            shuffle = torch.randperm(len(chosen), generator=torch.Generator().manual_seed(0))
            chosen = chosen[shuffle[:most].sort().values.numpy()]
        pixels = torch.from_numpy(self.pixels[chosen]).unsqueeze(1)
        images = torch.empty(len(pixels), 1, form.size, form.size)
        for part, target in zip(pixels.split(1000), images.split(1000), strict=True):  # large steps touch fresh memory
            target.copy_(resized(part.float().div_(255), form).sub_(normalization.mean).div_(normalization.std))
        return Digits(
            images=images.to(device),
            labels=torch.from_numpy(self.labels[chosen].astype(np.int64)).to(device),
            black=(0.0 - normalization.mean) / normalization.std,
        )

    def samples(self, per_class: int = 10) -> tuple[np.ndarray, np.ndarray]:
        """What a 28×28 variant reads of the first training images of every class: images (K, 28, 28), labels (K)."""
        form = schema.InputSettings(size=28, resize="pad", normalize=True)
        digits = self.digits("training", form, self.normalization(form), torch.device("cpu"))
        places = [np.flatnonzero(digits.labels == label)[:per_class] for label in range(10)]
        chosen = np.array([place for row in zip(*places, strict=False) for place in row], dtype=np.int64)
        return digits.images[chosen, 0].numpy(), digits.labels[chosen].numpy()


def load(folder: Path) -> Prepared:
    """What `prepare` wrote there. UserError if a file is missing or not the one that the profile was made from."""
    try:
        profile = files.read_json(folder / "profile.json")
        index, pixels = (folder / "index.csv").read_bytes(), (folder / "pixels.npy").read_bytes()
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}: cannot be read ({error}); remedy: dvc repro prepare") from None
    if sha256(index, pixels) != profile["digest"]:
        raise UserError(
            f"{folder}: index.csv and pixels.npy are not what profile.json tells; remedy: dvc repro -f prepare"
        )
    header, *rows = (line.split(",") for line in index.decode().splitlines())  # csv.reader takes several times as long
    column = dict(zip(header, zip(*rows, strict=True), strict=True))
    return Prepared(
        pixels=np.load(io.BytesIO(pixels), allow_pickle=False),
        labels=np.array(column["label"], dtype=np.uint8),
        numbers=np.array(column["number"], dtype=np.int64),
        splits=np.array(column["split"]),
        profile=profile,
    )


def resized(pixels: torch.Tensor, form: schema.InputSettings) -> torch.Tensor:
    """Pixels (N, 1, 28, 28) in [0, 1] at the size that the variant reads: black around them, or stretched."""
    margin = form.size - pixels.shape[-1]
    if not margin:
        return pixels
    if form.resize == "pad":
        return functional.pad(pixels, (margin // 2, margin - margin // 2) * 2)
    return functional.interpolate(pixels, size=(form.size, form.size), mode="bilinear", align_corners=False)

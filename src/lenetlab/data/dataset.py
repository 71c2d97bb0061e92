"""The prepared images as tensors. A whole set is held on the device, so training does not wait for files."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from lenetlab.errors import UserError
from lenetlab.settings import schema
from lenetlab.storage import files
from lenetlab.storage.digests import sha256


@dataclass(frozen=True)
class Normalization:
    """Pixels in [0, 1] are normalised as (pixel - mean) / std."""

    mean: float | list[float]  # of all pixels; for colour images, of each channel
    std: float | list[float]


@dataclass(frozen=True)
class Examples:
    """Images and labels of one split on a device, as a network reads them."""

    images: torch.Tensor  # (N, C, size, size) float32
    labels: torch.Tensor  # (N) int64
    black: torch.Tensor  # (C, 1, 1): the value of a black pixel in `images`

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Prepared:
    """A folder that the stage prepare wrote, in the order of its index."""

    pixels: NDArray[np.uint8]  # (N, size, size), or (N, size, size, 3) in colour
    labels: NDArray[np.int64]  # (N)
    numbers: NDArray[np.int64]  # (N), from the file names
    splits: NDArray[np.str_]  # (N): training, validation or test
    profile: dict[str, Any]  # profile.json

    @property
    def digest(self) -> str:
        digest: str = self.profile["digest"]
        return digest

    def normalization(self, form: schema.InputSettings) -> Normalization:
        """Mean and standard deviation of the training split; 0 and 1 if `form` does not normalise."""
        if not form.normalize:
            return Normalization(mean=0.0, std=1.0)
        training = self.profile["splits"]["training"]
        return Normalization(mean=training["mean"], std=_without_zeros(training["std"]))

    def examples(
        self,
        split: str,
        form: schema.InputSettings,
        normalization: Normalization,
        device: torch.device,
        limit: int = 0,
    ) -> Examples:
        """The images of one split in the input form of a variant.

        A `limit` other than 0 selects at most this many images: the first ones of a fixed shuffle, so that a smaller
        selection is part of a larger one.
        """
        chosen = np.flatnonzero(self.splits == split)
        if limit and limit < len(chosen):
            shuffle = torch.randperm(len(chosen), generator=torch.Generator().manual_seed(0))
            chosen = chosen[shuffle[:limit].sort().values.numpy()]
        pixels = torch.from_numpy(self.pixels[chosen])
        pixels = pixels.unsqueeze(1) if pixels.dim() == 3 else pixels.permute(0, 3, 1, 2)
        mean, std = (
            torch.tensor(value, dtype=torch.float64).view(-1, 1, 1) for value in (normalization.mean, normalization.std)
        )
        images = torch.empty(*pixels.shape[:2], form.size, form.size)
        # 1,000 images at a time: temporary tensors of the whole set would need fresh memory at every step
        for part, target in zip(torch.split(pixels, 1000), torch.split(images, 1000), strict=True):
            target.copy_(resized(part.float().div_(255), form).sub_(mean.float()).div_(std.float()))
        return Examples(
            images=images.to(device),
            labels=torch.from_numpy(self.labels[chosen]).to(device),
            black=(-mean / std).float().to(device),
        )

    def samples(self, per_class: int = 10) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The first training images of every class as a variant reads them: images (K, C, size, size), labels (K)."""
        form = schema.InputSettings(size=self.pixels.shape[1], resize="pad", normalize=True)
        examples = self.examples("training", form, self.normalization(form), torch.device("cpu"))
        places = [np.flatnonzero(examples.labels == label)[:per_class] for label in range(len(self.profile["classes"]))]
        chosen = np.array([place for row in zip(*places, strict=False) for place in row], dtype=np.int64)
        return examples.images[chosen].numpy(), examples.labels[chosen].numpy()


def load(folder: Path) -> Prepared:
    """Read a folder that the stage prepare wrote.

    UserError if a file is missing, or if index and pixels do not have the digest in profile.json.
    """
    try:
        profile = files.read_json(folder / "profile.json")
        index, pixels = (folder / "index.csv").read_bytes(), (folder / "pixels.npy").read_bytes()
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}: cannot be read ({error}); remedy: dvc repro prepare") from None
    if sha256(index, pixels) != profile["digest"]:
        raise UserError(
            f"{folder}: index.csv and pixels.npy do not have the SHA-256 in profile.json; remedy: dvc repro -f prepare"
        )
    header, *rows = (line.split(",") for line in index.decode().splitlines())  # several times faster than csv.reader
    column = dict(zip(header, zip(*rows, strict=True), strict=True))
    return Prepared(
        pixels=np.load(io.BytesIO(pixels), allow_pickle=False),
        labels=np.array(column["label"], dtype=np.int64),
        numbers=np.array(column["number"], dtype=np.int64),
        splits=np.array(column["split"]),
        profile=profile,
    )


def resized(pixels: torch.Tensor, form: schema.InputSettings) -> torch.Tensor:
    """Pixels (N, C, H, W) in [0, 1] at the input size of a variant: padded with black, or interpolated (bilinear)."""
    margin = form.size - pixels.shape[-1]
    if not margin:
        return pixels
    if form.resize == "pad":
        return functional.pad(pixels, (margin // 2, margin - margin // 2) * 2)
    return functional.interpolate(pixels, size=(form.size, form.size), mode="bilinear", antialias=margin < 0)


def _without_zeros(std: float | list[float]) -> float | list[float]:
    """1 in place of a deviation of 0: all pixels are the same."""
    return [value or 1.0 for value in std] if isinstance(std, list) else std or 1.0

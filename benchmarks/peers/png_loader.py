"""A DataLoader that opens a PNG file for every item, with Pillow and torchvision's transforms.

As the custom Dataset of PyTorch's "Datasets & DataLoaders" tutorial, with the loop of its quickstart tutorial.

python -m benchmarks.peers.png_loader VARIANT WORKERS FOLDER; train/ and test/ in FOLDER hold {number}_{label}.png
"""

import sys
from functools import partial
from pathlib import Path

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.peers import loop, networks

AS_INPUT = [transforms.Pad(2), transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
AUGMENTED = [transforms.RandomAffine(degrees=10, translate=(2 / 28, 2 / 28), scale=(0.9, 1.1), shear=5), *AS_INPUT]


class Digits(Dataset):
    def __init__(self, folder: Path, transform: transforms.Compose) -> None:
        self.files = sorted(folder.glob("*.png"))
        self.labels = [int(file.stem.split("_")[1]) for file in self.files]
        self.transform = transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.open(self.files[index])), self.labels[index]


def main(variant: str, workers: int, folder: Path) -> None:
    affine = variant == "lenet5-decay-dropout-affine"
    training = Digits(folder / "train", transforms.Compose(AUGMENTED if affine else AS_INPUT))
    test = Digits(folder / "test", transforms.Compose(AS_INPUT))
    model = networks.build(variant)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=0.01 if affine else 0.0)
    loop.measure(
        partial(loop.train, model, optimizer),
        partial(loop.evaluate, model),
        DataLoader(training, batch_size=64, shuffle=True, num_workers=workers),
        DataLoader(test, batch_size=64, num_workers=workers),
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))

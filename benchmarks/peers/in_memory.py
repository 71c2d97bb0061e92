"""The reference: all images in one tensor, a plain loop, a plain module, one thread; no files and no DataLoader.

python -m benchmarks.peers.in_memory FOLDER; the folder holds MNIST/raw/ as torchvision downloads it
"""

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks.peers import loop, networks


class Digits:
    """A data set as tensors, in batches; in a new order in every epoch if `shuffle`."""

    def __init__(self, folder: Path, name: str, batch: int, shuffle: bool) -> None:
        pixels = np.fromfile(folder / f"MNIST/raw/{name}-images-idx3-ubyte", np.uint8, offset=16).reshape(-1, 1, 28, 28)
        labels = np.fromfile(folder / f"MNIST/raw/{name}-labels-idx1-ubyte", np.uint8, offset=8)
        self.images = (F.pad(torch.from_numpy(pixels).float() / 255, (2, 2, 2, 2)) - 0.1307) / 0.3081
        self.labels = torch.from_numpy(labels.astype(np.int64))
        self.batch, self.shuffle = batch, shuffle

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        count = len(self.labels)
        order = torch.randperm(count) if self.shuffle else torch.arange(count)
        for chosen in order.split(self.batch):
            yield self.images[chosen], self.labels[chosen]


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    training, test = Digits(folder, "train", 64, shuffle=True), Digits(folder, "t10k", 1000, shuffle=False)
    model = networks.build("lenet5")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    loop.measure(partial(loop.train, model, optimizer), partial(loop.evaluate, model), training, test)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""torchvision's MNIST and a DataLoader without workers, with the loop of PyTorch's quickstart tutorial.

python -m benchmarks.peers.torchvision_mnist FOLDER; the folder holds MNIST/raw/ as torchvision downloads it
"""

import sys
from functools import partial

import torch
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from benchmarks.peers import loop, networks

AS_INPUT = transforms.Compose([transforms.Pad(2), transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])


def main(folder: str) -> None:
    training, test = (datasets.MNIST(folder, train=train, transform=AS_INPUT) for train in (True, False))
    model = networks.build("lenet5")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    loop.measure(
        partial(loop.train, model, optimizer),
        partial(loop.evaluate, model),
        DataLoader(training, batch_size=64, shuffle=True),
        DataLoader(test, batch_size=64),
    )


if __name__ == "__main__":
    main(sys.argv[1])

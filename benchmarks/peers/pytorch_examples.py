"""The training script mnist/main.py of pytorch/examples, with the network and the optimizer of the other peers.

Its loop, its batches of 64 and 1,000, and its loader settings for an accelerator: one worker, pinned memory.

python -m benchmarks.peers.pytorch_examples FOLDER; the folder holds MNIST/raw/ as torchvision downloads it
"""

import sys
from functools import partial

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from benchmarks.peers import loop, networks

LOG_INTERVAL = 10
LOADER = {"num_workers": 1, "pin_memory": True, "shuffle": True}
AS_INPUT = transforms.Compose([transforms.Pad(2), transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])


def train(model: torch.nn.Module, optimizer: torch.optim.Optimizer, loader: loop.Batches) -> None:
    model.train()
    for batch, (data, target) in enumerate(loader):
        optimizer.zero_grad()
        loss = F.nll_loss(F.log_softmax(model(data), dim=1), target)
        loss.backward()
        optimizer.step()
        if batch % LOG_INTERVAL == 0:
            print(f"batch {batch}: loss {loss.item():.6f}", file=sys.stderr)


@torch.no_grad()
def test(model: torch.nn.Module, loader: loop.Batches) -> tuple[float, int]:
    model.eval()
    loss, correct = 0.0, 0
    for data, target in loader:
        output = F.log_softmax(model(data), dim=1)
        loss += F.nll_loss(output, target, reduction="sum").item()
        correct += output.argmax(dim=1).eq(target).sum().item()
    return loss, correct


def main(folder: str) -> None:
    training, testing = (datasets.MNIST(folder, train=train, transform=AS_INPUT) for train in (True, False))
    model = networks.build("lenet5")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    loop.measure(
        partial(train, model, optimizer),
        partial(test, model),
        DataLoader(training, batch_size=64, **LOADER),
        DataLoader(testing, batch_size=1000, **LOADER),
    )


if __name__ == "__main__":
    main(sys.argv[1])

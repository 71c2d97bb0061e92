"""PyTorch Lightning's Trainer with torchvision's MNIST, as in "Lightning in 15 minutes".

Logger, checkpoints and progress bar are off, which makes it faster. It needs the separate environment of
requirements-lightning.txt.

python -m benchmarks.peers.lightning_trainer FOLDER; the folder holds MNIST/raw/ as torchvision downloads it
"""

import json
import sys
import time

import lightning
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from benchmarks.peers import loop, networks

AS_INPUT = transforms.Compose([transforms.Pad(2), transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])


class LitLeNet5(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.model = networks.build("lenet5")

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> torch.Tensor:
        images, labels = batch
        loss = F.cross_entropy(self.model(images), labels)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> None:
        images, labels = batch
        self.log("accuracy", (self.model(images).argmax(1) == labels).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.9)


def trainer(batches: int | None) -> lightning.Trainer:
    """A trainer for one epoch on the CPU, or for its first `batches`."""
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return lightning.Trainer(
        max_epochs=1, accelerator="cpu", limit_train_batches=batches, num_sanity_val_steps=0, **quiet
    )


def main(folder: str) -> None:
    training, test = (datasets.MNIST(folder, train=train, transform=AS_INPUT) for train in (True, False))
    batches, test_batches = DataLoader(training, batch_size=64, shuffle=True), DataLoader(test, batch_size=64)
    model = LitLeNet5()
    ready = time.monotonic()
    trainer(loop.WARM_UP).fit(model, batches)
    began = time.perf_counter()
    trainer(None).fit(model, batches, test_batches)
    print(json.dumps({"ready": ready, "seconds": time.perf_counter() - began}))


if __name__ == "__main__":
    main(sys.argv[1])

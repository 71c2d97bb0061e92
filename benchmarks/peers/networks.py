"""The networks as people usually write them, with the layers of the variants of these names in params.yaml."""

from torch import Tensor, nn
from torch.nn import functional as F


class LeNet5(nn.Module):
    """As in PyTorch's "Defining a Neural Network in PyTorch", for 32×32 images: 61,706 parameters."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = x.flatten(1)
        x = self.dropout(F.relu(self.fc1(x)))
        x = self.dropout(F.relu(self.fc2(x)))
        return self.fc3(x)


class RegularizedLeNet5(LeNet5):
    """Batch normalisation before the activation of a convolution, dropout after both hidden linear layers."""

    def __init__(self) -> None:
        super().__init__(dropout=0.5)
        self.bn1 = nn.BatchNorm2d(6)
        self.bn2 = nn.BatchNorm2d(16)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)
        x = F.max_pool2d(F.relu(self.bn2(self.conv2(x))), 2)
        x = x.flatten(1)
        x = self.dropout(F.relu(self.fc1(x)))
        x = self.dropout(F.relu(self.fc2(x)))
        return self.fc3(x)


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(32 * 32, 59), nn.ReLU(), nn.Linear(59, 10))


def build(variant: str) -> nn.Module:
    match variant:
        case "lenet5":
            return LeNet5()
        case "mlp":
            return mlp()
        case "lenet5-regularized":
            return RegularizedLeNet5()
        case "lenet5-decay-dropout-affine":
            return LeNet5(dropout=0.5)
    raise ValueError(variant)

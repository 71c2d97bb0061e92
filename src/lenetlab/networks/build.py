"""LeNet-5 and the multilayer perceptron, with arguments enough for every variant, and their arithmetic."""

import torch

from lenetlab.networks import lenet, mlp
from lenetlab.settings import schema


def build(variant: schema.Variant, seed: int) -> lenet.LeNet5 | mlp.MLP:
    """The network of a variant on the CPU, with PyTorch's initial weights as this seed draws them."""
    rates = variant.regularization.dropout
    common = {
        "size": variant.input.size,
        "hidden": variant.model.hidden,
        "activation": variant.model.activation,
        "batch_norm": variant.regularization.batch_norm,
        "dropout": rates if isinstance(rates, tuple) else (rates,) * len(variant.model.hidden),
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if isinstance(variant.model, schema.MLPSettings):
            return mlp.MLP(**common)
        own = variant.model.model_dump(include={"channels", "pooling", "connections", "output"})
        return lenet.LeNet5(**own, **common)

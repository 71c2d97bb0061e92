"""Build the network of a variant."""

import torch

from lenetlab.networks import cnn, lenet, mlp
from lenetlab.settings import schema

Network = lenet.LeNet5 | mlp.MLP | cnn.CNN
LAYERED = (
    lenet.LeNet5,
    mlp.MLP,
    cnn.CNN,
)  # networks that compute the modules of their Sequential `layers`, and nothing else


def build_network(variant: schema.Variant, seed: int) -> Network:
    """The network of a variant on the CPU. Its initial weights follow PyTorch's rules and depend only on the seed.

    The global random state of torch stays as it was.
    """
    model, rules = variant.model, variant.regularization
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if isinstance(model, schema.CNNSettings):
            return cnn.CNN(variant.images, variant.input.size, model.layers)
        dropout = rules.dropout if isinstance(rules.dropout, tuple) else (rules.dropout,) * len(model.hidden)
        if isinstance(model, schema.MLPSettings):
            return mlp.MLP(variant.images, variant.input.size, model.hidden, model.activation, rules.batch_norm, dropout)
        return lenet.LeNet5(
            images=variant.images,
            size=variant.input.size,
            channels=model.channels,
            hidden=model.hidden,
            pooling=model.pooling,
            activation=model.activation,
            connections=model.connections,
            output=model.output,
            batch_norm=rules.batch_norm,
            dropout=dropout,
        )

"""Build the network of a variant."""

import torch
from torch import nn

from lenetlab.networks import cnn, lenet, mlp, own_module
from lenetlab.settings import schema


def check(variant: schema.Variant) -> None:
    """UserError if the network is a class of the user that cannot be trained here: see `own_module.check`."""
    if isinstance(variant.model, schema.ModuleSettings):
        first, again = (build_network(variant, seed=0) for _ in range(2))
        own_module.check(variant.model, variant.images, first, again, variant.input.size)


def build_network(variant: schema.Variant, seed: int) -> nn.Module:
    """The network of a variant on the CPU. Its initial weights follow PyTorch's rules and depend only on the seed.

    The global random state of torch stays as it was. Raises UserError for an exception in a class of the user.
    """
    model, rules = variant.model, variant.regularization
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if isinstance(model, schema.ModuleSettings):
            return own_module.build(model, variant.images, variant.input.size)
        if isinstance(model, schema.CNNSettings):
            return cnn.CNN(variant.images, variant.input.size, model.layers)
        dropout = rules.dropout if isinstance(rules.dropout, tuple) else (rules.dropout,) * len(model.hidden)
        if isinstance(model, schema.MLPSettings):
            return mlp.MLP(
                variant.images, variant.input.size, model.hidden, model.activation, rules.batch_norm, dropout
            )
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

"""Scaling, batch normalisation, max-pooling and sigmoid with their gradients, for the members of a group of networks.

All but Sigmoid take and return tensors (N, H, W, C). The bits of a channel do not depend on the other channels, because
every sum adds in an order that is the same for each channel. torch's own batch normalisation does not guarantee that.
"""

from typing import Any

import torch


class Scale(torch.autograd.Function):
    """(N, H, W, C) times a weight (C) plus a bias (C)."""

    @staticmethod
    def forward(context: Any, inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        context.save_for_backward(inputs, weight)
        width = inputs.shape[2]
        return torch.addcmul(bias.repeat(width), inputs.flatten(2), weight.repeat(width)).view_as(inputs)

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, ...]:
        inputs, weight = context.saved_tensors
        gradient = gradient.contiguous()
        return gradient * weight, _channel_sums(gradient * inputs), _channel_sums(gradient)


class BatchNorm(torch.autograd.Function):
    """Batch normalisation of (N, H, W, C) in training mode; also returns mean and variance (C) of the batch.

    torch's own is a little faster, but rounds a channel differently if it lies at the end of a vector register.
    """

    @staticmethod
    def forward(
        context: Any, inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, eps: float
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        count, width = inputs.numel() // inputs.shape[-1], inputs.shape[2]
        mean = _channel_sums(inputs) / count
        centred = inputs.flatten(2) - mean.repeat(width)
        variance = _channel_sums(centred.square().view_as(inputs)) / count
        deviation = (variance + eps).sqrt()
        context.save_for_backward(centred, weight, deviation)
        context.mark_non_differentiable(mean, variance)
        outputs = torch.addcmul(bias.repeat(width), centred, (weight / deviation).repeat(width))
        return outputs.view_as(inputs), mean, variance

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor, *_: None) -> tuple[torch.Tensor | None, ...]:
        """Ioffe & Szegedy 2015, section 3, with equal terms collected."""
        centred, weight, deviation = context.saved_tensors
        gradient = gradient.contiguous()
        count, width = gradient.numel() // gradient.shape[-1], gradient.shape[2]
        bias_gradient = _channel_sums(gradient)
        weight_gradient = _channel_sums((gradient.flatten(2) * centred).view_as(gradient)) / deviation
        scale = weight / deviation
        inputs_gradient = torch.addcmul(
            (-scale * bias_gradient / count).repeat(width), gradient.flatten(2), scale.repeat(width)
        )
        inputs_gradient.addcmul_(centred, (-scale * weight_gradient / deviation / count).repeat(width))
        return inputs_gradient.view_as(gradient), weight_gradient, bias_gradient, None


class MaxPool(torch.autograd.Function):
    """2×2 max-pooling, (N, H, W, C) to (N, H/2, W/2, C), with the values and gradients of MaxPool2d.

    It takes the maximum of horizontal neighbours, then of vertical ones. torch's own is not vectorised if the channels
    do not fill its registers, and then takes several times as long.
    """

    @staticmethod
    def forward(context: Any, inputs: torch.Tensor) -> torch.Tensor:
        left, right = inputs[:, :, 0::2], inputs[:, :, 1::2]
        rows = torch.maximum(left, right)
        top, bottom = rows[:, 0::2], rows[:, 1::2]
        # 1.0 if the second of two values is the larger one; of equal values the first is taken, as in MaxPool2d
        context.save_for_backward((right - left).gt_(0), (bottom - top).gt_(0))
        return torch.maximum(top, bottom)

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> torch.Tensor:
        right_larger, bottom_larger = context.saved_tensors
        gradient = gradient.contiguous()
        count, height, width, channels = bottom_larger.shape
        rows = gradient.new_empty(count, 2 * height, width, channels)
        torch.mul(gradient, bottom_larger, out=rows[:, 1::2])
        torch.sub(gradient, rows[:, 1::2], out=rows[:, 0::2])
        inputs_gradient = gradient.new_empty(count, 2 * height, 2 * width, channels)
        torch.mul(rows, right_larger, out=inputs_gradient[:, :, 1::2])
        torch.sub(rows, inputs_gradient[:, :, 1::2], out=inputs_gradient[:, :, 0::2])
        return inputs_gradient


class Sigmoid(torch.autograd.Function):
    """1 / (1 + exp(-x)) of a tensor of any shape.

    torch's own computes the last values of a tensor, which do not fill a vector register, with another exp.
    """

    @staticmethod
    def forward(context: Any, inputs: torch.Tensor) -> torch.Tensor:
        outputs = inputs.neg().exp_().add_(1).reciprocal_()
        context.save_for_backward(outputs)
        return outputs

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> torch.Tensor:
        (outputs,) = context.saved_tensors
        inputs_gradient: torch.Tensor = gradient * (outputs * (1 - outputs))
        return inputs_gradient


def _channel_sums(inputs: torch.Tensor) -> torch.Tensor:
    """(N, H, W, C) to (C). Halves the batch again and again, so that every channel is added in the same order."""
    rest = inputs.flatten(1)
    total = torch.zeros_like(rest[0])
    while len(rest) > 1:
        half = len(rest) // 2
        if len(rest) % 2:
            total += rest[-1]
        rest = rest[:half] + rest[half : 2 * half]
    return (total + rest[0]).view(-1, inputs.shape[-1]).T.contiguous().sum(1)

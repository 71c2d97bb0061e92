"""Several seeds of one network, computed together; each keeps weights, images and bits of its own.

What is computed is read off the layers of the plain network in `models`, the one definition of it. Together costs about
half of one after the other on a CPU, whose libraries like many channels (docs/performance.md), and less on a GPU.
"""

from typing import Any

import torch


class Scale(torch.autograd.Function):
    """(N, H, W, C) times a weight (C) plus a bias (C); the gradients of both are sums in a fixed order."""

    @staticmethod
    def forward(context: Any, flow: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        context.save_for_backward(flow, weight)
        width = flow.shape[2]
        return torch.addcmul(bias.repeat(width), flow.flatten(2), weight.repeat(width)).view_as(flow)

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, ...]:
        flow, weight = context.saved_tensors
        gradient = gradient.contiguous()
        return gradient * weight, _channel_sums(gradient * flow), _channel_sums(gradient)


class BatchNorm(torch.autograd.Function):
    """Batch normalisation of (N, H, W, C) as in training, and mean and variance (C) of the batch.

    torch's own is a little faster, and rounds a channel otherwise when it stands where its vector registers end.
    """

    @staticmethod
    def forward(
        context: Any, flow: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, eps: float
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        count, width = flow.numel() // flow.shape[-1], flow.shape[2]
        mean = _channel_sums(flow) / count
        centred = flow.flatten(2) - mean.repeat(width)
        variance = _channel_sums(centred.square().view_as(flow)) / count
        deviation = (variance + eps).sqrt()
        context.save_for_backward(centred, weight, deviation)
        context.mark_non_differentiable(mean, variance)
        values = torch.addcmul(bias.repeat(width), centred, (weight / deviation).repeat(width))
        return values.view_as(flow), mean, variance

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor, *_: None) -> tuple[torch.Tensor | None, ...]:
        """As Ioffe & Szegedy 2015, section 3, with the terms gathered."""
        centred, weight, deviation = context.saved_tensors
        gradient = gradient.contiguous()
        count, width = gradient.numel() // gradient.shape[-1], gradient.shape[2]
        of_bias = _channel_sums(gradient)
        of_weight = _channel_sums((gradient.flatten(2) * centred).view_as(gradient)) / deviation
        scale = weight / deviation
        flow = torch.addcmul((-scale * of_bias / count).repeat(width), gradient.flatten(2), scale.repeat(width))
        flow.addcmul_(centred, (-scale * of_weight / deviation / count).repeat(width))
        return flow.view_as(gradient), of_weight, of_bias, None


def _channel_sums(flow: torch.Tensor) -> torch.Tensor:
    """(N, H, W, C) to (C). Images are added by halves: the order of additions is the same wherever a channel stands."""
    rest = flow.flatten(1)
    total = torch.zeros_like(rest[0])
    while len(rest) > 1:
        half = len(rest) // 2
        if len(rest) % 2:
            total += rest[-1]
        rest = rest[:half] + rest[half : 2 * half]
    return (total + rest[0]).view(-1, flow.shape[-1]).T.contiguous().sum(1)


class MaxPool(torch.autograd.Function):
    """(N, H, W, C) to (N, H/2, W/2, C): the larger of two across, then down; values and gradients are MaxPool2d's.

    torch's own is not vectorised where the channels do not fill its registers, and takes several times as long.
    """

    @staticmethod
    def forward(context: Any, flow: torch.Tensor) -> torch.Tensor:
        left, right = flow[:, :, 0::2], flow[:, :, 1::2]
        across = torch.maximum(left, right)
        top, bottom = across[:, 0::2], across[:, 1::2]
        # 1.0 where the second of two is larger; of equals the first is taken, as in MaxPool2d
        context.save_for_backward((right - left).gt_(0), (bottom - top).gt_(0))
        return torch.maximum(top, bottom)

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> torch.Tensor:
        right, bottom = context.saved_tensors
        gradient = gradient.contiguous()
        count, height, width, channels = bottom.shape
        across = gradient.new_empty(count, 2 * height, width, channels)
        torch.mul(gradient, bottom, out=across[:, 1::2])
        torch.sub(gradient, across[:, 1::2], out=across[:, 0::2])
        flow = gradient.new_empty(count, 2 * height, 2 * width, channels)
        torch.mul(across, right, out=flow[:, :, 1::2])
        torch.sub(across, flow[:, :, 1::2], out=flow[:, :, 0::2])
        return flow

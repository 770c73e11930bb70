"""Batch normalisation over all processes, on any device; and without it, once a network is trained."""

from __future__ import annotations

from copy import deepcopy
from itertools import pairwise
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

Network = TypeVar("Network", bound=nn.Module)


class _AllReduce(torch.autograd.Function):
    """The sum over all processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation whose batch statistics span every process of a distributed run.

    PyTorch's SyncBatchNorm needs a GPU; this one makes several CPU processes give what one would. In a single process,
    and in evaluation, it is `nn.BatchNorm2d` itself.
    """

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The normalised activations."""
        distributed = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
        if not (self.training and distributed):
            return super().forward(input)
        return self._forward_across_processes(input)

    def _forward_across_processes(self, x: Tensor) -> Tensor:
        wide = x.float()
        moments = torch.stack([wide.mean(dim=(0, 2, 3)), wide.square().mean(dim=(0, 2, 3))])
        mean, square = _AllReduce.apply(moments) / dist.get_world_size()
        variance = square - mean.square()
        with torch.no_grad():
            assert (
                self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
            )
            count = x.numel() / x.shape[1] * dist.get_world_size()
            momentum = self.momentum if self.momentum is not None else 0.1
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(variance * count / (count - 1), momentum)
        scale = (self.weight * (variance + self.eps).rsqrt()).view(1, -1, 1, 1)
        shift = self.bias.view(1, -1, 1, 1) - mean.view(1, -1, 1, 1) * scale
        return (wide * scale + shift).to(x.dtype)


def folded(network: Network) -> Network:
    """A copy that gives the same to rounding, and is faster on a CPU: each `BatchNorm` is part of the convolution before it.

    Args:
        network: in evaluation mode; its convolutions stand right before their normalisation in an `nn.Sequential`.
    """
    instead: dict[int, Any] = {}  # of what is not copied, because something else takes its place
    for layers in [module for module in network.modules() if isinstance(module, nn.Sequential)]:
        for layer, norm in pairwise(layers):
            if isinstance(layer, nn.Conv2d) and isinstance(norm, BatchNorm):
                instead |= {id(layer): _fused(layer, norm), id(norm): nn.Identity().train(norm.training)}
    return deepcopy(network, instead).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _fused(layer: nn.Conv2d, norm: BatchNorm) -> nn.Conv2d:
    """A convolution with the normalisation after it, in evaluation mode."""
    assert norm.running_mean is not None and norm.running_var is not None
    weight, bias = fuse_conv_bn_weights(
        layer.weight, layer.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    shape = (layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding, layer.dilation)
    made = nn.Conv2d(*shape, layer.groups, True, layer.padding_mode, device="meta")  # type: ignore[arg-type]
    made.weight, made.bias = weight, bias
    return made.train(layer.training)

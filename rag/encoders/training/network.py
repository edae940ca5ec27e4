"""EfficientNet-Lite2 from its eighth block on, and the head, in torch, with batch norms folded as at run time."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

# Blocks that are trained, each with its stride; earlier ones detect edges and textures, and are frozen.
BLOCKS = ((8, 1), (9, 1), (10, 1), (11, 1), (12, 1), (13, 1), (14, 1), (15, 2), *((n, 1) for n in range(16, 21)))
FEATURES, HIDDEN, DIMENSIONS = 1280, 768, 384
_EPSILON = 1e-3


class Convolution(nn.Module):
    """A convolution with its batch norm folded in; SAME padding as TensorFlow counts it."""

    def __init__(self, state: Mapping[str, Tensor], conv: str, norm: str, stride: int = 1) -> None:
        super().__init__()
        kernel = state[f"{conv}.weight"].float()
        scale = state[f"{norm}.weight"] / torch.sqrt(state[f"{norm}.running_var"] + _EPSILON)
        self.weight = nn.Parameter((kernel * scale[:, None, None, None]).contiguous())
        self.bias = nn.Parameter((state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale).float())
        self.stride, self.width = stride, kernel.shape[2]
        self.groups = kernel.shape[0] if kernel.shape[1] == 1 else 1

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (n, channels, size, size)."""
        size = x.shape[-1]
        pad = max((-(-size // self.stride) - 1) * self.stride + self.width - size, 0)
        if pad:
            x = functional.pad(x, (pad // 2, pad - pad // 2, pad // 2, pad - pad // 2))
        return functional.conv2d(x, self.weight, self.bias, self.stride, 0, 1, self.groups)


class Block(nn.Module):
    """An inverted bottleneck, skipped at random in training (stochastic depth)."""

    def __init__(self, state: Mapping[str, Tensor], number: int, stride: int, drop: float) -> None:
        super().__init__()
        prefix = f"_blocks.{number}"
        self.expand = Convolution(state, f"{prefix}._expand_conv", f"{prefix}._bn0")
        self.depthwise = Convolution(state, f"{prefix}._depthwise_conv", f"{prefix}._bn1", stride)
        self.project = Convolution(state, f"{prefix}._project_conv", f"{prefix}._bn2")
        self.skips = stride == 1 and self.expand.weight.shape[1] == self.project.weight.shape[0]
        self.drop = drop

    def forward(self, x: Tensor) -> Tensor:
        """Run the block."""
        inner = functional.relu6(self.depthwise(functional.relu6(self.expand(x))))
        out: Tensor = self.project(inner)
        if not self.skips:
            return out
        if self.training:
            is_active = torch.rand(len(x), 1, 1, 1) >= self.drop
            out = out * is_active.to(out.dtype) / (1 - self.drop)
        return out + x


class Upper(nn.Module):
    """The trained part of the backbone: activations (n, 88, 17, 17) to features (n, 1280)."""

    def __init__(self, state: Mapping[str, Tensor], drop: float = 0.1) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(state, number, stride, drop) for number, stride in BLOCKS)
        self.last = Convolution(state, "_conv_head", "_bn1")

    def forward(self, x: Tensor) -> Tensor:
        """Run the blocks and pool."""
        for block in self.blocks:
            x = block(x)
        return functional.relu6(self.last(x)).mean((2, 3))


class Head(nn.Module):
    """Features (n, 1280) to the text encoder's space (n, 384), not yet of unit length."""

    def __init__(self, drop: float = 0.4) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(FEATURES)
        self.first = nn.Linear(FEATURES, HIDDEN)
        self.second = nn.Linear(HIDDEN, DIMENSIONS)
        self.drop = nn.Dropout(drop)

    def forward(self, features: Tensor) -> Tensor:
        """Run the head."""
        inner = functional.gelu(self.first(self.drop(self.norm(features))))
        out: Tensor = self.second(self.drop(inner))
        return out

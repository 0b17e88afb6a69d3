"""The layer between images and a fully connected layer."""

from __future__ import annotations

from typing import Any

from fastconv.autograd import Tensor, functional

from .module import Module


class Flatten(Module):
    """Axes ``start_dim`` … ``end_dim`` made one: by default (N, …) → (N, the rest)."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1):
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Any) -> Tensor:
        return functional.flatten(input, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"

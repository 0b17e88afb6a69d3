"""Activation layers."""

from __future__ import annotations

from typing import Any

from fastconv.autograd import Tensor, functional

from .module import Module


class ReLU(Module):
    """max(input, 0).

    ``inplace`` is taken so that PyTorch code runs as it is; the result is a new tensor either way.
    """

    def __init__(self, inplace: bool = False):
        self.inplace = bool(inplace)

    def forward(self, input: Any) -> Tensor:
        return functional.relu(input)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""

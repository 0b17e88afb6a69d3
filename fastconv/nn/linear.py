"""The fully connected layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.autograd import Tensor, functional
from fastconv.core import checks

from . import init
from .module import Module


class Linear(Module):
    """y = x · weightᵀ + bias on the last axis: (…, C) → (…, K).

    Parameters
    ----------
    in_features, out_features : C and K
    bias : whether there is one
    dtype : float32 or float64, of the parameters and so of what goes in
    rng : generator of the first values; :func:`fastconv.manual_seed`'s if None

    ``weight`` (K, C) and ``bias`` (K,) start in U(−1/√C, 1/√C).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: Any = np.float32,
        rng: np.random.Generator | None = None,
    ):
        self.in_features = checks.integer(in_features, "in_features", 1)
        self.out_features = checks.integer(out_features, "out_features", 1)
        shape = (self.out_features, self.in_features)
        self.weight, self.bias = init.weight_and_bias(shape, bias, dtype, rng)

    def forward(self, input: Any) -> Tensor:
        return functional.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )

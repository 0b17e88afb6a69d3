"""First values of parameters, by the names of ``torch.nn.init``: each writes to its tensor."""

from __future__ import annotations

import math
from typing import Any, TypeVar

import numpy as np

from fastconv.autograd import Tensor
from fastconv.core import checks

from . import random
from .parameter import Parameter

AnyTensor = TypeVar("AnyTensor", bound=Tensor)


def _checked(tensor: Any) -> Tensor:
    """A tensor that such values can be written to (``TypeError``)."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"tensor must be a Tensor, got {type(tensor).__name__}")
    checks.dtype(tensor.dtype, "tensor")
    return tensor


def fan_in(shape: tuple[int, ...]) -> int:
    """Inputs that one output of a weight (K, C, …) sees: C times the filter's size."""
    if len(shape) < 2:
        raise ValueError(f"tensor must have at least 2 dimensions to have a fan-in, got {shape}")
    return max(1, math.prod(shape[1:]))


def uniform_(
    tensor: AnyTensor, a: float = 0.0, b: float = 1.0, generator: np.random.Generator | None = None
) -> AnyTensor:
    """Evenly spread over [a, b)."""
    data = _checked(tensor).data
    if not a <= b:
        raise ValueError(f"a must be at most b, got a={a!r} and b={b!r}")
    data[...] = random.generator(generator).uniform(a, b, data.shape)
    return tensor


def kaiming_uniform_(
    tensor: AnyTensor, a: float = 0.0, generator: np.random.Generator | None = None
) -> AnyTensor:
    """U(−l, l), l = √(6 / ((1 + a²)·fan_in)): He et al. (2015), for a leaky ReLU of slope ``a``.

    The layers' own first values are those of ``a`` = √5, which is l = 1/√fan_in, as in PyTorch.
    """
    limit = math.sqrt(6 / ((1 + a * a) * fan_in(_checked(tensor).shape)))
    return uniform_(tensor, -limit, limit, generator)


def weight_and_bias(
    shape: tuple[int, ...], bias: bool, dtype: Any, generator: np.random.Generator | None
) -> tuple[Parameter, Parameter | None]:
    """The parameters of a layer: a weight (K, C, …) and a bias (K,), all in U(−1/√fan_in, …)."""
    dtype = checks.dtype(dtype)
    weight = kaiming_uniform_(Parameter(np.empty(shape, dtype)), math.sqrt(5), generator)
    if not bias:
        return weight, None
    limit = 1 / math.sqrt(fan_in(shape))
    return weight, uniform_(Parameter(np.empty(shape[0], dtype)), -limit, limit, generator)

"""fastconv: convolution kernels compiled on your machine, with the layers to train on them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from fastconv import grad
from fastconv.autograd import Tensor, enable_grad, no_grad
from fastconv.conv.compare import compare
from fastconv.conv.explain import explain
from fastconv.conv.functions import conv1d, conv2d, conv_transpose2d
from fastconv.conv.options import options
from fastconv.conv.registry import algorithms
from fastconv.core.threads import get_num_threads, set_num_threads
from fastconv.ops.avg_pooling import avg_pool2d
from fastconv.ops.max_pooling import max_pool2d

if TYPE_CHECKING:
    from fastconv import nn, optim, train
    from fastconv.nn.random import manual_seed

__version__ = "0.1.0"

# Imported when first asked for, as array users do not need them: module, and name in it.
_LATER = {
    "manual_seed": ("fastconv.nn.random", "manual_seed"),
    "nn": ("fastconv.nn", None),
    "optim": ("fastconv.optim", None),
    "train": ("fastconv.train", None),
}

__all__ = [
    "Tensor",
    "algorithms",
    "avg_pool2d",
    "compare",
    "conv1d",
    "conv2d",
    "conv_transpose2d",
    "enable_grad",
    "explain",
    "get_num_threads",
    "grad",
    "manual_seed",
    "max_pool2d",
    "nn",
    "no_grad",
    "optim",
    "options",
    "set_num_threads",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'fastconv' has no attribute {name!r}")
    module, attribute = _LATER[name]
    loaded = importlib.import_module(module)
    return loaded if attribute is None else getattr(loaded, attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

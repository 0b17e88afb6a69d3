"""``torch.nn.functional`` on tensors and arrays."""

from fastconv.autograd.functional import (
    avg_pool2d,
    conv2d,
    cross_entropy,
    flatten,
    linear,
    log_softmax,
    max_pool2d,
    pad,
    relu,
    sigmoid,
    softmax,
    tanh,
)

__all__ = [
    "avg_pool2d",
    "conv2d",
    "cross_entropy",
    "flatten",
    "linear",
    "log_softmax",
    "max_pool2d",
    "pad",
    "relu",
    "sigmoid",
    "softmax",
    "tanh",
]

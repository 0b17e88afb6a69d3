"""fastconv: convolution kernels compiled on your machine, with the layers to train on them."""

from fastconv import grad
from fastconv.conv.functions import conv1d, conv2d, conv_transpose2d
from fastconv.conv.registry import algorithms
from fastconv.core.threads import get_num_threads, set_num_threads

__version__ = "0.1.0"

__all__ = [
    "algorithms",
    "conv1d",
    "conv2d",
    "conv_transpose2d",
    "get_num_threads",
    "grad",
    "set_num_threads",
]

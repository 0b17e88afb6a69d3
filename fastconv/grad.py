"""Gradients of the convolutions as array functions, named as in ``torch.nn.grad``."""

from fastconv.conv.functions import conv2d_input, conv2d_weight

__all__ = ["conv2d_input", "conv2d_weight"]

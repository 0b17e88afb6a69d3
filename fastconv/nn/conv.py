"""The convolution layer."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np

from fastconv.autograd import Tensor, functional, is_grad_enabled
from fastconv.conv import options
from fastconv.conv.arguments import same_padding
from fastconv.core import checks
from fastconv.core.argument_types import Size
from fastconv.plans.kept_filters import KeptFilters

from . import init
from .module import Module

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")
_PADDING_NAMES = ("same", "valid")


class Conv2d(Module):
    """Convolution of images (N, C, H, W) or (C, H, W) with K filters, see :func:`fastconv.conv2d`.

    Parameters
    ----------
    in_channels, out_channels : C and K
    kernel_size, stride, dilation : int or (int, int)
    padding : int, (int, int), ``"same"`` or ``"valid"``
    groups : divides C and K; each group of filters sees one group of channels
    bias : whether there is one
    padding_mode : what the padding holds: ``"zeros"``, or the image ``"reflect"``-ed, its border
        ``"replicate"``-d, or its other side (``"circular"``)
    dtype : float32 or float64, of the parameters and so of the images
    algorithm, accuracy, max_workspace : of all three passes, as in :func:`fastconv.conv2d`
    rng : generator of the first values; :func:`fastconv.manual_seed`'s if None

    Under :func:`fastconv.no_grad` the layer keeps what its algorithm makes of the filters, and
    makes it anew when their values have changed.

    ``weight`` (K, C/groups, R, S) and ``bias`` (K,) start in U(−l, l), l = 1/√(C/groups · R · S).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        *,
        dtype: Any = np.float32,
        algorithm: str = "auto",
        accuracy: str | None = None,
        max_workspace: int | None = None,
        rng: np.random.Generator | None = None,
    ):
        self.in_channels = checks.integer(in_channels, "in_channels", 1)
        self.out_channels = checks.integer(out_channels, "out_channels", 1)
        self.kernel_size = checks.integers(kernel_size, "kernel_size", 2, 1)
        self.stride = checks.integers(stride, "stride", 2, 1)
        self.dilation = checks.integers(dilation, "dilation", 2, 1)
        self.groups = checks.integer(groups, "groups", 1)
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise ValueError(
                f"groups must divide in_channels {in_channels} and out_channels {out_channels}, "
                f"got {groups}"
            )
        if padding_mode not in _PADDING_MODES:
            raise ValueError(
                f"padding_mode must be one of {', '.join(_PADDING_MODES)}; got {padding_mode!r}"
            )
        self.padding = self._checked_padding(padding)
        self.padding_mode = padding_mode
        options.request(algorithm, accuracy, max_workspace)  # raises what the call would raise
        self.algorithm = algorithm
        self.accuracy = accuracy
        self.max_workspace = max_workspace
        shape = (self.out_channels, self.in_channels // self.groups, *self.kernel_size)
        self._filters = KeptFilters()
        self.weight, self.bias = init.weight_and_bias(shape, bias, dtype, rng)

    def _checked_padding(self, padding: Any) -> tuple[int, ...] | str:
        if not isinstance(padding, str):
            return checks.integers(padding, "padding", 2)
        if padding not in _PADDING_NAMES:
            raise ValueError(f"padding must be ints, 'same' or 'valid', got {padding!r}")
        if padding == "same" and self.stride != (1, 1):
            raise ValueError(f"padding='same' needs stride 1, got stride {self.stride}")
        return padding

    def _borders(self) -> tuple[int, ...]:
        """Left, right, top, bottom."""
        if self.padding == "valid":
            return (0, 0, 0, 0)
        if isinstance(self.padding, tuple):
            rows, columns = self.padding
            return (columns, columns, rows, rows)
        top, bottom, left, right = same_padding(self.kernel_size, self.dilation)
        return (left, right, top, bottom)

    def forward(self, input: Any) -> Tensor:
        padding: Size | str = self.padding
        if self.padding_mode != "zeros":
            input, padding = functional.pad(input, self._borders(), self.padding_mode), 0
        # Training changes the weights between any two calls; without gradients they may last.
        with nullcontext() if is_grad_enabled() else self._filters.reused():
            return functional.conv2d(
                input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups,
                algorithm=self.algorithm, accuracy=self.accuracy, max_workspace=self.max_workspace,
            )  # fmt: skip

    def extra_repr(self) -> str:
        shown = [
            f"{self.in_channels}, {self.out_channels}",
            f"kernel_size={self.kernel_size}, stride={self.stride}",
        ]
        values = {
            "padding": (self.padding, (0, 0)),
            "dilation": (self.dilation, (1, 1)),
            "groups": (self.groups, 1),
            "bias": (self.bias is not None, True),
            "padding_mode": (self.padding_mode, "zeros"),
            "algorithm": (self.algorithm, "auto"),
            "accuracy": (self.accuracy, None),
            "max_workspace": (self.max_workspace, None),
        }
        shown += [
            f"{name}={value}" for name, (value, default) in values.items() if value != default
        ]
        return ", ".join(shown)

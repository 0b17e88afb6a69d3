"""``ConvProblem``: everything about one convolution except the numbers in its arrays."""

from __future__ import annotations

from typing import NamedTuple

DIRECTIONS = ("forward", "backward_input", "backward_weight")
# What a pass reads, in the order in which a plan takes it, and what it makes.
OPERANDS = {"forward": "xwy", "backward_input": "ywx", "backward_weight": "xyw"}
FORMATS = ("nchw", "nhwc")  # memory orders; the logical order is always N, C, H, W


class ConvProblem(NamedTuple):
    """A two-dimensional convolution (cross-correlation) and the pass to compute.

        y[n, k, p, q] = Σ_{c,r,s} x[n, c, p·stride_h + r·dilation_h − pad_top,
                                          q·stride_w + s·dilation_w − pad_left] · w[k, c, r, s]

    ``C`` and ``K`` count all channels; a filter sees ``C // groups`` of them.  ``x_format`` and
    ``y_format`` are the memory orders of the input-sized and the output-sized array of the pass.
    A plain tuple, so that hashing and comparing one costs next to nothing in the plan cache.
    """

    N: int
    C: int
    H: int
    W: int
    K: int
    R: int
    S: int
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)  # top, bottom, left, right
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    output_padding: tuple[int, int] = (0, 0)  # input that no output reads; 0 if less than a stride
    dtype: str = "float32"
    direction: str = "forward"
    x_format: str = "nchw"
    y_format: str = "nchw"

    @property
    def P(self) -> int:
        """Output rows."""
        extent = self.H + self.padding[0] + self.padding[1] - self.output_padding[0]
        return (extent - self.dilation[0] * (self.R - 1) - 1) // self.stride[0] + 1

    @property
    def Q(self) -> int:
        """Output columns."""
        extent = self.W + self.padding[2] + self.padding[3] - self.output_padding[1]
        return (extent - self.dilation[1] * (self.S - 1) - 1) // self.stride[1] + 1

    @property
    def itemsize(self) -> int:
        return 4 if self.dtype == "float32" else 8

    @property
    def x_shape(self) -> tuple[int, int, int, int]:
        return (self.N, self.C, self.H, self.W)

    @property
    def w_shape(self) -> tuple[int, int, int, int]:
        return (self.K, self.C // self.groups, self.R, self.S)

    @property
    def y_shape(self) -> tuple[int, int, int, int]:
        return (self.N, self.K, self.P, self.Q)

    @property
    def sums_weights(self) -> bool:
        """Whether the pass is ``backward_weight``, no correlation of images."""
        return self.direction == "backward_weight"

    @property
    def read_format(self) -> str:
        """Of the images that a correlation reads."""
        return self.y_format if self.direction == "backward_input" else self.x_format

    @property
    def made_format(self) -> str:
        """Of the images that a correlation makes."""
        return self.x_format if self.direction == "backward_input" else self.y_format

    @property
    def operands(self) -> tuple[tuple[tuple[int, ...], str], ...]:
        """Shape and memory order of what the pass reads and makes, as :data:`OPERANDS`."""
        arrays = {
            "x": (self.x_shape, self.x_format),
            "w": (self.w_shape, "nchw"),
            "y": (self.y_shape, self.y_format),
        }
        return tuple(arrays[name] for name in OPERANDS[self.direction])

    @property
    def flops(self) -> int:
        """Multiplications and additions of the direct sum, padding counted (the same each pass)."""
        return 2 * self.N * self.K * self.P * self.Q * (self.C // self.groups) * self.R * self.S

    @property
    def nbytes(self) -> int:
        """Bytes of the three arrays, each touched once."""
        x = self.N * self.C * self.H * self.W
        w = self.K * (self.C // self.groups) * self.R * self.S
        return self.itemsize * (x + w + self.N * self.K * self.P * self.Q)

    @property
    def depthwise(self) -> bool:
        """Every filter sees one channel."""
        return self.groups > 1 and self.groups == self.C

    @property
    def layer(self) -> str:
        """In short: channels, filter, and the input it sees."""
        n, c, h, w = self.x_shape
        return f"{c}→{self.K}, {self.R}×{self.S}, on {n}×{c}×{h}×{w}"

    @property
    def summary(self) -> str:
        """The layer, and those of its settings that are not the usual ones."""
        top, bottom, left, right = self.padding
        padding = (top, left) if (top, left) == (bottom, right) else self.padding
        settings = {
            "stride": (self.stride, (1, 1)),
            "padding": (padding, (0, 0)),
            "dilation": (self.dilation, (1, 1)),
            "groups": ((self.groups,), (1,)),
        }
        unusual = [
            f"{name} {values[0] if len(set(values)) == 1 else values}"
            for name, (values, usual) in settings.items()
            if values != usual
        ]
        return ", ".join([self.layer, *unusual])

"""The named shapes that every table of convolution tests goes through, one line each.

A family (the word before the first dash) stresses one thing; the rest of the name says which value.
The small ones are a few thousand multiplications; the medium ones are large enough (> 1 Mflop) to
be shared out among threads and to fill every block of the algorithms.
"""

from __future__ import annotations

from typing import NamedTuple

import oracle


class Case(NamedTuple):
    """One convolution: x (N, C, H, W), w (K, C/groups, R, S), and PyTorch's arguments."""

    name: str
    N: int
    C: int
    H: int
    W: int
    K: int
    R: int
    S: int
    stride: int | tuple[int, int] = 1
    padding: int | tuple[int, int] | str = 0
    dilation: int | tuple[int, int] = 1
    groups: int = 1

    @property
    def arguments(self):
        """The last positional arguments of the public functions."""
        return (self.stride, self.padding, self.dilation, self.groups)

    @property
    def x_shape(self):
        return (self.N, self.C, self.H, self.W)

    @property
    def w_shape(self):
        return (self.K, self.C // self.groups, self.R, self.S)

    @property
    def y_shape(self):
        size = oracle.output_size(
            self.x_shape, self.w_shape, self.stride, self.padding, self.dilation
        )
        return (self.N, self.K, *size)


SMALL = (
    # channels around the lengths of vectors and tiles
    Case("channels-1-16", 2, 1, 5, 6, 16, 3, 3, padding=1),
    Case("channels-3-17", 2, 3, 5, 6, 17, 3, 3, padding=1),
    Case("channels-4-31", 1, 4, 5, 6, 31, 3, 3, padding=1),
    Case("channels-5-1", 2, 5, 5, 6, 1, 3, 3, padding=1),
    Case("channels-16-32", 1, 16, 5, 6, 32, 3, 3, padding=1),
    Case("channels-17-3", 2, 17, 5, 6, 3, 3, 3, padding=1),
    Case("channels-31-33", 1, 31, 4, 5, 33, 3, 3, padding=1),
    Case("channels-32-48", 1, 32, 4, 5, 48, 3, 3, padding=1),
    Case("channels-33-4", 1, 33, 4, 5, 4, 3, 3, padding=1),
    Case("channels-48-100", 1, 48, 3, 4, 100, 1, 1),
    Case("channels-100-5", 1, 100, 3, 4, 5, 3, 3, padding=1),
    Case("channels-1-1", 1, 1, 4, 5, 1, 3, 3),
    # few 1×1 filters of many channels: sums along the lanes
    Case("dots-64-to-2", 2, 64, 5, 6, 2, 1, 1),
    Case("dots-70-to-1", 1, 70, 4, 5, 1, 1, 1),
    Case("dots-101-to-3", 2, 101, 3, 5, 3, 1, 1),
    Case("dots-3-to-100", 1, 3, 4, 5, 100, 1, 1),
    # few channels: tiles that slide along a row, or find it too short
    Case("sliding-3x3", 2, 3, 6, 20, 20, 3, 3),
    Case("sliding-5x5", 2, 1, 9, 21, 33, 5, 5, padding=2),
    Case("sliding-7x7", 1, 3, 9, 12, 16, 7, 7, padding=3),
    Case("sliding-as-short-as-taps", 2, 2, 6, 4, 17, 3, 3),
    Case("sliding-shorter-than-taps", 2, 2, 6, 5, 17, 3, 5),
    # few channels in planes: vectors of neighbouring pixels
    Case("planar-3x3", 2, 3, 5, 33, 10, 3, 3, padding=1),
    Case("planar-5x5-to-one", 1, 2, 6, 20, 1, 5, 5, padding=2),
    Case("planar-of-one", 2, 1, 7, 48, 13, 3, 3, padding=1),
    Case("planar-strided", 1, 3, 9, 49, 9, 3, 3, stride=2, padding=1),
    Case("planar-strided-rows", 1, 3, 9, 19, 16, 3, 4, stride=(3, 1), padding=(0, 2)),
    Case("planar-dilated-groups", 1, 4, 7, 21, 6, 3, 3, padding=2, dilation=2, groups=2),
    Case("planar-many-to-few", 1, 70, 4, 18, 3, 3, 3, padding=1),
    # output columns around the rows of a tile
    Case("columns-1", 1, 4, 3, 3, 17, 3, 3),
    Case("columns-2", 1, 4, 3, 2, 17, 3, 3, padding=1),
    Case("columns-7", 1, 5, 3, 7, 17, 3, 3, padding=1),
    Case("columns-13", 1, 5, 3, 13, 17, 3, 3, padding=1),
    Case("columns-14", 1, 4, 3, 14, 32, 3, 3, padding=1),
    Case("columns-15", 1, 4, 2, 17, 16, 2, 3),
    Case("columns-27", 1, 3, 3, 27, 16, 3, 3, padding=1),
    Case("columns-28", 1, 3, 3, 28, 33, 3, 3, padding=1),
    Case("columns-29", 1, 4, 3, 31, 16, 3, 3),
    Case("columns-56", 1, 3, 2, 56, 16, 1, 3, padding=(0, 1)),
    # kernels
    Case("kernel-1x1-long", 1, 1060, 4, 7, 70, 1, 1),
    Case("kernel-1x1", 2, 5, 4, 7, 18, 1, 1),
    Case("kernel-1x2", 1, 4, 5, 6, 17, 1, 2),
    Case("kernel-2x1", 1, 4, 5, 6, 17, 2, 1, padding=(1, 0)),
    Case("kernel-2x2", 2, 3, 5, 6, 17, 2, 2),
    Case("kernel-2x3", 1, 3, 5, 6, 17, 2, 3, padding=1),
    Case("kernel-4x4", 1, 5, 7, 6, 16, 4, 4, padding=2),
    Case("kernel-5x5", 1, 4, 6, 7, 17, 5, 5, padding=2),
    Case("kernel-6x6", 1, 3, 8, 7, 16, 6, 6, padding=3),
    Case("kernel-7x7", 1, 3, 8, 9, 16, 7, 7, padding=3),
    Case("kernel-1x7", 1, 5, 4, 9, 17, 1, 7, padding=(0, 3)),
    Case("kernel-7x1", 1, 5, 9, 4, 17, 7, 1, padding=(3, 0)),
    Case("kernel-3x5", 1, 5, 6, 7, 16, 3, 5, padding=(1, 2)),
    Case("kernel-11x11", 1, 3, 23, 19, 17, 11, 11, stride=4, padding=2),
    # strides, smaller than, equal to and larger than the kernel
    Case("stride-2-1x1", 2, 5, 7, 8, 18, 1, 1, stride=2),
    Case("stride-3-1x1-padded", 1, 4, 7, 8, 17, 1, 1, stride=3, padding=1),
    Case("stride-2-2x2", 1, 5, 6, 8, 17, 2, 2, stride=2),
    Case("stride-3-2x2", 1, 5, 7, 8, 17, 2, 2, stride=3),
    Case("stride-4-2x3", 1, 3, 9, 13, 17, 2, 3, stride=4, padding=1),
    Case("stride-2-3x3", 2, 5, 7, 8, 17, 3, 3, stride=2, padding=1),
    Case("stride-2-3x3-surplus", 1, 4, 8, 8, 16, 3, 3, stride=2),
    Case("stride-3-3x3", 1, 4, 8, 10, 16, 3, 3, stride=3, padding=1),
    Case("stride-4-3x3", 1, 4, 9, 12, 16, 3, 3, stride=4, padding=1),
    Case("stride-5-3x3", 1, 3, 14, 13, 17, 3, 3, stride=5),
    Case("stride-2-5x5", 1, 3, 9, 8, 16, 5, 5, stride=2, padding=2),
    Case("stride-2-7x7", 1, 3, 15, 14, 17, 7, 7, stride=2, padding=3),
    Case("stride-3-apart", 2, 17, 9, 8, 20, 3, 3, stride=3),
    Case("stride-9x8-apart", 1, 2, 18, 17, 17, 9, 8, stride=(9, 8)),
    Case("stride-1x2", 1, 5, 5, 9, 16, 3, 3, stride=(1, 2), padding=1),
    Case("stride-3x1", 1, 5, 9, 5, 16, 3, 3, stride=(3, 1), padding=1),
    # dilations, also sharing a factor with the stride
    Case("dilation-2", 1, 5, 7, 8, 17, 3, 3, padding=2, dilation=2),
    Case("dilation-3", 1, 4, 8, 9, 16, 3, 3, padding=3, dilation=3),
    Case("dilation-1x2", 1, 4, 5, 8, 16, 3, 3, padding=1, dilation=(1, 2)),
    Case("dilation-3x1", 1, 3, 9, 5, 17, 3, 2, padding=(0, 1), dilation=(3, 1)),
    Case("dilation-2-stride-2", 1, 5, 9, 10, 17, 3, 3, stride=2, padding=2, dilation=2),
    Case("dilation-2-stride-3", 1, 4, 9, 10, 16, 3, 3, stride=3, padding=2, dilation=2),
    Case("dilation-3-stride-2", 1, 4, 10, 11, 16, 3, 3, stride=2, padding=3, dilation=3),
    Case("dilation-2-stride-4", 1, 3, 11, 12, 16, 3, 3, stride=4, padding=1, dilation=2),
    Case("dilation-4-stride-6", 1, 3, 14, 13, 16, 2, 2, stride=6, padding=1, dilation=4),
    # paddings
    Case("padding-beyond-kernel", 1, 4, 4, 5, 16, 3, 3, padding=4),
    Case("padding-1x1", 1, 4, 4, 5, 17, 1, 1, padding=2),
    Case("padding-strided", 1, 3, 4, 6, 17, 3, 3, stride=3, padding=5),
    Case("padding-dilated", 1, 3, 5, 6, 16, 2, 3, padding=6, dilation=2),
    Case("padding-0x2", 1, 4, 5, 6, 17, 3, 3, padding=(0, 2)),
    Case("padding-3x0", 1, 4, 5, 6, 17, 3, 3, padding=(3, 0)),
    Case("same-3x3", 2, 5, 5, 6, 17, 3, 3, padding="same"),
    Case("same-2x2", 1, 4, 5, 6, 17, 2, 2, padding="same"),
    Case("same-4x5", 1, 3, 6, 7, 16, 4, 5, padding="same"),
    Case("same-2x4-dilated", 1, 3, 7, 8, 17, 2, 4, padding="same", dilation=3),
    Case("same-beyond-image", 1, 3, 2, 3, 16, 6, 6, padding="same"),
    # groups of 2 and more channels each
    Case("groups-2-of-3", 1, 6, 5, 6, 10, 3, 3, padding=1, groups=2),
    Case("groups-3-of-4", 1, 12, 5, 6, 51, 3, 3, stride=2, padding=1, groups=3),
    Case("groups-2-of-16", 1, 32, 4, 5, 32, 3, 3, padding=1, groups=2),
    Case("groups-2-of-17", 1, 34, 4, 5, 66, 1, 1, groups=2),
    Case("groups-8-of-4", 1, 32, 4, 5, 32, 3, 3, padding=1, groups=8),
    Case("groups-4-to-1-each", 1, 16, 4, 5, 4, 3, 3, padding=1, groups=4),
    Case("groups-12-of-2", 2, 24, 5, 6, 24, 3, 3, padding=1, groups=12),
    Case("groups-3-of-2-to-4", 2, 6, 7, 18, 12, 3, 3, stride=2, padding=1, groups=3),
    Case("groups-9-of-4-to-2", 1, 36, 6, 5, 18, 2, 3, padding=1, groups=9),
    Case("groups-3-of-8-dilated", 1, 24, 8, 7, 24, 3, 3, padding=2, dilation=2, groups=3),
    Case("groups-2-dilated", 1, 8, 7, 8, 34, 3, 3, padding=2, dilation=2, groups=2),
    # depthwise, with channel multipliers
    Case("depthwise-3x3", 2, 33, 6, 7, 33, 3, 3, padding=1, groups=33),
    Case("depthwise-2-channels", 1, 2, 6, 7, 2, 3, 3, padding=1, groups=2),
    Case("depthwise-stride-2", 1, 17, 7, 16, 17, 3, 3, stride=2, padding=1, groups=17),
    Case("depthwise-stride-3-2x2", 1, 16, 8, 9, 16, 2, 2, stride=3, groups=16),
    Case("depthwise-times-2", 1, 17, 5, 6, 34, 3, 3, padding=1, groups=17),
    Case("depthwise-times-3", 1, 16, 6, 7, 48, 3, 3, stride=2, padding=1, groups=16),
    Case("depthwise-1x1", 2, 20, 4, 5, 20, 1, 1, groups=20),
    Case("depthwise-5x5", 1, 18, 8, 17, 18, 5, 5, padding=2, groups=18),
    Case("depthwise-7x7-dilated", 1, 16, 14, 13, 16, 7, 7, padding=6, dilation=2, groups=16),
    Case("depthwise-31x31", 1, 3, 12, 33, 3, 31, 31, padding=15, groups=3),
    Case("depthwise-same-4x4", 1, 17, 5, 6, 17, 4, 4, padding="same", groups=17),
    Case("depthwise-stride-dilation", 1, 5, 12, 13, 10, 3, 3, 2, 3, 2, groups=5),
    # an even number of everything
    Case("halves-3x3", 2, 6, 5, 6, 18, 3, 3, padding=1),
    Case("halves-1x1", 4, 34, 3, 7, 66, 1, 1),
    Case("halves-stride-3", 4, 4, 8, 9, 34, 2, 2, stride=3),
    # images and batches at their limits
    Case("image-1x1", 3, 20, 1, 1, 33, 1, 1),
    Case("image-1x1-padded", 2, 5, 1, 1, 17, 3, 3, padding=1),
    Case("image-is-kernel", 2, 5, 6, 5, 17, 6, 5),
    Case("image-depthwise-is-kernel", 2, 9, 5, 6, 9, 5, 6, groups=9),
    Case("image-one-row", 1, 3, 1, 131, 17, 1, 3, padding=(0, 1)),
    Case("image-one-row-padded", 1, 4, 1, 67, 16, 3, 3, padding=1),
    Case("image-one-column", 1, 4, 131, 1, 16, 3, 1, padding=(1, 0)),
    Case("image-wide", 1, 3, 3, 101, 16, 3, 3, padding=1),
    Case("image-tall", 1, 3, 101, 3, 16, 3, 3, padding=1),
    Case("image-is-kernel-groups", 3, 8, 3, 4, 34, 3, 4, groups=2),
    Case("image-is-kernel-batch-9", 9, 5, 4, 3, 17, 4, 3),
    Case("image-is-kernel-padded", 9, 17, 3, 4, 5, 5, 4, padding=(1, 0)),
    Case("image-as-wide-as-kernel", 9, 3, 6, 5, 17, 3, 5),
    Case("image-as-high-as-kernel", 8, 16, 4, 7, 16, 4, 3, stride=(1, 2)),
    Case("batch-37", 37, 4, 2, 2, 16, 2, 2, padding=1),
    Case("batch-33-image-1x1", 33, 6, 1, 1, 17, 1, 1),
    Case("batch-17-depthwise", 17, 5, 3, 2, 5, 3, 3, padding=1, groups=5),
)

MEDIUM = (
    Case("medium-3x3", 2, 32, 20, 21, 48, 3, 3, padding=1),
    Case("medium-batch-1", 1, 100, 14, 14, 64, 3, 3, padding=1),
    Case("medium-digits", 64, 1, 8, 8, 16, 3, 3, padding=1),
    Case("medium-1x1", 2, 96, 14, 15, 80, 1, 1),
    Case("medium-1x1-deep", 1, 520, 7, 7, 36, 1, 1),
    Case("medium-1x1-small-images", 6, 20, 5, 7, 40, 1, 1),
    Case("medium-1x1-groups", 3, 34, 9, 13, 70, 1, 1, groups=2),
    Case("medium-1x1-stride-2", 2, 64, 15, 14, 65, 1, 1, stride=2),
    Case("medium-16-channels", 3, 16, 19, 17, 16, 3, 3, padding=1),
    Case("medium-16-channels-dilated", 2, 16, 23, 21, 32, 3, 3, stride=2, padding=2, dilation=2),
    Case("medium-few-channels", 3, 3, 30, 37, 64, 3, 3, padding=1),
    Case("medium-few-channels-stride-2", 2, 1, 41, 38, 32, 5, 4, stride=2, padding=2),
    Case("medium-stride-2", 2, 33, 21, 20, 40, 3, 3, stride=2, padding=1),
    Case("medium-stride-down", 2, 3, 28, 28, 12, 3, 3, stride=(2, 1), padding=1),
    Case("medium-depthwise-down", 2, 16, 28, 28, 16, 3, 3, stride=(2, 1), padding=1, groups=16),
    Case("medium-stem", 1, 3, 49, 50, 64, 7, 7, stride=2, padding=3),
    Case("medium-11x11", 1, 3, 63, 63, 32, 11, 11, stride=4, padding=2),
    Case("medium-5x5", 2, 17, 27, 13, 33, 5, 5, padding=2),
    Case("medium-1x7", 2, 31, 17, 17, 32, 1, 7, padding=(0, 3)),
    Case("medium-dilated", 1, 32, 28, 28, 32, 3, 3, padding=2, dilation=2),
    Case("medium-same-even", 2, 24, 19, 18, 32, 4, 4, padding="same"),
    Case("medium-groups", 2, 64, 14, 15, 64, 3, 3, padding=1, groups=4),
    Case("medium-halves", 6, 62, 13, 14, 70, 3, 3, padding=1),
    Case("medium-halves-1x1", 4, 130, 11, 9, 66, 1, 1),
    Case("medium-groups-of-4", 2, 64, 28, 29, 64, 3, 3, padding=1, groups=16),
    Case("medium-groups-of-8-stride-2", 3, 40, 29, 27, 40, 3, 3, stride=2, padding=1, groups=5),
    Case("medium-depthwise-3x3", 4, 64, 28, 29, 64, 3, 3, padding=1, groups=64),
    Case("medium-depthwise-stride-2", 4, 48, 29, 28, 96, 3, 3, stride=2, padding=1, groups=48),
    Case("medium-depthwise-7x7", 2, 33, 28, 28, 33, 7, 7, padding=3, groups=33),
)

BY_NAME = {case.name: case for case in SMALL + MEDIUM}


def family(word: str) -> tuple[Case, ...]:
    """The small cases whose name starts with ``word``."""
    return tuple(case for case in SMALL if case.name.startswith(word))

"""Shapes of minimal filtering along lines."""

from __future__ import annotations

from cases import Case

from fastconv.simd.vector import lanes

VECTOR = lanes(4)

CASES = (
    Case("line-one-channel", 3, 1, 28, 28, 2 * VECTOR, 5, 5, padding=2),
    Case("line-many-channels", 2, VECTOR, 9, 23, VECTOR, 3, 3, padding=1),
    Case("line-shorter-than-tile", 2, 3, 9, 3, VECTOR, 3, 3, padding=1),
    Case("line-of-one-pixel", 2, 3, 5, 3, VECTOR, 3, 3),
    Case("line-stride", 2, 3, 21, 45, VECTOR + 1, 7, 7, stride=2, padding=3),
    Case("line-stride-of-rows", 2, 3, 21, 45, VECTOR, 3, 5, stride=(3, 1), padding=(1, 2)),
    Case("line-stride-of-columns", 2, 2, 11, 45, VECTOR, 3, 7, stride=(1, 3), padding=(1, 3)),
    Case("line-stride-with-short-phases", 2, 2, 11, 65, VECTOR, 2, 5, stride=(1, 4)),
    Case("line-dilation-of-rows", 2, 3, 31, 27, VECTOR, 3, 3, padding=(3, 1), dilation=(3, 1)),
    Case("line-groups", 2, 6, 15, 27, 2 * VECTOR + 2, 3, 3, padding=1, groups=2),
    Case("line-uneven-padding", 2, 3, 13, 26, VECTOR, 4, 4, padding="same"),
    Case("line-padding-beyond-window", 1, 2, 6, 11, VECTOR, 3, 3, padding=4),
    Case("line-1x3", 2, 3, 1, 97, VECTOR, 1, 3, padding=(0, 1)),
    Case("line-many-results", 8, 1, 63, 63, 2 * VECTOR + 3, 5, 5, padding=2),
    Case("line-wide", 1, 3, 40, 1100, VECTOR, 3, 3, padding=1),
)

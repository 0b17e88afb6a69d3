"""Packing the planes that :mod:`.planes` lays out."""

from __future__ import annotations

from fastconv.core.jit import inner
from fastconv.gemm.windows import pack_block

# Geometry of the planes and of the loops over them, for the arguments of a kernel: the window that
# they are packed from; rows of a block of outputs, and blocks of an image; inputs and outputs of a
# sum; where planes are that are dealt from others; rows of the input from one output to the next;
# phases along each axis, rows and columns of a plane; bytes of all of them.
PLANE_FIELDS = (
    "x_window task_i tasks_i sets filters dealt_bytes "
    "row_advance row_phases column_phases plane_rows plane_columns planes_bytes "
)


@inner
def pack_planes(like, a, x, item, target, image, unit, i0):
    """All planes of a unit for the output rows from ``i0`` on, or what they are dealt from.

    The inputs of a sum stand in the window as groups of it.
    """
    size = a.plane_rows * a.plane_columns * x.block * item
    target += a.dealt_bytes
    for channel in range(a.sets):
        for row in range(a.row_phases):
            for column in range(a.column_phases):
                pack_block(
                    like, x, item, target, image, channel, unit,
                    x.row_first + i0 * a.row_advance + row, a.plane_rows,
                    x.column_first + column, a.plane_columns,
                )  # fmt: skip
                target += size

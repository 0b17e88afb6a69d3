"""Where the results of a correlation go, in a plan and in its kernels."""

from __future__ import annotations

from fastconv.core.jit import inner, record

from .correlation import Correlation

# y and its strides in bytes, from image to image, group to group, row to row, column to column.
# Output (i, j) stands at row y_row_first + i·y_row_step of y_rows; columns alike.
TARGET = record(
    "y yn yg yh yw y_row_first y_row_step y_column_first y_column_step y_rows y_columns"
)


def target_words(c: Correlation) -> dict[str, int]:
    """What a plan settles of :data:`TARGET`."""
    return dict(
        y_row_first=c.rows.start,
        y_row_step=c.rows.block * c.rows.step,
        y_column_first=c.columns.start,
        y_column_step=c.columns.block * c.columns.step,
        y_rows=c.rows.size,
        y_columns=c.columns.size,
    )


@inner
def output_at(t, image, group, i, j):
    """The address of output (i, j), and how many rows and columns of y there are from it on."""
    row, column = t.y_row_first + i * t.y_row_step, t.y_column_first + j * t.y_column_step
    at = t.y + image * t.yn + group * t.yg + row * t.yh + column * t.yw
    return at, t.y_rows - row, t.y_columns - column

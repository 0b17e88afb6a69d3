"""The lines that a task reads: copied, separated into residues, mapped to components."""

from __future__ import annotations

from fastconv.core.jit import call, inner, record
from fastconv.gemm.windows import WINDOW, pack_block

LINE_WINDOW = record(
    # output rows of a task; whether the lines of the next one are fetched meanwhile
    "task_i fetches_lines "
    # of the window: input rows from one to the next, from output to output; the buffer for them
    "row_spread row_advance buffer_rows buffer_columns "
    # tiles of a line of outputs, and those that have a part in what it reads; outputs and
    # components of each; terms of a row
    "across pitch m components terms "
    # elements of a line between two outputs of a tile, and the functions that separate and map
    # those; bytes of the window, and from one to the next of what they make
    "apart separate input_map window_bytes residue component",
    input=WINDOW,
)


@inner
def spread_lines(like, w, item, vector, image, group, i0, window):
    """The components of what the outputs from row ``i0`` on are made of; where they are."""
    pack_block(
        like, w.input, item, window, image, group, 0, w.input.row_first + i0 * w.row_advance,
        w.buffer_rows, w.input.column_first, w.buffer_columns,
    )  # fmt: skip
    vectors = -(-w.buffer_rows * w.pitch // vector)
    residues = window + w.window_bytes
    planes = w.m * w.apart
    components = residues + planes * w.residue
    call(w.separate, residues, w.residue, window, planes * item, vectors * vector)
    for term in range(w.terms):
        call(
            w.input_map, vectors, residues + term * w.residue, w.apart * w.residue,
            components + term * w.components * w.component, w.component,
        )  # fmt: skip
    return components

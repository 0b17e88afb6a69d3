"""From components of the output to the output: gathering tiles and storing them.

With folded outputs (all parities of a strided input gradient) the lanes are ``[row of the fold]
[column of the fold][filter]``: each fold is an image of its own, whose pixels are a block apart.
"""

from __future__ import annotations

from fastconv.core.jit import address_of, call, inner
from fastconv.gemm.results import ROWS, SCATTER
from fastconv.plans.target import output_at

from .tiles import in_bundles, locate_tile, outputs_left

# What a kernel needs in its arguments beside its tiles and how their results are stored
# (``tiling``, ``target``, ``output``): the folds, the outputs of a row and column, all lanes, how
# components lie.
FIELDS = (
    "row_folds column_folds filters I J output_map store_rows relu flag "
    "bias tiles tile_lanes all_lanes m_bundle m_row m_component"
)


@inner
def _gather_vector(a, m, tile, count, lane, buffer, across, step, bias, temp):
    """One vector of ``count`` tiles from ``tile`` on to a ``buffer``, or to where they belong.

    Pixels are ``step`` bytes apart there, and rows ``across``.
    """
    tiling = a.tiling
    k = 0
    while k < count:
        at = tile + k
        joined = min(count - k, tiling.bundle - at % tiling.bundle)
        call(
            a.output_map, joined, m + in_bundles(tiling, at, a.m_bundle, a.m_row) + lane, a.m_row,
            a.m_component, buffer + k * tiling.m_columns * step, tiling.m_columns * step, across,
            step, temp, bias + lane, 0, a.relu, a.flag,
        )  # fmt: skip
        k += joined


@inner
def _gather_lanes(
    a, item, vector, m, tile, bias, y, row_step, step, down, left, rows, columns, length,
    first, count, room,
):  # fmt: skip
    """The outputs of a segment in ``count`` lanes, which are outputs ``first`` and up in y.

    ``down`` × ``left`` are inside y, whose first pixel is at ``y``; ``rows`` × ``columns`` follow.
    """
    tiling = a.tiling
    pixel = vector * item
    temp, buffer = room, room + tiling.temp_bytes
    across = length * tiling.m_columns
    row_outputs = tiling.lattice_rows * a.target.y_row_step
    column_outputs = tiling.lattice_columns * a.target.y_column_step
    # Whole tiles of whole vectors go straight to memory.
    straight = 0
    if a.output.store == ROWS and down == tiling.m_rows:
        straight = left // tiling.m_columns
    if count == vector:  # several tiles to a call, or all vectors of a tile
        _gather_vector(a, m, tile, straight, 0, y + first * item, row_step, step, bias, temp)
    else:
        for k in range(straight):
            call(
                a.output_map, count // vector,
                m + in_bundles(tiling, tile + k, a.m_bundle, a.m_row), pixel, a.m_component,
                y + first * item + k * tiling.m_columns * step, pixel, row_step, step, temp, bias,
                pixel, a.relu, a.flag,
            )  # fmt: skip
    for lane in range(0, count, vector):
        n_lanes = min(vector, count - lane)
        whole = straight if n_lanes == vector else 0
        done = whole * tiling.m_columns
        if done < left:
            _gather_vector(
                a, m, tile + whole, length - whole, lane * item, buffer + done * pixel,
                across * pixel, pixel, bias, temp,
            )  # fmt: skip
            call(
                a.store_rows, address_of(a.output), buffer + done * pixel, across * pixel,
                y + done * step, row_step, step, down, left - done, row_outputs, column_outputs,
                rows, columns - done * column_outputs, first + lane, n_lanes,
            )  # fmt: skip


@inner
def _gather_interleaved(
    a, item, vector, m, tile, bias, y, row_step, down, columns, length, fold_row, room
):
    """The outputs of a row of folds in planes: their columns side by side, as they are in y."""
    tiling = a.tiling
    folds = a.column_folds
    pixel = vector * item
    temp, buffer = room, room + tiling.temp_bytes
    pitch = length * tiling.m_columns * folds * pixel
    for k in range(0, a.filters, vector):
        for fold in range(folds):
            lane = ((fold_row * folds + fold) * a.filters + k) * item
            _gather_vector(
                a, m, tile, length, lane, buffer + fold * pixel, pitch, folds * pixel, bias, temp
            )
        call(
            a.store_rows, address_of(a.output), buffer, pitch, y, row_step, item, down, columns, 0,
            0, 0, 0, k, min(vector, a.filters - k),
        )  # fmt: skip


@inner
def gather_output(a, item, vector, interleaved, group, first, count, lane0, lane_end, m, room):
    """The outputs of ``count`` tiles in lanes ``lane0`` … ``lane_end``, from their components.

    ``interleaved`` is None unless folds stand side by side in planes.
    """
    tiling, target = a.tiling, a.target
    bias = a.bias + group * a.tiles * a.tile_lanes * item
    row_step = tiling.lattice_rows * target.y_row_step * target.yh
    step = tiling.lattice_columns * target.y_column_step * target.yw
    folds, lanes = a.row_folds * a.column_folds, a.filters
    if a.output.store == SCATTER:  # which knows of folds itself
        folds, lanes = 1, a.all_lanes
    t = 0
    while t < count:
        image, i0, j0, column = locate_tile(tiling, first + t)
        left_of_it = tiling.output_segment - column % tiling.output_segment
        length = min(count - t, tiling.grid_columns - column, left_of_it)
        y, rows, columns = output_at(target, image, group, i0, j0)
        down = min(tiling.m_rows, outputs_left(i0, a.I, tiling.lattice_rows))
        left = min(length * tiling.m_columns, outputs_left(j0, a.J, tiling.lattice_columns))
        for fold in range(folds):
            fold_row, fold_column = fold // a.column_folds, fold % a.column_folds
            inside_down, inside_left = down, left
            if folds > 1:
                inside_down = min(down, outputs_left(fold_row, rows, target.y_row_step))
                inside_left = min(left, outputs_left(fold_column, columns, target.y_column_step))
            to = y + fold_row * target.yh + fold_column * target.yw
            if interleaved is not None:
                if fold_column == 0:
                    _gather_interleaved(
                        a, item, vector, m, t, bias, to, row_step, inside_down,
                        min(length * tiling.m_columns * a.column_folds, columns), length, fold_row,
                        room,
                    )  # fmt: skip
            else:
                lane = max(lane0, fold * lanes)
                end = min(lane_end, (fold + 1) * lanes)
                if lane < end:
                    _gather_lanes(
                        a, item, vector, m + (lane - lane0) * item, t, bias + lane * item, to,
                        row_step, step, inside_down, inside_left, rows, columns, length,
                        lane - fold * lanes, end - lane, room,
                    )  # fmt: skip
        t += length

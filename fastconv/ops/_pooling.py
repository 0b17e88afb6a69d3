"""The kernel of all pooling windows, and the plan that runs it.

One loop serves maxima, averages and the gradient of averages, in both memory orders.  It goes over
the rows of the output, and in each over a table of *runs*, stretches of lanes.  Channels-last, a
run is one output column and its lanes are the channels.  Otherwise its lanes are output columns
whose windows are alike, and the rows of all channels are one long list.
"""

from __future__ import annotations

import functools

import numpy as np

from fastconv.core.address import address
from fastconv.core.jit import Kernel, kernel, record
from fastconv.core.stage import Stage
from fastconv.gemm.sharing import workers_for
from fastconv.simd.copying import get_word
from fastconv.simd.pooling import PoolResult, PoolWindow, pool_windows
from fastconv.simd.vector import element, lanes

from ._windows import Spans

LAYOUT = record(
    # strides in bytes for x, in elements for y and the positions
    "x xn xc xh xw y positions yn yc yh yw "
    # rows of all planes; tables of output rows and of runs of output columns
    "planes channels rows row_table runs run_table shares "
    # inputs between two taps, in a row of x, and between two lanes (0: lanes are channels)
    "row_spread column_spread width lane_columns"
)
_ROW, _RUN = 3 * 8, 5 * 8  # bytes of a row of the tables, see ``_windows.Spans``
# Of one vector, in the floating-point operations that ``workers_for`` counts.
_TAP_COST = 300
_WINDOW_COST = 1000


@functools.cache
def pooling_kernel(itemsize: int, operation: int, x_stride: int, y_stride: int) -> Kernel:
    """``operation`` is one of :mod:`fastconv.simd.pooling`; the strides are in elements, from the
    window of one lane to that of the next and from result to result.
    """
    vector = lanes(itemsize)

    @kernel(LAYOUT)
    def pool(worker, a):
        like = element(itemsize)
        tasks = a.planes * a.rows
        first = tasks * worker // a.shares
        plane, p = first // a.rows, first % a.rows
        n, c = plane // a.channels, plane % a.channels
        for _ in range(first, tasks * (worker + 1) // a.shares):
            row = a.row_table + p * _ROW
            h, rows, height = get_word(row), get_word(row + 8), get_word(row + 16)
            x_row = a.x + n * a.xn + c * a.xc + h * a.xh
            y_row = n * a.yn + c * a.yc + p * a.yh
            for run in range(a.run_table, a.run_table + a.runs * _RUN, _RUN):
                w, columns, width = get_word(run), get_word(run + 8), get_word(run + 16)
                q, count = get_word(run + 24), get_word(run + 32)
                for lane in range(0, count, vector):
                    start, start_step, limit = 0, 0, count - lane
                    if a.lane_columns > 0:
                        start, start_step, limit = w + lane * x_stride, a.column_spread, a.width
                    at = y_row + q * a.yw + lane * y_stride
                    window = PoolWindow(
                        x=x_row + w * a.xw + lane * x_stride * itemsize,
                        rows=rows,
                        row_step=a.row_spread * a.xh,
                        columns=columns,
                        column_step=a.column_spread * a.xw,
                        start=start,
                        start_step=start_step,
                        limit=limit,
                        row_pixels=a.row_spread * a.width,
                        column_pixels=a.column_spread,
                    )
                    result = PoolResult(
                        count=min(vector, count - lane),
                        y=a.y + at * itemsize,
                        divisor=height * width,
                        positions=a.positions + at * 8,
                        first_pixel=h * a.width + w + lane * a.lane_columns,
                        lane_pixels=a.lane_columns,
                    )
                    pool_windows(like, operation, x_stride, y_stride, window, result)
            p += 1
            if p == a.rows:
                p, c = 0, c + 1
                if c == a.channels:
                    c, n = 0, n + 1

    return pool


class PoolingPlan:
    """Reduce windows of arrays of ``shape`` to arrays of the same memory ``order``.

    ``rows`` and ``columns`` say what each row and column of the result reads.
    """

    def __init__(
        self,
        operation: int,
        shape: tuple[int, int, int, int],
        itemsize: int,
        order: str,
        rows: Spans,
        columns: Spans,
        threads: int,
    ):
        n, c, height, width = shape
        p, q = len(rows.table), len(columns.table)
        self.shape = (n, c, p, q)
        row_table, steps, channels = rows.clipped(height), (1, 1), 1
        if order == "nhwc":
            run_table = np.column_stack([columns.clipped(width), np.arange(q), np.full(q, c)])
            strides = {"yn": p * q * c, "yc": 1, "yh": q * c, "yw": c}
        else:
            run_table, channels = columns.runs(width), c
            if run_table[:, -1].max() > 1:  # otherwise, spare an unusual stride a kernel
                steps = (columns.x_step, columns.y_step)
            strides = {"yn": c * p * q, "yc": p * q, "yh": q, "yw": 1}
        self._pixel = itemsize if order == "nchw" else None
        vectors = -(-run_table[:, -1] // lanes(itemsize))
        taps = int(row_table[:, 1].sum() * (run_table[:, 1] @ vectors))
        work = n * channels * (_TAP_COST * taps + _WINDOW_COST * p * int(vectors.sum()))
        workers = workers_for(work, n * channels * p, threads)
        self._stage = Stage(
            pooling_kernel(itemsize, operation, *steps),
            workers,
            **strides,
            planes=n * channels,
            channels=channels,
            rows=p,
            row_table=np.ascontiguousarray(row_table),
            runs=len(run_table),
            run_table=np.ascontiguousarray(run_table),
            shares=workers,
            row_spread=rows.spread,
            column_spread=columns.spread,
            width=width,
            lane_columns=steps[0] if order == "nchw" else 0,
        )

    def run(self, x: np.ndarray, y: np.ndarray, positions: np.ndarray | None = None) -> None:
        """Fill y, and ``positions`` (int64, both without gaps) if the operation finds them."""
        xn, xc, xh, xw = x.strides
        self._stage.run(
            x=address(x),
            xn=xn,
            xc=xc,
            xh=xh,
            xw=self._pixel or xw,  # the stride of a single column means nothing
            y=address(y),
            positions=0 if positions is None else address(positions),
        )

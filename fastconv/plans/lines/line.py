"""``direct`` for a few channels: lines of equally spaced pixels.

In a padded copy of the input the pixels of a line stand as many bytes apart as any two neighbours,
so that a register tile finds them without a table; and what it reads for one serves the next ones.
"""

from __future__ import annotations

import math

import numpy as np

from fastconv.core.machine import machine
from fastconv.core.once import made_once
from fastconv.core.program import Operands
from fastconv.core.stage import Stage
from fastconv.core.workspace import aligned
from fastconv.gemm.tiling import LineTile, even_split, line_tile, tile_score
from fastconv.plans.arrays import Room, Setting, input_words, whole_lines
from fastconv.plans.correlation import Correlation
from fastconv.plans.packed_filters import PackedFilters, Prepared
from fastconv.plans.unfolded import UnfoldedCorrelation
from fastconv.simd.tiles import tile_line
from fastconv.simd.vector import lanes

from .line_kernel import line_kernel

_MOST_TERMS = 512  # of a sum
_MOST_CHANNELS = 2  # vectors of them
_FEW_ROWS = 4  # of a task: the window of fewer has too many rows more
_MOSTLY_FILLED = 0.75  # of the lanes: what groups together must have
_NEIGHBOURS = 256  # bytes of a pixel that a task takes: the cache fetches lines in pairs


def groups_together(c: Correlation, itemsize: int) -> int:
    """Groups whose filters fill a vector together, or most of it."""
    vector = lanes(itemsize)
    fitting = range(1, vector // c.filters + 1)
    together = max((n for n in fitting if c.groups % n == 0), default=1)
    return together if together * c.filters >= _MOSTLY_FILLED * vector else 1


def _best_tile(c: Correlation, vector: int, together: int) -> LineTile:
    columns = c.columns
    return line_tile(
        columns.outputs, together * c.filters, columns.window, columns.advance, columns.spread,
        vector, together,
    )  # fmt: skip


def _window_bytes(c: Correlation, rows: int, itemsize: int) -> int:
    """What so many rows of outputs read."""
    pixels = c.rows.reach(rows) * c.columns.reach(c.columns.outputs)
    return pixels * c.channels * itemsize


def channels_are_few(c: Correlation, itemsize: int) -> bool:
    """Whether channels are few, and sums short."""
    return c.channels <= _MOST_CHANNELS * lanes(itemsize) and c.steps <= _MOST_TERMS


def windows_are_near(c: Correlation, itemsize: int, together: int) -> bool:
    """Whether channels are few, and the window of a row stays in the cache."""
    near = together * _window_bytes(c, 1, itemsize) <= machine().l2 // 2
    return near and channels_are_few(c, itemsize)


def results_are_near(c: Correlation, itemsize: int, nv: int) -> bool:
    """Whether a line of so many vectors a pixel stays in the cache, on its way to planes."""
    return c.columns.outputs * nv * lanes(itemsize) * itemsize <= machine().l2


def near_lines(columns: int, width: int, itemsize: int) -> int:
    """Lines of pixels of ``width`` elements that half of the first cache holds, at least one."""
    return max(1, machine().l1 // 2 // (columns * width * itemsize))


def lines_of_planes(rows: int, columns: int, width: int, itemsize: int) -> int:
    """How many of so many lines are stored at a time: whole vectors, if they are near."""
    vector = lanes(itemsize)
    whole = vector // math.gcd(vector, columns)
    most = near_lines(columns, width, itemsize)
    return min(rows, most // whole * whole if whole <= most else most)


def line_words(c: Correlation, lines: int, x_strides, y_strides) -> dict:
    """The arguments of a kernel over lines, which stores so many together, for such arrays."""
    yn, yk, yh, yw = y_strides
    # Together, lines of a plane stand one behind the other.
    lines = lines if yh * c.rows.step == yw * c.columns.outputs else 1
    steps = dict(yn=yn, yg=yk * c.filters, yk=yk, yh=yh * c.rows.step, yw=yw * c.columns.step)
    return dict(**input_words(x_strides, c.channels), **steps, lines=lines)


class LineCorrelation(UnfoldedCorrelation):
    def __init__(self, c: Correlation, itemsize: int, y_format: str, threads: int):
        self.itemsize = itemsize
        self.vector = lanes(itemsize)
        self.planes = y_format == "nchw"
        self.together = together = self._groups_together(c)
        self._choose_tile(c)
        self.width = self.nv * self.vector
        # Groups together are one group of filters; its channels stand side by side in memory too,
        # but each filter sums those of its own group.
        self.swaps = together > 1 and not c.forward
        forward = c.forward or self.swaps
        groups, filters = c.groups // together, together * c.filters
        joined = c._replace(groups=groups, filters=filters, forward=forward)
        self.filters = PackedFilters(joined, itemsize, self.width, c.channels, threads)
        self.c = joined._replace(channels=together * c.channels)
        self.columns = c.columns.reach(c.columns.outputs)
        self._share(threads)
        self.lines = self._lines() if self.planes else 1
        self.room_bytes = self._room(c.columns.outputs) * self.width * itemsize
        window = _window_bytes(self.c, self.rows, itemsize)
        beyond = self.vector * itemsize  # of a last pixel that is loaded as a vector
        self.worker_bytes = aligned(self.room_bytes + window + beyond)
        self.workers = self.filters.settle_workers(self.flops, self.tasks, c.moved(itemsize))
        self.nbytes = self.filters.nbytes + self.workers * self.worker_bytes

    def _room(self, columns: int) -> int:
        """Pixels that wait for being stored: lines that go to planes, or of a part of a tile."""
        ragged = self.c.filters % self.width != 0
        return self.lines * columns if self.planes or ragged else 0

    def _groups_together(self, c: Correlation) -> int:
        return 1 if self.planes else groups_together(c, self.itemsize)

    def _choose_tile(self, c: Correlation) -> None:
        _, self.mr, self.nv, self.held = _best_tile(c, self.vector, self.together)

    def _share(self, threads: int) -> None:
        """A task's rows, whose windows stay in the first cache, and its groups.

        Or in the second: windows of planes, whose elements are copied one by one, share rows then.
        """
        c, pixel = self.c, self.c.channels * self.itemsize
        near = machine().l2 // 4 if self.planes else machine().l1 // 2
        most = max(1, near // (self.columns * pixel * c.rows.advance))
        # Whether workers stay with groups, for their filters take up room and come from afar; or go
        # on to the next ones, whose pixels stand beside.
        stay = self.filters.nbytes >= machine().l2 // 8
        fair = c.N * c.rows.outputs // (4 * threads)
        few = fair * -(-c.groups * pixel // _NEIGHBOURS)  # where groups make tasks too
        fair = max(1, few if stay else max(fair, min(_FEW_ROWS, few)))
        self.rows = even_split(c.rows.outputs, min(most, fair))
        self.tasks_i = -(-c.rows.outputs // self.rows)
        self.buffer_rows = c.rows.reach(self.rows)
        self.task_g = 1
        if not self.planes:
            fair = max(1, c.N * self.tasks_i * c.groups // (4 * threads))
            self.task_g = even_split(c.groups, min(max(1, _NEIGHBOURS // pixel), fair))
        self.tasks_g = -(-c.groups // self.task_g)
        self.turn = c.N * self.tasks_i if stay else 1
        self.tasks = c.N * self.tasks_g * self.tasks_i

    def _lines(self) -> int:
        return lines_of_planes(self.rows, self.c.columns.outputs, self.width, self.itemsize)

    @staticmethod
    def applies(c: Correlation, itemsize: int, y_format: str) -> bool:
        """Whether this plan can run ``c`` and suits it: few channels, tiles that fit the lines."""
        vector = lanes(itemsize)
        together = groups_together(c, itemsize) if y_format == "nhwc" else 1
        if (
            c.folded
            or c.rows.window * c.columns.window == together == 1
            or (y_format == "nchw" and c.columns.step > 1)
            or not windows_are_near(c, itemsize, together)
        ):
            return False
        tile = _best_tile(c, vector, together)
        if y_format == "nchw" and not results_are_near(c, itemsize, tile.nv):
            return False
        return tile.score >= tile_score(c.pixels, c.filters, vector)

    @property
    def kind(self) -> str:
        """Groups have few filters each, or take a load for everyone; a single one is a product."""
        return "taps" if self.c.groups * self.together > 1 else "product"

    @property
    def turned(self) -> int:
        """Bytes of the results: it takes as long to begin and end short sums, or to transpose."""
        c = self.c
        results = c.groups * c.pixels * self.filters.tiles * self.width * self.itemsize
        return results * (2 if self.planes else 1)

    @property
    def flops(self) -> int:
        """Executed, vectors filled up with zeros: a filter sums the channels of its group."""
        return super().flops // self.together

    def _fetches_group(self) -> bool:
        """Whether the next group is multiplied next; with strides that takes too short a time."""
        c = self.c
        return not self.planes and c.groups > 1 and self.turn == 1 and c.rows.advance == 1

    def _tile_words(self) -> dict[str, int]:
        """The register tile, compiled when first asked for."""
        c, together = self.c, self.together
        share = c.filters // together if together > 1 else 0
        return tile_line(
            self.itemsize, self.mr, self.nv, self.held, c.columns.window, c.columns.advance,
            c.columns.spread, c.channels // together, together, share, int(not self.planes),
        )  # fmt: skip

    @made_once
    def stage(self) -> Stage:
        """The multiplication; compiled when first asked for."""
        c = self.c
        far = c.read(self.itemsize) > machine().l2
        return Stage(
            line_kernel(self.itemsize),
            self.workers,
            **self._constants(),
            tiles=self.filters.tiles,
            filters=c.filters,
            window_rows=c.rows.window,
            row_spread=c.rows.spread,
            row_advance=c.rows.advance,
            column_advance=c.columns.advance,
            fetches_lines=far and c.groups == 1,
            fetches_group=far and self._fetches_group(),
        )

    def _constants(self) -> dict[str, int]:
        """The arguments that every kernel over lines takes."""
        c = self.c
        return dict(
            **self._tile_words(),
            tasks=self.tasks,
            scratch_bytes=self.worker_bytes,
            I=c.rows.outputs,
            J=c.columns.outputs,
            planes=self.planes,
            room_bytes=self.room_bytes,
            w_tile=self.filters.tile_bytes,
            groups=c.groups,
            task_i=self.rows,
            task_g=self.task_g,
            tasks_g=self.tasks_g,
            turn=self.turn,
            tasks_i=self.tasks_i,
            buffer_rows=self.buffer_rows,
            buffer_columns=self.columns,
            **whole_lines(c, c.channels, self.vector),
        )

    def _words(self, x_strides, y_strides) -> dict:
        """The arguments for arrays with these strides."""
        return line_words(self.c, self.lines, x_strides, y_strides)

    def _first(self, y_strides) -> int:
        """Where the first output is."""
        return self.c.rows.start * y_strides[2] + self.c.columns.start * y_strides[3]

    def arranged(self, x: np.ndarray, w: np.ndarray, bias) -> tuple:
        if self.swaps:
            # The lanes of several groups are evenly apart in [group, channel, filter, r, s] only.
            filters, channels, *taps = w.shape
            filters //= self.c.groups * self.together
            w = w.reshape(-1, filters, channels, *taps).swapaxes(1, 2)
            w = w.reshape(-1, filters, *taps)
        return x, w, bias

    def prepare(self, room: Room, at: Operands, s: Setting) -> Prepared:
        filters = self.filters.prepare(room.filters, at, s)
        words = self._words(s.x, s.y)
        y = at.out + self._first(s.y)
        multiplying = self.stage.call(
            scratch=room.workers, relu=s.relu, x=at.first, y=y, **words, **filters.words
        )
        return Prepared(multiplying, filters)

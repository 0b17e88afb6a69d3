"""``depthwise``'s weight gradient: each tap correlates x with dy, lane by lane."""

from __future__ import annotations

from fastconv.core.machine import machine
from fastconv.core.once import made_once
from fastconv.core.problem import ConvProblem
from fastconv.core.program import SCRATCH, Program, operands
from fastconv.core.stage import Stage
from fastconv.core.workspace import aligned
from fastconv.gemm.sharing import EVEN, spare_copies, workers_for
from fastconv.gemm.tiling import even_split
from fastconv.gemm.windows import window_record
from fastconv.plans.arrays import window_of
from fastconv.plans.correlation import unfolded
from fastconv.plans.sum_tasks import sum_tasks
from fastconv.plans.weight_gradient import NO_LIMIT, WeightGradient
from fastconv.simd.taps import TapTile
from fastconv.simd.vector import lanes

from .patches import LANE_TERMS, Patches, Place, tap_tile
from .planes import Planes, windows_in_place
from .units import FEWEST_ROWS, Units, along_rows, rows_in_cache, rows_in_order
from .weight_kernel import depthwise_add_kernel, depthwise_weight_kernel

_PACKING = 10  # multiply-adds of a gradient that take the time of copying a vector into the planes
# The time of rows along the lanes, in that of channels transposed to them; with strides.
_TRANSPOSED = (1.2, 1.5)
_ROW_TASKS = 32  # for each thread, where workers share the rows
_MOST_PARTS = 12  # of the units, for each worker, on planes
_FEW_TAPS = 10  # little is computed on what is read
# Rows and columns of a patch that is summed for all units at once: memory is read in order then,
# and the patch stays in the first-level cache.
_STRIDED, _SLIDING = (LANE_TERMS, 3), (4, 16)
_FAR = 8  # times the workers' caches: nearer data is not fetched ahead, for fetching costs loads
_SMALL = 4  # times the bytes of the sums are read before a copy of them is small beside that


class DepthwiseWeight(WeightGradient):
    """``depthwise`` for one weight gradient."""

    def __init__(self, problem: ConvProblem, threads: int):
        self.c = c = unfolded(problem)
        self.itemsize = itemsize = problem.itemsize
        self.threads = threads
        # Both operands must be cut up alike; where they differ, x decides and dy is reordered.
        gain = _TRANSPOSED[c.columns.advance > 1]
        splat = along_rows(c, problem.x_format, itemsize, gain)
        self.units = units = Units(c, problem.x_format, itemsize, splat)
        width = lanes(itemsize)
        vector_bytes = width * itemsize
        self.rows = rows_in_cache(c, units, vector_bytes)
        if units.count < threads:  # workers share the rows
            self.rows = self._fair_rows(c.rows.window)
        self.patches = self._cut(self._tile(alone=units.splat), exact=False)
        self.in_place, self.at_once = False, 1
        channels_last = problem.x_format == problem.y_format == "nhwc"
        if channels_last and units.can_overlap:
            self._try_in_place()
        if self.in_place:
            units.end_together()
        self.tasks_i = -(-c.rows.outputs // self.rows)
        self.planes = Planes([c], self.rows, units, vector_bytes)
        # The last vector takes the sums of no tap, which fill up tiles.
        self.unit_bytes = (c.steps + 1) * vector_bytes
        self.sums = units.count * units.filters
        self.copy_bytes = self.sums * self.unit_bytes
        tasks = units.count * c.N * self.tasks_i
        moved = c.moved(itemsize)
        workers = workers_for(self.flops, tasks, threads, moved)
        self.copies, self.parts = self._shares(workers, problem.x_format == "nchw")
        self.workers = min(workers, self.copies * self.parts)
        self.fetches = self.at_once > 1 and moved > _FAR * self.workers * machine().l2
        self.gradient_bytes = self.rows * c.columns.outputs * units.nbytes
        gradient = self.patches.tile.filters * self.gradient_bytes + vector_bytes
        planes_bytes = aligned(self.planes.nbytes)
        self.worker_bytes = aligned(64 + planes_bytes + gradient)
        self.nbytes = self.copies * self.copy_bytes + self.workers * self.worker_bytes
        self.x_window = window_record(
            units.all_inputs, units.inputs, (c.rows.inputs, c.columns.inputs),
            (c.rows.first, c.columns.first), self.planes.source, width,
        )  # fmt: skip
        self.dy_window = window_record(
            units.channels, units.lanes, (c.rows.outputs, c.columns.outputs), (0, 0), (1, 1), width
        )

    def _shares(self, workers: int, on_planes: bool) -> tuple[int, int]:
        """Copies of the sums, and parts of the units.

        Memory is read in order where a worker takes all units of its blocks in place; the copies
        should be small beside what is read.  On planes a part may be as small as a unit, for they
        share nothing: if there are enough, each worker has several parts, or several copies.
        """
        c, units = self.c, self.units
        blocks = c.N * self.tasks_i
        copies = 1
        if self.in_place:
            read = c.N * c.rows.inputs * c.columns.inputs * units.count * units.nbytes
            copies = max(1, min(workers, blocks, read // (_SMALL * self.copy_bytes)))
        parts = min(workers // copies, units.count)
        copies = max(copies, min(workers // parts, blocks))
        spare = spare_copies(workers, self.sums, blocks // EVEN, c.pixels)
        if on_planes and units.count >= _MOST_PARTS * workers:
            return 1, _MOST_PARTS * workers
        if spare > 1 and (on_planes or parts == 1):
            return spare, 1
        return copies, parts

    def _fair_rows(self, least: int) -> int:
        """At most so many rows to a task that there are enough tasks, but not less than this."""
        c = self.c
        fair = c.N * c.rows.outputs // (_ROW_TASKS * self.threads)
        return even_split(c.rows.outputs, min(self.rows, max(least, fair)))

    def _tile(self, alone: bool) -> TapTile:
        c = self.c
        window = (c.channels * c.rows.window, c.columns.window)
        together = self.units.filters if alone else 1
        steps = (c.columns.advance, c.columns.spread)
        return tap_tile(*window, *steps, alone, together, min(c.columns.outputs, LANE_TERMS))

    def _cut(self, tile: TapTile, exact: bool, most=None, far: bool = False) -> Patches:
        step = lanes(self.itemsize) if self.units.splat else 1
        return Patches(self.c, self.rows, step, tile, exact, most, far)

    def _far(self, tile: TapTile) -> bool:
        """Whether the rows of a tile, pixels apart, leave the first-level cache too soon."""
        c = self.c
        rows = tile.runs if tile.slides else -(-tile.sums // c.columns.window)
        pixels = rows * c.columns.inputs + c.columns.outputs
        return pixels > machine().lines_apart(self.units.count * self.units.nbytes)

    def _try_in_place(self) -> None:
        """Read x where it is, unless leaving out the padding cuts it in too small patches."""
        c, planes, rows = self.c, self.patches, self.rows
        self.rows = rows_in_order(c, self.units, c.columns.outputs, self.units.count)
        self.rows = self._fair_rows(FEWEST_ROWS)
        tile, most, at_once = self._tile(alone=False), None, 1
        if c.steps <= _FEW_TAPS and (tile.slides or c.columns.advance > 1):
            most, at_once = _SLIDING if tile.slides else _STRIDED, self.units.count
        patches = self._cut(tile, True, most, self._far(tile))
        packing = _PACKING * c.rows.advance * c.columns.advance * c.rows.outputs * c.columns.outputs
        if patches.possible and patches.time <= planes.time + packing:
            self.patches, self.in_place, self.at_once = patches, True, at_once
        else:
            self.rows = rows

    @made_once
    def multiply(self) -> Stage:
        """The sums of products; compiled when first asked for."""
        c, units, planes = self.c, self.units, self.planes
        return Stage(
            depthwise_weight_kernel(
                self.itemsize, *self.patches.tile, self.fetches, *units.dealing
            ),
            self.workers,
            scratch_bytes=self.worker_bytes,
            I=c.rows.outputs,
            J=c.columns.outputs,
            task_i=self.rows,
            tasks_i=self.tasks_i,
            sets=units.sets,
            filters=units.filters,
            row_advance=c.rows.advance,
            row_phases=planes.phases[0],
            column_phases=planes.phases[1],
            plane_rows=planes.shape[0],
            plane_columns=planes.shape[1],
            planes_bytes=aligned(planes.nbytes),
            dealt_bytes=planes.dealt_bytes,
            last=units.last * self.itemsize if self.in_place else NO_LIMIT,
            **sum_tasks(self.workers, self.copies, self.parts, units.count, c.N * self.tasks_i),
            copy_bytes=self.copy_bytes,
            unit_bytes=self.unit_bytes,
            gradient_bytes=self.gradient_bytes,
            in_place=self.in_place,
            block_patches=self.patches.blocks,
        )

    @made_once
    def add(self) -> Stage:
        """Adding up the copies and writing dw."""
        units = self.units
        return Stage(
            depthwise_add_kernel(self.itemsize),
            workers_for(4 * self.copies * self.copy_bytes, self.sums, self.threads),
            tasks=self.sums,
            splat=units.splat,
            copy_bytes=self.copy_bytes,
            copies=self.copies,
            unit_bytes=self.unit_bytes,
            filters=units.filters,
            taps=self.c.steps,
            unit_lanes=units.lanes,
            all_lanes=units.channels,
            last=units.last,
        )

    @property
    def flops(self) -> int:
        """Executed, vectors and tiles filled up with zeros."""
        per_unit = 2 * self.c.N * self.patches.products * self.units.filters
        return per_unit * self.units.count * lanes(self.itemsize)

    def _tables(self, x_strides, y_strides, dy_in_place: bool):
        """The records of the patches, for arrays with these strides, and what they point to."""
        c, unit = self.c, self.units.nbytes
        vector = lanes(self.itemsize) * self.itemsize
        steps = (c.columns.outputs * unit, unit, self.gradient_bytes)
        if dy_in_place:
            steps = (*y_strides[2:], y_strides[1])
        if self.in_place:
            first, x_steps, taps = windows_in_place(c, x_strides[2:])
            taps = taps[None]
        else:
            first, x_steps = 0, self.planes.step_bytes
            taps = self.planes.tap_offsets()
        place = Place(
            first, taps, c.steps * vector, *map(int, x_steps), *steps, self.unit_bytes, vector
        )
        return self.patches.tables(place)

    def _program(self, x_strides, dy_strides, dw_strides) -> Program:
        units, at, sums = self.units, operands(), SCRATCH
        (xn, xc, xh, xw), (yn, yk, yh, yw) = x_strides, dy_strides
        lane = yk * units.filters
        # Where a vector of dy is contiguous it need not be copied; strided ones only pay once.
        if units.splat:
            dy_in_place = yw == self.itemsize
        else:
            pays = self.in_place or len(self.patches.patches) == 1
            fitting = units.whole or self.in_place
            dy_in_place = pays and fitting and lane == self.itemsize
            assert dy_in_place or not self.in_place, "channels-last, as the problem says"
        records, tables = self._tables(x_strides, dy_strides, dy_in_place)
        step = units.filters * dw_strides[0]
        multiplying = self.multiply.call(
            scratch=sums + self.copies * self.copy_bytes,
            sums=sums,
            x_window=window_of(self.x_window, at.first, (xn, xc, xc * units.sets, xh, xw)),
            dy_window=window_of(self.dy_window, at.second, (yn, yk, lane, yh, yw)),
            dy_in_place=dy_in_place,
            at_once=self.at_once if dy_in_place else 1,
            patches=records,
        )
        multiplying.words.memory += tables
        adding = self.add.call(sums=sums, dw=at.out, du=step * units.lanes, dk=step)
        return Program([multiplying, adding])

"""``depthwise`` for correlations: strips of output vectors sum their taps over the input."""

from __future__ import annotations

import numpy as np

from fastconv.core.machine import machine
from fastconv.core.once import made_once
from fastconv.core.program import SCRATCH, Program, Programs, operands
from fastconv.core.stage import Stage
from fastconv.core.workspace import aligned
from fastconv.gemm.sharing import workers_for
from fastconv.gemm.tiling import even_split, round_up
from fastconv.gemm.windows import window_record
from fastconv.plans.arrays import Setting, window_of
from fastconv.plans.correlation import Correlation, moved
from fastconv.plans.packed_filters import Filters
from fastconv.simd.vector import lanes

from .filters import DepthwiseFilters
from .kernel import depthwise_kernel
from .planes import Planes, windows_in_place
from .strips import Place, Strips
from .units import Units, along_rows, rows_in_cache, rows_in_order

# Vectors of a long strip, and of those that cover what it leaves; with 16 registers and with 32.
_SIZES = (((8, 5),), ((10, 5), (8, 5)))
# The same where windows are strided: strips of ten reach so far that memory is not read in order.
_STRIDED_SIZES = (((8, 5),), ((5, 2),))
_PACKING = 16  # multiply-adds of a sum that take the time of copying a vector into the planes
# The time of rows along the lanes, in that of channels transposed to them: with few taps, with many
# that share their loads, and where columns are strided, one element at a time.
_TRANSPOSED = (0.8, 1.2, 1.5)
_FEW_TAPS = 16  # of a window
_AT_ONCE = 8  # neighbouring vectors of channels, so that memory is read in order


def _gain(c: Correlation) -> float:
    """What transposing channels to the lanes gains."""
    few, many, strided = _TRANSPOSED
    if max(c.columns.advance, c.columns.step) > 1:
        return strided
    return few if c.rows.window * c.columns.window <= _FEW_TAPS else many


class DepthwiseSum:
    """``depthwise`` for correlations with disjoint outputs, of the same input.

    The channels and filters of a group are few.
    """

    def __init__(self, parts: list[Correlation], itemsize: int, memory_format: str, threads: int):
        self.parts = parts
        self.c = c = max(parts, key=lambda c: c.rows.outputs)
        splat = along_rows(c, memory_format, itemsize, _gain(c))
        self.units = units = Units(c, memory_format, itemsize, splat)
        self.itemsize = itemsize
        self.vector = lanes(itemsize)
        vector_bytes = self.vector * itemsize
        self.rows = rows_in_cache(c, units, vector_bytes)
        self.strips, self.in_place = self._fewest(_SIZES, False, "", "rows"), False
        fitting = units.whole or units.can_overlap
        if fitting and c.channels == 1 and units.side_by_side and not units.dealt:
            self._try_in_place()
        if self.in_place:
            units.end_together()
        self.planes = Planes(parts, self.rows, units, vector_bytes)
        self.tasks_i = -(-c.rows.outputs // self.rows)
        blocks = c.N * self.tasks_i
        self.splits = min(units.count, -(-3 * threads // max(1, blocks)))
        self.tasks = blocks * self.splits
        # Summed in y itself if its vectors are contiguous.
        self.straight = (units.whole or self.in_place) and units.filters == 1
        if units.splat:
            contiguous = all(c.columns.step == 1 for c in parts)
            self.straight = contiguous and min(c.columns.outputs for c in parts) >= self.vector
        sums = self._layout_of_parts(vector_bytes)
        planes_bytes = aligned(self.planes.nbytes)
        self.worker_bytes = aligned(vector_bytes + 64 + planes_bytes + sums)
        nbytes = moved(parts, itemsize)
        self.workers = workers_for(self.flops, self.tasks, threads, nbytes)
        self.fetches = self.in_place and nbytes > self.workers * machine().l2
        self.filters = None  # few, and arranged by NumPy
        if c.channels == c.filters == 1 and not units.splat:
            self.filters = DepthwiseFilters(parts, itemsize, units.last, threads)
        self.filter_bytes = 0 if self.filters is None else self.filters.nbytes
        self.nbytes = self.filter_bytes + self.workers * self.worker_bytes
        self.window = window_record(
            units.all_inputs, units.inputs, (c.rows.inputs, c.columns.inputs), self.planes.first,
            self.planes.source, self.vector,
        )  # fmt: skip
        self.sizes = np.array([group.size for group in self.strips.groups], np.int64)
        self._programs = Programs(self.nbytes)
        self._taps: np.ndarray | None = None
        dtype = f"f{itemsize}"
        self._no_bias = units.arranged(np.zeros((units.channels, units.filters), dtype))
        self._floors = [np.full(self.vector, least, dtype) for least in (-np.inf, 0)]

    def _fewest(self, sizes, in_order: bool, *exact: str) -> Strips:
        """The outputs in the strips that take the least time."""
        step = self.vector if self.units.splat else 1
        found = [
            Strips(self.parts, self.rows, step, (*some, 1), axes, in_order)
            for axes in exact
            for some in sizes[machine().isa.registers >= 32]
        ]
        return min(found, key=lambda strips: strips.time)

    def _try_in_place(self) -> None:
        """Read the input where it is, unless leaving out padding makes the strips too small."""
        planes, rows = self.strips, self.rows
        outputs = sum(part.columns.outputs for part in self.parts)
        self.rows = rows_in_order(self.c, self.units, outputs, _AT_ONCE)
        strided = max(self.c.rows.advance, self.c.columns.advance) > 1
        strips = self._fewest(_STRIDED_SIZES if strided else _SIZES, True, "rows columns")
        packing = _PACKING * self.c.rows.inputs * self.c.columns.inputs
        if strips.time <= planes.time + packing:
            self.strips, self.in_place = strips, True
        else:
            self.rows = rows

    def _layout_of_parts(self, vector_bytes: int) -> int:
        """Where the sums are that are not made in y, and how they get there; their bytes."""
        unit = self.units.nbytes
        rows, columns = self.c.rows, self.c.columns
        if not self.units.splat and len(self.parts) == rows.step * columns.step > 1:
            # They leave nothing out: one image, whose rows are stored whole.
            line = columns.size * unit
            self.records = np.array(
                [(rows.size, columns.size, rows.step, 0, 1, 0, 1, 0, line)], np.int64
            )
            steps = (rows.step * line, columns.step * unit)
            self.places = [
                (c.rows.start * line + c.columns.start * unit, steps) for c in self.parts
            ]
            return self.rows * steps[0]
        records, self.places, sums = [], [], 0
        for c in self.parts:
            # Rows of whole vectors: the last one of a row may hold more than is left of it.
            line = round_up(c.columns.outputs * unit, vector_bytes)
            records.append(
                (c.rows.outputs, c.columns.outputs, 1, c.rows.start, c.rows.step, c.columns.start,
                 c.columns.step, sums, line)
            )  # fmt: skip
            self.places.append((sums, (line, unit)))
            sums += self.rows * line
        self.records = np.array(records, np.int64)
        return sums

    @made_once
    def stage(self) -> Stage:
        """The kernel with its arguments; compiled when first asked for."""
        c, units, planes = self.c, self.units, self.planes
        return Stage(
            depthwise_kernel(
                self.itemsize, *self.strips.sizes[:2], units.splat, self.fetches, *units.dealing
            ),
            self.workers,
            tasks=self.tasks,
            scratch_bytes=self.worker_bytes,
            task_i=self.rows,
            tasks_i=self.tasks_i,
            splits=self.splits,
            units=units.count,
            in_order=units.in_order,
            last=units.last,
            sets=units.sets,
            filters=units.filters,
            row_advance=c.rows.advance,
            row_phases=planes.phases[0],
            column_phases=planes.phases[1],
            plane_rows=planes.shape[0],
            plane_columns=planes.shape[1],
            planes_bytes=aligned(planes.nbytes),
            dealt_bytes=planes.dealt_bytes,
            w_bytes=self._weight_bytes,
            unit_lanes=units.lanes,
            all_lanes=units.channels,
            parts=self.records,
            n_parts=len(self.records),
            block_groups=self.strips.blocks,
            sizes=self.sizes,
            in_place=self.in_place,
        )

    @made_once
    def at_once(self) -> int:
        """Units summed side by side, so that memory is read in order.

        What the strips of all of them read, and the next ones read again, stays near.
        """
        if not self.in_place:
            return 1
        down, across = self.c.rows.window, self.c.columns.window
        pixels = (self.strips.sizes[0] * self.c.rows.advance + down) * across
        near = (pixels + down * across) * self.units.nbytes
        most = max(1, min(_AT_ONCE, machine().l1 // near))
        return even_split(self.units.count, most)

    @property
    def flops(self) -> int:
        """Executed, vectors filled up with zeros."""
        per_unit = 2 * self.c.N * self.strips.products * self.c.channels * self.units.filters
        return per_unit * self.units.count * self.vector

    @property
    def outputs(self) -> int:
        """Outputs of one channel, over all images."""
        return sum(c.pixels for c in self.parts)

    @property
    def _weight_bytes(self) -> int:
        """The weights of one output of a unit: those of all parts, one after the other."""
        return sum(c.steps for c in self.parts) * self.units.nbytes

    def _weights(self, w: np.ndarray) -> np.ndarray:
        """``w`` as [unit, output, (part, input, r, s), lane]."""
        c, units = self.c, self.units
        if self._taps is None:
            self._taps = self._flat_taps(*w.shape[2:])
        w = w.reshape(c.groups, -1, *w.shape[1:])
        if not c.forward:
            w = w.swapaxes(1, 2)
        w = w.reshape(units.channels, units.filters, -1)
        return units.arranged(w.take(self._taps, axis=-1))

    def _flat_taps(self, rows: int, columns: int) -> np.ndarray:
        """Which of the weights (input, r, s) of an output the parts take, one after the other."""
        inputs = np.arange(self.c.channels)[:, None, None] * (rows * columns)
        parts = [
            inputs + np.array(c.rows.taps[0])[:, None] * columns + np.array(c.columns.taps[0])
            for c in self.parts
        ]
        return np.concatenate([part.ravel() for part in parts])

    def _tables(self, x_strides, y_strides, straight: bool) -> tuple[np.ndarray, list[np.ndarray]]:
        """The records of the groups, for arrays with these strides, and what they point to."""
        unit = self.units.nbytes
        per_part: list[Place] = []
        w_first = 0
        for p, c in enumerate(self.parts):
            if self.in_place:
                origin, x_step, taps = windows_in_place(c, x_strides[2:])
                taps = taps[None]
            else:
                origin, x_step = 0, np.array(self.planes.step_bytes)
                taps = self.planes.tap_offsets(p)
            if straight:
                y_step = np.array(y_strides[2:])
                y_first = y_step @ [c.rows.start, c.columns.start]
                y_step *= [c.rows.step, c.columns.step]
            else:
                y_first, y_step = self.places[p]
            per_part.append(Place(origin, x_step, taps, w_first, y_first, y_step))
            w_first += c.steps * unit
        return self.strips.tables(per_part, unit)

    def run(self, x, w, y, bias, relu: bool) -> None:
        if self.filters is not None:
            w, w_strides, bias = self.filters.found(w, bias)
        else:
            w, w_strides = self._weights(w), None
            if bias is None:
                bias = self._no_bias
            else:
                bias = self.units.arranged(bias.reshape(self.units.channels, self.units.filters))
        s = Setting(x.strides, w_strides, y.strides, bias is not None, relu)
        self._programs.run(s, lambda: self._program(s), x, w, y, bias)

    def _program(self, s: Setting) -> Program:
        """What computes y, of arrays of such strides."""
        units, at = self.units, operands()
        (xn, xc, xh, xw), (yn, yk, yh, yw) = s.x, s.y
        straight = self.straight and self.itemsize == (yw if units.splat else yk)
        records, tables = self._tables(s.x, s.y, straight)
        filters = Filters(dict(w=at.second, bias=at.bias))
        if self.filters is not None:
            filters = self.filters.prepare(SCRATCH, at, s)
        summing = self.stage.call(
            scratch=SCRATCH + self.filter_bytes,
            floor=self._floors[s.relu],
            x_window=window_of(self.window, at.first, (xn, xc, xc * units.sets, xh, xw)),
            **filters.words,
            y=at.out,
            yn=yn,
            yu=yk * units.filters * units.lanes,
            yk=yk * units.filters,
            yh=yh,
            yw=yw,
            y_set=yk,
            groups=records,
            straight=straight,
            at_once=self.at_once if straight else 1,
        )
        summing.words.memory += tables
        return Program([*filters.calls, summing])

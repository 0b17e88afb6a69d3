"""``direct`` for planes of few channels: neighbouring pixels in the lanes, not filters.

An input in planes need not be transposed then, nor the result, and few filters leave no lane empty.
The filters are what is broadcast; as vectors of pixels serve several of them, a step of the sum
needs few loads.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastconv.core.machine import machine
from fastconv.core.once import made_once
from fastconv.core.program import Operands
from fastconv.core.stage import Stage
from fastconv.core.workspace import aligned
from fastconv.gemm.tiling import even_split, even_splits, planar_tiles, round_up
from fastconv.gemm.windows import window_record
from fastconv.plans.arrays import Room, Setting, window_of
from fastconv.plans.correlation import Correlation
from fastconv.plans.depthwise.planes import Planes
from fastconv.plans.depthwise.units import Units
from fastconv.plans.packed_filters import PackedFilters, Prepared
from fastconv.plans.unfolded import UnfoldedCorrelation
from fastconv.simd.tiles import tile_planar
from fastconv.simd.vector import lanes

from .apart import (
    WINDOW_BYTES,
    joining,
    plane_bytes,
    result_bytes,
    separating,
    soon_planes,
    window_rows,
)
from .planar_kernel import planar_kernel

# Terms of a sum up to which this is faster than vectors of filters; and where few filters would
# leave most of such a vector empty.
_MOST_TERMS, _MOST_TERMS_FEW = 512, 2048
_MOST_STRIDE = 2  # by which columns are taken apart in vectors
_SHORT = 32  # bytes of a vector
_STRETCH = 512  # most terms in one go: rounding errors of equal terms all point the same way
# In multiply-adds of vectors: starting a tile, storing a vector of it, packing a vector.
_START, _STORE, _PACK = 30, 2, 3


class _Shape(NamedTuple):
    """How outputs are cut: time taken (in multiply-adds), whether flat, rows of a task, tile."""

    time: float
    flat: bool
    rows: int
    mr: int
    nv: int


def _by_filters(c: Correlation, itemsize: int) -> bool:
    """Whether short vectors of filters are faster: to transpose pixels to these costs little.

    Where filters fill them; or where planes, of several channels, would be taken apart by a stride.
    """
    vector = lanes(itemsize)
    strided = c.columns.advance > 1 and c.channels > 1 and c.filters > vector
    return machine().isa.vector_bytes <= _SHORT and (c.filters % vector == 0 or strided)


class PlanarCorrelation(UnfoldedCorrelation):
    kind = "taps"
    along_planes = True

    def __init__(self, c: Correlation, itemsize: int, x_format: str, y_format: str, threads: int):
        self.c = c
        self.itemsize = itemsize
        self.vector = lanes(itemsize)
        self.apart = x_format == "nhwc" and c.channels > 1, y_format == "nhwc" and c.filters > 1
        self.units = Units(c, "nchw", itemsize, splat=True)
        _, self.flat, self.rows, self.mr, self.nv = self._shape(threads)
        self.planes = self._planes(self.rows, self.flat)
        self.filters = PackedFilters(c, itemsize, self.mr, 1, threads)
        self.tasks_i = -(-c.rows.outputs // self.rows)
        self.tasks = c.N * c.groups * self.tasks_i
        self.workers = self.filters.settle_workers(self.flops, self.tasks, c.moved(itemsize))
        # A tile of results by itself, and the bias of every filter in all lanes.
        spare = (self.nv + self.filters.tiles) * self.mr * self.vector * itemsize
        # Rows of channels-last pixels as planes, and planes that become such rows.
        self.pixels = aligned(WINDOW_BYTES + 64 + spare + self.planes.nbytes)
        self.x_plane = plane_bytes(c, self.planes, itemsize)
        self.y_plane = result_bytes(c, self.rows, itemsize)
        pixels, results = self._apart_bytes(self.planes, self.rows)
        self.turned = self.tasks * (pixels + results)
        self.results = self.pixels + pixels
        self.worker_bytes = self.results + results
        self.nbytes = self.filters.nbytes + self.workers * self.worker_bytes
        self.window = window_record(
            self.units.all_inputs, self.units.inputs, (c.rows.inputs, c.columns.inputs),
            self.planes.first, (c.rows.advance, c.columns.advance), self.vector,
        )  # fmt: skip
        self._tables()

    def _apart_bytes(self, planes: Planes, rows: int) -> tuple[int, int]:
        """What planes of pixels take, of so many rows of results."""
        c, (x_apart, y_apart) = self.c, self.apart
        return (
            x_apart * aligned(c.channels * plane_bytes(c, planes, self.itemsize)),
            y_apart * aligned(c.filters * result_bytes(c, rows, self.itemsize)),
        )

    @staticmethod
    def applies(c: Correlation, itemsize: int, x_format: str, y_format: str) -> bool:
        """Whether this plan can run ``c`` and suits it: planes of few channels, long rows.

        But not planes that short vectors of filters are faster for (:func:`_by_filters`).
        Or channels-last pixels of so few that they are soon planes.  Columns of a larger stride are
        moved one by one, which is as well done where filters fill vectors, and does not pay where
        windows do not overlap.
        """
        few_lanes = c.filters <= lanes(itemsize) // 2
        overlap = c.columns.window * c.columns.spread > c.columns.advance
        few = 1 < c.filters < lanes(itemsize) // 2
        row = c.channels * c.columns.inputs * itemsize
        soon = soon_planes(c, itemsize)
        return (
            (x_format == "nchw" or c.groups * c.channels == 1 or soon)
            and (y_format == "nchw" or c.groups * c.filters == 1 or soon)
            and not c.folded
            and all((axis.start, axis.step) == (0, 1) for axis in (c.rows, c.columns))
            and c.columns.outputs >= lanes(itemsize)
            and (c.columns.advance <= _MOST_STRIDE or (few_lanes and overlap))
            and (c.rows.window * c.columns.window > 1 or (soon and x_format == "nhwc"))
            and c.steps <= (_MOST_TERMS_FEW if few else _MOST_TERMS)
            and row * ((c.rows.window - 1) * c.rows.spread + 1) <= machine().l2 // 2
            and not (y_format == "nchw" and _by_filters(c, itemsize))
        )

    def _planes(self, rows: int, flat: bool) -> Planes:
        return Planes([self.c], rows, self.units, self.vector * self.itemsize, flat)

    @property
    def _forms(self) -> tuple[bool, ...]:
        """Whether planes may be flat, or not."""
        return (False, True) if self.c.columns.spread == 1 else (False,)

    def _columns(self, outputs: int) -> np.ndarray:
        """The first of each vector of so many outputs in a row; the last overlaps others."""
        return np.minimum(np.arange(0, outputs, self.vector), outputs - self.vector)

    def _vectors(self, rows: int, flat: bool) -> int:
        """Vectors of a task: of each row, or of all together."""
        columns = self.c.columns.outputs
        return -(-rows * columns // self.vector) if flat else rows * -(-columns // self.vector)

    def _shape(self, threads: int) -> _Shape:
        """The rows of a task and the tile that take the least time."""
        c, terms = self.c, self.c.steps
        fair = max(1, c.N * c.groups * c.rows.outputs // (4 * threads))
        splits = even_splits(c.rows.outputs, min(fair, c.rows.outputs))
        found: list[_Shape] = []
        for flat in self._forms:
            # Flat planes, of which there are more, pay where the first-level cache holds them.
            room = machine().l1 // 2 if flat else machine().l2 // 8
            for rows in splits:
                planes = self._planes(rows, flat)
                held = planes.nbytes + sum(self._apart_bytes(planes, rows))
                if found and (planes.nbytes > room or held > machine().l2 // 4):
                    break
                vectors, tasks = self._vectors(rows, flat), -(-c.rows.outputs // rows)
                packed = _PACK * held // (self.vector * self.itemsize)
                for mr, nv, step in planar_tiles(c.filters, vectors):
                    tiles = -(-vectors // nv) * -(-c.filters // mr)
                    time = tiles * (terms * step + _STORE * mr * nv + _START)
                    found.append(_Shape(tasks * (time + packed), flat, rows, mr, nv))
        return min(found)

    def _tables(self) -> None:
        """Byte offsets of vectors (in the planes, in y, in a tile by itself) and of taps."""
        width, columns = self.vector * self.itemsize, self.c.columns.outputs
        if self.flat:
            self.places = self.targets = self._columns(self.rows * columns) * self.itemsize
        else:
            rows, firsts = np.arange(self.rows)[:, None], self._columns(columns)
            self.places, self.targets = (
                ((rows * pitch + firsts) * self.itemsize).ravel()
                for pitch in (self.planes.shape[1], columns)
            )
        self.alone, self.zeros = np.arange(self.nv) * width, np.zeros(self.nv, np.int64)
        self.taps = self.planes.tap_offsets()

    @made_once
    def stage(self) -> Stage:
        """The multiplication; compiled when first asked for."""
        c, planes = self.c, self.planes
        return Stage(
            planar_kernel(self.itemsize),
            self.workers,
            **tile_planar(self.itemsize, self.mr, self.nv),
            tasks=self.tasks,
            scratch_bytes=self.worker_bytes,
            I=c.rows.outputs,
            groups=c.groups,
            window_rows=window_rows(c, self.planes),
            x_plane=self.x_plane,
            pixels=self.pixels,
            results=self.results,
            J=c.columns.outputs,
            task_i=self.rows,
            tasks_i=self.tasks_i,
            sets=self.units.sets,
            filters=c.filters,
            row_advance=c.rows.advance,
            row_phases=planes.phases[0],
            column_phases=planes.phases[1],
            plane_rows=planes.shape[0],
            plane_columns=planes.shape[1],
            w_tile=self.filters.n_blocks * self.filters.block_bytes,
            tiles=self.filters.tiles,
            places=self.places,
            targets=self.targets,
            n_places=len(self.places),
            alone=self.alone,
            zeros=self.zeros,
            taps=self.taps,
            stretch=even_split(self.taps.size, _STRETCH),
            n_taps=self.taps.size,
        )

    @property
    def flops(self) -> int:
        """Executed: those done twice, and of filters that are none, among them."""
        vectors = self.tasks * round_up(self._vectors(self.rows, self.flat), self.nv)
        return 2 * vectors * self.vector * self.filters.tiles * self.mr * self.c.steps

    def prepare(self, room: Room, at: Operands, s: Setting) -> Prepared:
        c, filters = self.c, self.filters.prepare(room.filters, at, s)
        (xn, xc, xh, xw), (yn, yk, yh, yw) = s.x, s.y
        x_apart, y_apart = self.apart
        there = dict(x=at.first, xn=xn, xh=xh, x_pixel=xw, y_pixel=yw, separate=0, join=0)
        if y_apart:
            there["join"] = joining(self.itemsize, c.filters, yw)
        if x_apart:  # a task reads what it has made planes of
            there["separate"] = separating(self.itemsize, c.channels, xw)
            xn, xc, xh, xw = 0, self.x_plane, c.columns.inputs * self.itemsize, self.itemsize
        multiplying = self.stage.call(
            scratch=room.workers,
            relu=s.relu,
            **there,
            x_window=window_of(self.window, at.first, (xn, xc, xc * self.units.sets, xh, xw)),
            y=at.out,
            yn=yn,
            yg=yk * c.filters,
            yk=self.y_plane if y_apart else yk,
            yh=yh,
            **filters.words,
        )
        return Prepared(multiplying, filters)

"""How a bilinear correlation is cut into tasks, and how their components lie in scratch.

Tiles stand in bundles of a register tile's rows.  Either all filters are mapped before tasks begin,
and every task fetches what it multiplies by from memory, or at best from the cache; or, where tiles
are so few that no two tasks need the same filters, a task maps its own, a chunk of channels at a
time, and they never leave its cache.  Then either every task spreads the input, or it is spread
once before, for all of them.  Tasks whose outputs go to planes may take whole rows of
tiles: no two of them then write to the same cache lines.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from fastconv.core.machine import machine
from fastconv.core.once import once
from fastconv.core.workspace import aligned, odd_lines
from fastconv.gemm.sharing import room_for_all
from fastconv.gemm.tiling import best_tiles, round_up, tile_speed
from fastconv.transforms.tile_map import INPUT, WEIGHT, map_cycles

from .grid import COMPONENT_BYTES, TileGrid, staggered
from .kernel import SHORT_SUM

_CHUNKS = (128, 64, 32)  # channels, if tasks map the filters
_MOST_PARTS = 16  # of the filters, for each thread
_MOST_TILES = 4  # register tiles that are tried
_MOST_ROWS = 16  # of tiles, for a task
_TURNS = (0, 1, 2, 4, 8)  # tasks for each thread, if filters are cut for more of them
_UNEVEN = 0.2  # of a task's time workers wait at the end: they are not equally fast

# What else tasks that map filters do, in the time of a multiply-add.
_CALL = 80  # of a register tile
_MAPPED = 8  # a vector of mapped filters, on its way to the second-level cache
_SUMS = 10  # a vector of sums, from there and back
_INPUTS = 3  # a vector of inputs, from there
_FAR_INPUTS = 6  # the same from the last cache
_SHORT_MOVES = 0.6  # times as long for vectors of 32 bytes, but for what is mapped (Zen 3)
_LAUNCH = 15_000  # of another stage

# And what storing a vector of outputs in planes takes longer where tasks end within their rows: two
# workers then write to the same cache lines.
_SHARED_LINES = 20


def _memory_time(nbytes: int) -> int:
    """Of moving so many bytes of memory, in multiply-adds of vectors.

    As measured: 8 bytes in each of 64-byte vectors (Zen 4), 4 in each of 32-byte ones, of which a
    core makes two at once (Zen 3).
    """
    return 8 * nbytes // machine().isa.vector_bytes


class Share(NamedTuple):
    """What a task does."""

    tiles: int
    splits: int  # into so many parts the filters are cut
    chunk: int  # channels that are spread and multiplied at a time
    maps: bool  # whether it maps its filters
    shared: bool = False  # whether the input is spread before, once for all tasks


class Layout(NamedTuple):
    """Bytes of the components of a bundle's inputs (v) and outputs (m), and of mapped filters."""

    v_block: int
    v_phase: int
    v_component: int
    v_bundle: int
    m_row: int
    m_component: int
    m_bundle: int
    u_component: int
    in_place: bool  # whether products take the place of what they are made of

    @property
    def bundle(self) -> int:
        return self.m_bundle + (0 if self.in_place else self.v_bundle)


class Cutting:
    """The products of ``grid`` in register tiles of ``mr`` tiles × ``nv`` vectors of filters.

    ``beyond`` bytes behind the last lane are read, too.  Outputs may go to ``planes``.
    """

    def __init__(
        self, grid: TileGrid, vector: int, itemsize: int, mr: int, nv: int, beyond: int,
        planes: bool,
    ):  # fmt: skip
        self.grid, self.beyond, self.planes = grid, beyond, planes
        self.vector, self.mr, self.nv = vector, mr, nv
        self.pixel = vector * itemsize
        self.components = grid.tiling.components
        self.lane_tiles = -(-grid.c.lanes // (nv * vector))
        # Phases of so few channels that they share vectors are one run.
        phases = grid.phases[0] * grid.phases[1]
        self.runs = phases if grid.c.channels >= vector else 1
        self.run_channels = grid.depth // self.runs
        self._layouts: dict[Share, Layout] = {}

    def stretches(self, tiles: int) -> int:
        """Tasks of so many tiles, if filters are not cut."""
        return -(-self.grid.tiles // tiles) * self.grid.c.groups

    def layout(self, share: Share) -> Layout:
        """How components lie, which is the same for any number of tiles."""
        key = share._replace(tiles=0)
        return once(self._layouts, key, lambda: self._lay_out(key))

    def _lay_out(self, share: Share) -> Layout:
        lane_tiles = -(-self.lane_tiles // share.splits)
        row = self.nv * self.pixel
        v_block = self.mr * self.pixel
        v_phase = -(-share.chunk // self.vector) * v_block
        v_component = odd_lines(self.runs * v_phase)
        m_row = staggered(lane_tiles * row + self.beyond)
        m_component = odd_lines(self.mr * m_row)
        # A component of the input that is multiplied once makes room for its products.
        once = self.lane_tiles == 1 and self.grid.depth <= min(SHORT_SUM, share.chunk * self.runs)
        in_place = once and m_component <= v_component
        if in_place:
            m_component = v_component
        v_bundle, m_bundle = (
            staggered(self.components * nbytes) for nbytes in (v_component, m_component)
        )
        u_component = odd_lines(share.chunk * row) if share.maps else 0
        return Layout(
            v_block, v_phase, v_component, v_bundle, m_row, m_component, m_bundle, u_component,
            in_place,
        )  # fmt: skip

    def mapped_before(self, threads: int, whole: bool) -> Iterator[Share]:
        """Any number of bundles, filters in one part or enough for a few tasks a thread."""
        return self._mapped_before(threads, whole, self.mr, round_up(self.grid.tiles, self.mr))

    def rows_mapped_before(self, threads: int, whole: bool) -> Iterator[Share]:
        """The same with whole rows of tiles."""
        row = self.grid.shape[1]
        return self._mapped_before(threads, whole, row, _MOST_ROWS * row)

    def _mapped_before(self, threads: int, whole: bool, step: int, most: int) -> Iterator[Share]:
        bundle = self.layout(Share(0, 1, self.run_channels, False)).bundle
        fitting = self.mr * min(-(-self.grid.tiles // self.mr), max(1, COMPONENT_BYTES // bundle))
        for tiles in range(step, min(fitting, most) + 1, step):
            wanted = (-(-n * threads // self.stretches(tiles)) for n in _TURNS)
            for n in {1} if whole else {self._parts(n) for n in wanted}:
                yield Share(tiles, n, self.run_channels, False)

    def _parts(self, wanted: int) -> int:
        """About so many parts of the filters, none of them empty."""
        return -(-self.lane_tiles // -(-self.lane_tiles // max(1, wanted)))

    def mapped_within(self, threads: int) -> Iterator[Share]:
        """All tiles, in chunks of channels whose components fit the cache.

        The input may be spread by every task, or once for all if the last cache holds it.
        """
        if self.grid.phases != [1, 1] or self.grid.c.folded:
            return
        tiles = round_up(self.grid.tiles, self.mr)
        parts = {self._parts(n) for n in range(1, _MOST_PARTS * threads + 1)}
        for chunk in {min(chunk, self.run_channels) for chunk in _CHUNKS}:
            for splits in parts:
                share = Share(tiles, splits, chunk, True)
                at = self.layout(share)
                filters = self.components * at.u_component
                fits = tiles // self.mr * at.bundle + filters <= machine().l2 * 3 // 4
                if fits and filters <= machine().l2 // 4:
                    yield share
                    if self.shared_bytes(share) <= room_for_all():
                        yield share._replace(shared=True)

    def chunks(self, share: Share) -> int:
        """Chunks of the channels of a group."""
        return -(-self.run_channels // share.chunk)

    def chunk_bytes(self, share: Share) -> int:
        """Of the components of a chunk of the input of all tiles."""
        return aligned(-(-share.tiles // self.mr) * self.layout(share).v_bundle)

    def shared_bytes(self, share: Share) -> int:
        """Bytes of the components of all chunks of all groups."""
        return self.grid.c.groups * self.chunks(share) * self.chunk_bytes(share)

    def keeps(self, share: Share) -> bool:
        """Whether a worker's next task finds the components of the same stretch of tiles.

        Products take their place only where filters are not cut, and the next stretch is another.
        """
        return share.chunk == self.run_channels

    def cycles(self, share: Share, threads: int) -> float:
        """What tasks of such shares take, in multiply-adds of vectors, to compare them."""
        lane_vectors = -(-self.lane_tiles // share.splits) * self.nv
        products = self.components * self.grid.depth * lane_vectors
        maps = -(-self.grid.depth // self.vector) * map_cycles(INPUT, self.grid.tiling)
        stretches = self.stretches(share.tiles)
        tasks = -(-stretches * share.splits // threads)
        spread = min(tasks, -(-stretches // threads) + 1) if self.keeps(share) else tasks
        if share.shared:  # which is done by chunks
            chunks = self.chunks(share)
            spread = -(-self.grid.c.groups * chunks // threads) / chunks
        if share.maps:
            before = _LAUNCH if share.shared else 0.0
            each = self._within(share, lane_vectors)
        else:
            before, each = self._before(share, threads)
        products *= round_up(share.tiles, self.mr) / tile_speed(self.mr, self.nv)
        if self.planes and share.tiles < self.grid.tiles and share.tiles % self.grid.shape[1]:
            t = self.grid.tiling
            each += _SHARED_LINES * share.tiles * lane_vectors * t.m_rows * t.m_columns
        # Not counted where more tasks would spread the input more often.
        idle = 1 if share.maps or threads == 1 else 1 + _UNEVEN / tasks
        return before + idle * (tasks * (products + each) + spread * share.tiles * maps)

    @property
    def _filter_map(self) -> int:
        """Instructions that pack a vector of filters and map it."""
        t = self.grid.tiling
        return map_cycles(WEIGHT, t) + 2 * t.r_rows * t.r_columns

    def _before(self, share: Share, threads: int) -> tuple[float, float]:
        """What is done before tasks begin, and by each of them, if filters are mapped before.

        Every task fetches its part of the filters, from the cache if they stay there.  Components
        of the output that do not fit beside them are written, fetched, written again and fetched;
        those of the input, which are read in order, are fetched once more.  The cache also has to
        hold pixels on their way, and perhaps another thread's data.
        """
        l2, layout = machine().l2 * 3 // 8, self.layout(share)
        vectors = self.grid.depth * self.lane_tiles * self.nv
        filters = self.components * vectors * self.pixel
        near = filters <= l2
        room = l2 - filters // 2 if near else l2
        outputs = share.tiles * layout.m_bundle // self.mr
        inputs = 0 if layout.in_place else share.tiles * layout.v_bundle // self.mr
        far = 4 * max(0, outputs - room) + 2 * max(0, inputs + min(outputs, room) - room)
        far += filters // share.splits // (4 if near else 1)
        mapped = vectors * self._filter_map + (0 if near else _memory_time(2 * filters))
        return self.grid.c.groups * mapped // threads, _memory_time(far)

    def _within(self, share: Share, lane_vectors: int) -> float:
        """What a task does beside if it maps the filters: for every chunk it moves all sums."""
        depth, lane_tiles = self.grid.depth, lane_vectors // self.nv
        chunks = self.chunks(share)
        filters = depth * lane_vectors * (self._filter_map + _MAPPED * self.components)
        sums = chunks * share.tiles * lane_vectors * _SUMS
        calls = chunks * share.tiles // self.mr * lane_tiles * _CALL
        far = _FAR_INPUTS if share.shared else 0
        inputs = share.tiles * -(-depth // self.vector) * (lane_tiles * _INPUTS + far)
        moves = self.components * (sums + calls + inputs)
        return filters + (moves if machine().isa.vector_bytes >= 64 else _SHORT_MOVES * moves)


def best_cutting(
    grid: TileGrid, vector: int, itemsize: int, beyond: int, threads: int, planes: bool, whole: bool
) -> tuple[Cutting, Share]:
    """The register tile and the share that take least; ``whole`` if filters must not be cut."""
    found = []
    most = max(_MOST_TILES, threads)  # many threads need narrow ones
    for i, tile in enumerate(best_tiles(grid.tiles, grid.c.lanes, vector)[:most]):
        cutting = Cutting(grid, vector, itemsize, *tile, beyond, planes)
        found += [(cutting, share) for share in cutting.mapped_within(threads)]
        if i == 0:
            found += [(cutting, share) for share in cutting.mapped_before(threads, whole)]
        if planes:
            found += [(cutting, share) for share in cutting.rows_mapped_before(threads, whole)]
    return min(found, key=lambda one: one[0].cycles(one[1], threads))

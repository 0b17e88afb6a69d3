"""Choosing register tiles and the sizes of cache blocks. Plain arithmetic, no kernel."""

from __future__ import annotations

import functools
import itertools
from typing import NamedTuple

from fastconv.core.machine import Isa, machine
from fastconv.simd.sliding import sliding_turns
from fastconv.simd.taps import FEWEST_SUMS

_LONGEST_BLOCK = 128
_FILLED_UP = 1.0625  # times the channels: so many may blocks of whole vectors have
_FEW_HELD = 3  # taps whose weights fit 32 registers with none to spare: of more LLVM spills some

# Between one call for a panel and the next a core waits, in the time of so many fmas: for little if
# it can begin with the next sums while so many of the last are stored.
_HIDDEN = 18
_SHORT_WAIT, _LONG_WAIT = 30, 100


def choose_tile(rows: int, columns: int, vector: int, far: bool = False) -> tuple[int, int]:
    """The register tile (rows × vectors) that does best on a ``rows`` × ``columns`` result.

    ``far`` says that the vectors are data as they stand, not packed.
    """
    return best_tiles(rows, columns, vector, far)[0]


def best_tiles(
    rows: int, columns: int, vector: int, far: bool = False, panel: bool = False
) -> list[tuple[int, int]]:
    """The register tiles of :func:`choose_tile`, the best first.

    With ``panel`` also those for which the elements of all rows have to stand side by side.
    """

    def worth(tile: tuple[int, int]) -> float:
        return score(tile, rows, columns, vector, far)

    return sorted(_tiles(panel), key=worth, reverse=True)


def short_panels(rows: int, columns: int, terms: int, vector: int) -> list[tuple[int, int]]:
    """The register tiles for sums of so few ``terms`` that beginning and ending them counts.

    The best first.  The elements of all rows stand side by side.
    """

    def worth(tile: tuple[int, int]) -> float:
        mr, nv = tile
        wait = _SHORT_WAIT if mr * nv <= _HIDDEN else _LONG_WAIT
        step = max(mr * nv, machine().isa.load * (mr + nv), FEWEST_SUMS)
        return _used(tile, rows, columns, vector) * mr * nv / (step + wait / terms)

    return sorted(_tiles(panel=True), key=worth, reverse=True)


def _tiles(panel: bool) -> tuple[tuple[int, int], ...]:
    """The register tiles to choose from."""
    isa = machine().isa
    return isa.tiles + isa.panels if panel else isa.tiles


def exact_tile(rows: int, columns: int, vector: int) -> tuple[int, int] | None:
    """The best tile of exactly ``rows`` rows, if the registers can hold so many.

    It leaves no vector empty, so that the operand may be read where it is.
    """
    whole = round_up(columns, vector)
    fitting = (nv for mr, nv in machine().isa.tiles if rows <= mr)
    tiles = [(rows, nv) for nv in fitting if whole % (nv * vector) == 0]
    return max(tiles, key=lambda tile: score(tile, rows, columns, vector, far=True), default=None)


def tile_score(rows: int, columns: int, vector: int, panel: bool = False) -> float:
    """The share of the peak that the best tile may reach on a ``rows`` × ``columns`` result."""
    return max(score(tile, rows, columns, vector, far=True) for tile in _tiles(panel))


class SlidingTile(NamedTuple):
    """A register tile for the taps of a window: so many tap rows × vectors, and its score."""

    score: float
    tap_rows: int
    nv: int


def sliding_tile(
    tap_rows: int, taps: int, channels: int, columns: int, vector: int
) -> SlidingTile | None:
    """The best tile for all taps of a sliding window, or for those of a row; None if none fits.

    It broadcasts a column of the window once, and keeps the vectors that the other taps meet.
    """
    found = []
    for rows in {tap_rows, 1}:
        mr = rows * taps * channels
        for nv in range(1, 5):
            if mr * nv + taps * nv + 1 <= machine().isa.registers:
                used = columns / round_up(columns, nv * vector)
                waiting = max(1, FEWEST_SUMS / (mr * nv * sliding_turns(mr, nv, taps)))
                time = mr * nv * waiting + 0.25 * (rows * channels + 4 * nv)
                time = max(time, machine().isa.load * (rows * channels + nv))
                found.append(SlidingTile(used * mr * nv / time, rows, nv))
    return max(found, default=None)


class LineTile(NamedTuple):
    """A register tile for the pixels of a line: its score, pixels × vectors.

    And of how many taps it holds the weights at a time, all or one.
    """

    score: float
    mr: int
    nv: int
    held: int


def line_tile(
    columns: int, filters: int, taps: int, advance: int, spread: int, vector: int, groups: int = 1
) -> LineTile:
    """The best tile for lines of so many columns.

    It reads an element of each of its ``groups``, which share the lanes: once, for all taps that
    meet there, if it holds their weights; or once for each, and has room for more sums.
    """
    found = []
    for nv, held in itertools.product(range(1, 5), {taps, 1}):
        spare = 2 if held > _FEW_HELD and machine().isa.registers > 16 else 1
        most = (_registers(groups) - spare) // nv - held
        if most < 1:
            continue
        mr = even_split(columns, most)
        met = [m * advance + tap * spread for m in range(mr) for tap in range(taps)]
        read = len(set(met) if held == taps else met)
        used = columns * filters / (round_up(columns, mr) * round_up(filters, nv * vector))
        time = max(mr * nv, FEWEST_SUMS) * taps + 0.25 * (min(groups, 2) * read + taps * nv)
        time = max(time, machine().isa.load * (read + taps * nv))
        found.append(LineTile(used * mr * nv * taps / time, mr, nv, held))
    return max(found, key=lambda tile: (*tile[:-1], -tile.held))


def _registers(groups: int) -> int:
    """Of the machine, for sums, weights and an element; what is dealt to groups takes more."""
    registers = machine().isa.registers
    return registers if groups == 1 else 3 * registers // 4


class ParityTile(NamedTuple):
    """A register tile for a line of blocks of all parities: its score, blocks × vectors."""

    score: float
    mr: int
    nv: int


def parity_tile(
    columns: int, taps: list[int], nv: int, window: int, groups: int
) -> ParityTile | None:
    """The best tile for lines of windows of which ``nv`` vectors take so many taps in each row.

    A window reaches over ``window`` pixels of the line; None if too few registers hold its sums.
    """
    most = (_registers(groups) - max(taps) - 1) // nv
    if most < 1:
        return None
    mr = even_split(columns, most)
    products = mr * sum(taps)
    waiting = max(1, FEWEST_SUMS / (mr * nv))
    loads = len(taps) * min(groups, 2) * (mr + window - 1) + sum(taps)
    used = columns / round_up(columns, mr)
    score = used * products / (waiting * products + 0.25 * loads)
    return ParityTile(score, mr, nv)


def tile_speed(mr: int, nv: int) -> float:
    """How fast a register tile of packed operands is, by the fastest of this machine."""
    return _efficiency(mr, nv, False) / _fastest(machine().isa)


@functools.cache
def _fastest(isa: Isa) -> float:
    return max(_efficiency(*tile, False) for tile in isa.tiles)


def planar_tiles(filters: int, vectors: int) -> list[tuple[int, int, float]]:
    """The register tiles for so many filters × vectors of pixels: mr, nv, the time of a step."""
    registers = machine().isa.registers
    return [
        (mr, nv, _step(mr, nv, far=True))
        for nv in range(1, min(vectors, registers) + 1)
        for mr in range(1, min(filters, (registers - 1) // nv - 1) + 1)
    ]


def dot_tiles(filters: int, taps: int) -> list[tuple[int, int, float]]:
    """The register tiles for dot products of so many filters × taps: mr, nt, the time of a step.

    A step loads a vector for each filter and each tap, which stand across cache lines.
    """
    registers = machine().isa.registers
    found = []
    for mr in range(1, min(filters, registers) + 1):
        for nt in range(1, min(taps, registers) + 1):
            if mr * nt + min(mr, nt) + 1 <= registers:
                step = max(mr * nt, FEWEST_SUMS) + 0.25 * (mr + 2 * nt)
                found.append((mr, nt, step))
    return found


def score(tile: tuple[int, int], rows: int, columns: int, vector: int, far: bool) -> float:
    """The share of the peak: useful part of the tile × its efficiency.

    That falls with the loads, and where a tile has so few sums that they wait for themselves.
    """
    return _used(tile, rows, columns, vector) * _efficiency(*tile, far)


def _used(tile: tuple[int, int], rows: int, columns: int, vector: int) -> float:
    """The useful part of all that is computed in such tiles."""
    mr, nv = tile
    return rows * columns / (round_up(rows, mr) * round_up(columns, nv * vector))


def _efficiency(mr: int, nv: int, far: bool) -> float:
    waiting = max(0, FEWEST_SUMS - mr * nv)
    return mr * nv / (waiting + _step(mr, nv, far))


def _step(mr: int, nv: int, far: bool) -> float:
    """The time of a step of the sum, in that of an fma.

    Of one broadcast a row, one load a vector, and a reload of a row's address now and then four
    take the time of one fma; a vector that is not packed takes that of four loads.  Or it takes
    the time of all its loads, where that is longer.
    """
    sums = mr * nv + 0.25 * (1.25 * mr + (4 if far else 1) * nv)
    return max(sums, machine().isa.load * (mr + nv))


def round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def in_pairs(extent: int, tile: int) -> bool:
    """Whether pairs of tiles cover an extent with hardly more waste than single ones."""
    return round_up(extent, 2 * tile) <= 1.1 * round_up(extent, tile)


def even_split(extent: int, most: int) -> int:
    """The share of ``extent`` when it is cut into the fewest equal parts of at most ``most``."""
    parts = -(-extent // max(1, most))
    return -(-extent // parts)


def even_splits(extent: int, most: int) -> list[int]:
    """Every share of ``extent`` that :func:`even_split` gives for up to ``most``, ascending."""
    shares = []
    while most > 0:
        share = even_split(extent, most)
        shares.append(share)
        most = share - 1  # what lies between gives the same
    return shares[::-1]


def channel_block(channels: int, vector: int, most: int = _LONGEST_BLOCK) -> int:
    """Channels to a block: all of them up to 128, else equal blocks of whole vectors if they fit.

    There are at most so many in a block, if that is less.
    Long blocks make long runs, and the tile pays once for each run; beyond 128 channels
    neighbouring pixels would begin to compete for the same sets of the first-level cache.
    """
    blocks = -(-channels // min(most, _LONGEST_BLOCK))
    block = -(-channels // blocks)
    whole = round_up(block, vector)
    return whole if blocks * whole <= _FILLED_UP * channels else block

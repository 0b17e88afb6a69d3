"""Fetching what a task will write, and what the next one will read, while it multiplies.

A task reads, multiplies and stores in turns.  Memory would be idle while it multiplies, and the
core while it reads and stores; so every register tile prefetches its part of the cache lines that
the task will write and that the next one will read.

The pixels of a task are a few *segments* of memory, evenly apart: a stretch of every plane, or
one of whole images or of channels-last pixels.
"""

from __future__ import annotations

from fastconv.core.jit import inner, record
from fastconv.core.machine import machine
from fastconv.simd.copying import LINE, fetch
from fastconv.simd.microkernel import STREAM_WORDS

_MUCH_LONGER = 100  # operations for a byte of memory: products take over ten times as long


def memory_is_waited_for(moved: int, workers: int, flops: int) -> bool:
    """Whether memory sets the pace: pixels fit no cache, and products take no longer by far."""
    return moved > workers * machine().l2 and flops < _MUCH_LONGER * moved


# Segments of the pixels of x and of y, bytes from one to the next, and of each; no segments if they
# are not to be fetched.
AHEAD = record("x_segments x_pitch x_bytes y_segments y_pitch y_bytes")


def ahead_words(
    array: str, strides: tuple[int, ...], channels: int, groups: int, plane: int, pixels: int
) -> dict[str, int]:
    """Those of ``array``, "x" or "y", for tasks of so many pixels of one group.

    ``plane`` are the pixels of an image.
    """
    _, c, _, w = strides
    segments, pitch, nbytes = 0, 0, 0
    if c > w and pixels < plane:
        segments, pitch, nbytes = channels, c, pixels * w
    elif groups == 1:
        segments, nbytes = 1, pixels * channels * min(c, w)
    return {f"{array}_segments": segments, f"{array}_pitch": pitch, f"{array}_bytes": nbytes}


# A stream of cache lines that register tiles prefetch: where it is, the bytes to the next line, to
# the next tile of a call, to the next call; where it began; calls that read a stretch of every
# segment, and the bytes from what one of them reads to what the next one does.  A whole cache line.
STREAM = record("at line tile call start rounds across padding")
STREAM_BYTES = STREAM.itemsize
assert STREAM_BYTES == 8 * STREAM_WORDS


@inner
def begin(s, start, segments, pitch, nbytes, calls, bundles, lines):
    """Divide segments among so many calls of so many tiles, each of which fetches some lines.

    ``nbytes`` are those of a segment, the first of them at ``start``.
    """
    s.start, s.rounds, s.across = start, 1, bundles * pitch
    if segments <= 1:
        length = segments * nbytes // (calls * bundles)
        s.tile, s.call = length, bundles * length
    else:  # every tile fetches a stretch of another segment
        s.rounds = (segments + bundles - 1) // bundles
        length = min(nbytes, nbytes * s.rounds // calls)
        s.tile, s.call = pitch, length
    s.line = length // max(1, lines)


@inner
def turn(s, part, parts, calls):
    """Go to a part of the stream, of equal parts of so many calls."""
    s.at = s.start + part * calls * s.call
    if s.rounds > 1:
        done = part * s.rounds
        s.at = s.start + done // parts * s.across + done % parts * calls * s.call // s.rounds


@inner
def fetch_part(start, nbytes, part, parts):
    """One of equal parts of so many bytes from ``start`` on, in whole cache lines."""
    lines = (nbytes // LINE + parts - 1) // parts
    fetch(start + part * lines * LINE, lines, LINE)

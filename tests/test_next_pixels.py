"""What the tiles of a weight gradient fetch of the next block of pixels, call by call."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from fastconv.plans.blocked import next_pixels

LINE, ITEM, NV = 64, 4, 2
ROW = NV * LINE  # bytes of a tile's lanes
ROWS, COLUMNS = 3, 10  # of a block of pixels
BLOCK = SimpleNamespace(images=1, rows=ROWS, columns=COLUMNS)
NOWHERE = SimpleNamespace(image=0, row=0)


def _array(channels, stride, pixel, at):
    """A channels-last window whose pixels take so many bytes."""
    width = COLUMNS * stride
    return SimpleNamespace(
        x=at, xn=9 * width * pixel, xg=0, xc=ITEM, xh=width * pixel, xw=pixel, row_first=0,
        column_first=0, channels=channels,
    )  # fmt: skip


@pytest.fixture
def plain(monkeypatch):
    """The functions as Python runs them; where runs begin in what is fetched, in both tables."""
    words = {}
    monkeypatch.setattr(next_pixels, "put_word", words.__setitem__)
    for name in ("corner", "table_bytes", "in_a_row", "_column"):
        monkeypatch.setattr(next_pixels, name, getattr(next_pixels, name).py_func)
    return words


def _fetched(words, a, x, y, x_bytes, dy_bytes, calls, last=9, lines=BLOCK):
    """The lines that all calls fetch, by number."""
    next_pixels.list_lines.py_func(a, x, y, 0, lines, NOWHERE, NOWHERE)
    ahead = next_pixels.plan_fetches.py_func(
        a, x, y, ROW, BLOCK, lines, 1, last, 0, 0, x_bytes, 0, dy_bytes, calls
    )
    found = set()
    for call in range(calls):
        at, step, table = next_pixels.fetched.py_func(a, x, y, ahead, call, 7)
        if step == 0:
            assert at == 7 and all(
                words[table + row * next_pixels.RUN_BYTES + 16] == 0 for row in range(lines.rows)
            )
            continue
        for row in range(lines.rows):
            start = at + words[table + row * next_pixels.RUN_BYTES + 16]
            for pixel in range(lines.columns):
                first = start + pixel * step
                found.update(range(first // LINE, (first + ROW) // LINE))
    return found


def _wanted(array, stride, nbytes):
    """The lines of the second block of pixels: the rows below the first one."""
    found = set()
    for row in range(ROWS, 2 * ROWS):
        for column in range(COLUMNS):
            at = array.x + row * stride * array.xh + column * stride * array.xw
            found.update(range(at // LINE, (at + nbytes - 1) // LINE + 1))
    return found


def _behind(array, stride, nbytes):
    """Lines behind the last of whole pixels side by side, which the last steps also meet."""
    last = max(_wanted(array, stride, nbytes))
    return {last + i for i in range(1, NV)} if nbytes == stride * array.xw else set()


def _args(stride):
    return SimpleNamespace(
        task_n=1, task_i=ROWS, task_j=COLUMNS, tasks_i=3, tasks_j=1, row_stride=stride,
        column_stride=stride, tile=SimpleNamespace(nr=NV * LINE // ITEM),
    )  # fmt: skip


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("x_bytes", "x_pixel"), [(1024, 1024), (512, 1024), (256, 256)])
@pytest.mark.parametrize(("dy_bytes", "dy_pixel"), [(256, 256), (384, 768)])
@pytest.mark.parametrize("calls", [11, 40])
def test_every_line_that_is_needed(plain, stride, x_bytes, x_pixel, dy_bytes, dy_pixel, calls):
    """And no other but those behind the end: whole pixels or a part of each."""
    x, y = _array(256, stride, x_pixel, 0), _array(64, 1, dy_pixel, 1 << 30)
    found = _fetched(plain, _args(stride), x, y, x_bytes, dy_bytes, calls)
    wanted = _wanted(x, stride, x_bytes) | _wanted(y, 1, dy_bytes)
    assert wanted <= found <= wanted | _behind(x, stride, x_bytes) | _behind(y, 1, dy_bytes)


def test_few_calls_fetch_dy(plain):
    x, y = _array(256, 1, 1024, 0), _array(64, 1, 256, 1 << 30)
    assert _fetched(plain, _args(1), x, y, 1024, 256, 2) == _wanted(y, 1, 256)


def test_nothing_behind_the_last_block_nor_of_planes(plain):
    x, y = _array(256, 1, 1024, 0), _array(64, 1, 256, 1 << 30)
    assert _fetched(plain, _args(1), x, y, 1024, 256, 40, last=1) == set()
    x.xc = 4096
    wanted, found = _wanted(y, 1, 256), _fetched(plain, _args(1), x, y, 1024, 256, 40)
    assert wanted <= found <= wanted | _behind(y, 1, 256)


@pytest.mark.parametrize("stride", [1, 2])
def test_joined_lines_are_fetched_where_they_join(plain, stride):
    """Of every other pixel lines do not."""
    x, y = _array(256, stride, 1024, 0), _array(64, 1, 384, 1 << 30)
    lines = SimpleNamespace(images=1, rows=1, columns=ROWS * COLUMNS)
    found = _fetched(plain, _args(stride), x, y, 1024, 384, 40, lines=lines)
    wanted = _wanted(y, 1, 384) | (_wanted(x, 1, 1024) if stride == 1 else set())
    behind = _behind(y, 1, 384) | (_behind(x, 1, 1024) if stride == 1 else set())
    assert wanted <= found <= wanted | behind

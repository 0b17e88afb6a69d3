"""Arrays as users have them: any strides, alignment, byte order or container, never modified."""

from __future__ import annotations

import ctypes
import mmap
import sys

import cases
import numpy as np
import pytest
from harness import DIRECTIONS, DISTINCT, DTYPES, FORMATS, Trial, assert_close

import fastconv as fc
from fastconv.core import checks
from fastconv.gemm.weights import TOGETHER, reading_order, taps_of_elements
from fastconv.simd.vector import lanes


class Exporter:
    """Something that is no ndarray and speaks DLPack."""

    def __init__(self, array):
        self._array = array

    def __dlpack__(self, **keywords):
        return self._array.__dlpack__(**keywords)

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()


class Subclass(np.ndarray):
    """An ndarray subclass, as ``np.memmap`` is one."""


def _read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def _negative(array):
    turned = (slice(None, None, -1),) * array.ndim
    return array[turned].copy()[turned]


def _cropped(array):
    """In the middle of a larger array of NaN."""
    frame = np.full([n + 3 for n in array.shape], np.nan, array.dtype)
    inside = frame[tuple(slice(1, 1 + n) for n in array.shape)]
    inside[...] = array
    return inside


def _every_other(array):
    frame = np.full([2 * n for n in array.shape], np.nan, array.dtype)
    inside = frame[(slice(None, None, 2),) * array.ndim]
    inside[...] = array
    return inside


def _unaligned(array):
    memory = np.zeros(array.nbytes + 1, np.uint8)
    shifted = memory[1:].view(array.dtype).reshape(array.shape)
    shifted[...] = array
    assert not shifted.flags.aligned
    return shifted


def _field(array):
    """A field of packed records: strides that are no multiple of the item size."""
    records = np.zeros(array.shape, [("value", array.dtype), ("tag", np.uint8)])
    records["value"] = array
    return records["value"]


def _turned(array):
    """Axes in memory the other way round, as in CHWN data."""
    return array.transpose(1, 2, 3, 0).copy().transpose(3, 0, 1, 2)


ARRAYS = {
    "read-only": _read_only,
    "fortran": np.asfortranarray,
    "negative": _negative,
    "cropped": _cropped,
    "every-other": _every_other,
    "unaligned": _unaligned,
    "field": _field,
    "byte-swapped": lambda array: array.astype(array.dtype.newbyteorder()),
    "turned": _turned,
    "channels-last": lambda array: array.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2),
    "cropped-channels-last": lambda array: _cropped(array.transpose(0, 2, 3, 1)).transpose(
        0, 3, 1, 2
    ),
    "dlpack": lambda array: Exporter(array.copy()),
    "subclass": lambda array: array.copy().view(Subclass),
}

VIEWED = (
    "stride-2-3x3", "depthwise-3x3", "halves-3x3", "medium-1x1-small-images", "medium-16-channels",
)  # fmt: skip


@pytest.mark.parametrize("make", ARRAYS.values(), ids=ARRAYS)
@pytest.mark.parametrize("operand", [0, 1], ids=["first", "second"])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("algorithm", DISTINCT)
@pytest.mark.parametrize("case", [cases.BY_NAME[name] for name in VIEWED], ids=lambda c: c.name)
def test_any_array(case, algorithm, direction, operand, make):
    trial = Trial(case, direction)
    if trial.refusal(algorithm) is not None:
        pytest.skip("refused")
    plain = trial.operands()
    given = [make(a) if i == operand else a for i, a in enumerate(plain)]
    result = trial.run(algorithm, *given)
    assert type(result) is np.ndarray and result.dtype == np.float32
    assert result.flags.writeable
    assert_close(result, trial.expected, trial.bound(algorithm))
    for before, after in zip(plain, given, strict=True):
        after = after if isinstance(after, np.ndarray) else np.from_dlpack(after)
        np.testing.assert_array_equal(after, before)


def test_kernels_get_aligned_arrays():
    """Processors that read others, too, do so slowly."""
    values = np.arange(24.0).reshape(1, 2, 3, 4)
    given = checks.array(_unaligned(values), "input", (4,))
    assert given.flags.aligned
    np.testing.assert_array_equal(given, values)


@pytest.mark.parametrize("make", [_read_only, _negative, _every_other, _unaligned])
def test_any_bias(make):
    trial = Trial(cases.BY_NAME["channels-3-17"], "forward")
    bias = np.linspace(-1, 1, 17, dtype=np.float32)
    x, w = trial.operands()
    y = fc.conv2d(x, w, make(bias), padding=1)
    np.testing.assert_array_equal(y, fc.conv2d(x, w, bias, padding=1))


def test_one_image_broadcast_to_a_batch():
    trial = Trial(cases.BY_NAME["channels-3-17"], "forward")
    x, w = trial.operands()
    batch = np.broadcast_to(x[:1], (5, *x.shape[1:]))
    one, y = (fc.conv2d(images, w, padding=1, algorithm="direct") for images in (x[:1], batch))
    np.testing.assert_array_equal(y, np.repeat(one, 5, axis=0))


def test_one_value_broadcast_to_an_image():
    x = np.broadcast_to(np.float32(2), (1, 3, 6, 5))
    y = fc.conv2d(x, np.ones((4, 3, 2, 2), np.float32))
    np.testing.assert_array_equal(y, np.full((1, 4, 5, 4), 24, np.float32))


@pytest.mark.parametrize("height", [1, 5])
def test_the_result_of_one_channel_is_as_its_strides_say(height):
    """Both orders describe its memory; of pixels (N, H, W, 1) the result is pixels, too."""
    planes = np.random.default_rng(0).random((2, 1, height, 8), np.float32)
    pixels = planes.reshape(2, height, 8, 1).transpose(0, 3, 1, 2)
    w = np.ones((3, 1, 1, 1), np.float32)
    for x, last in ((planes, False), (planes[:, 0][:, None], False), (pixels, True)):
        for part in (slice(None), slice(1, -1)):
            x_part, expected = x[..., part], planes[..., part]
            for y in (
                fc.conv2d(x_part, w),
                fc.conv_transpose2d(x_part, w.swapaxes(0, 1)),
                fc.grad.conv2d_input((2, 3, *expected.shape[2:]), w.swapaxes(0, 1), x_part),
            ):
                dense = y.transpose(0, 2, 3, 1) if last else y
                assert dense.flags.c_contiguous
                np.testing.assert_array_equal(y, np.broadcast_to(expected, y.shape))


def test_the_result_of_one_value_is_made_of_planes():
    """Its strides say nothing."""
    y = fc.conv2d(np.ones((2, 1, 1, 1), np.float32), np.ones((3, 1, 2, 2), np.float32), padding=1)
    assert y.shape == (2, 3, 2, 2) and y.flags.c_contiguous


@pytest.mark.parametrize("order", FORMATS)
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(("channels", "filters"), [(1, 1), (1, 20), (20, 1)])
@pytest.mark.parametrize("algorithm", DISTINCT)
def test_one_channel_in_either_order(algorithm, channels, filters, direction, order):
    case = cases.Case("one-channel", 2, channels, 12, 13, filters, 3, 3, padding=1)
    trial = Trial(case, direction, order=order)
    if trial.refusal(algorithm):
        pytest.skip(trial.refusal(algorithm))
    assert_close(trial.run(algorithm, *trial.operands()), trial.expected, trial.bound(algorithm))


def test_memory_map(tmp_path):
    x = np.arange(2 * 3 * 5 * 6, dtype=np.float32).reshape(2, 3, 5, 6)
    np.save(tmp_path / "x.npy", x)
    w = np.ones((4, 3, 3, 3), np.float32)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    np.testing.assert_array_equal(fc.conv2d(mapped, w), fc.conv2d(x, w))


def test_operands_may_be_one_array():
    x = np.linspace(-1, 1, 2 * 2 * 3 * 3).reshape(2, 2, 3, 3)
    np.testing.assert_array_equal(fc.conv2d(x, x), fc.conv2d(x, x.copy()))


TAPS = {  # of the last two axes of an array of weights
    "columns-reversed": lambda w: w[..., ::-1],
    "rows-reversed": lambda w: w[:, :, ::-1],
    "transposed": lambda w: w.swapaxes(2, 3),
    "every-other": lambda w: np.repeat(w, 2, axis=3)[..., ::2],
    "one-row": lambda w: np.broadcast_to(w[:, :, :1], w.shape),
    "one-tap": lambda w: np.broadcast_to(w[:, :, :1, :1], w.shape),
    "inner": lambda w: np.pad(w, ((0, 0), (0, 0), (1, 1), (1, 1)))[:, :, 1:-1, 1:-1],
}


@pytest.mark.parametrize("taps", TAPS.values(), ids=TAPS)
@pytest.mark.parametrize("filters", [5, 13, 20, 33])
@pytest.mark.parametrize("size", [(1, 16), (7, 48)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("direction", ["forward", "backward_input"])
@pytest.mark.parametrize("order", FORMATS)
@pytest.mark.parametrize("algorithm", ["direct", "im2col"])
def test_weights_whose_taps_are_apart(algorithm, order, direction, dtype, size, filters, taps):
    """In tiles of filters that are no whole vectors, too."""
    case = cases.Case(f"taps-{filters}-{size}", 1, 3, *size, filters, 3, 3, padding=1)
    trial = Trial(case, direction, dtype, order)
    first, w = trial.operands()
    w = taps(w)
    expected = trial.oracle(first, w)
    assert_close(trial.run(algorithm, first, w), expected, trial.bound(algorithm))


@pytest.mark.parametrize(
    "window", [(1, 4), (1, 7), (1, 8), (3, 3), (2, 6), (3, 5), (5, 5)], ids=str
)
@pytest.mark.parametrize("channels", [16, 37])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("algorithm", ["direct", "im2col"])
def test_taps_of_input_gradients(algorithm, dtype, channels, window):
    """Halves of vectors of taps, single ones, and others; filters that are no whole vectors."""
    case = cases.Case(f"window-{channels}-{window}", 2, channels, 9, 8, 6, *window)
    trial = Trial(case, "backward_input", dtype, "nhwc")
    dy, w = trial.operands()
    assert_close(trial.run(algorithm, dy, w), trial.oracle(dy, w), trial.bound(algorithm))


MARGINS = ((0, 0), (0, 1), (1, 0))  # before a window inside of filters, and behind it


@pytest.mark.parametrize("margins", MARGINS, ids=str)
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("window", [(3, 3), (2, 2), (2, 3), (1, 2), (1, 5)], ids=str)
@pytest.mark.parametrize("channels", [lanes(4), 2 * lanes(4) + 3])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("algorithm", ["direct", "im2col", "winograd"])
def test_some_taps_of_filters_that_stand_together(
    algorithm, dtype, channels, window, stride, margins
):
    """A parity reads some of them, a window inside of filters others."""
    case = cases.Case(f"together-{channels}-{window}", 2, channels, 9, 9, 5, *window, stride)
    trial = Trial(case, "backward_input", dtype, "nhwc")
    if trial.refusal(algorithm):
        pytest.skip("it has no tiles for these taps")
    dy, w = trial.operands()
    down = margins if window[0] > 1 else (0, 0)
    padded = np.pad(w, ((0, 0), (0, 0), down, margins), constant_values=np.nan)
    w = padded[:, :, down[0] :, margins[0] :][..., : window[0], : window[1]]
    assert_close(trial.run(algorithm, dy, w), trial.oracle(dy, w), trial.bound(algorithm))


def test_how_filters_that_stand_together_are_read():
    tap = 4
    n = lanes(tap)
    some = np.array([[0, 2 * tap, (n - 1) * tap]])
    assert reading_order(some, n * tap, 90 * tap, tap, True) == TOGETHER
    assert reading_order(some, n * tap, n * tap, tap, True) == TOGETHER  # a single channel
    for wk, wc in ((n, n - 1), (n, -n), (90, n), (n + 1, 90)):  # begins too soon; too far
        assert reading_order(some, wk * tap, wc * tap, tap, True) != TOGETHER
    # Twice, not there, no elements.
    for offsets in ([0, 0, tap], [0, tap, n * tap], [-tap, 0, tap], [0, 2, tap]):
        assert reading_order(np.array([offsets]), n * tap, 90 * tap, tap, True) != TOGETHER
    taps = taps_of_elements(some[0], n * tap, tap)
    np.testing.assert_array_equal(taps, [0, -1, 1, *[-1] * (n - 4), 2])


def _before_forbidden_memory(shape, item_strides, dtype):
    """Such an array, filled, whose last element is the last that may be read; what keeps it."""
    pages = mmap.mmap(-1, 16 * mmap.PAGESIZE)
    end = 15 * mmap.PAGESIZE
    forbidden = ctypes.addressof(ctypes.c_char.from_buffer(pages)) + end
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(forbidden), mmap.PAGESIZE, 0) == 0
    used = sum((n - 1) * step for n, step in zip(shape, item_strides, strict=True)) + 1
    memory = np.frombuffer(pages, dtype, used, end - used * dtype.itemsize)
    memory[...] = np.random.default_rng(4).standard_normal(used)
    strides = [step * dtype.itemsize for step in item_strides]
    return np.lib.stride_tricks.as_strided(memory, shape, strides), pages


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="pages are protected by mprotect")
@pytest.mark.parametrize("algorithm", ["direct", "im2col"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stride", [1, 2])
def test_nothing_is_read_behind_the_last_tap(stride, dtype, algorithm):
    """Where the last of the filters ends, memory that may not be read begins."""
    dtype, channels = np.dtype(dtype), 3 * lanes(4)
    rng = np.random.default_rng(5)
    dy = rng.standard_normal((2, 5, 6, 6)).astype(dtype)
    size = (2, channels, 5 * stride + 3, 5 * stride + 2)
    # Windows of 3 × 2, and such inside of 4 × 2.
    for steps in ((6 * channels, 6), (8 * channels, 8)):
        w, _pages = _before_forbidden_memory((5, channels, 3, 2), (*steps, 2, 1), dtype)
        dx = fc.grad.conv2d_input(size, w, dy, stride, algorithm=algorithm)
        plain = fc.grad.conv2d_input(size, w.copy(), dy, stride, algorithm=algorithm)
        np.testing.assert_array_equal(dx, plain)
    for c, r, s in ((8, 1, 2), (3, 1, 2), (2, 2, 2), (1, 2, 2)):
        w, _pages = _before_forbidden_memory((channels, c, r, s), (c * r * s, r * s, s, 1), dtype)
        x = rng.standard_normal((2, 9, 9, c)).astype(dtype).transpose(0, 3, 1, 2)
        y = fc.conv2d(x, w, None, stride, algorithm=algorithm)
        np.testing.assert_array_equal(y, fc.conv2d(x, w.copy(), None, stride, algorithm=algorithm))


@pytest.mark.parametrize("groups", [1, 64])
def test_taps_apart_in_small_layers_of_many_filters(groups):
    x = np.random.default_rng(1).uniform(-0.5, 1.5, (1, 64, 7, 7)).astype(np.float32)
    w = np.random.default_rng(2).uniform(-0.5, 1.5, (192, 64 // groups, 3, 3)).astype(np.float32)
    for change in TAPS.values():
        y = fc.conv2d(x, change(w), None, 1, 1, 1, groups)
        plain = fc.conv2d(x, np.ascontiguousarray(change(w)), None, 1, 1, 1, groups)
        np.testing.assert_array_equal(y, plain)

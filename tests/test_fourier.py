"""Fourier transforms as programs against numpy.fft, and correlation by them as it is defined."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fastconv.transforms.dft import complex_spectrum, half_complex, real_spectrum
from fastconv.transforms.flow import transpose
from fastconv.transforms.fourier import fourier
from fastconv.transforms.program import apply, count

LENGTHS = (2, 4, 6, 8, 10, 12, 16, 18, 20, 24, 30, 32)


def real_dft(length):
    """T real inputs → half of their spectrum; the inverse is the transpose after doubling all
    entries but the first two, divided by T."""
    return real_spectrum(length, length, half_complex)


def complex_dft(length):
    """T complex inputs → their spectrum; the inverse is the transpose divided by T."""
    return complex_spectrum(length, length, lambda graph, x: [part for z in x for part in z])


def _interleaved(z):
    """Complex rows as rows re_0, im_0, re_1, im_1, …"""
    return np.stack([z.real, z.imag], axis=1).reshape(2 * len(z), *z.shape[1:])


def _half_complex(z):
    half = len(z) // 2
    return np.concatenate([z.real[[0, half]], _interleaved(z[1:half])])


def _is_close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-14 * len(expected))


@pytest.mark.parametrize("length", (1, 3, 5, 7, 9, 15, 25, *LENGTHS))
def test_complex_dft_and_its_inverse(length):
    rng = np.random.default_rng(length)
    z = rng.normal(size=(length, 3)) + 1j * rng.normal(size=(length, 3))
    program = complex_dft(length)
    spectrum = apply(program, _interleaved(z))
    _is_close(spectrum, _interleaved(np.fft.fft(z, axis=0)))
    _is_close(apply(transpose(program), spectrum) / length, _interleaved(z))


@pytest.mark.parametrize("length", LENGTHS)
def test_real_dft_and_its_inverse(length):
    x = np.random.default_rng(length).normal(size=(length, 3))
    program = real_dft(length)
    spectrum = apply(program, x)
    _is_close(spectrum, _half_complex(np.fft.fft(x, axis=0)))
    spectrum[2:] *= 2
    _is_close(apply(transpose(program), spectrum) / length, x)


def _rows(maps, tile, length):
    """The products' factors, row after row, of a tile with any number of rows and columns."""
    columns = apply(maps.column, tile)
    real = [apply(maps.real, columns[u]) for u in (0, 1)]
    pairs = [columns[u : u + 2].T.reshape(-1) for u in range(2, length, 2)]
    return real + [apply(maps.complex, pair) for pair in pairs]


def _tile(maps, products):
    """The output's tile of rows of products."""
    real, pairs = products[:2], products[2:]
    rows = [apply(maps.real, row) for row in real]
    for pair in pairs:
        rows.extend(apply(maps.complex, pair).reshape(-1, 2).T)
    return apply(maps.column, np.array(rows))


SHAPES = ((2, 1, 2), (4, 3, 2), (8, 3, 3), (12, 5, 4), (16, 9, 1), (20, 7, 7), (24, 11, 11),
          (32, 15, 17), (8, 8, 8), (10, 1, 1))  # fmt: skip


@pytest.mark.parametrize(("length", "rows", "columns"), SHAPES)
def test_fourier_is_the_correlation(length, rows, columns):
    rng = np.random.default_rng(length)
    d, g = rng.normal(size=(length, length)), rng.normal(size=(rows, columns))
    maps = fourier(length, rows, columns)
    weight, data = _rows(maps.weight, g, length), _rows(maps.input, d, length)
    assert sum(map(len, data)) == 3 * length**2 // 2 - 2
    products = [w * x for w, x in zip(weight, data, strict=True)]
    windows = np.lib.stride_tricks.sliding_window_view(d, g.shape)
    _is_close(_tile(maps.output, products), np.einsum("pqrs,rs->pq", windows, g))


@pytest.mark.parametrize("shape", [(8, 3, 5), (12, 5, 4), (20, 7, 1)], ids=str)
def test_transposed_maps_are_the_adjoints(shape):
    for program in itertools.chain(*fourier(*shape)):
        matrix = apply(program, np.eye(program.inputs))
        _is_close(apply(transpose(program), np.eye(len(matrix))), matrix.T)


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (real_dft, (7,), "length must be even and at least 2, got 7"),
        (real_dft, (0,), "got 0"),
        (complex_dft, (0,), "length must be at least 1, got 0"),
        (fourier, (8, 9, 3), "rows must be between 1 and length=8, got 9"),
        (fourier, (8, 3, 0), "columns must be between 1 and length=8, got 0"),
        (fourier, (9, 3, 3), "length must be even"),
    ],
)
def test_lengths_that_are_refused(make, arguments, message):
    with pytest.raises(ValueError, match=message):
        make(*arguments)


# T → most instructions of the real and the complex transform.
INSTRUCTIONS = {8: (22, 52), 12: (40, 96), 16: (62, 144), 20: (90, 208), 24: (108, 252),
                32: (166, 372)}  # fmt: skip


@pytest.mark.parametrize("length", INSTRUCTIONS)
def test_transforms_are_short(length):
    lengths = (count(real_dft(length)).total, count(complex_dft(length)).total)
    assert all(a <= b for a, b in zip(lengths, INSTRUCTIONS[length], strict=True)), lengths

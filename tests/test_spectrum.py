"""Spectra of two dimensions, and the correlation they compute, against the definition."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv.transforms.program import apply
from fastconv.transforms.spectrum import Span, inverse, transform

# T, n, m, r, p along each axis: padded images in one period, and tiles that overlap.
SIDES = (
    (8, 6, 6, 3, 1),
    (12, 12, 8, 5, 0),
    (16, 9, 12, 6, 4),
    (4, 4, 4, 1, 0),
    (20, 1, 9, 9, 8),
)


def _spectrum(tile_map, tile):
    columns = apply(tile_map.vertical, tile)
    values, row = [], 0
    for rows in tile_map.horizontal:
        for _ in range(rows.count):
            lines = columns[row : row + rows.lines].T.reshape(-1)
            values.append(apply(rows.program, lines))
            row += rows.lines
    return np.concatenate(values)


def _tile(tile_map, spectrum):
    lines, at = [], 0
    for rows in tile_map.horizontal:
        for _ in range(rows.count):
            values = apply(rows.program, spectrum[at : at + rows.program.inputs])
            lines.extend(values.reshape(-1, rows.lines).T)
            at += rows.program.inputs
    return apply(tile_map.vertical, np.array(lines))


def _times_conjugate(x, w, width):
    """Both real rows begin with two real frequencies; all others are pairs."""
    product = x * w
    real = np.zeros(len(x), bool)
    real[[0, 1, width, width + 1]] = True
    a, c = x[~real].reshape(-1, 2), w[~real].reshape(-1, 2)
    z = (a @ [1, 1j]) * np.conj(c @ [1, 1j])
    product[~real] = np.stack([z.real, z.imag], axis=1).reshape(-1)
    return product


@pytest.mark.parametrize("rows", SIDES)
@pytest.mark.parametrize("columns", SIDES)
def test_correlation_and_its_gradient(rows, columns):
    sides = rows, columns
    rng = np.random.default_rng(len(SIDES) * sum(rows) + sum(columns))
    inputs, outputs, taps = (rng.normal(size=[side[i] for side in sides]) for i in (1, 2, 3))
    joined = [
        (np.arange(m)[:, None, None] + np.arange(r)[:, None] - p == np.arange(n)).astype(float)
        for _, n, m, r, p in sides
    ]
    forward = transform(*(Span(T, n) for T, n, _, _, _ in sides))
    given = tuple(Span(T, m) for T, _, m, _, _ in sides)
    filters = tuple(Span(T, r, -p % T) for T, _, _, r, p in sides)
    x, w = _spectrum(forward, inputs), _spectrum(transform(*filters, True), taps)
    y = _tile(inverse(*given), _times_conjugate(x, w, columns[0]))
    expected = np.einsum("iun,jvk,nk,uv->ij", *joined, inputs, taps)
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-12)
    dy = _spectrum(transform(*given), outputs)
    dw = _tile(inverse(*filters, True), _times_conjugate(x, dy, columns[0]))
    expected = np.einsum("iun,jvk,nk,ij->uv", *joined, inputs, outputs)
    np.testing.assert_allclose(dw, expected, rtol=0, atol=1e-12)

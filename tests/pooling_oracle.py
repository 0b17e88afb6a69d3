"""The independent oracle of pooling: the definitions, window by window, importing no fastconv."""

from __future__ import annotations

import numpy as np


def pair(value) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def windows(size, taps, stride, padding, dilation, ceil_mode):
    """Along one axis: of each window its inputs, and its extent with the padding it covers."""
    found, start = [], -padding
    room = size + padding - dilation * (taps - 1) - 1  # the last start that fits
    while start <= room or (ceil_mode and start < min(room + stride, size)):
        first = start + max(0, -(start // dilation)) * dilation
        inputs = range(first, min(start + dilation * taps, size), dilation)
        found.append((inputs, min(start + taps, size + padding) - start))
        start += stride
    return found


def _planes(shape, kernel_size, stride, padding, dilation, ceil_mode):
    """(p, q, input rows, input columns, extent) of every window."""
    kernel = pair(kernel_size)
    rows, columns = (
        windows(*axis, ceil_mode)
        for axis in zip(
            shape[2:],
            kernel,
            kernel if stride is None else pair(stride),
            pair(padding),
            pair(dilation),
            strict=True,
        )
    )
    size = (len(rows), len(columns))
    return size, [
        (p, q, inputs_h, inputs_w, extent_h * extent_w)
        for p, (inputs_h, extent_h) in enumerate(rows)
        for q, (inputs_w, extent_w) in enumerate(columns)
    ]


def max_pool(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """(y, indices): the first maximum in row-major order, or the last NaN; −∞ and −1 if empty."""
    size, planes = _planes(x.shape, kernel_size, stride, padding, dilation, ceil_mode)
    y = np.full((*x.shape[:2], *size), -np.inf)
    indices = np.full(y.shape, -1)
    for p, q, rows, columns, _ in planes:
        for h in rows:
            for w in columns:
                value, best = x[:, :, h, w], y[:, :, p, q]
                new = (value > best) | np.isnan(value) | (indices[:, :, p, q] < 0)
                y[:, :, p, q] = np.where(new, value, best)
                indices[:, :, p, q] = np.where(new, h * x.shape[3] + w, indices[:, :, p, q])
    return y, indices


def max_pool_backward(dy, indices, shape):
    dx = np.zeros(shape)
    for n, c, p, q in np.ndindex(*dy.shape):
        if indices[n, c, p, q] >= 0:
            dx[n, c].flat[indices[n, c, p, q]] += dy[n, c, p, q]
    return dx


def _averages(shape, kernel_size, stride, padding, ceil_mode, include_pad, override):
    """(p, q, slice of the inputs, divisor) of every window."""
    size, planes = _planes(shape, kernel_size, stride, padding, 1, ceil_mode)
    return size, [
        (
            p,
            q,
            (..., slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)),
            override or (extent if include_pad else len(rows) * len(columns)),
        )
        for p, q, rows, columns, extent in planes
    ]


def avg_pool(
    x, kernel_size, stride=None, padding=0, ceil_mode=False, include_pad=True, override=None
):
    size, planes = _averages(
        x.shape, kernel_size, stride, padding, ceil_mode, include_pad, override
    )
    y = np.empty((*x.shape[:2], *size))
    for p, q, inputs, divisor in planes:
        y[:, :, p, q] = x[inputs].astype(np.float64).sum(axis=(2, 3)) / divisor
    return y


def avg_pool_backward(
    dy, shape, kernel_size, stride=None, padding=0, ceil_mode=False, include_pad=True, override=None
):
    _, planes = _averages(shape, kernel_size, stride, padding, ceil_mode, include_pad, override)
    dx = np.zeros(shape)
    for p, q, inputs, divisor in planes:
        dx[inputs] += dy[:, :, p, q, None, None].astype(np.float64) / divisor
    return dx

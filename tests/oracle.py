"""The independent oracle: convolutions in NumPy float64, importing nothing from fastconv.

Everything is one picture, the windows of a padded image: the forward is a matrix product of windows
with filters, the weight gradient a matrix product of windows with gradients, and the input gradient
the forward of the gradient (spread out by the stride) with the filters turned around.

``padding`` is an int, a pair (rows, columns), or top, bottom, left, right; ``"same"`` and
``"valid"`` as in PyTorch.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def pair(value) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def paddings(padding, kernel, dilation=1) -> tuple[int, int, int, int]:
    """``padding`` in any of its forms as top, bottom, left, right."""
    if padding == "valid":
        return (0, 0, 0, 0)
    if padding == "same":
        rows, columns = (d * (r - 1) for d, r in zip(pair(dilation), kernel, strict=True))
        return (rows // 2, (rows + 1) // 2, columns // 2, (columns + 1) // 2)
    if not isinstance(padding, int) and len(padding) == 4:
        return tuple(padding)
    rows, columns = pair(padding)
    return (rows, rows, columns, columns)


def output_size(x_shape, w_shape, stride=1, padding=0, dilation=1) -> tuple[int, int]:
    """(P, Q) of the forward."""
    kernel = w_shape[2:]
    top, bottom, left, right = paddings(padding, kernel, dilation)
    padded = (x_shape[2] + top + bottom, x_shape[3] + left + right)
    return tuple(
        (size - d * (r - 1) - 1) // s + 1
        for size, d, r, s in zip(padded, pair(dilation), kernel, pair(stride), strict=True)
    )


def _pad(x, pads):
    """Zeros around the image; a negative entry crops."""
    top, bottom, left, right = pads
    h, w = x.shape[2:]
    x = x[:, :, max(0, -top) : h - max(0, -bottom), max(0, -left) : w - max(0, -right)]
    return np.pad(x, ((0, 0), (0, 0), *((max(0, a), max(0, b)) for a, b in (pads[:2], pads[2:]))))


def _windows(x, kernel, stride, pads, dilation, groups):
    """(G, N·P·Q, C/G·R·S): each row is what one output pixel sees of one group."""
    (sh, sw), (dh, dw) = pair(stride), pair(dilation)
    reach = tuple(d * (r - 1) + 1 for d, r in zip((dh, dw), kernel, strict=True))
    view = sliding_window_view(_pad(x, pads), reach, axis=(2, 3))
    view = view[:, :, ::sh, ::sw, ::dh, ::dw]
    n, c, p, q, r, s = view.shape
    view = view.reshape(n, groups, c // groups, p, q, r, s).transpose(1, 0, 3, 4, 2, 5, 6)
    return view.reshape(groups, n * p * q, c // groups * r * s)


def _pixels(y, groups):
    """(G, N·P·Q, K/G): the same rows for an output."""
    n, k, p, q = y.shape
    view = y.reshape(n, groups, k // groups, p, q).transpose(1, 0, 3, 4, 2)
    return view.reshape(groups, n * p * q, k // groups)


def forward(x, w, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """y (N, K, P, Q) of x (N, C, H, W) and w (K, C/groups, R, S)."""
    x, w = np.asarray(x, np.float64), np.asarray(w, np.float64)
    pads = paddings(padding, w.shape[2:], dilation)
    p, q = output_size(x.shape, w.shape, stride, padding, dilation)
    seen = _windows(x, w.shape[2:], stride, pads, dilation, groups)
    filters = w.reshape(groups, w.shape[0] // groups, -1)
    n, k = x.shape[0], w.shape[0]
    y = (seen @ filters.transpose(0, 2, 1)).reshape(groups, n, p, q, k // groups)
    y = y.transpose(1, 0, 4, 2, 3).reshape(n, k, p, q)
    return y if bias is None else y + np.asarray(bias, np.float64)[:, None, None]


def backward_input(x_shape, w, dy, stride=1, padding=0, dilation=1, groups=1):
    """dx (N, C, H, W): dy spread out by the stride, convolved with the filters turned around."""
    w, dy = np.asarray(w, np.float64), np.asarray(dy, np.float64)
    (n, c, h, width), (k, cg, r, s) = x_shape, w.shape
    (sh, sw), (dh, dw) = pair(stride), pair(dilation)
    top, _, left, _ = paddings(padding, (r, s), dilation)
    p, q = dy.shape[2:]
    spread = np.zeros((n, k, (p - 1) * sh + 1, (q - 1) * sw + 1))
    spread[:, :, ::sh, ::sw] = dy
    turned = w[:, :, ::-1, ::-1].reshape(groups, k // groups, cg, r, s).transpose(0, 2, 1, 3, 4)
    # Image row h meets the last tap in row h + top of the spread gradient, so that much of the
    # reach lies before it, and as much behind it as is needed to come to h rows in all.
    before = (dh * (r - 1) - top, dw * (s - 1) - left)
    after = (h + top - spread.shape[2], width + left - spread.shape[3])
    pads = (before[0], after[0], before[1], after[1])
    return forward(spread, turned.reshape(c, k // groups, r, s), None, 1, pads, dilation, groups)


def backward_weight(x, w_shape, dy, stride=1, padding=0, dilation=1, groups=1):
    """dw (K, C/groups, R, S): windows times gradients, summed over all pixels."""
    x, dy = np.asarray(x, np.float64), np.asarray(dy, np.float64)
    pads = paddings(padding, w_shape[2:], dilation)
    seen = _windows(x, w_shape[2:], stride, pads, dilation, groups)
    return (_pixels(dy, groups).transpose(0, 2, 1) @ seen).reshape(w_shape)


def transposed(y, w, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    """Transposed convolution: y (N, K, P, Q) and w (K, C/groups, R, S) → (N, C, H, W)."""
    spatial = tuple(
        (n - 1) * s - 2 * p + d * (r - 1) + 1 + e
        for n, s, p, d, r, e in zip(
            y.shape[2:],
            pair(stride),
            pair(padding),
            pair(dilation),
            w.shape[2:],
            pair(output_padding),
            strict=True,
        )
    )
    shape = (y.shape[0], w.shape[1] * groups, *spatial)
    x = backward_input(shape, w, y, stride, padding, dilation, groups)
    return x if bias is None else x + np.asarray(bias, np.float64)[:, None, None]

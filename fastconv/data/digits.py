"""The 1,797 scanned digits that scikit-learn ships."""

from __future__ import annotations

import numpy as np


def load_digits() -> tuple[np.ndarray, np.ndarray]:
    """Handwritten digits of the UCI repository (Alpaydin and Kaynak, 1998), without a download.

    Returns
    -------
    images : float32 (1797, 1, 8, 8), in 0 … 1 (the scans count ink in 16 steps)
    labels : int64 (1797,), in 0 … 9

    Raises
    ------
    ImportError : scikit-learn, which the extra ``fastconv[demo]`` brings, is not installed.
    """
    try:
        from sklearn.datasets import load_digits as load
    except ModuleNotFoundError as error:
        raise ImportError(
            "load_digits needs scikit-learn: pip install 'fastconv[demo]'", name=error.name
        ) from error
    scans = load()
    images = (scans.images / 16).astype(np.float32)
    return images[:, None], scans.target.astype(np.int64)

"""The small network of ``fastconv demo``."""

from __future__ import annotations

import numpy as np

from fastconv import nn


def digits_cnn(*, rng: np.random.Generator | None = None) -> nn.Sequential:
    """Images (N, 1, 8, 8) in 0 … 1 → scores (N, 10): three 3×3 layers, 33,546 parameters.

    ``rng`` draws the first values; :func:`fastconv.nn.manual_seed`'s generator if None.
    """
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, rng=rng),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1, rng=rng),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1, rng=rng),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64 * 4 * 4, 10, rng=rng),
    )

"""The random numbers behind initialisation and shuffling."""

from __future__ import annotations

import numpy as np

_generator = np.random.default_rng()


def manual_seed(seed: int) -> np.random.Generator:
    """Start the random numbers again from ``seed``: the same seed gives the same run.

    Returns the generator that layers draw their first parameters from, and loaders their batches,
    also those made before, unless they are given one of their own.
    """
    _generator.bit_generator.state = np.random.default_rng(seed).bit_generator.state
    return _generator


def generator(rng: np.random.Generator | int | None = None) -> np.random.Generator:
    """``rng`` itself, a generator started from it if it is a seed, or the common one if None."""
    return _generator if rng is None else np.random.default_rng(rng)

"""The random numbers behind initialisation and shuffling."""

from __future__ import annotations

import numpy as np

from fastconv.core import checks

_generator = np.random.default_rng()


def manual_seed(seed: int) -> np.random.Generator:
    """Start the random numbers again from ``seed``: the same seed gives the same run.

    Returns the generator that layers draw their first parameters from, and loaders their batches,
    also those made before, unless they are given one of their own.
    """
    started = checks.random(checks.integer(seed, "seed", bits=1024), "seed")
    _generator.bit_generator.state = started.bit_generator.state
    return _generator


def generator(rng: np.random.Generator | int | None = None) -> np.random.Generator:
    """``rng`` itself, a generator started from it if it is a seed, or the common one if None."""
    return _generator if rng is None else checks.random(rng, "rng")

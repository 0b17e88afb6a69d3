"""Holding a part of a data set out."""

from __future__ import annotations

import numpy as np

from fastconv.core import checks


def stratified_split(
    labels: np.ndarray, fraction: float = 0.2, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the part to train on and of the part held out, each class in proportion.

    Of a class with n members, ``round(fraction·n)`` are held out.  Both parts come shuffled, and
    are the same for the same ``labels`` and ``seed``.

    Parameters
    ----------
    labels : array (N,), one class per sample
    fraction : held out of each class, between 0 and 1

    Raises
    ------
    ValueError : naming the argument.
    """
    labels = np.asarray(labels)
    if labels.ndim != 1:
        raise ValueError(f"labels must have 1 dimension, got shape {labels.shape}")
    if not labels.size:
        raise ValueError("labels must not be empty")
    if checks.positive(fraction, "fraction") >= 1:
        raise ValueError(f"fraction must be between 0 and 1, got {fraction!r}")
    random = checks.random(seed, "seed")
    parts: tuple[list, list] = ([], [])
    names, classes = np.unique(labels, return_inverse=True)
    for label in range(len(names)):
        members = random.permutation(np.flatnonzero(classes == label))
        held_out = round(fraction * len(members))
        parts[0].append(members[held_out:])
        parts[1].append(members[:held_out])
    kept, held = (random.permutation(np.concatenate(part)) for part in parts)
    return kept, held

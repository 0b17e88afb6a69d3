"""What training is fed: arrays are cut into batches, loaders are taken as they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from fastconv.core import checks
from fastconv.data import DataLoader

Rng = np.random.Generator | int | None


def batches(
    data: Any, name: str, batch_size: int, shuffle: bool = False, rng: Rng = None
) -> Iterable[Any]:
    """Something that gives (input, target) batches each time it is iterated over.

    Parameters
    ----------
    data : a pair of arrays of equal length, or an iterable of pairs, e.g. a
        ``fastconv.data.DataLoader``, whose own batches and order then hold
    name : of the argument, for errors
    batch_size : samples in a batch of arrays; the last one may be smaller
    shuffle : draw a new order of the arrays on every pass
    rng : of the orders: a generator, a seed, or None for :func:`fastconv.manual_seed`'s

    Raises
    ------
    TypeError, ValueError : naming the argument.
    """
    size = checks.integer(batch_size, "batch_size", 1)
    checks.flag(shuffle, "shuffle")
    if not isinstance(data, Iterable) or isinstance(data, Iterator) or hasattr(data, "shape"):
        raise TypeError(
            f"{name} must be a pair of arrays, or a list or loader of such pairs "
            f"(not an iterator, which ends after one pass); got {type(data).__name__}"
        )
    if not isinstance(data, (tuple, list)):
        return data
    arrays = [hasattr(part, "shape") for part in data]
    if arrays and not any(arrays):
        for part in data:
            _check_batch(part, name)
        return data
    if not all(arrays):
        kinds = ", ".join(type(part).__name__ for part in data)
        raise TypeError(f"{name} must be two arrays, or a list of batches; got {kinds}")
    shapes = [tuple(part.shape) for part in data]
    if len(data) != 2 or not all(shapes) or shapes[0][0] != shapes[1][0]:
        raise ValueError(f"{name} must be two arrays of equal length, got shapes {shapes}")
    if not shapes[0][0]:
        raise ValueError(f"{name} holds no samples: shapes {shapes}")
    return DataLoader(tuple(np.asarray(part) for part in data), size, shuffle, rng=rng)


def _check_batch(batch: Any, name: str) -> None:
    """Tell lists of samples from lists of batches."""
    if isinstance(batch, (tuple, list)) and not any(hasattr(part, "shape") for part in batch):
        kinds = ", ".join(sorted({type(part).__name__ for part in batch}))
        raise TypeError(
            f"{name} must be a pair of arrays, or a list or loader of such pairs; "
            f"got a {type(batch).__name__} of {kinds or 'nothing'} in place of a pair or an array"
        )


def pairs(data: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """The batches of ``data``, each of which must be a pair (``ValueError``)."""
    for batch in data:
        try:
            input, target = batch
        except (TypeError, ValueError) as error:
            raise ValueError(f"a batch must be a pair (input, target): {error}") from None
        yield input, target

"""What training is fed: arrays are cut into batches, loaders are taken as they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from fastconv.core import checks
from fastconv.nn import random

Rng = np.random.Generator | int | None


class Batches:
    """Mini-batches (input, target) of two arrays; each pass is in a new order, if shuffled.

    Two of them with equal seeds give equal passes.
    """

    def __init__(
        self,
        input: np.ndarray,
        target: np.ndarray,
        batch_size: int,
        rng: np.random.Generator | None = None,
    ):
        self.input = input
        self.target = target
        self.batch_size = batch_size
        self._rng = rng  # None: in order

    def __len__(self) -> int:
        return -(-len(self.input) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        samples = len(self.input)
        order = None if self._rng is None else self._rng.permutation(samples)
        for start in range(0, samples, self.batch_size):
            batch = slice(start, start + self.batch_size)
            chosen = batch if order is None else order[batch]
            yield self.input[chosen], self.target[chosen]


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
    if not isinstance(data, Iterable) or isinstance(data, Iterator) or hasattr(data, "shape"):
        raise TypeError(
            f"{name} must be a pair of arrays, or a list or loader of such pairs "
            f"(not an iterator, which ends after one pass); got {type(data).__name__}"
        )
    if not isinstance(data, (tuple, list)):
        return data
    arrays = [hasattr(part, "shape") for part in data]
    if arrays and not any(arrays):
        return data
    if not all(arrays):
        kinds = ", ".join(type(part).__name__ for part in data)
        raise TypeError(f"{name} must be two arrays, or a list of batches; got {kinds}")
    shapes = [tuple(part.shape) for part in data]
    if len(data) != 2 or not all(shapes) or shapes[0][0] != shapes[1][0]:
        raise ValueError(f"{name} must be two arrays of equal length, got shapes {shapes}")
    if not shapes[0][0]:
        raise ValueError(f"{name} holds no samples: shapes {shapes}")
    input, target = (np.asarray(part) for part in data)
    return Batches(input, target, size, random.generator(rng) if shuffle else None)


def pairs(data: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """The batches of ``data``, each of which must be a pair (``ValueError``)."""
    for batch in data:
        try:
            input, target = batch
        except (TypeError, ValueError) as error:
            raise ValueError(f"a batch must be a pair (input, target): {error}") from None
        yield input, target

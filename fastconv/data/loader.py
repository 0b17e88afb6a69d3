"""Batches of arrays, in order or shuffled anew on every pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from fastconv.core import checks
from fastconv.nn import random


class DataLoader:
    """Iterate over arrays of equal length in batches, as ``torch.utils.data.DataLoader`` does.

    Parameters
    ----------
    arrays : tuple of arrays, such as (images, labels), with the same first size
    batch_size : samples in a batch; the last one may be smaller
    shuffle : a new order on every pass
    drop_last : leave the last batch out if it is smaller
    transform : ``transform(batch, random)`` of the first array's batches, e.g. an augmentation
    rng : of the order and of ``random``: a generator, a seed (the passes of two loaders with the
        same seed are equal), or None for :func:`fastconv.nn.manual_seed`'s

    Iterating gives tuples of arrays; ``len`` is the number of batches.

    Raises
    ------
    TypeError, ValueError : naming the argument.
    """

    def __init__(
        self,
        arrays: tuple[np.ndarray, ...],
        batch_size: int = 1,
        shuffle: bool = False,
        drop_last: bool = False,
        *,
        transform: Callable[[np.ndarray, np.random.Generator], np.ndarray] | None = None,
        rng: np.random.Generator | int | None = None,
    ):
        if not isinstance(arrays, (tuple, list)):
            raise TypeError(f"arrays must be a tuple of arrays, got {type(arrays).__name__}")
        for i, array in enumerate(arrays):
            if not getattr(array, "shape", ()):
                raise TypeError(f"arrays[{i}] must be an array of samples, got {array!r:.60}")
        lengths = [len(array) for array in arrays]
        if not lengths or len(set(lengths)) != 1:
            raise ValueError(f"arrays must be equally long, got lengths {lengths}")
        self.arrays = arrays
        self.batch_size = checks.integer(batch_size, "batch_size", 1)
        self.shuffle = checks.flag(shuffle, "shuffle")
        self.drop_last = checks.flag(drop_last, "drop_last")
        if transform is not None and not callable(transform):
            raise TypeError(f"transform must be callable, got {transform!r}")
        self.transform = transform
        self._random = random.generator(rng)

    @property
    def samples(self) -> int:
        """Samples in the data set."""
        return len(self.arrays[0])

    def __len__(self) -> int:
        whole, rest = divmod(self.samples, self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[tuple[np.ndarray, ...]]:
        order = np.arange(self.samples)
        if self.shuffle:
            self._random.shuffle(order)
        for batch in range(len(self)):
            chosen = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            first, *others = (array[chosen] for array in self.arrays)
            if self.transform is not None:
                first = self.transform(first, self._random)
            yield first, *others

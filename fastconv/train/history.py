"""What training reports: means over an epoch, and the record of all epochs."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real

Record = dict[str, float]


class Means:
    """Running means of several quantities, each batch weighted by its number of samples."""

    def __init__(self) -> None:
        self.samples = 0
        self._sums: Record = {}

    def add(self, values: Mapping[str, float], samples: int) -> None:
        if not samples:  # what is the mean of nothing would make all others NaN
            return
        self.samples += samples
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(value) * samples

    def result(self) -> Record:
        if not self.samples:
            raise ValueError("data gave no samples")
        return {name: total / self.samples for name, total in self._sums.items()}


class History:
    """The epochs of a training run, as plain dicts and lists.

    ``history.epochs`` is a list with one dict for each epoch; ``history["loss"]`` is one quantity
    over all epochs.  The quantities: ``epoch`` (from 1), ``loss`` and each metric over the training
    data as it was seen, ``val_loss`` and ``val_…`` over the validation data after the epoch, and
    ``seconds``.
    """

    def __init__(self) -> None:
        self.epochs: list[Record] = []

    def append(self, record: Record) -> None:
        self.epochs.append(record)

    def as_dict(self) -> dict[str, list[float]]:
        """Every quantity as a list, for a plot, a table or a JSON file.

        What a callback recorded in some epochs only is as long as those are many.
        """
        names = dict.fromkeys(name for record in self.epochs for name in record)
        return {name: [r[name] for r in self.epochs if name in r] for name in names}

    def __getitem__(self, name: str) -> list[float]:
        return self.as_dict()[name]

    def __len__(self) -> int:
        return len(self.epochs)

    def __repr__(self) -> str:
        last = f", last {describe(self.epochs[-1])}" if self.epochs else ""
        return f"History({len(self)} epochs{last})"


def describe(record: Mapping[str, float]) -> str:
    """A record on one line: ``loss 0.0421  accuracy 0.987  1.2 s``."""
    shown = [f"{name} {_text(value)}" for name, value in record.items() if name not in _OWN_FORMAT]
    if "seconds" in record:
        shown.append(f"{record['seconds']:.1f} s")
    return "  ".join(shown)


def _text(value: object) -> str:
    """A number with four digits; callbacks may record anything else."""
    return f"{value:.4g}" if isinstance(value, Real) else str(value)


_OWN_FORMAT = ("epoch", "seconds")

"""What is measured beside the loss."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

Metric = Callable[[np.ndarray, np.ndarray], float]


def accuracy(output: np.ndarray, target: np.ndarray) -> float:
    """The share of samples whose largest score is that of their class.

    ``output`` (N, C, …) are scores, ``target`` classes (N, …) or probabilities (N, C, …).
    """
    if target.ndim == output.ndim:
        target = target.argmax(axis=1)
    return float((output.argmax(axis=1) == target).mean())


METRICS: dict[str, Metric] = {"accuracy": accuracy}


def resolve(metrics: Iterable[str | Metric]) -> dict[str, Metric]:
    """The metrics by name: names are looked up, functions go by their own."""
    if isinstance(metrics, str) or callable(metrics):
        raise TypeError(f"metrics must be a list of names and functions, got {metrics!r}")
    resolved = {}
    for metric in metrics:
        if callable(metric):
            resolved[getattr(metric, "__name__", type(metric).__name__)] = metric
        elif metric in METRICS:
            resolved[metric] = METRICS[metric]
        else:
            known = ", ".join(METRICS)
            raise ValueError(f"metrics must be functions or among {known}; got {metric!r}")
    return resolved

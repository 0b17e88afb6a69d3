"""What is measured beside the loss."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

Metric = Callable[[np.ndarray, np.ndarray], float]


def accuracy(output: np.ndarray, target: np.ndarray) -> float:
    """The share of samples whose largest score is that of their class.

    ``output`` (N, C, …) are scores, ``target`` classes (N, …) or probabilities (N, C, …); other
    shapes, and a single class, which is always right, are a ``ValueError``.
    """
    classes = (*output.shape[:1], *output.shape[2:])
    if output.ndim < 2 or output.shape[1] < 2 or target.shape not in (classes, output.shape):
        raise ValueError(
            f"accuracy needs scores (N, C ≥ 2, …) and a target (N, …) or (N, C, …), got output "
            f"{output.shape} and target {target.shape}; metrics=() of a Trainer leaves it out"
        )
    if target.ndim == output.ndim:
        target = target.argmax(axis=1)
    return float((output.argmax(axis=1) == target).mean())


_TAKEN = ("epoch", "loss", "seconds")  # what a record has of its own
METRICS: dict[str, Metric] = {"accuracy": accuracy}


def resolve(metrics: Iterable[str | Metric]) -> dict[str, Metric]:
    """The metrics by name: names are looked up, functions go by their own."""
    if isinstance(metrics, str) or callable(metrics) or not isinstance(metrics, Iterable):
        raise TypeError(f"metrics must be a list of names and functions, got {metrics!r}")
    resolved: dict[str, Metric] = {}
    for metric in metrics:
        if callable(metric):
            name, function = getattr(metric, "__name__", type(metric).__name__), metric
        elif isinstance(metric, str) and metric in METRICS:
            name, function = metric, METRICS[metric]
        else:
            known = ", ".join(METRICS)
            raise ValueError(f"metrics must be functions or among {known}; got {metric!r}")
        if name in resolved or name in _TAKEN:
            raise ValueError(f"metrics must have names of their own, {name!r} is taken")
        resolved[name] = function
    return resolved

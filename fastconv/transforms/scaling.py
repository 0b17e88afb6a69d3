"""The multiple at which a program keeps each of its values.

A value nobody outside sees may be kept at any scale.  Divided by one of the factors in its sum it
has a factor 1 there, and a sum of k terms takes k − 1 instructions instead of k; the divisor
reappears in the factors of its consumers, which are fused multiply-adds anyway.  With rotations as
the sums this is the FFT of Linzer and Feig (1993).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from .flow import Flow


def scaled(flow: Flow) -> list[dict]:
    """The sums with factors as they are once every value is kept at a scale of its choice."""
    choices: dict[int, int] = {}
    best = _at_scale(flow, choices)
    improved = True
    while best.scalings and improved:
        # Some output lacks a factor 1: another choice for a sum before it may spare the scaling.
        improved = False
        for index, choice in _alternatives(flow, best.scalings):
            trial = _at_scale(flow, choices | {index: choice})
            if trial.cost < best.cost:
                best, improved = trial, True
                choices[index] = choice
    return best.sums


class _Scaled(NamedTuple):
    sums: list[dict]
    scalings: list[int]  # outputs with no factor ±1
    cost: tuple[int, int, int]


def _at_scale(flow: Flow, choices: dict[int, int]) -> _Scaled:
    """The sums at given scales: ``choices`` names the term of a sum whose factor becomes 1."""
    outputs = set(flow.results)
    divided = [1.0] * flow.inputs
    sums, scalings = [], []
    for value, terms in enumerate(flow.sums, flow.inputs):
        factors = {i: float(factor) * divided[i] for i, factor in terms.items()}
        divisor = 1.0
        if value not in outputs:
            choice = choices.get(value)
            divisor = factors[_unit(factors) if choice is None else choice]
        factors = {i: _settle(factor / divisor) for i, factor in factors.items()}
        if not any(abs(factor) == 1 for factor in factors.values()):
            scalings.append(value)
        divided.append(divisor)
        sums.append(factors)
    every = [factor for factors in sums for factor in factors.values()]
    products = sum(abs(factor) != 1 for factor in every)
    inexact = sum(not _is_exact(factor) for factor in every)
    return _Scaled(sums, scalings, (len(scalings), products, inexact))


def _alternatives(flow: Flow, values: list[int]) -> list[tuple[int, int]]:
    """Choices for sums up to two steps before ``values``."""
    near: dict[int, None] = {}
    for _ in range(2):
        values = [i for value in values for i in flow.sums[value - flow.inputs]]
        values = [i for i in values if i >= flow.inputs]
        near |= dict.fromkeys(values)
    outputs = set(flow.results)
    return [(i, term) for i in near if i not in outputs for term in flow.sums[i - flow.inputs]]


def _unit(factors: dict):
    """The term to divide by: it leaves most factors ±1, then most exact ones, then none large."""

    def cost(choice):
        ratios = [abs(_settle(factor / factors[choice])) for factor in factors.values()]
        inexact = sum(not _is_exact(ratio) for ratio in ratios)
        return sum(ratio != 1 for ratio in ratios), inexact, max(ratios)

    return min(factors, key=cost)


def _settle(factor: float) -> float:
    """The float32 number that rounding missed, 1 before all."""
    near = _float32(factor)
    return near if abs(factor - near) < 1e-14 * abs(near) else factor


def _is_exact(factor: float) -> bool:
    return _float32(factor) == factor


def _float32(value: float) -> float:
    return float(np.float32(value))

"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from fastconv.autograd import Tensor
from fastconv.core import checks

from .optimizer import Group, Optimizer


class SGD(Optimizer):
    """Gradient descent with momentum, as ``torch.optim.SGD``.

        g ← ∇ + weight_decay · p           (−∇ with ``maximize``)
        v ← momentum · v + (1 − dampening) · g,   at first v = g
        p ← p − lr · v,                    or p − lr · (g + momentum · v) with ``nesterov``

    The form of the velocity is that of Sutskever et al. (2013) with lr moved out of it.

    Parameters
    ----------
    params : tensors, or groups ``{"params": tensors, "lr": …}``
    lr, momentum, dampening, weight_decay : numbers ≥ 0 (``dampening`` any)
    nesterov : needs momentum and no dampening
    """

    buffers = ("momentum_buffer",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ):
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
                "maximize": maximize,
            },
        )

    def check(self, group: Group) -> None:
        for name in ("lr", "momentum", "weight_decay", "dampening"):
            value = group[name]
            if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
                raise TypeError(f"{name} must be a number, got {value!r}")
            if name != "dampening" and not value >= 0:
                raise ValueError(f"{name} must be at least 0, got {value!r}")
        for name in ("nesterov", "maximize"):
            checks.flag(group[name], name)
        if group["nesterov"] and (group["momentum"] == 0 or group["dampening"] != 0):
            raise ValueError(
                f"nesterov needs momentum > 0 and dampening 0, got momentum {group['momentum']!r} "
                f"and dampening {group['dampening']!r}"
            )

    def update(self, parameter: Tensor, gradient: np.ndarray, group: Group) -> None:
        momentum = float(group["momentum"])
        if group["maximize"]:
            gradient = -gradient
        if group["weight_decay"]:
            gradient = gradient + float(group["weight_decay"]) * parameter.data
        step = gradient
        if momentum:
            state = self.state.setdefault(parameter, {})
            velocity = state.get("momentum_buffer")
            if velocity is None:
                velocity = state["momentum_buffer"] = np.array(gradient, order="K")
            else:
                velocity *= momentum
                velocity += (1 - float(group["dampening"])) * gradient
            step = gradient + momentum * velocity if group["nesterov"] else velocity
        parameter.data -= float(group["lr"]) * step

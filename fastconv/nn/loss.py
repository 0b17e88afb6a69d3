"""Loss layers."""

from __future__ import annotations

from typing import Any

from fastconv.autograd import Tensor, functional
from fastconv.ops.cross_entropy import check_settings

from .module import Module


class CrossEntropyLoss(Module):
    """The cross entropy of scores (N, C, …) and classes (N, …) or probabilities (N, C, …).

        loss = −Σ_c weight_c · ((1 − s) · t_c + s / C) · log softmax(input)_c

    ``weight`` (C,) counts some classes more than others; samples of class ``ignore_index`` count
    for nothing; ``reduction`` is ``"mean"``, ``"sum"`` or ``"none"``; s is ``label_smoothing``.
    See :func:`fastconv.ops.cross_entropy.cross_entropy_forward`.
    """

    weight: Tensor | None

    def __init__(
        self,
        weight: Any = None,
        *,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ):
        check_settings(ignore_index, reduction, label_smoothing)
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index
        self.reduction = reduction
        self.label_smoothing = label_smoothing

    def forward(self, input: Any, target: Any) -> Tensor:
        return functional.cross_entropy(
            input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )  # fmt: skip

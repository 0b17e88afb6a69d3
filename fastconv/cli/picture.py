"""The picture of a training run: its curve, the filters it learned, and what it makes of digits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator, PercentFormatter

INK, PALE, BLUE, GREEN, RED = "#22303c", "#8795a1", "#2f6fb7", "#2e9e6b", "#d1495b"
_COLUMNS = 10  # digits in a row, one for each class


class Curve(NamedTuple):
    """One value per epoch."""

    loss: Sequence[float]
    held_out_loss: Sequence[float]
    accuracy: Sequence[float]  # 0 … 1, on the held-out part


class Predictions(NamedTuple):
    """The held-out images (N, 1, H, W), what they are, and the net's probabilities (N, classes)."""

    images: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray


def draw(
    path: Path, title: str, curve: Curve, filters: np.ndarray, predictions: Predictions
) -> None:
    """Write the picture as PNG to ``path``; ``filters`` is a first layer's weight (K, 1, R, S)."""
    figure = Figure(figsize=(12, 8.2), facecolor="white")
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.08)
    figure.suptitle(title, fontsize=15, color=INK, fontweight="bold")
    top, bottom = figure.subfigures(2, 1, height_ratios=(1.15, 1), hspace=0.04)
    left, right = top.subfigures(1, 2, width_ratios=(1.75, 1), wspace=0.03)
    _curve(left, curve)
    _filters(right, filters)
    _predictions(bottom, predictions)
    figure.savefig(path, format="png", dpi=120)


def _curve(figure: SubFigure, curve: Curve) -> None:
    epochs = np.arange(1, len(curve.loss) + 1)
    axes = figure.subplots()
    axes.set_title("Training", loc="left", color=INK)
    axes.plot(epochs, curve.loss, color=PALE, marker="o", ms=3.5, label="loss, training")
    axes.plot(epochs, curve.held_out_loss, color=INK, marker="o", ms=3.5, label="loss, held out")
    axes.set_yscale("log")
    axes.set_xlabel("epoch", color=PALE)
    axes.set_ylabel("cross-entropy", color=PALE)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    share = axes.twinx()
    share.plot(epochs, curve.accuracy, color=BLUE, lw=2.2, marker="o", ms=4)
    share.set_ylabel("accuracy on the held-out part", color=BLUE)
    share.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    share.tick_params(axis="y", colors=BLUE)
    share.annotate(
        f"{curve.accuracy[-1]:.1%}",
        (epochs[-1], curve.accuracy[-1]),
        xytext=(0, -16),
        textcoords="offset points",
        ha="right",
        color=BLUE,
        fontweight="bold",
    )
    axes.tick_params(colors=PALE, which="both")
    above = {"loc": "lower right", "bbox_to_anchor": (1, 1), "borderpad": 0}
    axes.legend(ncols=2, frameon=False, labelcolor=INK, **above)
    for one in (axes, share):
        one.spines[:].set_visible(False)
    axes.grid(axis="y", color="#e6eaed")


def _filters(figure: SubFigure, filters: np.ndarray) -> None:
    """Every filter on one scale, blue for weights above 0 and red for those below."""
    columns = int(np.ceil(np.sqrt(len(filters))))
    rows = -(-len(filters) // columns)
    figure.suptitle("Filters of the first layer (blue +, red −)", color=INK, fontsize="large")
    limit = np.abs(filters).max()
    for axes in figure.subplots(rows, columns).ravel():
        axes.axis("off")
    for axes, kernel in zip(figure.axes, filters[:, 0], strict=False):
        axes.imshow(kernel, cmap="RdBu", vmin=-limit, vmax=limit)


def _predictions(figure: SubFigure, predictions: Predictions) -> None:
    """A digit of each class that was read right; below, the mistakes and then the closest calls."""
    labels = predictions.labels
    guesses = predictions.probabilities.argmax(axis=1)
    right, wrong = np.flatnonzero(guesses == labels), np.flatnonzero(guesses != labels)
    figure.suptitle(
        f"Held-out digits: {len(right)} read right, {len(wrong)} wrong\n"
        "(in the second row the mistakes, then those that the net was least sure of)",
        color=INK,
        fontsize="large",
    )
    _, samples = np.unique(labels[right], return_index=True)
    close = right[predictions.probabilities[right].max(axis=1).argsort()]
    for cells, shown in zip(
        figure.subplots(2, _COLUMNS), (right[samples], [*wrong, *close]), strict=True
    ):
        for axes in cells:
            axes.axis("off")
        for axes, index in zip(cells, shown, strict=False):
            _digit(axes, predictions, index, guesses[index])


def _digit(axes: Axes, predictions: Predictions, index: int, guess: int) -> None:
    axes.imshow(predictions.images[index, 0], cmap="gray_r", vmin=0, vmax=1)
    label = predictions.labels[index]
    text, color = (f"{guess}", GREEN) if guess == label else (f"{guess}, is {label}", RED)
    axes.set_title(text, color=color, fontweight="bold")
    sure = f"{predictions.probabilities[index, guess]:.0%}"
    axes.text(0.5, -0.08, sure, transform=axes.transAxes, ha="center", va="top", color=PALE)

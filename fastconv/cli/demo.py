"""Train a small CNN on 1,797 scanned digits, and show what its convolutions cost.

Prints the training curve, the algorithm that ran each pass of each convolution layer, and the same
layers under every algorithm; writes a picture of the curve, the filters and the predictions.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from fastconv.comparison import recording

from . import compiling, output
from .arguments import at_least
from .errors import Failure
from .requirements import require
from .stages import Stages

if TYPE_CHECKING:
    from rich.console import Console

    from fastconv.comparison.recording import Layer

    from .training import Digits, Trained

HELP = "train a CNN on real digits and compare the algorithms on its layers"
GOAL = 0.98  # of the held-out digits read right, with the settings nobody changed
_EPOCHS, _QUICK_EPOCHS = 15, 4
_BUDGET, _QUICK_BUDGET = 0.05, 0.005  # seconds of measuring one algorithm on one pass
_BAR = 30  # characters
_WIDTH = 46 + _BAR  # of the training curve


def arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--epochs", type=at_least(1), metavar="N", help=f"passes over the digits ({_EPOCHS})")
    add("--seed", type=at_least(0), default=0, metavar="S", help="of first weights and order (0)")
    add(
        "--output",
        type=Path,
        default=Path("fastconv-demo.png"),
        metavar="FILE.png",
        help="the picture (fastconv-demo.png)",
    )
    add("--quick", action="store_true", help=f"{_QUICK_EPOCHS} epochs and short measurements")


def run(args: argparse.Namespace) -> int:
    output.check(args.output, ".png")
    require("the demo", "demo", "sklearn", "matplotlib")
    from .console import console

    screen = console()
    epochs = args.epochs or (_QUICK_EPOCHS if args.quick else _EPOCHS)
    with compiling.watch() as compiler:
        stages = Stages(compiler)
        with stages("loading"):
            from . import training

            data = training.digits()
        with stages("training"), recording.recorded() as runs:
            trained = _train(screen, data, epochs, args.seed, compiler)
        with stages("comparing algorithms"):
            _compare(screen, _layers(runs), _QUICK_BUDGET if args.quick else _BUDGET)
        with stages("drawing"):
            _draw(args.output, data, trained)
    _heading(screen, "Where the time went")
    stages.show(screen)
    enforced = args.epochs is None and not args.quick
    return _verdict(screen, args.output, trained, enforced)


def warm_up() -> None:
    """Run everything once that the demo compiles: an epoch, and every algorithm."""
    require("the demo", "demo", "sklearn")
    from fastconv.conv import measuring

    from . import training

    with recording.recorded() as runs:
        training.train(training.digits(), 1, 0, lambda record: None)
    for layer in _layers(runs):
        for run in layer.values():
            measuring.measure(run.problem, 0)


def _layers(runs: list[recording.Run]) -> list[Layer]:
    """The layers as whole training batches saw them."""
    from .training import BATCH

    return recording.layers([run for run in runs if run.problem.N == BATCH])


def _heading(screen: Console, text: str) -> None:
    screen.print(f"\n[bold]{text}[/]\n")


def _train(
    screen: Console, data: Digits, epochs: int, seed: int, compiler: compiling.Watch
) -> Trained:
    """Train, with a line for each epoch."""
    from .console import bar
    from .training import train

    kept, held = len(data.training[0]), len(data.held_out[0])
    _heading(screen, f"Training on {kept:,} scanned digits (8×8), {held} others held out")
    title = "  epoch     loss  training  held out"
    screen.print(f"{title}{'time':>{_WIDTH - len(title) - 2}}", style="dim")
    compiled = 0.0

    def report(record: dict[str, float]) -> None:
        nonlocal compiled
        compiled, before = compiler.total, compiled
        screen.print(
            f"  {record['epoch']:5}  {record['loss']:7.4f}  {record['accuracy']:8.1%}  "
            f"{record['val_accuracy']:8.1%}  [cyan]{bar(record['val_accuracy'], _BAR)}[/]"
            f"{record['seconds']:6.2f} s"
        )
        if compiled - before >= 0.05:
            note = f"({compiled - before:.1f} s of it to compile or load kernels)"
            screen.print(f"{note:>{_WIDTH}}", style="dim")

    with screen.status("compiling the kernels, then training"):
        return train(data, epochs, seed, report)


def _compare(screen: Console, layers: list[Layer], budget: float) -> None:
    from fastconv.conv import measuring

    from . import tables

    _heading(screen, "The algorithm that each convolution used")
    screen.print(tables.used(layers))
    _heading(screen, "The same layers under every algorithm (● used in training)")
    with screen.status("measuring"):
        runs = [run for layer in layers for run in layer.values()]
        measured = {run.problem: measuring.measure(run.problem, budget) for run in runs}
    screen.print(tables.compared(layers, measured))


def _draw(path: Path, data: Digits, trained: Trained) -> None:
    from . import picture

    history = trained.history
    curve = picture.Curve(history["loss"], history["val_loss"], history["val_accuracy"])
    predictions = picture.Predictions(*data.held_out, trained.probabilities)
    title = (
        f"fastconv demo: {history['val_accuracy'][-1]:.1%} of {len(data.held_out[0])} "
        f"held-out digits read right after {len(history)} epochs"
    )
    with output.replacing(path) as file:
        picture.draw(file, title, curve, trained.model.state_dict()["0.weight"], predictions)


def _verdict(screen: Console, path: Path, trained: Trained, enforced: bool) -> int:
    accuracy = trained.history["val_accuracy"][-1]
    screen.print(f"\n[bold]{accuracy:.1%}[/] of the held-out digits read right.")
    screen.print(f"The curve, the filters and the mistakes: {path}", markup=False, soft_wrap=True)
    if enforced and accuracy < GOAL:
        raise Failure(f"the goal of {GOAL:.0%} was missed: {accuracy:.1%}")
    return 0

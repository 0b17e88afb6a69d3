"""The demo's two tables: which algorithm ran each pass, and how all of them would have done."""

from __future__ import annotations

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from fastconv.comparison.recording import Layer, Run
from fastconv.conv.measuring import Measured
from fastconv.core.problem import DIRECTIONS, ConvProblem

from .console import amount, duration

_STYLE = {"box": box.SIMPLE_HEAD, "show_edge": False}
_UNUSED = "not needed"


def used(layers: list[Layer]) -> Table:
    """One row per layer, one column per pass: the algorithm that ran it."""
    table = Table(**_STYLE)
    table.add_column("layer", style="bold", no_wrap=True)
    for direction in DIRECTIONS:
        table.add_column(direction)
    for number, layer in enumerate(layers, 1):
        problem = next(iter(layer.values())).problem
        table.add_row(
            f"conv{number}  {problem.layer}",
            *(
                Text(layer[direction].algorithm, "cyan")
                if direction in layer
                else Text(_UNUSED, "dim")
                for direction in DIRECTIONS
            ),
        )
    return table


def compared(layers: list[Layer], measured: dict[ConvProblem, list[Measured]]) -> Group:
    """Every eligible algorithm on every pass of every layer; the reasons of the others below."""
    table = Table(**_STYLE)
    table.add_column("layer", style="bold", no_wrap=True)
    table.add_column("pass", no_wrap=True)
    table.add_column("algorithm", no_wrap=True)
    for name in ("time", "GFLOP/s", "error", "scratch"):
        table.add_column(name, justify="right", no_wrap=True)
    for number, layer in enumerate(layers, 1):
        for direction in (d for d in DIRECTIONS if d in layer):
            run = layer[direction]
            first = direction == next(d for d in DIRECTIONS if d in layer)
            _pass(table, f"conv{number}" if first else "", run, measured[run.problem])
        table.add_section()
    return Group(table, "", *_refusals(layers, measured))


def _pass(table: Table, layer: str, run: Run, rows: list[Measured]) -> None:
    """The rows of one pass, fastest first; a dot marks the algorithm that ran in training."""
    names = (layer, run.problem.direction)
    ranked = sorted((row for row in rows if row.reason is None), key=lambda row: row.seconds)
    for rank, row in enumerate(ranked):
        dot = "●" if row.algorithm == run.algorithm else " "
        table.add_row(
            *(names if rank == 0 else ("", "")),
            Text(f"{dot} {row.algorithm}", "cyan" if dot == "●" else ""),
            Text(duration(row.seconds), "bold green" if rank == 0 else ""),
            f"{row.gflops:.1f}",
            f"{row.error:.1e}",
            amount(row.workspace),
        )


def _refusals(layers: list[Layer], measured: dict[ConvProblem, list[Measured]]) -> list[Text]:
    """One footnote for each algorithm and reason, with the layers or passes that it holds for."""
    cases: dict[tuple[str, str], list[str]] = {}
    for number, layer in enumerate(layers, 1):
        refused: dict[tuple[str, str], list[str]] = {}
        for direction, run in layer.items():
            for row in measured[run.problem]:
                if row.reason is not None:
                    refused.setdefault((row.algorithm, row.reason), []).append(direction)
        for case, passes in refused.items():
            every = len(passes) == len(layer)
            names = [""] if every else [f" {direction}" for direction in passes]
            cases.setdefault(case, []).extend(f"conv{number}{name}" for name in names)
    return [
        Text(f"{algorithm} cannot run {', '.join(where)}: {reason}", "dim")
        for (algorithm, reason), where in cases.items()
    ]

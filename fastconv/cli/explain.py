"""Show which algorithm each layer and pass will use and why, and what the others would cost.

Nothing is run but, once on a host, its calibration.  One layer is shown in full, several as a
table.
"""

from __future__ import annotations

import argparse

from fastconv.conv import options
from fastconv.conv.explain import Explanation, explained
from fastconv.core import text, threads

from . import selection

HELP = "which algorithm runs each layer and pass, why, and what the others would cost"
_WIDTH = 130  # of the table where no terminal limits it
_COLUMNS = ("layer", "pass", "algorithm", "time", "why", "the others")
_OTHERS = 4  # of the alternatives, the fastest


def arguments(parser: argparse.ArgumentParser) -> None:
    selection.arguments(parser)


def run(args: argparse.Namespace) -> int:
    cases = selection.cases(args)
    with selection.asked(args):
        asked, workers = options.request(), threads.get_num_threads()
        found = [(case.layer, explained(case.problem, asked, workers)) for case in cases]
    if len({layer for layer, _ in found}) == 1:
        print("\n\n".join(str(explanation) for _, explanation in found))
    else:
        _show(found)
    return 0


def _show(found: list[tuple[str, Explanation]]) -> None:
    from .console import console
    from .grid import by_layer, table

    rows = ((layer, *_cells(explanation)) for layer, explanation in found)
    console(_WIDTH).print(by_layer(table(_COLUMNS), rows))


def _cells(explanation: Explanation) -> tuple[str, ...]:
    """The pass; who runs it, how long and why; how long the others take in multiples of that."""
    direction, chosen, why = explanation.problem.direction, explanation.chosen, explanation.why
    times = {
        row.algorithm: row.measured or row.predicted or 0.0
        for row in explanation.rows
        if row.reason is None
    }
    if chosen is None:
        return direction, "none", "", why, ""
    own = times.pop(chosen)
    others = sorted(times.items(), key=lambda item: item[1])[:_OTHERS]
    ratios = ", ".join(f"{name} {seconds / own:.2g}×" for name, seconds in others)
    return direction, chosen, text.duration(own), why, ratios

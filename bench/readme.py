"""Measure what the README shows, and write it there: its table, and plots into docs/plots.

    python bench/readme.py [--seconds 0.3]

The table is that of ``bench/table.py``; the plots are of ``fastconv compare layers``.  On a machine
that does nothing else this takes about a quarter of an hour.
"""

from __future__ import annotations

import os
import tempfile
from collections import defaultdict
from pathlib import Path

import table
import torch

from fastconv.cli import main as fastconv
from fastconv.core.machine import processor_name
from fastconv.core.problem import ConvProblem

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PLOTS = ROOT / "docs" / "plots"
BEGIN, END = "<!-- measured by bench/readme.py -->\n", "<!-- end of what is measured -->\n"


def describe(p: ConvProblem) -> str:
    """A layer in a few words."""
    words = [f"{p.R}×{p.S}"]
    if p.stride != (1, 1):
        words.append(f"stride {p.stride[0]}")
    if p.dilation != (1, 1):
        words.append(f"dilation {p.dilation[0]}")
    channels = f"{p.C} → {p.K}" if p.C != p.K else f"{p.C} channels"
    if p.groups > 1:
        channels += " depthwise" if p.groups == p.C else f" in {p.groups} groups"
    return f"{' '.join(words)}, {channels}, {p.N} × {p.H}²"


def text(args, peak: float, memory: float, measured: list) -> str:
    """The README's table, and the lines above it."""
    rows, ratios = defaultdict(dict), defaultdict(list)
    for name, problem, direction, figures in measured:
        ratios[direction].append((figures["ratio"], figures["nchw"]))
        shown = f"{figures['ratio']:.2f} ({figures['share']:.0%})"
        rows[name, describe(problem)][direction] = shown
    means = {direction: table.means(pairs) for direction, pairs in ratios.items()}
    overall = ", ".join(f"{best:.2f} {name}" for name, (best, _) in means.items())
    nchw = ", ".join(f"{mean:.2f}" for _, mean in means.values())
    lines = [
        f"{processor_name()}, {args.threads} threads: {peak / 1e9:.0f} GFLOP/s, "
        f"{memory / 1e9:.0f} GB/s; PyTorch {torch.__version__}; float32.",
        f"Geometric means: {overall} (where both are given NCHW: {nchw}).",
        "",
        f"| layer | | {' | '.join(args.passes)} |",
        f"|---|---|{'---|' * len(args.passes)}",
    ]
    for (name, words), cells in rows.items():
        lines.append(f"| `{name}` | {words} | {' | '.join(cells[d] for d in args.passes)} |")
    return "\n".join(lines) + "\n"


def replace(measured: str) -> None:
    """Put ``measured`` between the README's two marks."""
    before, rest = README.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    new = README.with_suffix(".tmp")
    new.write_text(before + BEGIN + measured + END + after, encoding="utf-8")
    os.replace(new, README)


def main() -> None:
    args = table.arguments()
    limits = table.limits(args.threads)
    measured = []
    for row in table.measure(args):
        measured.append(row)
        print(row[0], row[2], f"{row[3]['ratio']:.2f}", flush=True)
    replace(text(args, *limits, measured))
    with tempfile.TemporaryDirectory() as folder:
        results, page = (os.path.join(folder, name) for name in ("layers.json", "layers.html"))
        for command in (
            ["compare", "layers", "--peers", "torch", "--json", results],
            ["report", results, "--html", page, "--plots", str(PLOTS)],
        ):
            if code := fastconv(command):
                raise SystemExit(code)


if __name__ == "__main__":
    main()

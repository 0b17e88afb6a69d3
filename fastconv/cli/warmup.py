"""Compile the kernels of the layers you name, so that the next process finds them in the cache."""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable
from functools import partial

from fastconv.comparison import recording
from fastconv.comparison.calls import public_call
from fastconv.conv import options, selector
from fastconv.conv.measuring import random_operands
from fastconv.conv.registry import algorithms
from fastconv.core import threads
from fastconv.core.checks import DTYPES
from fastconv.core.problem import DIRECTIONS, FORMATS, ConvProblem

from . import compiling, demo, selection
from .errors import Usage
from .layer import SYNTAX, Layer, parse

Job = tuple[str, Callable[[], object]]  # what to call it, and what to run

HELP = "compile kernels now instead of at their first use"


def arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--layer", nargs="+", default=[], metavar="LAYER", help=f"layers, as {SYNTAX}")
    add("--demo", action="store_true", help="everything that fastconv demo runs")
    for option, choices, default, what in (
        ("--dtype", DTYPES, DTYPES[:1], "element types"),
        ("--format", FORMATS, FORMATS[:1], "memory orders"),
        ("--passes", DIRECTIONS, DIRECTIONS, "passes"),
    ):
        text = f"{what} of the layers: {', '.join(choices)} (default: {' '.join(default)})"
        add(option, nargs="+", choices=choices, default=default, metavar="NAME", help=text)
    add("--algorithm", choices=("auto", *algorithms()), default="auto", metavar="NAME", help=(
        "the one that will be asked for; without it, what a first call measures, or has decided on"
    ))  # fmt: skip
    selection.conditions(parser)


def run(args: argparse.Namespace) -> int:
    layers = [parse(text) for text in args.layer]
    if not layers and not args.demo:
        raise Usage("nothing to warm up: name layers with --layer, or ask for --demo")
    began = time.perf_counter()
    with selection.asked(args), options.options(algorithm=args.algorithm):
        jobs = _jobs(layers, args)
        kernels = [made for title, work in jobs for made in _report(title, work)]
    _total(kernels, time.perf_counter() - began)
    return 0


def _jobs(layers: list[Layer], args: argparse.Namespace) -> list[Job]:
    """Each layer's passes, and the demo.  Raises :class:`Usage` before any of them has run."""
    jobs: list[Job] = []
    for layer, dtype, order, direction in itertools.product(
        layers, args.dtype, args.format, args.passes
    ):
        problem = layer.problem._replace(
            dtype=dtype, x_format=order, y_format=order, direction=direction
        )
        try:
            selector.choose(problem, options.request(), threads.get_num_threads())
        except ValueError as refusal:
            raise Usage(f"--algorithm: {layer.text}: {refusal}") from None
        jobs.append((f"{layer.text}  {dtype}  {order}  {direction}", partial(_convolve, problem)))
    if args.demo:
        jobs.append(("demo", demo.warm_up))
    return jobs


def _convolve(problem: ConvProblem) -> None:
    """Run one pass by the public function that a program would call."""
    public_call(problem, *random_operands(problem))()


def _report(title: str, work: Callable) -> list[compiling.Made]:
    """Run ``work`` and print the kernels it needed."""
    with recording.recorded() as runs, compiling.watch() as watch:
        work()
    used = ", ".join(dict.fromkeys(run.algorithm for run in runs))
    print(f"{title}  →  {used}", flush=True)
    for made in watch.made:
        print(f"    {made.name:<28}{'cached' if made.cached else f'{made.seconds:6.2f} s'}")
    if not watch.made:
        print("    no further kernel")
    return watch.made


def _total(kernels: list[compiling.Made], seconds: float) -> None:
    compiled = [made for made in kernels if not made.cached]
    spent = sum(made.seconds for made in compiled)
    print(
        f"{len(compiled)} kernels compiled in {spent:.1f} s, "
        f"{len(kernels) - len(compiled)} from the cache; {seconds:.1f} s in all"
    )

"""Compile the kernels of the layers you name, so that the next process finds them in the cache."""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

import fastconv
from fastconv.comparison import recording
from fastconv.conv.registry import algorithms
from fastconv.core.checks import DTYPES
from fastconv.core.problem import DIRECTIONS, FORMATS

from . import compiling, demo, selection
from .errors import Usage
from .layer import SYNTAX, Layer, parse

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
        "the one that will be asked for; without it, all that a first call may measure"
    ))  # fmt: skip
    selection.conditions(parser)


def run(args: argparse.Namespace) -> int:
    layers = [parse(text) for text in args.layer]
    if not layers and not args.demo:
        raise Usage("nothing to warm up: name layers with --layer, or ask for --demo")
    began = time.perf_counter()
    with selection.asked(args), fastconv.options(algorithm=args.algorithm):
        kernels = [made for title, work in _jobs(layers, args) for made in _report(title, work)]
    _total(kernels, time.perf_counter() - began)
    return 0


def _jobs(layers: list[Layer], args: argparse.Namespace) -> Iterator[tuple[str, Callable]]:
    """What to run, and what to call it."""
    for layer, *case in itertools.product(layers, args.dtype, args.format, args.passes):
        yield f"{layer.text}  {'  '.join(case)}", partial(_convolve, layer, *case)
    if args.demo:
        yield "demo", demo.warm_up


def _convolve(layer: Layer, dtype: str, order: str, direction: str) -> None:
    """Run one pass by the public function that a program would call."""

    random = np.random.default_rng(0)  # on zeros some algorithms compute a result twice

    def image(shape):
        if order == "nchw":
            return random.random(shape, dtype)
        n, c, h, w = shape
        return random.random((n, h, w, c), dtype).transpose(0, 3, 1, 2)

    of = layer.problem
    filters = random.random(of.w_shape, dtype)
    x, dy = image(of.x_shape), image(of.y_shape)
    calls = {
        "forward": partial(fastconv.conv2d, x, filters),
        "backward_input": partial(fastconv.grad.conv2d_input, of.x_shape, filters, dy),
        "backward_weight": partial(fastconv.grad.conv2d_weight, x, of.w_shape, dy),
    }
    calls[direction](**layer.settings)


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

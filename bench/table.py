"""Print fastconv beside PyTorch, layer by layer and pass by pass, in one run.

    python bench/table.py [--algorithm direct] [--passes forward …] [--layers vgg …] [--threads N]
                          [--cold]

Every figure is a median of interleaved calls.  ``ratio`` is PyTorch's faster memory format over
fastconv given that same format; ``nchw`` compares both on NCHW.  GFLOP/s count the direct sum's
operations ("effective"); the peak they are compared with is that of multiply-adds on registers, in
turns with the calls.

A call that is repeated finds its arguments in the caches.  With ``--cold`` it finds them in memory,
as in training, where other layers have run since they were written: calls take turns with arrays of
which there are many, and keep as many results.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch

import fastconv as fc
from fastconv.comparison import allocation
from fastconv.comparison.calls import public_call
from fastconv.comparison.layers import shipped
from fastconv.core.machine import machine
from fastconv.core.problem import DIRECTIONS, FORMATS, OPERANDS, ConvProblem
from fastconv.simd.limits import bandwidth, fma_peak, multiply_adds

TURNS = 3
SETTLING = 0.015  # seconds
FILLING = 1  # seconds at most for a first round, whose results are made of new pages
COLD = max(256 << 20, 4 * machine().l3)  # bytes of arguments in turn, too many for caches


def layers(names: list[str]) -> dict[str, ConvProblem]:
    """The layers of the shipped table whose name contains one of ``names``."""
    return {
        layer.name: layer.problem
        for layer in shipped()
        if not names or any(part in layer.name for part in names)
    }


class Layer:
    """The arrays of one layer in both memory formats, and its passes as functions to time.

    There are ``ring`` bytes of such arrays, or one set of them if that is more; calls take turns.
    """

    def __init__(self, problem: ConvProblem, algorithm: str, ring: int = 0):
        self.problem = problem
        self.algorithm = algorithm
        self.padding = problem.padding[::2]
        shapes = {"x": problem.x_shape, "w": problem.w_shape, "y": problem.y_shape}
        size = sum(4 * math.prod(shape) for shape in shapes.values())
        orders = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}
        plain = {name: torch.randn(*shape) for name, shape in shapes.items()}
        self.tensors = {
            order: [
                {name: t.clone(memory_format=layout) for name, t in plain.items()}
                for _ in range(max(1, -(-ring // size)))
            ]
            for order, layout in orders.items()
        }
        self.results: list[object] = []

    def torch(self, direction: str, order: str) -> Callable[[], object]:
        return self._in_turn([self._torch(direction, t) for t in self.tensors[order]])

    def fastconv(self, direction: str, order: str) -> Callable[[], object]:
        filters = [t["w"] for t in self.tensors["nchw"]]
        sets = zip(self.tensors[order], filters, strict=True)
        return self._in_turn([self._fastconv(direction, t, w.numpy()) for t, w in sets])

    def _in_turn(self, calls: list[Callable[[], object]]) -> Callable[[], object]:
        """Make the next of some calls every time, and keep as many results.

        They are freed together: one by one, they would leave holes into which the next may not fit,
        and be made of new pages forever.
        """
        if len(calls) == 1:
            return calls[0]
        turn = itertools.cycle(calls)

        def call() -> None:
            if len(self.results) >= len(calls):
                self.results.clear()
            self.results.append(next(turn)())

        end = time.perf_counter() + FILLING
        for _ in itertools.takewhile(lambda _: time.perf_counter() < end, calls):
            call()
        return call

    def _torch(self, direction: str, t: dict[str, torch.Tensor]) -> Callable[[], object]:
        p = self.problem
        if direction == "forward":
            return lambda: torch.nn.functional.conv2d(
                t["x"], t["w"], None, p.stride, self.padding, p.dilation, p.groups
            )
        wanted = [direction == "backward_input", direction == "backward_weight", False]
        return lambda: torch.ops.aten.convolution_backward(
            t["y"], t["x"], t["w"], None, p.stride, self.padding, p.dilation, False, [0, 0],
            p.groups, wanted,
        )  # fmt: skip

    def _fastconv(
        self, direction: str, t: dict[str, torch.Tensor], w: np.ndarray
    ) -> Callable[[], object]:
        arrays = {"x": t["x"].numpy(), "w": w, "y": t["y"].numpy()}
        read = (arrays[name] for name in OPERANDS[direction][:2])
        call = public_call(self.problem._replace(direction=direction), *read)
        return partial(call, algorithm=self.algorithm)


def medians(functions: list, seconds: float, clock) -> list[float]:
    """Median time of each function, in turns (A A A B B B C C C A A A …).

    A turn begins with calls that are not timed: threads of the library before may still be waiting
    for work, at full speed.
    """
    times = [[] for _ in functions]
    turn = seconds / len(functions) / TURNS
    for _ in range(TURNS):
        for function, taken in zip(functions, times, strict=True):
            settled = time.perf_counter() + SETTLING
            while time.perf_counter() < settled:
                function()
            end = time.perf_counter() + turn
            while True:
                start = clock()
                function()
                taken.append(clock() - start)
                if time.perf_counter() > end:
                    break
    return [statistics.median(taken) for taken in times]


def compare(layer: Layer, direction: str, seconds: float, clock) -> dict[str, float]:
    functions = [layer.torch(direction, order) for order in FORMATS]
    functions += [layer.fastconv(direction, order) for order in FORMATS]
    peak, flop = multiply_adds(layer.problem.dtype, fc.get_num_threads())
    times = medians([*functions, peak], seconds, clock)
    torch_nchw, torch_nhwc, own_nchw, own_nhwc, at_peak = times
    best = own_nchw if torch_nchw <= torch_nhwc else own_nhwc
    return {
        "torch": layer.problem.flops / min(torch_nchw, torch_nhwc),
        "own": layer.problem.flops / best,
        "milliseconds": 1e3 * best,
        "ratio": min(torch_nchw, torch_nhwc) / best,
        "nchw": torch_nchw / own_nchw,
        "share": layer.problem.flops / best / (flop / at_peak),
    }


def measure(args: argparse.Namespace) -> Iterator[tuple[str, ConvProblem, str, dict | str]]:
    """Layer, its problem, pass, and the figures of :func:`compare` or the reason there are none."""
    clock = time.thread_time if args.cpu_time else time.perf_counter
    for name, problem in layers(args.layers).items():
        layer = Layer(problem, args.algorithm, COLD if args.cold else 0)
        for direction in args.passes:
            try:
                yield name, problem, direction, compare(layer, direction, args.seconds, clock)
            except ValueError as error:
                yield name, problem, direction, str(error)


def limits(threads: int) -> tuple[float, float]:
    """What is measured before all else, with so many threads: flop/s and bytes/s."""
    allocation.keep_memory()
    fc.set_num_threads(threads)
    torch.set_num_threads(threads)
    return fma_peak("float32", threads), bandwidth(threads)


def means(ratios: list[tuple[float, float]]) -> tuple[float, float]:
    """Geometric means of (ratio, ratio on NCHW)."""
    best, nchw = np.exp(np.mean(np.log(ratios), axis=0))
    return float(best), float(nchw)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--algorithm", default="auto")
    parser.add_argument("--passes", nargs="+", choices=DIRECTIONS, default=DIRECTIONS)
    parser.add_argument("--layers", nargs="+", default=[], help="parts of their names")
    parser.add_argument("--threads", type=int, default=fc.get_num_threads())
    parser.add_argument("--seconds", type=float, default=0.5, help="for each layer and pass")
    parser.add_argument("--cold", action="store_true", help="arguments and results in memory")
    parser.add_argument(
        "--cpu-time", action="store_true", help="with --threads 1: a clock that others do not move"
    )
    return parser.parse_args()


def main() -> None:
    args = arguments()
    peak, memory = limits(args.threads)
    print(
        f"{args.threads} threads: {peak / 1e9:.0f} GFLOP/s, {memory / 1e9:.1f} GB/s; "
        f"torch {torch.__version__}, algorithm {args.algorithm}{', arrays in memory' * args.cold}\n"
    )
    print(
        f"{'layer':<26}{'pass':<17}{'torch':>6}{'own':>6}{'ms':>9}{'ratio':>7}{'nchw':>7}{'peak':>6}"
    )
    ratios: dict[str, list[tuple[float, float]]] = {}
    for name, _, direction, r in measure(args):
        if isinstance(r, str):
            print(f"{name:<26}{direction:<17}{r}")
            continue
        ratios.setdefault(direction, []).append((r["ratio"], r["nchw"]))
        print(
            f"{name:<26}{direction:<17}{r['torch'] / 1e9:6.0f}{r['own'] / 1e9:6.0f}"
            f"{r['milliseconds']:9.3f}{r['ratio']:7.2f}{r['nchw']:7.2f}{r['share']:6.0%}",
            flush=True,
        )
    print()
    for direction, pairs in ratios.items():
        best, nchw = means(pairs)
        least = min(pair[0] for pair in pairs)
        print(f"{direction:<17}geometric mean {best:.2f}, least {least:.2f}; NCHW {nchw:.2f}")


if __name__ == "__main__":
    main()

"""Time one convolution layer under every algorithm, each pass.

Run it as ``python examples/compare_algorithms.py [N C H W K R]``: N images of C channels and
H × W pixels, K filters of R × R, padded to keep the size.
"""

import sys
import time
from functools import partial

import numpy as np

import fastconv as fc


def fastest(call, runs: int = 5) -> float:
    """Milliseconds of the fastest of some runs, after one that compiles the kernels."""
    call()
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return 1e3 * min(times)


def main(n: int = 8, c: int = 32, h: int = 28, w: int = 28, k: int = 64, r: int = 3) -> None:
    random = np.random.default_rng(0)
    x = random.standard_normal((n, c, h, w), dtype=np.float32)
    weight = random.standard_normal((k, c, r, r), dtype=np.float32)
    padding = r // 2
    dy = np.ones_like(fc.conv2d(x, weight, padding=padding))
    gflop = 2e-9 * dy.size * c * r * r
    passes = {
        "forward": lambda a: fc.conv2d(x, weight, padding=padding, algorithm=a),
        "backward_input": lambda a: fc.grad.conv2d_input(
            x.shape, weight, dy, padding=padding, algorithm=a
        ),
        "backward_weight": lambda a: fc.grad.conv2d_weight(
            x, weight.shape, dy, padding=padding, algorithm=a
        ),
    }
    print(f"{n}×{c}×{h}×{w}, {k} filters {r}×{r}, {gflop:.3f} Gflop a pass")
    for algorithm in fc.algorithms():
        for name, run in passes.items():
            try:
                ms = fastest(partial(run, algorithm))
            except ValueError as refusal:  # it says why it cannot run this layer
                print(f"{algorithm:<12}{name:<16}  {refusal}")
            else:
                print(f"{algorithm:<12}{name:<16}{ms:9.3f} ms{gflop / ms * 1e3:9.1f} GFLOP/s")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

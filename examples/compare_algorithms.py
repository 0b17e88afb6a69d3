"""Time one convolution layer under every algorithm, each pass.

Run it as ``python examples/compare_algorithms.py [N C H W K R]``: N images of C channels and
H × W pixels, K filters of R × R, padded to keep the size.
"""

import sys

import fastconv as fc


def main(n: int = 8, c: int = 32, h: int = 28, w: int = 28, k: int = 64, r: int = 3) -> None:
    comparison = fc.compare((n, c, h, w), (k, c, r, r), padding=r // 2)
    print(comparison)
    print()
    for one in comparison.passes:  # the same as data
        able = [row for row in one.rows if row.reason is None]
        best = min(able, key=lambda row: row.seconds)
        print(f"{one.problem.direction:<16} fastest: {best.algorithm}, {best.gflops:.1f} GFLOP/s")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

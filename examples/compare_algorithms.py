"""Time one convolution layer under every algorithm, each pass.

Run it as ``python examples/compare_algorithms.py [N C H W K R]``: N images of C channels and
H × W pixels, K filters of R × R, padded to keep the size.
"""

import argparse

import fastconv as fc


def main(n: int, c: int, h: int, w: int, k: int, r: int) -> None:
    """Of n images of c channels and h × w pixels, under k filters of r × r."""
    comparison = fc.compare((n, c, h, w), (k, c, r, r), padding=r // 2)
    print(comparison)
    print()
    for one in comparison.passes:  # the same as data
        able = [row for row in one.rows if row.reason is None]
        best = min(able, key=lambda row: row.seconds)
        print(f"{one.problem.direction:<16} fastest: {best.algorithm}, {best.gflops:.1f} GFLOP/s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=main.__doc__)
    for size, default in (("n", 8), ("c", 32), ("h", 28), ("w", 28), ("k", 64), ("r", 3)):
        parser.add_argument(size, type=int, nargs="?", default=default)
    main(**vars(parser.parse_args()))

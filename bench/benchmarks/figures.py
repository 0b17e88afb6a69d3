"""What ``fastconv.compare`` finds: rates, share of the peak, scratch memory and error."""

from __future__ import annotations

import math

import fastconv as fc
from fastconv.conv.measuring import Measured

from . import axes

_SECONDS = 0.05  # of measuring an algorithm at a point
_TIMEOUT = 600  # seconds
_UNKNOWN = math.nan  # what asv itself puts down for a benchmark that is skipped

Figures = dict[tuple[str, int], tuple[Measured, float]]


class Tracked(axes.Axis):
    """Five figures of every algorithm at each point of an axis, from one comparison of the point.

    A subclass has its own ``setup_cache``, as asv knows it by the line where it stands.
    """

    timeout = _TIMEOUT

    def compare(self) -> Figures:
        """(algorithm, x) → what was measured, and the peak in GFLOP/s."""
        found: Figures = {}
        for x in self.params[1]:
            p = self.problem(x)
            (measured,) = fc.compare(
                p.x_shape, p.w_shape, p.stride, p.padding[::2], p.dilation, p.groups,
                directions=p.direction, seconds=_SECONDS,
            ).passes  # fmt: skip
            for row in measured.rows:
                found[row.algorithm, x] = (row, measured.peak)
            found["auto", x] = found[measured.chosen, x]
        return found

    def setup(self, figures, algorithm, x):
        if (algorithm, x) not in figures:
            raise NotImplementedError(f"{algorithm} is not installed")
        self.row, self.peak = figures[algorithm, x]
        if self.row.reason is not None:
            raise NotImplementedError(self.row.reason)

    def track_effective(self, figures, algorithm, x):
        return self.row.gflops

    def track_executed(self, figures, algorithm, x):
        return _UNKNOWN if self.row.executed is None else self.row.executed

    def track_share(self, figures, algorithm, x):
        return _UNKNOWN if self.row.executed is None else 100 * self.row.executed / self.peak

    def track_workspace(self, figures, algorithm, x):
        return _UNKNOWN if self.row.workspace is None else self.row.workspace

    def track_error(self, figures, algorithm, x):
        return self.row.error

    track_effective.unit = track_executed.unit = "GFLOP/s"
    track_share.unit = "% of peak"
    track_workspace.unit = "bytes"
    track_error.unit = "of max|y|"


class Forward(axes.FilterSize, Tracked):
    direction = "forward"

    def setup_cache(self):
        return self.compare()

    setup_cache.timeout = _TIMEOUT


class BackwardInput(axes.FilterSize, Tracked):
    direction = "backward_input"

    def setup_cache(self):
        return self.compare()

    setup_cache.timeout = _TIMEOUT


class BackwardWeight(axes.FilterSize, Tracked):
    direction = "backward_weight"

    def setup_cache(self):
        return self.compare()

    setup_cache.timeout = _TIMEOUT

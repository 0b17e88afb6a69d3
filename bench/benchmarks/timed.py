"""The time of a pass."""

from __future__ import annotations

import contextlib

from . import axes, calls


class Timed(axes.Axis):
    """Seconds of a call, at each point of an axis and under each algorithm that can run it."""

    timeout = 300  # seconds, compiling included
    repeat = (3, 20, 1.0)  # samples, least and most, and the seconds after which they are enough

    def setup(self, algorithm, x):
        """Called before every sample: only the first call for a point compiles and computes."""
        self._conditions = contextlib.ExitStack()
        try:
            self._conditions.enter_context(calls.conditions(algorithm, self.threads(x)))
            self.call = calls.prepare(self.problem(x), algorithm)
        except ValueError as refusal:
            raise NotImplementedError(str(refusal)) from None

    def teardown(self, algorithm, x):
        self._conditions.close()

    def time_pass(self, algorithm, x):
        self.call()

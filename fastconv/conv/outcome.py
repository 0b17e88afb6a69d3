"""One pass of one convolution, measured: who took how long, who won, and how surely."""

from __future__ import annotations

from typing import NamedTuple

from fastconv.core import text
from fastconv.core.problem import ConvProblem

from .measuring import Measured
from .options import Request
from .registry import ALGORITHMS, family

_NOISY = 0.2  # of a time: a spread beyond tells that something else used the processor


class Pass(NamedTuple):
    """One direction: who took how long."""

    problem: ConvProblem
    threads: int
    peak: float  # GFLOP/s of nothing but multiply-adds, all threads, the best of before and after
    chosen: str  # what "auto" runs
    why: str
    rows: tuple[Measured, ...]  # algorithms in the order asked for, then peers
    asked: Request = Request()
    budget: float = 0.0  # seconds of measuring each

    @property
    def ranked(self) -> list[Measured]:
        """Those that ran, the fastest first."""
        return sorted((row for row in self.rows if row.reason is None), key=lambda r: r.seconds)

    @property
    def contest(self) -> list[Measured]:
        """Of those, the algorithms that "auto" may take: no peers, none beyond what is allowed."""
        return [r for r in self.ranked if r.algorithm in ALGORITHMS and r.barred is None]

    @property
    def winner(self) -> Measured | None:
        """The fastest of the contest; None if nobody took part.

        Of two names for one computation ("winograd" takes the tile of "winograd4") it has the
        first, so that chance does not decide between them.
        """
        same = [row for row in self.contest if _alike(row, self.contest[0])]
        return min(same, key=self.rows.index, default=None)

    @property
    def regret(self) -> float | None:
        """Time of the chosen one over the winner's; None if the chosen one was not measured."""
        chosen = next((row for row in self.contest if row.algorithm == self.chosen), None)
        if chosen is None:
            return None
        fastest = self.contest[0]
        return 1.0 if _alike(chosen, fastest) else chosen.seconds / fastest.seconds

    @property
    def doubt(self) -> str | None:
        """Why another run may have another winner; None if that is not to be expected."""
        first = self.winner
        if first is None:
            return None
        if first.spread > _NOISY * first.seconds:
            return f"the runs of {first.algorithm} differ by {first.spread / first.seconds:.0%}"
        for other in self.contest:
            close = other.seconds - first.seconds <= (other.spread + first.spread) / 2
            if close and not _alike(other, first):
                return f"{first.algorithm} and {other.algorithm} are within each other's spread"
        return None

    def share(self, row: Measured) -> float | None:
        """The part of the peak that the executed rate of a row is; not known of a peer."""
        return None if row.executed is None else row.executed / self.peak

    @property
    def disturbed(self) -> list[str]:
        """Algorithms whose executed rate exceeds the peak, which so was measured too low."""
        return [r.algorithm for r in self.ranked if exceeds(r, self.peak)]

    @property
    def notes(self) -> list[str]:
        """What the figures do not say by themselves."""
        notes = [f"● {self.chosen}: {self.why}"]
        if self.winner is not None and self.regret is not None and self.regret > 1:
            notes.append(
                f"{self.winner.algorithm} is the fastest allowed; "
                f"{self.chosen} takes {self.regret:.2f}× as long"
            )
        if self.doubt is not None:
            notes.append(f"uncertain: {self.doubt}")
        notes += [f"{r.algorithm} does not count: {r.barred}" for r in self.ranked if r.barred]
        if self.disturbed:
            notes.append(
                f"the peak was measured too low, something else used the processor: "
                f"{', '.join(self.disturbed)} ran faster"
            )
        return notes

    def __str__(self) -> str:
        return "\n".join((self.title, "", *self._table(), "", *self.notes))

    @property
    def title(self) -> str:
        p = self.problem
        workers = text.threads(self.threads)
        return (
            f"{p.direction} of {p.summary}\n{p.dtype}, {p.x_format}, {workers}; "
            f"{p.flops / 1e9:.3g} GFLOP; peak {self.peak:.0f} GFLOP/s"
        )

    def _table(self) -> list[str]:
        """The fastest first, then who cannot run it."""
        header = ("  algorithm", "time", "±", "GFLOP/s", "executed", "of peak", "scratch", "error")
        rows: list[tuple[str, ...]] = [self._cells(row) for row in self.ranked]
        rows += [(f"  {r.algorithm}", f" {r.reason}") for r in self.rows if r.reason is not None]
        return text.table(header, rows)

    def _cells(self, row: Measured) -> tuple[str, ...]:
        mark = "●" if row.algorithm == self.chosen else " "
        return (f"{mark} {row.algorithm}", *self.figures(row))

    def figures(self, row: Measured) -> tuple[str, ...]:
        """Time, ±, GFLOP/s, executed GFLOP/s, their share of the peak, scratch, error."""
        inside, share = ("", "", ""), self.share(row)
        if share is not None and row.workspace is not None:
            inside = (f"{row.executed:.1f}", f"{share:.0%}", text.amount(row.workspace))
        return (
            text.duration(row.seconds),
            f"{row.spread / row.seconds / 2:.0%}" if row.runs != 1 else "",
            f"{row.gflops:.1f}",
            *inside,
            f"{row.error:.1e}",
        )


def exceeds(row: Measured, peak: float) -> bool:
    """Whether an algorithm ran faster than the vector units (``peak`` in GFLOP/s) that it uses."""
    algorithm = ALGORITHMS.get(row.algorithm)  # a results file may name others
    on_vectors = algorithm is None or algorithm.vector
    return on_vectors and row.executed is not None and row.executed > peak


def _alike(one: Measured, other: Measured) -> bool:
    """Whether two are the same computation: of one family, with equal work and scratch."""

    def work(row: Measured) -> tuple:
        flops = (row.executed or 0) * row.seconds * 1e9
        return family(row.algorithm), round(flops), row.workspace

    return work(one) == work(other)

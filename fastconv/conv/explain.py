"""``explain``: what every algorithm would cost on a convolution, and which one runs it and why."""

from __future__ import annotations

from typing import NamedTuple

from numpy.typing import DTypeLike

from fastconv.core import text, threads
from fastconv.core.argument_types import Shape, Size
from fastconv.core.problem import ConvProblem

from . import eligibility, options, selector
from .arguments import described

_NOTHING = "no algorithm can run this convolution as asked"


class Row(NamedTuple):
    """One algorithm: what it would cost, or the reason why it may not run.

    Of an algorithm that cannot run the shape at all, everything but the reason is None.
    """

    algorithm: str
    reason: str | None  # None if it may run
    predicted: float | None = None  # seconds
    measured: float | None = None  # seconds, where the decision was made by measuring
    workspace: int | None = None  # bytes, all threads together
    error: float | None = None  # bound of max|y − y64| / max|y64|
    gflop: float | None = None  # 1e9 operations executed, wasted lanes included


class Explanation(NamedTuple):
    """The algorithms on one pass of one convolution.  Its text is a table."""

    problem: ConvProblem
    threads: int
    accuracy: str
    error_limit: float  # that the accuracy allows
    max_workspace: int | None
    chosen: str | None  # as it stands now; None if nothing can run
    why: str
    rows: tuple[Row, ...]  # in registry order

    def __str__(self) -> str:
        return "\n".join((*self._head(), "", *self._table(), "", self._foot()))

    def _head(self) -> tuple[str, str]:
        p = self.problem
        workers = text.threads(self.threads)
        asked = f"accuracy {self.accuracy!r} (error ≤ {self.error_limit:.1e})"
        if self.max_workspace is not None:
            asked += f", at most {text.amount(self.max_workspace)} of scratch"
        return (
            f"{p.direction} of {p.summary}",
            f"{p.dtype}, {p.x_format}, {workers}; {p.flops / 1e9:.3g} GFLOP; {asked}",
        )

    def _table(self) -> list[str]:
        """The eligible ones, measured ones and fast ones first; the others with the reason."""
        eligible = [row for row in self.rows if row.reason is None]
        eligible.sort(key=lambda row: (row.measured is None, row.measured or row.predicted or 0))
        header = ("  algorithm", "predicted", "measured", "GFLOP", "scratch", "error ≤")
        rows = [self._cells(row) for row in eligible]
        rows += [(f"  {r.algorithm}", f" {r.reason}") for r in self.rows if r.reason is not None]
        return text.table(header, rows)

    def _cells(self, row: Row) -> tuple[str, ...]:
        assert row.predicted is not None and row.workspace is not None  # as it may run
        mark = "●" if row.algorithm == self.chosen else " "
        return (
            f"{mark} {row.algorithm}",
            text.duration(row.predicted),
            "" if row.measured is None else text.duration(row.measured),
            f"{row.gflop:.3g}",
            text.amount(row.workspace),
            f"{row.error:.1e}",
        )

    def _foot(self) -> str:
        return self.why if self.chosen is None else f"● {self.chosen}: {self.why}"


def explain(
    input_shape: Shape,
    weight_shape: Shape,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    direction: str = "forward",
    dtype: DTypeLike = "float32",
    memory_format: str = "nchw",
    algorithm: str = "auto",
    accuracy: str | None = None,
    max_workspace: int | None = None,
) -> Explanation:
    """Which algorithm runs a convolution, what each would cost, and why the others do not.

    Parameters
    ----------
    input_shape : (N, C, H, W) or (C, H, W)
    weight_shape : (K, C/groups, R, S)
    stride, padding, dilation, groups : as in :func:`fastconv.conv2d`
    direction : ``"forward"``, ``"backward_input"`` or ``"backward_weight"``
    dtype : float32 or float64
    memory_format : ``"nchw"`` or ``"nhwc"``, of the input and the output
    algorithm, accuracy, max_workspace : as in :func:`fastconv.conv2d`

    Nothing is run but, once on a host, its calibration.  ``why`` says whom the first call will
    measure, and ``chosen`` is the one predicted to win.  Of a small problem the choice is the same
    on every host, so that it need not be the one predicted to be the fastest on this one.

    Returns
    -------
    Explanation : plain data, whose ``str()`` is a table.

    Raises
    ------
    TypeError, ValueError : naming the argument.
    """
    problem = described(
        input_shape,
        weight_shape,
        stride,
        padding,
        dilation,
        groups,
        direction,
        dtype,
        memory_format,
        may_be_empty=True,
    )
    asked = options.request(algorithm, accuracy, max_workspace)
    return explained(problem, asked, threads.get_num_threads())


def explained(problem: ConvProblem, asked: options.Request, workers: int) -> Explanation:
    """The explanation of a problem under a request."""
    judged = eligibility.candidates(problem, asked, workers)
    predicted = selector.predict(judged, problem.dtype, workers)
    measured: dict[str, float] = {}
    try:
        choice = selector.choose(problem, asked, workers)
        chosen, why, measured = choice.algorithm, choice.why, choice.measured or measured
    except ValueError as refusal:
        chosen, why = None, str(refusal) if asked.algorithm != "auto" else _NOTHING
    rows = [
        Row(c.algorithm, c.reason)
        if c.cost is None
        else Row(
            c.algorithm,
            c.reason,
            predicted[c.algorithm],
            measured.get(c.algorithm),
            c.cost.workspace,
            c.cost.error,
            c.cost.flops / 1e9,
        )
        for c in judged
    ]
    limit = eligibility.error_limit(problem, asked.accuracy)
    return Explanation(
        problem, workers, asked.accuracy, limit, asked.max_workspace,
        chosen, why, tuple(rows),
    )  # fmt: skip

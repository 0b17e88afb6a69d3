"""What a caller may ask of a convolution: an algorithm, an accuracy, a limit of scratch memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, TypeVar

from fastconv.core import checks, threads
from fastconv.core.scoped import Scoped, inside

from .algorithm import ACCURACIES
from .registry import ALGORITHMS

P = ParamSpec("P")
T = TypeVar("T")


class Request(NamedTuple):
    """The options of one call, checked.  Hashable: plans are found by it."""

    algorithm: str = "auto"
    accuracy: str = "default"
    max_workspace: int | None = None  # bytes


_current = Scoped("options", Request(), lambda outer, changes: outer._replace(**changes))


def request(algorithm="auto", accuracy=None, max_workspace=None) -> Request:
    """The options of a call: its own, and those of the surrounding :func:`options` for the rest.

    ``"auto"`` and None stand for the rest.  Raises ``TypeError`` or ``ValueError`` naming the
    argument.
    """
    current, auto = _current.get(), isinstance(algorithm, str) and algorithm == "auto"
    if auto and accuracy is None and max_workspace is None:
        return current
    return Request(
        current.algorithm if auto else check_algorithm(algorithm),
        current.accuracy if accuracy is None else check_accuracy(accuracy),
        current.max_workspace if max_workspace is None else check_workspace(max_workspace),
    )


def options(
    *,
    accuracy: str | None = None,
    max_workspace: int | None = None,
    algorithm: str | None = None,
    num_threads: int | None = None,
) -> _Block:
    """Options of all convolutions in a ``with`` block, in this Python thread or task only.

        with fc.options(accuracy="strict", max_workspace=64 << 20):
            y = fc.conv2d(x, w)

    Parameters
    ----------
    accuracy : bound of a result's error, max|y − y64| / max|y64| against float64:
        ``"strict"`` 2·(4 + 2√n) roundings for sums of n terms, with products rounded to the dtype
        or not at all, ``"default"`` 5e-5, ``"fast"`` 1e-3; in float64 2⁻²⁹ times as much (9.3e-14
        and 1.9e-12); at every level that of the direct sum, if that is larger.  (Of sums that do
        not cancel, and operands that are not subnormal.)
    max_workspace : bytes of scratch memory that a call may take, all threads together; not those
        of a copy of an array that is in neither memory order, or of filters that a layer keeps
    algorithm : one of :func:`fastconv.algorithms`, or ``"auto"``
    num_threads : as in :func:`fastconv.set_num_threads`

    What is not given (None) stays as in the surrounding block; keywords of a single call win, but
    for its ``algorithm="auto"``, which is none.  Blocks may be nested, and one object may serve for
    many, or decorate functions.  A block in a generator holds for its caller, too, until it ends.
    A backward pass takes the options of the block in which it runs.

    Raises ``TypeError`` or ``ValueError`` naming the argument.
    """
    changes: dict[str, Any] = {}
    if accuracy is not None:
        changes["accuracy"] = check_accuracy(accuracy)
    if max_workspace is not None:
        changes["max_workspace"] = check_workspace(max_workspace)
    if algorithm is not None:
        changes["algorithm"] = check_algorithm(algorithm)
    workers = None if num_threads is None else threads.checked(num_threads)
    return _Block(changes, workers)


class _Block:
    """Without a state of its own: any number of blocks may begin with it, in any thread."""

    def __init__(self, changes: dict[str, Any], workers: int | None):
        self._changes, self._workers = changes, workers

    def __call__(self, function: Callable[P, T]) -> Callable[P, T]:
        return inside(self, function)

    def __enter__(self) -> None:
        _current.enter(self, self._changes)
        threads.asked.enter(self, self._workers)

    def __exit__(self, *_) -> None:
        _current.leave(self)
        threads.asked.leave(self)


def check_algorithm(algorithm) -> str:
    return checks.one_of(algorithm, "algorithm", ("auto", *ALGORITHMS))


def check_accuracy(accuracy) -> str:
    return checks.one_of(accuracy, "accuracy", ACCURACIES)


def check_workspace(max_workspace) -> int:
    return checks.integer(max_workspace, "max_workspace", bits=63)

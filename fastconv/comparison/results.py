"""Results of a comparison: plain data, the JSON file that keeps them, a CSV file for others."""

from __future__ import annotations

import csv
import io
import json
from types import UnionType
from typing import Any, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from fastconv.conv.measuring import Measured
from fastconv.conv.options import Request
from fastconv.conv.outcome import Pass
from fastconv.core.problem import DIRECTIONS, ConvProblem

FORMAT = 1  # of the file; readers refuse others
_HUGE = 1e30  # more than there is to measure

T = TypeVar("T")


class Host(NamedTuple):
    """Where and with what was measured."""

    processor: str
    isa: str
    threads: int
    peak: float  # GFLOP/s of nothing but multiply-adds, all threads
    bandwidth: float  # GB/s from and to memory, all threads
    versions: dict[str, str]  # fastconv, python, numpy, numba, and the peers present
    date: str  # ISO 8601, when the measuring began, or went on last


class Entry(NamedTuple):
    """One pass of a named layer, under every algorithm and beside the peers."""

    layer: str
    measured: Pass


class Results(NamedTuple):
    """All that one run measured."""

    host: Host
    entries: tuple[Entry, ...]

    def to_json(self) -> str:
        entries = [
            {"layer": entry.layer, **entry.measured._asdict()}
            | {"problem": entry.measured.problem._asdict()}
            | {"asked": entry.measured.asked._asdict()}
            | {"rows": [row._asdict() for row in entry.measured.rows]}
            for entry in self.entries
        ]
        whole = {"fastconv": "comparison", "format": FORMAT, "host": self.host._asdict()}
        return json.dumps(whole | {"entries": entries}, indent=1)

    def to_csv(self) -> str:
        """A line for each algorithm and peer on each pass; tuples as ``1x2``, nothing for None."""
        lines = [
            {"layer": entry.layer, **entry.measured.problem._asdict()}
            | {"threads": entry.measured.threads, "peak": entry.measured.peak}
            | {"chosen": row.algorithm == entry.measured.chosen, **row._asdict()}
            | {f"phase_{name}": seconds for name, seconds in (row.phases or {}).items()}
            for entry in self.entries
            for row in entry.measured.rows
        ]
        columns = dict.fromkeys(name for line in lines for name in line if name != "phases")
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _cell(value) for name, value in line.items()} for line in lines)
        return text.getvalue()

    @classmethod
    def from_json(cls, text: str) -> Results:
        """The results that :meth:`to_json` wrote; ``ValueError`` if the text is something else."""
        try:
            whole = json.loads(text)
            if (whole["fastconv"], whole["format"]) != ("comparison", FORMAT):
                raise ValueError("it is of another kind or format")
            host = _typed(Host, whole["host"])
            if min(host.peak, host.bandwidth) <= 0:
                raise ValueError("no peak and no bandwidth of a host can be 0")
            return cls(host, tuple(map(_entry, whole["entries"])))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ValueError(f"these are no results of a comparison: {error}") from None


def _entry(fields: dict[str, Any]) -> Entry:
    asked = _typed(Request, fields["asked"])
    values = fields["problem"].items()
    problem = {name: tuple(v) if isinstance(v, list) else v for name, v in values}
    rows = tuple(_typed(Measured, row) for row in fields["rows"])
    rest = {name: value for name, value in fields.items() if name != "layer"}
    rest |= {"problem": _typed(ConvProblem, problem), "rows": rows, "asked": asked}
    measured = _typed(Pass, rest)
    of = measured.problem
    possible = of.direction in DIRECTIONS and min(*of.stride, *of.dilation) > 0
    if not (possible and of.flops > 0):
        raise ValueError(f"{fields['layer']} is no pass of a convolution: {of}")
    if measured.peak <= 0 or any(row.seconds <= 0 for row in measured.ranked):
        raise ValueError(f"no peak and no time of {fields['layer']} can be 0")
    return _typed(Entry, {"layer": fields["layer"], "measured": measured})


def _typed(kind: type[T], fields: dict[str, Any]) -> T:
    """``kind(**fields)``; ``ValueError`` if a field is of another type than it says."""
    made = kind(**fields)
    for name, hint in get_type_hints(kind).items():
        value = getattr(made, name)
        if not _fits(value, hint):
            raise ValueError(f"{name} of a {kind.__name__} is {value!r}")
    return made


def _fits(value: Any, hint: Any) -> bool:
    if isinstance(hint, UnionType):
        return any(_fits(value, option) for option in get_args(hint))
    kind, parts = get_origin(hint) or hint, get_args(hint)
    if isinstance(value, bool):
        return kind is bool
    if kind is float:
        return isinstance(value, int | float) and -_HUGE < value < _HUGE  # which NaN is not
    if not isinstance(value, kind):
        return False
    if kind is dict:
        return all(_fits(each, parts[1]) for each in value.values())
    if kind is tuple and Ellipsis not in parts:
        return len(value) == len(parts) and all(map(_fits, value, parts))
    return True


def _cell(value: Any) -> Any:
    return "x".join(map(str, value)) if isinstance(value, tuple) else value

"""Results of a comparison: plain data, and the JSON file that keeps them."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from fastconv.conv.compare import Pass
from fastconv.conv.measuring import Measured
from fastconv.core.problem import ConvProblem

FORMAT = 1  # of the file; readers refuse others


class Host(NamedTuple):
    """Where and with what was measured."""

    processor: str
    isa: str
    threads: int
    peak: float  # GFLOP/s of nothing but multiply-adds, all threads
    bandwidth: float  # GB/s from and to memory, all threads
    versions: dict[str, str]  # fastconv, python, numpy, numba, and the peers present
    date: str  # ISO 8601, of the beginning


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
            | {"rows": [row._asdict() for row in entry.measured.rows]}
            for entry in self.entries
        ]
        whole = {"fastconv": "comparison", "format": FORMAT, "host": self.host._asdict()}
        return json.dumps(whole | {"entries": entries}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Results:
        """The results that :meth:`to_json` wrote; ``ValueError`` if the text is something else."""
        try:
            whole = json.loads(text)
            if (whole["fastconv"], whole["format"]) != ("comparison", FORMAT):
                raise ValueError("it is of another kind or format")
            return cls(Host(**whole["host"]), tuple(map(_entry, whole["entries"])))
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"these are no results of a comparison: {error}") from None


def _entry(fields: dict[str, Any]) -> Entry:
    layer, rows = fields.pop("layer"), fields.pop("rows")
    problem = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.pop("problem").items()}
    measured = tuple(Measured(**row) for row in rows)
    return Entry(layer, Pass(ConvProblem(**problem), rows=measured, **fields))

"""Make one HTML page of plots and figures from results that ``fastconv compare --json`` wrote.

The page needs no network and no other file.  With --plots, each plot is written as PNG and SVG too.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from . import output
from .errors import Usage
from .requirements import require

if TYPE_CHECKING:
    from fastconv.comparison.results import Results

HELP = "a page of plots and figures from the results of a comparison"
_EXPECTED = "expected the JSON that fastconv compare --json writes"


def arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("results", type=Path, metavar="RESULTS.json", help="from fastconv compare --json")
    add("--html", type=Path, required=True, metavar="FILE.html", help="the page")
    add("--plots", type=Path, metavar="FOLDER", help="for a PNG and an SVG of each plot")


def run(args: argparse.Namespace) -> int:
    output.check(args.html, ".html")
    results = _read(args.results)
    if args.plots:
        output.make_folder(args.plots)
    require("the report", "report", "matplotlib")
    _write(results, args.html, args.plots)
    return 0


def _read(path: Path) -> Results:
    from fastconv.comparison.results import Results

    try:
        results = Results.from_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Usage(f"results {str(path)!r}: {error.strerror}; {_EXPECTED}") from None
    except ValueError as error:
        raise Usage(f"results {str(path)!r}: {error}; {_EXPECTED}") from None
    if not results.entries:
        raise Usage(f"results {str(path)!r}: they hold no measured layer; {_EXPECTED}")
    return results


def _write(results: Results, page: Path, folder: Path | None) -> None:
    from fastconv import report
    from fastconv.report import image

    with output.replacing(page) as file:
        file.write_text(report.render(results), encoding="utf-8")
    print(f"the page: {page}")
    if folder is None:
        return
    for name, plot in report.plots(results).items():
        for suffix in image.SUFFIXES:
            with output.replacing(folder / f"{name}{suffix}") as file:
                image.save(plot, file, suffix)
        print(f"{name}: {folder / name}{{{','.join(image.SUFFIXES)}}}")

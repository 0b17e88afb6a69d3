"""Figures as files, and as parts of the page."""

from __future__ import annotations

import html
import io
import re
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from .figures.panel import STYLE
from .palette import themed

_NOTHING = dict.fromkeys(("Date", "Creator", "Format", "Type"))  # the same file from run to run
_SERIES = re.compile(r'<g id="series ([^"\n]*)\n?([^"]*)">(.*?)(?=<g id=|\Z)', re.DOTALL)
_HEAD = re.compile(r"<defs>\s*<style.*?</defs>", re.DOTALL)  # would style the whole page
_VIEW = re.compile(r'<svg[^>]*(viewBox="[^"]*")[^>]*>')
_SHAPE = re.compile(r"<(use|path)(?! id=)([^>]*)/>")
SUFFIXES = (".png", ".svg")


def save(figure: Figure, path: Path, suffix: str) -> None:
    """Write a figure to ``path``, in the format of one of the :data:`SUFFIXES`."""
    if suffix == ".svg":
        path.write_text(_svg(figure), encoding="utf-8")
    else:
        with matplotlib.rc_context(STYLE):
            figure.savefig(path, format="png", dpi=180, metadata={"Software": None})


def inline(figure: Figure, prefix: str, label: str) -> str:
    """A figure as an ``<svg>`` in the page's colours, its ids made its own by ``prefix``."""
    svg = _HEAD.sub("", _svg(figure), count=1)
    view = _VIEW.search(svg)
    assert view
    drawn = svg[view.end() :].replace("xlink:href", "href")
    drawn = re.sub(r'( id="|href="#|url\(#)', rf"\1{prefix}-", themed(drawn))
    return f'<svg role="img" aria-label="{html.escape(label)}" {view[1]}>{drawn}'


def _svg(figure: Figure) -> str:
    """The file that matplotlib writes, its series made groups whose shapes have titles."""
    buffer = io.StringIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format="svg", metadata=_NOTHING)
    return _SERIES.sub(_group, buffer.getvalue())


def _group(found: re.Match) -> str:
    """A group whose id is ``series NAME⏎tip⏎tip…``, as one of class ``series`` that tells tips."""
    name, tips, drawn = found.groups()
    waiting = iter(tips.split("\n") if tips else ())

    def titled(shape: re.Match) -> str:
        tip = next(waiting, None)
        if tip is None:
            return shape[0]
        return f"<{shape[1]}{shape[2]}><title>{tip}</title></{shape[1]}>"

    return f'<g class="series" data-algorithm="{name}">{_SHAPE.sub(titled, drawn)}'

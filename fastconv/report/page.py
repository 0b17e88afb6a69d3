"""The page: the template filled with figures, plots and the table."""

from __future__ import annotations

import html
from importlib import resources
from string import Template
from types import ModuleType

from fastconv.comparison.results import Results
from fastconv.core.problem import DIRECTIONS

from . import gallery, headline, image, palette
from .listing import table


def render(results: Results) -> str:
    """The whole page."""
    host = results.host
    layers = dict.fromkeys(entry.layer for entry in results.entries)
    return Template(_file("page.html")).substitute(
        style=f":root {{\n{palette.css()}\n}}\n{_file('page.css')}",
        script=_file("page.js"),
        processor=html.escape(host.processor),
        layers=f"{len(layers)} layer{'' if len(layers) == 1 else 's'}",
        date=html.escape(host.date.replace("T", " ")),
        versions=html.escape(", ".join(f"{name} {v}" for name, v in host.versions.items())),
        facts="\n".join(map(_fact, headline.facts(results))),
        passes="\n".join(map(_choice, _directions(results))),
        algorithms="\n".join(map(_chip, _algorithms(results))),
        links="\n".join(
            f'<a href="#{name}">{html.escape(plot.TITLE)}</a>'
            for name, plot in gallery.PLOTS.items()
        ),
        plots="\n".join(_section(name, plot, results) for name, plot in gallery.PLOTS.items()),
        table=table(results),
    )


def _file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _directions(results: Results) -> list[str]:
    present = {entry.measured.problem.direction for entry in results.entries}
    return [direction for direction in DIRECTIONS if direction in present]


def _algorithms(results: Results) -> list[str]:
    """All that ran somewhere, in the order in which they are listed."""
    rows = (row for entry in results.entries for row in entry.measured.rows)
    return list(dict.fromkeys(row.algorithm for row in rows if row.reason is None))


def _fact(fact: headline.Fact) -> str:
    name, value, note = map(html.escape, fact)
    return f"<div><dt>{name}</dt><dd><b>{value}</b> {note}</dd></div>"


def _choice(direction: str) -> str:
    return f'<label><input type="radio" name="pass" value="{direction}">{direction}</label>'


def _chip(algorithm: str) -> str:
    name = html.escape(algorithm)
    hue = f"--hue: var(--{palette.token(algorithm)})"
    return (
        f'<button type="button" aria-pressed="false" data-algorithm="{name}" style="{hue}">'
        f"<i></i>{name}</button>"
    )


def _section(name: str, plot: ModuleType, results: Results) -> str:
    """A plot with its title and caption, or a sentence that says what it needs."""
    panels = plot.panels(results)
    shown = "\n".join(
        f'<figure data-pass="{panel.direction}">'
        + image.inline(gallery.figure([panel]), f"{name}{number}", f"{plot.TITLE}: {panel.title}")
        + "</figure>"
        for number, panel in enumerate(panels)
    )
    body = f'<div class="panels">{shown}</div>' if panels else _note(plot.NEEDS)
    caption = f"<p>{html.escape(plot.CAPTION)}</p>" if panels else ""
    return f'<section id="{name}"><h2>{html.escape(plot.TITLE)}</h2>{caption}{body}</section>'


def _note(text: str) -> str:
    return f'<p class="missing">{html.escape(text)}</p>'

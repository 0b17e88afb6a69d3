"""The report: plots of a comparison's results, and one HTML page that holds everything.

Both need matplotlib (``pip install 'fastconv[report]'``), which is imported when they are called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastconv.comparison.results import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plots", "render"]


def render(results: Results) -> str:
    """The whole page as HTML: one file that needs no other and no network."""
    from . import page

    return page.render(results)


def plots(results: Results) -> dict[str, Figure]:
    """Name → plot, for those that ``results`` have data for; :mod:`.image` writes them to files."""
    from . import gallery

    return gallery.plots(results)

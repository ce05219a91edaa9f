"""The look that all figures share: type, colors, panels, legend, caption.

Figures are made for a README, where they are shown about 800 pixels wide: a width of 8 inches makes one point
of type 1.4 pixels there, so that nothing is smaller than 11 pixels.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.layout_engine import ConstrainedLayoutEngine

from hpcgeom.report.select import NO_POOLING, SitePooling, listed, number_of_points

WIDTH_IN = 8.0
ROW_HEIGHT_IN = {1: 3.6, 2: 2.9, 3: 2.3}
"""Height of a row of panels by the number of columns; rows are lower where there are more than three."""
CAPTION_POINTS = 8.5
CAPTION_CHARACTER_IN = 0.066
TOP_IN = 0.06
"""Kept free above all else."""
CAPTION_GID = "caption"
UNDEFINED_GID = "undefined"

CATEGORIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito, Color universal design (2008): told apart with any color vision."""
MISSING_COLOR = "#d9d9d9"
TEXT_COLOR = "#333333"

_STYLE: dict[str, Any] = {
    "font.size": 9.5,
    "axes.titlesize": 10.0,
    "axes.labelsize": 10.0,
    "xtick.labelsize": 9.0,
    "ytick.labelsize": 9.0,
    "legend.fontsize": 9.0,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "legend.columnspacing": 1.4,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.edgecolor": "#666666",
    "axes.titlelocation": "left",
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.5,
    "lines.markersize": 3.6,
    "figure.facecolor": "white",
    "savefig.dpi": 200,
    "svg.hashsalt": "hpcgeom",
    "svg.fonttype": "path",
}


@contextmanager
def style() -> Iterator[None]:
    """Matplotlib's defaults with the look of hpcgeom; what the caller had set comes back afterwards."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(cast(Any, _STYLE))
        yield


def sequential_colors(n: int) -> list[str]:
    """`n` colors from dark to light of viridis, without its pale end."""
    stops = np.linspace(0.05, 0.85, n) if n > 1 else np.array([0.3])
    return [to_hex(mpl.colormaps["viridis"](stop)) for stop in stops]


def category_colors(n: int) -> list[str]:
    """`n` colors without an order."""
    return [CATEGORIES[i % len(CATEGORIES)] for i in range(n)]


def columns_for(n_panels: int) -> int:
    """How many panels stand beside each other."""
    return min(n_panels, 2) if n_panels in (1, 2, 4) else 3


def panel_grid(blocks: Sequence[int], columns: int) -> tuple[Figure, list[list[Axes]]]:
    """A figure with blocks of panels below each other; x is shared in a block, y by all panels.

    Parameters
    ----------
    blocks
        Number of panels of each block; each block begins a new row.
    columns
        Panels beside each other, at most 3.
    """
    rows = [-(-n // columns) for n in blocks]
    row_in = ROW_HEIGHT_IN[columns] if sum(rows) <= 3 else 2.2
    figure = Figure(figsize=(WIDTH_IN, sum(rows) * row_in), layout="constrained")
    layout = GridSpec(sum(rows), columns, figure=figure)
    axes: list[list[Axes]] = []
    first: Axes | None = None
    for block, n in enumerate(blocks):
        panels: list[Axes] = []
        for i in range(n):
            cell = layout[sum(rows[:block]) + i // columns, i % columns]
            panel = figure.add_subplot(cell, sharex=panels[0] if panels else None, sharey=first)
            panel.tick_params(labelbottom=i + columns >= n, labelleft=i % columns == 0)
            first = first or panel
            panels.append(panel)
        axes.append(panels)
    return figure, axes


def label_outer(panels: Sequence[Axes], columns: int, x: str, y: str) -> None:
    """Name the axes once: x below the lowest panel of each column, y left of each row."""
    for i, panel in enumerate(panels):
        if i + columns >= len(panels):
            panel.set_xlabel(x)
        if i % columns == 0:
            panel.set_ylabel(y)


def legend(figure: Figure, handles: Sequence[Artist]) -> None:
    """One legend above all panels, in as many columns as the width holds."""
    if not handles:
        return
    n = len(handles)
    longest = max(len(str(handle.get_label())) for handle in handles)
    fitting = int((figure.get_size_inches()[0] - 0.2) / (0.52 + 0.072 * longest))
    rows = -(-n // max(1, min(n, fitting)))
    columns = -(-n // rows)
    # Matplotlib fills columns; people read rows.
    order = [row * columns + column for column in range(columns) for row in range(rows)]
    shown = [handles[i] for i in order if i < n]
    figure.legend(handles=shown, loc="outside upper left", ncols=columns)


def color_bar(figure: Figure, axes: Sequence[Axes], colors: ScalarMappable, label: str) -> None:
    """A color bar right of all panels, at the top, no longer than is needed to read it."""
    height_in = float(figure.get_size_inches()[1])
    long_in = min(height_in - 0.6, 3.2)
    bar = figure.colorbar(
        colors,
        ax=list(axes),
        label=label,
        shrink=long_in / height_in,
        aspect=long_in / 0.14,
        anchor=(0.0, 1.0),
        pad=0.02,
    )
    bar.outline.set_visible(False)  # type: ignore[operator]


def wrap_caption(text: str, width_in: float) -> tuple[str, float]:
    """The caption in lines that fit a width, and the height in inches that it needs."""
    lines = textwrap.wrap(text, int((width_in - 0.3) / CAPTION_CHARACTER_IN), break_on_hyphens=False)
    return "\n".join(lines), 0.16 + len(lines) * CAPTION_POINTS * 1.32 / 72.0


def write_caption(figure: Figure, text: str, height_in: float) -> None:
    """Write wrapped lines at the foot of a figure."""
    width_in, total_in = figure.get_size_inches()
    figure.text(
        0.12 / width_in,
        (height_in - 0.06) / total_in,
        text,
        fontsize=CAPTION_POINTS,
        color=TEXT_COLOR,
        verticalalignment="top",
        linespacing=1.25,
        gid=CAPTION_GID,
    )


def add_caption(figure: Figure, text: str) -> None:
    """Make a figure higher by the room of its caption, and write it there."""
    width_in, height_in = figure.get_size_inches()
    lines, room_in = wrap_caption(text, width_in)
    total_in = TOP_IN + height_in + room_in
    figure.set_size_inches(width_in, total_in)
    engine = figure.get_layout_engine()
    if isinstance(engine, ConstrainedLayoutEngine):
        engine.set(rect=(0.0, room_in / total_in, 1.0, height_in / total_in))
    write_caption(figure, lines, room_in)


def caption_of(figure: Figure) -> str:
    """The caption of a figure in one line: what an alternative text should say."""
    return " ".join(
        str(text.get_text()).replace("\n", " ") for text in figure.texts if text.get_gid() == CAPTION_GID
    )


def _counted(noun: str, words: Sequence[str]) -> str:
    return f"{noun}{'s' * (len(words) > 1)} {listed(words)}"


def caption(
    results: xr.Dataset,
    lead: str,
    *,
    places: Sequence[SitePooling],
    models: Sequence[str],
    k: Sequence[int] = (),
    estimators: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> str:
    """Sentences below a figure: what is drawn, of how many points, with which settings, of which models."""
    dataset = str(results.attrs.get("dataset", ""))
    facts = [f"N = {number_of_points(results, models, places)} points" + (f" ({dataset})" if dataset else "")]
    if "metric" in results.attrs:
        facts.append(f"{results.attrs['metric']} distance")
    if k:
        facts.append(f"k = {listed([str(each) for each in k])}")
    if estimators:
        facts.append(_counted("estimator", estimators))
    facts.append(_counted("site", list(dict.fromkeys(place.site for place in places))))
    poolings = [each for each in dict.fromkeys(place.pooling for place in places) if each != NO_POOLING]
    if poolings:
        facts.append(_counted("pooling", poolings))
    facts.append(_counted("model", models))
    return " ".join([lead, "; ".join(facts) + ".", *notes])

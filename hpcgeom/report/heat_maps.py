"""Pages of heat maps: bands of equal panels below each other, each band with its colors.

A page is laid out in inches. All panels of a band are images in one Axes, as a page has up to a hundred.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hpcgeom.report.cells import CHARACTER_IN, PANEL_GAP_IN, Ticks, n_pixels, shrink
from hpcgeom.report.draw import TOP_IN, WIDTH_IN, wrap_caption, write_caption

MOST_NAMED = 22
"""Of more tokens, no panel of several has room for the names."""
HEADING_IN = 0.3
TITLE_IN = 0.2
"""Above a panel that has a title."""
NAME_IN = 0.24
"""Of an axis."""
TICK_IN = 0.06
BAND_GAP_IN = 0.12
BAR_IN = 1.1
"""Width of a color bar with its label."""
LONGEST_BAR_IN, SHORTEST_BAR_IN = 2.4, 0.75
BAR_TICK_IN = 0.3
"""Between numbers of a color bar, at least."""
FONT_POINTS = 8.5
CELL_POINTS = 8.0


class Colors(NamedTuple):
    """What colors mean.

    Attributes
    ----------
    label
        Of the color bar.
    extend
        On which side values lie beyond the ends: neither or both.
    is_root
        Whether colors follow the square root of values, to tell small ones apart.
    """

    name: str
    low: float
    high: float
    label: str
    extend: str = "neither"
    is_root: bool = False

    @property
    def map(self) -> Colormap:
        return mpl.colormaps[self.name]

    @property
    def norm(self) -> Normalize:
        if self.is_root:
            return PowerNorm(0.5, self.low, self.high)
        return Normalize(self.low, self.high)


class Panel(NamedTuple):
    """One heat map: a title, values (R, C), and what is written into their cells."""

    title: str
    values: npt.NDArray[np.floating]
    texts: npt.NDArray[np.str_] | None = None


class Band(NamedTuple):
    """Panels of one shape and one meaning of colors, in rows of `columns`.

    Attributes
    ----------
    side_in
        Width and height of a panel.
    names
        Of the horizontal and of the vertical axis.
    has_bar
        Whether the color bar stands beside this band.
    """

    heading: str
    panels: list[Panel]
    columns: int
    side_in: tuple[float, float]
    colors: Colors
    x: Ticks
    y: Ticks
    names: tuple[str, str]
    has_bar: bool = True

    @property
    def size_in(self) -> tuple[float, float]:
        """Width and height of all panels."""
        n_rows = -(-len(self.panels) // self.columns)
        across = self.columns * self.side_in[0] + (self.columns - 1) * PANEL_GAP_IN
        return across, n_rows * self.side_in[1] + (n_rows - 1) * self.row_gap_in

    @property
    def row_gap_in(self) -> float:
        return title_in(bool(self.panels[0].title)) + 0.5 * PANEL_GAP_IN

    @property
    def left_in(self) -> float:
        """Room for names and ticks at the left."""
        return left_in(self.y)

    @property
    def above_in(self) -> float:
        return (HEADING_IN if self.heading else TOP_IN) + title_in(bool(self.panels[0].title))

    @property
    def height_in(self) -> float:
        """With heading, ticks and the name of the axis."""
        bar_in = SHORTEST_BAR_IN + BAND_GAP_IN if self.has_bar else 0.0
        return self.above_in + max(self.size_in[1] + below_in(self.x), bar_in)


def left_in(ticks: Ticks) -> float:
    """Room at the left of a panel with these ticks."""
    return NAME_IN + ticks.longest_in + TICK_IN + 0.06


def below_in(ticks: Ticks) -> float:
    """Room below a panel with these ticks."""
    return NAME_IN + TICK_IN + (ticks.longest_in if ticks.upright else 0.15) + BAND_GAP_IN


def rest_in(labels: Sequence[str] | None) -> float:
    """Height that a band takes besides its rows of panels, at most."""
    return HEADING_IN + below_in(Ticks([], list(labels or ()), upright=True) if labels else Ticks([], []))


def row_in(panel_in: float, *, has_title: bool) -> float:
    """Height of a row of panels, with the gap that follows."""
    return panel_in + title_in(has_title) + 0.5 * PANEL_GAP_IN


def title_in(has_title: bool) -> float:
    """Room for the title of a panel."""
    return TITLE_IN if has_title else 0.0


def free_in(labels: Sequence[str] | None) -> float:
    """Width that is left for panels beside the names of tokens and a color bar."""
    longest = max(map(len, labels)) if labels else 4
    return WIDTH_IN - BAR_IN - NAME_IN - TICK_IN - 0.06 - longest * CHARACTER_IN


def draw_page(bands: Sequence[Band], caption: str) -> Figure:
    """A figure of bands from top to bottom, and a caption below."""
    with mpl.rc_context({"text.parse_math": False}):  # names of samples and tokens are no formulas
        lines, caption_in = wrap_caption(caption, WIDTH_IN)
        height_in = TOP_IN + sum(band.height_in for band in bands) + caption_in
        figure = Figure(figsize=(WIDTH_IN, height_in))
        left, top = max(band.left_in for band in bands), TOP_IN
        for band in bands:
            _draw_band(figure, band, left, top)
            top += band.height_in
        write_caption(figure, lines, caption_in)
    return figure


def _place(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes whose upper left corner is so many inches right of and below that of the figure."""
    width_in, height_in = figure.get_size_inches()
    box = (left / width_in, 1.0 - (top + height) / height_in, width / width_in, height / height_in)
    return figure.add_axes(box)


def _draw_band(figure: Figure, band: Band, left: float, top: float) -> None:
    width_in, height_in = figure.get_size_inches()
    across, down = band.size_in
    figure.text(left / width_in, 1.0 - (top + 0.06) / height_in, band.heading, va="top", fontsize=10)
    axes = _place(figure, left, top + band.above_in, across, down)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    n_rows, n_columns = band.panels[0].values.shape
    cell_in = (band.side_in[0] / n_columns, band.side_in[1] / n_rows)
    step = (n_columns + PANEL_GAP_IN / cell_in[0], n_rows + band.row_gap_in / cell_in[1])
    corners = [(i % band.columns * step[0], i // band.columns * step[1]) for i in range(len(band.panels))]
    for panel, corner in zip(band.panels, corners, strict=True):
        _draw_panel(axes, panel, corner, band)
        if panel.title:
            at = (corner[0] - 0.5, corner[1] - 0.5 - 0.04 / cell_in[1])
            axes.text(*at, panel.title, va="bottom", fontsize=FONT_POINTS)
    axes.set_xlim(-0.5, across / cell_in[0] - 0.5)
    axes.set_ylim(down / cell_in[1] - 0.5, -0.5)
    _draw_ticks(axes, band, step)
    if band.has_bar:
        long_in = min(max(down, SHORTEST_BAR_IN), LONGEST_BAR_IN)
        _draw_bar(figure, band.colors, left + across + 0.15, top + band.above_in, long_in)


def _draw_panel(axes: Axes, panel: Panel, corner: tuple[float, float], band: Band) -> None:
    n_rows, n_columns = panel.values.shape
    right, bottom = corner[0] + n_columns - 0.5, corner[1] + n_rows - 0.5
    axes.imshow(
        shrink(panel.values, n_pixels(band.side_in[1]), n_pixels(band.side_in[0])),
        cmap=band.colors.map,
        norm=band.colors.norm,
        extent=(corner[0] - 0.5, right, bottom, corner[1] - 0.5),
        aspect="auto",
        interpolation="none",
    )
    if panel.texts is None:
        return
    inks = _inks(panel.values, band.colors)
    for (row, column), text in np.ndenumerate(panel.texts):
        axes.text(
            corner[0] + column,
            corner[1] + row,
            str(text),
            ha="center",
            va="center",
            color=inks[row, column],
            fontsize=CELL_POINTS,
            linespacing=1.1,
        )


def _inks(values: npt.NDArray[np.floating], colors: Colors) -> npt.NDArray[np.str_]:
    """White on dark cells, black on light ones; luma as in ITU-R BT.601."""
    luma = colors.map(colors.norm(values))[..., :3] @ np.array([0.299, 0.587, 0.114])
    return np.where(luma < 0.5, "white", "black")


def _draw_ticks(axes: Axes, band: Band, step: tuple[float, float]) -> None:
    """Ticks and names at the left of each row of panels and below each column."""
    n_rows = -(-len(band.panels) // band.columns)
    n_columns = min(band.columns, len(band.panels))
    axes.set_xticks([column * step[0] + at for column in range(n_columns) for at in band.x.at])
    axes.set_xticklabels(band.x.texts * n_columns, rotation=90 if band.x.upright else 0)
    axes.set_yticks([row * step[1] + at for row in range(n_rows) for at in band.y.at])
    axes.set_yticklabels(band.y.texts * n_rows)
    axes.tick_params(length=2, pad=2, labelsize=FONT_POINTS)
    axes.set_xlabel(band.names[0], fontsize=9.5, labelpad=2)
    axes.set_ylabel(band.names[1], fontsize=9.5, labelpad=2)


def _draw_bar(figure: Figure, colors: Colors, left: float, top: float, long_in: float) -> None:
    axes = _place(figure, left, top, 0.14, long_in)
    axes.set_label("<colorbar>")
    bar = figure.colorbar(ScalarMappable(colors.norm, colors.map), cax=axes, extend=colors.extend)
    bar.set_label(colors.label, fontsize=9.5)
    n_ticks = max(2, int(long_in / BAR_TICK_IN))
    bar.ax.yaxis.set_major_locator(MaxNLocator(n_ticks, steps=[1, 2, 2.5, 5, 10]))
    bar.ax.yaxis.set_major_formatter(lambda value, _: f"{value:.4g}".replace("-", "−"))
    bar.ax.tick_params(labelsize=FONT_POINTS)
    bar.outline.set_visible(False)  # type: ignore[operator]

"""What a drawn figure shows, read back from its artists."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import Bbox


def panels(figure: Figure) -> list[Axes]:
    """All axes but color bars."""
    return [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]


def lines(axes: Axes, gid: str | None = None) -> dict[str, Line2D]:
    """Lines by label, those with the given gid only."""
    return {str(line.get_label()): line for line in axes.lines if line.get_gid() == gid}


def titles(figure: Figure) -> list[str]:
    return [axes.get_title(loc="left") for axes in panels(figure)]


def legend_labels(figure: Figure) -> list[str]:
    """Labels in the order in which rows are read."""
    FigureCanvasAgg(figure).draw()
    (legend,) = figure.legends
    boxes = [(text.get_window_extent(), text.get_text()) for text in legend.get_texts()]
    return [text for box, text in sorted(boxes, key=lambda each: (-round(each[0].y0 / 10), each[0].x0))]


def _shown(axes: Axes) -> list[Text]:
    texts = [axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        texts += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    return texts


def upright_text_boxes(figure: Figure) -> list[tuple[str, Bbox]]:
    """Every visible text with its box in pixels; slanted ones, whose box is not their shape, are left out."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    texts = [*figure.texts, *(text for legend in figure.legends for text in legend.get_texts())]
    texts += [text for axes in figure.axes for text in _shown(axes)]
    boxes = [
        (text.get_text(), text.get_window_extent(canvas.get_renderer()))
        for text in texts
        if text.get_visible() and text.get_text().strip() and text.get_rotation() % 90 == 0
    ]
    return [(text, box) for text, box in boxes if box.width > 0]


def misplaced_texts(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts that touch or nearly do, and texts that reach over the edge of the page."""
    boxes, page = upright_text_boxes(figure), figure.bbox
    found = [
        (text, "the edge of the page")
        for text, box in boxes
        if box.x0 < -0.5 or box.y0 < -0.5 or box.x1 > page.width + 0.5 or box.y1 > page.height + 0.5
    ]
    for i, (a, box_a) in enumerate(boxes):
        for b, box_b in boxes[i + 1 :]:
            spaced = Bbox.from_extents(box_a.x0 - 3, box_a.y0, box_a.x1 + 3, box_a.y1)
            shared = Bbox.intersection(spaced, box_b)
            if shared is not None and min(shared.width, shared.height) > 1.0:
                found.append((a, b))
    return found


def band(axes: Axes, i: int) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest edge of the `i`-th band at each of its abscissas."""
    points = np.concatenate([path.vertices for path in axes.collections[i].get_paths()])
    xs = np.unique(points[:, 0])
    return (
        np.array([points[points[:, 0] == x, 1].min() for x in xs]),
        np.array([points[points[:, 0] == x, 1].max() for x in xs]),
    )

"""Cells of heat maps: how many a panel has room for, what is written into them, where ticks stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

PIXELS_PER_IN = 200
"""Of the PNG files."""
CHARACTER_IN = 0.072
"""Width of a digit at 8.5 points, with a little room."""
LINE_IN = 0.135
"""Height of a line of 8.5 points."""
PANEL_GAP_IN = 0.13
"""Between panels beside each other."""
MOST_DECIMALS = 4
MOST_CHARACTERS = 10
"""Longer texts of tokens are cut."""


class Ticks(NamedTuple):
    """Where ticks stand along an axis, in cells, and what is written there.

    Attributes
    ----------
    upright
        Whether the texts of a horizontal axis stand on their side.
    of_tokens
        Whether they name tokens; positions otherwise.
    """

    at: list[int]
    texts: list[str]
    upright: bool = False
    of_tokens: bool = False

    @property
    def longest_in(self) -> float:
        """Length of the longest text."""
        return max(map(len, self.texts), default=0) * CHARACTER_IN


def shrink(values: npt.NDArray[np.floating], most_rows: int, most_columns: int) -> npt.NDArray[np.floating]:
    """As many rows and columns (R, C) as there are pixels: each takes the extreme of those it stands for.

    The extreme is the value farthest from 0, with its sign, so that nothing that stands out is lost. Rows and
    columns within the limits are left as they are.
    """
    for axis, most in ((0, most_rows), (1, most_columns)):
        n = values.shape[axis]
        if n > most:
            starts = np.arange(most) * n // most
            high = np.maximum.reduceat(values, starts, axis=axis)
            low = np.minimum.reduceat(values, starts, axis=axis)
            values = np.where(high >= -low, high, low)
    return values


def n_pixels(inches: float) -> int:
    """Pixels of the PNG files along a length."""
    return max(1, round(inches * PIXELS_PER_IN))


def decimals_for(largest: float) -> int:
    """Decimals for numbers up to `largest`: two of those around 1, fewer of larger, more of smaller ones."""
    if not largest > 0.0:
        return 2
    magnitude = int(np.floor(np.log10(largest)))
    return max(0, 1 - magnitude if magnitude < 0 else 2 - magnitude)


def written(values: npt.NDArray[np.floating], decimals: int) -> npt.NDArray[np.str_]:
    """Numbers as they are written into cells, without the 0 before the point; one digit beyond 4 decimals."""
    return np.array([[_number(float(value), decimals) for value in row] for row in values], dtype=np.str_)


def written_shares(values: npt.NDArray[np.floating]) -> npt.NDArray[np.str_]:
    """Shares of 1 as they are written into cells: two decimals, of small ones two digits."""
    return np.array([[_share(float(value)) for value in row] for row in values], dtype=np.str_)


def _share(value: float) -> str:
    return _number(value, 2) if value >= 0.01 else f"{value:.2g}".replace("0.", ".", 1)


def _number(value: float, decimals: int) -> str:
    if decimals > MOST_DECIMALS:
        return f"{value:.0e}" if value else "0"
    text = f"{value:.{decimals}f}"
    text = text.removeprefix("-") if float(text) == 0.0 else text
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def token_name(token: int, texts: Mapping[int, str] | None = None) -> str:
    """The text of a token where it is known, else its id; one line, cut where it is long."""
    if texts is None or token not in texts:
        return str(token)
    shown = "".join(each if each.isprintable() else repr(each)[1:-1] for each in texts[token])
    return shown if len(shown) <= MOST_CHARACTERS else f"{shown[: MOST_CHARACTERS - 1]}…"


def token_labels(sample: xr.Dataset, texts: Mapping[int, str] | None = None) -> list[str] | None:
    """Names of a sample's tokens; None where all ids are equal, as those of the patches of an image are."""
    ids = sample["input_id"].values
    if ids.size > 1 and (ids == ids[0]).all():
        return None
    return [token_name(token, texts) for token in ids.tolist()]


def token_ticks(labels: Sequence[str] | None, n: int, side_in: float, *, across: bool) -> Ticks:
    """A tick for each token if there is room for its name, else positions, as many as there is room for.

    Parameters
    ----------
    labels
        Names of the `n` tokens; None draws positions.
    side_in
        Length of the axis.
    across
        Whether the axis is horizontal.
    """
    cell_in = side_in / n
    if labels is not None and cell_in >= LINE_IN:
        fits = max(map(len, labels)) * CHARACTER_IN + 0.09 <= cell_in
        return Ticks(list(range(n)), list(labels), across and not fits, of_tokens=True)
    return number_ticks(range(n), side_in, across=across)


def number_ticks(numbers: Sequence[int], side_in: float, *, across: bool) -> Ticks:
    """Ticks at round distances, kept away from the 0 of a panel that follows."""
    n = len(numbers)
    cell_in, wide_in = side_in / n, len(str(max(numbers))) * CHARACTER_IN
    room_in = wide_in + 0.1 if across else 0.2
    steps = (digit * 10**power for power in range(9) for digit in (1, 2, 5))
    step = next(each for each in steps if each * cell_in >= room_in)
    keep_off_in = wide_in / 2 + 0.5 * CHARACTER_IN + 0.03 if across else LINE_IN - PANEL_GAP_IN
    at = [i for i in range(0, n, step) if i == 0 or (n - i) * cell_in + PANEL_GAP_IN >= keep_off_in]
    return Ticks(at, [str(numbers[i]) for i in at])


def all_ticks(labels: Sequence[str], *, upright: bool = False) -> Ticks:
    """A tick for each label."""
    return Ticks(list(range(len(labels))), list(labels), upright, of_tokens=True)

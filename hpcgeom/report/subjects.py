"""What a figure of details is about: one sample in one model, and the sentences that say so."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import xarray as xr
from matplotlib.figure import Figure

from hpcgeom.report.cells import Ticks, token_labels, token_name
from hpcgeom.report.select import number_ranges

MOST_LISTED = 64
"""Tokens of samples that are listed in captions."""
Page = Callable[[], Figure]
"""Draws one figure; reads what it needs when it is called."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A group of the details of a model: one site of one sample.

    Parameters
    ----------
    sample
        The group, with `input_id` and the attribute `sample`; read layer by layer, when it is drawn.
    model
        Name of the model.
    site
        Name of the site.
    n_heads
        Into how many heads the features are cut; None where they are not, or where it is not known.
    texts
        Texts of tokens, by id, where they are known.
    """

    sample: xr.Dataset
    model: str
    site: str
    n_heads: int | None = None
    texts: Mapping[int, str] | None = None

    @property
    def n_tokens(self) -> int:
        """Tokens of the sample, special ones included."""
        return int(self.sample.sizes["position"])

    @property
    def labels(self) -> list[str] | None:
        """Names of the sample's tokens; None where they tell nothing."""
        return token_labels(self.sample, self.texts)

    @property
    def layers(self) -> list[int]:
        """Numbers of the layers that were kept."""
        return [int(layer) for layer in self.sample["layer"].values]

    def name(self, token: int) -> str:
        """Text of a token, or its id."""
        return token_name(token, self.texts)

    def token_axis(self, ticks: Ticks) -> str:
        """Name of an axis of tokens."""
        return self.token_word if ticks.of_tokens else "position"

    @property
    def token_word(self) -> str:
        """What stands for a token."""
        return "token id" if self.texts is None else "token"

    def ticks_note(self, ticks: Ticks) -> str:
        """What the ticks along the tokens are, for a caption; it lists the tokens of a short sample."""
        tokens = "token ids" if self.texts is None else "tokens"
        if ticks.of_tokens:
            return f"Ticks are {tokens}."
        note = "Ticks are positions of tokens, from 0."
        labels = self.labels
        if labels is None or self.n_tokens > MOST_LISTED:
            return note
        return f"{note} Their {tokens}: {', '.join(labels)}."

    def caption(
        self, lead: str, notes: Sequence[str] = (), layers: Sequence[int] = (), page: tuple[int, int] = (1, 1)
    ) -> str:
        """Sentences below a figure: what is drawn, of which sample and model, and where it goes on.

        Parameters
        ----------
        layers
            Layers of this figure.
        page
            Its number and how many there are.
        """
        tokens = f"{self.n_tokens:,} token{'s' * (self.n_tokens > 1)}"
        facts = [f"Sample {self.sample.attrs['sample']} ({tokens})", f"model {self.model}"]
        if layers:
            facts.append(f"layer{'s' * (len(set(layers)) > 1)} {number_ranges(layers)}")
        if page[1] > 1:
            facts.append(f"figure {page[0]} of {page[1]}")
        return " ".join([lead, *(note for note in notes if note), "; ".join(facts) + "."])

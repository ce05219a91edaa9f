"""What is known of one array of a store: dimensions, dtype, unit, meaning and source."""

from __future__ import annotations

from dataclasses import dataclass, replace

VALERIANI = "Valeriani et al. 2023, The geometry of hidden representations of large transformer models"
FACCO = "Facco et al. 2017, doi:10.1038/s41598-017-11873-y"
DENTI = "Denti et al. 2022, doi:10.1038/s41598-022-20991-1 (generalized ratios, GRIDE)"
LEVINA_BICKEL = "Levina and Bickel 2004; MacKay and Ghahramani 2005 (average over points)"


@dataclass(frozen=True, slots=True)
class Variable:
    """One array of a store."""

    dims: tuple[str, ...]
    dtype: str
    long_name: str
    units: str = "1"
    source: str = ""
    coordinates: tuple[str, ...] = ()

    def attributes(self) -> dict[str, object]:
        """What is written into the array's attributes."""
        found: dict[str, object] = {"long_name": self.long_name, "units": self.units}
        if self.source:
            found["source"] = self.source
        if self.coordinates:  # by CF: arrays that are coordinates, though no dimension has their name
            found["coordinates"] = " ".join(self.coordinates)
        return found

    def along(self, dim: str, coordinates: tuple[str, ...] = ()) -> Variable:
        """The same variable where the points along `sample` are those along `dim`, with these coordinates."""
        dims = tuple(dim if name == "sample" else name for name in self.dims)
        return replace(self, dims=dims, coordinates=coordinates)


REPRESENTATION = ("model", "site", "pooling", "layer")
PAIR = ("site", "pooling", "model", "layer", "other_model", "other_layer")

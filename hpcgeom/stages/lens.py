"""What the logit lens of the samples that were kept whole says about every layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from hpcgeom.plan import paths
from hpcgeom.stages.run import Run
from hpcgeom.store import details

Variables = dict[str, tuple[tuple[str, ...], npt.NDArray[Any]]]
STORED = ("kl_to_last", "entropy", "cosine_to_last")


def lens_profile(run: Run, n_layers: int) -> Variables:
    """Means over samples of the means over their tokens, with the standard error over samples.

    Parameters
    ----------
    n_layers
        Length of the results' axis of layers.

    Returns
    -------
    dict
        `lens_kl_to_last`, `lens_entropy`, `lens_cosine_to_last`, and `lens_agreement`, the share of tokens
        whose most probable next token is that of the last layer; nothing where no model has a logit lens.
    """
    models = run.plan.models
    if not any(model.lens_layers for model in models):
        return {}
    names = [f"lens_{name}" for name in (*STORED, "agreement")]
    shape = (len(models), n_layers)
    found: Variables = {
        f"{name}{end}": (("model", "layer"), np.full(shape, np.nan))
        for name in names
        for end in ("", "_error")
    }
    found["n_lens_samples"] = (("model",), np.zeros(len(models), dtype=np.int64))
    for number, model in enumerate(models):
        layers = model.lens_layers
        if not layers or model.details is None:
            continue
        of_samples = np.stack([_sample(run, model.name, row) for row in model.details.rows])
        n_samples = len(of_samples)
        value = of_samples.mean(axis=0)
        error = np.full(value.shape, np.nan)
        if n_samples > 1:
            error = of_samples.std(axis=0, ddof=1) / np.sqrt(n_samples)
        for name, one, spread in zip(names, value, error, strict=True):
            found[name][1][number, list(layers)] = one
            found[f"{name}_error"][1][number, list(layers)] = spread
        found["n_lens_samples"][1][number] = n_samples
    return found


def _sample(run: Run, model: str, row: int) -> npt.NDArray[np.float64]:
    """(numbers, layers): means over the tokens of one sample."""
    store, group = run.root / paths.activations(model), f"logit_lens/{row}"
    means = [details.read(store, f"{group}/{name}").astype(np.float64).mean(axis=1) for name in STORED]
    top = details.read(store, f"{group}/top_token")[:, :, 0]
    return np.stack([*means, (top == top[-1]).mean(axis=1)])

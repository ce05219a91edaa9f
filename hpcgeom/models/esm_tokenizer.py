"""The tokenizer that all ESM-2 models share, for those that come without files."""

from __future__ import annotations

import json
from pathlib import Path

from hpcgeom.models.converted import default_cache, folder_beside, is_complete, publish
from hpcgeom.models.esm_names import tokenizer_files

MADE_BY = "esm2-tokenizer 1"
_SIZE_BYTES = 4096


def esm_tokenizer(cache: Path | None = None) -> Path:
    """A folder with the tokenizer of ESM-2: its alphabet of 33 tokens.

    Parameters
    ----------
    cache
        Where the folder is put; see `hpcgeom.models.converted.default_cache`.

    Raises
    ------
    InputError, ResourceError
        The cache cannot be written to.
    """
    folder = (default_cache() if cache is None else cache) / "esm2-tokenizer"
    if is_complete(folder, MADE_BY):
        return folder
    with folder_beside(folder, _SIZE_BYTES) as beside:
        for name, content in tokenizer_files().items():
            text = content if isinstance(content, str) else json.dumps(content, indent=2, sort_keys=True)
            (beside / name).write_text(text)
        publish(beside, folder, MADE_BY, {})
    return folder

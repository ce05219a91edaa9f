"""The package is imported by commands that must not wait for torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

import hpcgeom.models


def test_importing_the_package_does_not_import_torch():
    code = (
        "import sys, hpcgeom.models as m; m.ModelRequest; "
        "print([name for name in ('torch', 'transformers', 'numpy') if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "['numpy']"


def test_every_public_name_exists_and_others_do_not():
    assert all(getattr(hpcgeom.models, name) is not None for name in hpcgeom.models.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        hpcgeom.models.nothing  # noqa: B018

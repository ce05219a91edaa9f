"""The backend `dadapy` where DADApy is missing; tests/parity runs it where it is installed."""

import sys

import numpy as np
import pytest

from hpcgeom.errors import InputError
from hpcgeom.geometry import dadapy_backend


@pytest.fixture
def without_dadapy(monkeypatch):
    monkeypatch.setitem(sys.modules, "dadapy", None)  # importing it fails


@pytest.mark.parametrize(
    "call",
    [
        lambda: dadapy_backend.twonn(np.ones((20, 2))),
        lambda: dadapy_backend.twonn_mle(np.ones((20, 2))),
        lambda: dadapy_backend.gride(np.ones((20, 4)), 4),
        lambda: dadapy_backend.overlap(np.zeros((5, 2), int), np.zeros((5, 2), int), 1),
        lambda: dadapy_backend.label_overlap(np.zeros((5, 2), int), np.zeros(5, int), 1),
        dadapy_backend.version,
    ],
)
def test_says_that_it_is_missing_and_what_to_do(without_dadapy, call):
    with pytest.raises(InputError, match=r"DADApy cannot be imported here .*NumPy 1.*backend 'native'"):
        call()

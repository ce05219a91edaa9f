from pathlib import Path

import numpy as np
import pytest
from known_clouds import brute_neighbors

REFERENCE = Path(__file__).parent / "reference"


@pytest.fixture
def rng():
    return np.random.default_rng(20240607)


@pytest.fixture(scope="session")
def two_gaussians():
    """Distances and indices (100, 64) of DADApy's test points."""
    return brute_neighbors(np.load(REFERENCE / "2gaussians_in_2d.npy"), 64)


@pytest.fixture(scope="session")
def overlap_points():
    """DADApy's test points for overlaps, (40, 2)."""
    return np.load(REFERENCE / "2gaussians_in_2d_overlap.npy")

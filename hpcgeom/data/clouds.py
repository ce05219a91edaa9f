"""Point clouds of known intrinsic dimension, for tests and demonstrations."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from hpcgeom.errors import InputError

Cloud: TypeAlias = npt.NDArray[np.float64]
"""(N, D): rows are points."""


def gaussian(n_points: int, dimension: int, rng: np.random.Generator) -> Cloud:
    """Draw from the standard normal distribution in d dimensions.

    Returns
    -------
    ndarray of float64, shape (n_points, dimension)
        Intrinsic dimension d.
    """
    _at_least_one(n_points=n_points, dimension=dimension)
    return rng.standard_normal((n_points, dimension))


def sphere(n_points: int, dimension: int, rng: np.random.Generator) -> Cloud:
    """Draw uniformly from the unit sphere S^d (Muller, Commun. ACM 2, 19, 1959).

    Returns
    -------
    ndarray of float64, shape (n_points, dimension + 1)
        Intrinsic dimension d; curved, without a boundary.
    """
    _at_least_one(n_points=n_points, dimension=dimension)
    points_ND = rng.standard_normal((n_points, dimension + 1))
    points_ND /= np.linalg.norm(points_ND, axis=1, keepdims=True)
    return points_ND


def ball(n_points: int, dimension: int, rng: np.random.Generator) -> Cloud:
    """Draw uniformly from the unit ball in d dimensions.

    Returns
    -------
    ndarray of float64, shape (n_points, dimension)
        Intrinsic dimension d; flat, with a boundary.
    """
    _at_least_one(n_points=n_points, dimension=dimension)
    points_ND = rng.standard_normal((n_points, dimension))
    points_ND /= np.linalg.norm(points_ND, axis=1, keepdims=True)
    radius_N = rng.uniform(size=n_points) ** (1.0 / dimension)  # P(radius < r) = r^d
    return points_ND * radius_N[:, None]


def hypercube(n_points: int, dimension: int, rng: np.random.Generator) -> Cloud:
    """Draw uniformly from the unit cube [0, 1)^d.

    Returns
    -------
    ndarray of float64, shape (n_points, dimension)
        Intrinsic dimension d; flat, with a boundary.
    """
    _at_least_one(n_points=n_points, dimension=dimension)
    return rng.uniform(size=(n_points, dimension))


def hypercube_torus(n_points: int, dimension: int, rng: np.random.Generator) -> Cloud:
    """Draw uniformly from the flat torus: a cube whose opposite faces are glued, one unit circle per side.

    Returns
    -------
    ndarray of float64, shape (n_points, 2 * dimension)
        Intrinsic dimension d; flat, without a boundary. Columns 2i and 2i + 1 are circle i.
    """
    _at_least_one(n_points=n_points, dimension=dimension)
    angle_Nd = rng.uniform(0.0, 2.0 * np.pi, (n_points, dimension))
    return np.stack([np.cos(angle_Nd), np.sin(angle_Nd)], axis=2).reshape(n_points, 2 * dimension)


def swiss_roll(n_points: int, rng: np.random.Generator) -> Cloud:
    """Draw uniformly, by area, from a rolled sheet: the spiral r = t, t in [1.5 pi, 4.5 pi], times [0, 21].

    Returns
    -------
    ndarray of float64, shape (n_points, 3)
        Intrinsic dimension 2; flat inside, with a boundary. The height is column 1.
    """
    _at_least_one(n_points=n_points)
    grid = np.linspace(1.5 * np.pi, 4.5 * np.pi, 20_001)
    arc = (grid * np.sqrt(1.0 + grid**2) + np.arcsinh(grid)) / 2.0  # length of r = t from 0 to t
    t_N = np.interp(rng.uniform(arc[0], arc[-1], n_points), arc, grid)
    height_N = rng.uniform(0.0, 21.0, n_points)
    return np.stack([t_N * np.cos(t_N), height_N, t_N * np.sin(t_N)], axis=1)


def embed(points: npt.ArrayLike, n_features: int, rng: np.random.Generator) -> Cloud:
    """Put points into a larger space by a random isometry: all distances stay.

    Parameters
    ----------
    points
        Shape (N, D).
    n_features
        Dimension of the larger space, at least D.
    rng
        Source of the isometry, uniform (Haar) over all of them (Mezzadri, Notices AMS 54, 592, 2007).

    Returns
    -------
    ndarray of float64, shape (N, n_features)

    Raises
    ------
    InputError
        If `n_features` is less than D.
    """
    points_ND = np.asarray(points, dtype=np.float64)
    width = points_ND.shape[1]
    if n_features < width:
        raise InputError(
            f"points of {width} features do not fit into {n_features} without a change of their distances; "
            f"expected n_features of at least {width}: raise it"
        )
    q, r = np.linalg.qr(rng.standard_normal((n_features, width)))
    embedded_ND: Cloud = points_ND @ (q * np.sign(np.diag(r))).T
    return embedded_ND


def _at_least_one(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise InputError(f"{name} is {size}; expected at least 1: raise it")

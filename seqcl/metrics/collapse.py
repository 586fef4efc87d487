"""Signs of collapse, read from embeddings alone, without labels."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

__all__ = ["alignment", "pair_cosines", "rankme", "relative_std", "uniformity"]

_BLOCK = 1024
"""Rows of the distance matrix that `uniformity` holds at once."""


def relative_std(values: npt.NDArray[np.floating]) -> float:
    """Return the spread of unit embeddings over the dimensions, as a share of the isotropic one.

    ``sqrt(D) * mean_d std_n(z_nd)`` with z_n = x_n / |x_n|: 0 to 1, higher is better. 0 = all
    rows point the same way; about 1 = spread like white noise, whose std is 1 / sqrt(D) (Chen
    and He 2021, arXiv 2011.10566, section 4.1). It does not see dimensional collapse: rows that
    are all u or -u reach 1 where the entries of u have one size; see `rankme`.

    Args:
        values: (N, D).

    Raises:
        ValueError: `values` is not (N, D) with N and D above 0, or is not finite.
    """
    z = _unit(_checked("relative_std", values))
    return float(math.sqrt(z.shape[1]) * z.std(axis=0).mean())


def rankme(values: npt.NDArray[np.floating]) -> float:
    """Return the effective rank of the embeddings: how many dimensions they fill.

    ``exp(-sum_k p_k log p_k)`` with p_k = sigma_k / sum(sigma), sigma the singular values of
    `values` as they are, neither centred nor normalised: 1 to min(N, D), higher is better, 0
    only where all values are zero (RankMe, Garrido et al. 2023, arXiv 2210.02885, equation 1;
    the paper adds 1e-7 to p_k, here 0 log 0 is 0).

    Args:
        values: (N, D).

    Raises:
        ValueError: `values` is not (N, D) with N and D above 0, or is not finite.
    """
    sigma = np.linalg.svd(_checked("rankme", values), compute_uv=False)
    p = sigma[sigma > 0] / max(sigma.sum(), np.finfo(np.float64).tiny)
    return float(np.exp(-(p * np.log(p)).sum())) if p.size else 0.0


def alignment(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> float:
    """Return the mean squared distance of the unit embeddings of two views of the same records.

    ``mean_n |z_n(a) - z_n(b)|^2``: 0 to 4, lower is better, 2 = unrelated (Wang and Isola 2020,
    arXiv 2005.10242, with exponent 2). Collapse gives a perfect 0: read it with `uniformity`.

    Args:
        a: (N, D), one view.
        b: (N, D), the other, rows in the same order.

    Raises:
        ValueError: shapes differ, are not (N, D) with N and D above 0, or values are not finite.
    """
    if a.shape != b.shape:
        raise ValueError(f"alignment: a is {a.shape} and b is {b.shape}; both need the same shape")
    difference = _unit(_checked("alignment", a)) - _unit(_checked("alignment", b))
    return float((difference**2).sum(axis=1).mean())


def uniformity(values: npt.NDArray[np.floating]) -> float:
    """Return how evenly unit embeddings cover the sphere.

    ``log mean_{m != n} exp(-2 |z_m - z_n|^2)``: -8 to 0, lower is better, 0 = all rows equal,
    about -4 = all rows orthogonal (Wang and Isola 2020, arXiv 2005.10242, with t = 2). Costs
    N^2 D; pass a sample of some thousand rows.

    Args:
        values: (N, D), at least two rows.

    Raises:
        ValueError: `values` is not (N, D) with N above 1 and D above 0, or is not finite.
    """
    z = _unit(_checked("uniformity", values, rows=2))
    total = 0.0
    for start in range(0, len(z), _BLOCK):
        block = z[start : start + _BLOCK]
        distances = np.maximum((block**2).sum(1)[:, None] + (z**2).sum(1) - 2 * block @ z.T, 0)
        pairs = np.exp(-2 * distances)
        own = np.arange(len(block))
        pairs[own, start + own] = 0
        total += pairs.sum()
    return math.log(total / (len(z) * (len(z) - 1)))


def pair_cosines(
    a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the cosines of two views of a record (N,), and of views of two records (N * (N - 1),).

    Where training separates records the first move to 1 and the second to 0; where both lie near 1
    the embedding has collapsed, or shares a direction, as that of an untrained encoder does.

    Args:
        a: (N, D), one view, at least two rows.
        b: (N, D), the other, rows in the same order.

    Raises:
        ValueError: shapes differ, are not (N, D) with N above 1 and D above 0, or values are not
            finite.
    """
    if a.shape != b.shape:
        raise ValueError(f"pair_cosines: a is {a.shape}, b is {b.shape}; both need the same shape")
    first, second = (_unit(_checked("pair_cosines", each, rows=2)) for each in (a, b))
    cosines = first @ second.T
    return np.diagonal(cosines), cosines[~np.eye(len(first), dtype=bool)]


def _checked(name: str, values: npt.NDArray[np.floating], rows: int = 1) -> npt.NDArray[np.float64]:
    if values.ndim != 2 or len(values) < rows or values.shape[1] == 0:
        raise ValueError(f"{name}: values are {values.shape}; needed is (N, D) with N >= {rows}")
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: values hold NaN or infinity")
    return values.astype(np.float64)


def _unit(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return unit rows; zero rows stay zero."""
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    unit: npt.NDArray[np.float64] = values / np.where(norms > 0, norms, 1)
    return unit

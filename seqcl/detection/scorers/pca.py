"""Windows that the principal components of normal windows do not make up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Gt, Lt
from sklearn.decomposition import PCA
from torch import Tensor

from seqcl.detection.scorers.base import WindowScorer
from seqcl.rng import Rng

__all__ = ["Pca"]

_SAMPLE = 4_096
"""Training windows that components are taken from."""
_BLOCK = 1_024
"""Windows that are projected at once."""
_HOPS = 8
_SMALLEST = 1e-3


class Pca(WindowScorer):
    """Measure what of a window is left beside its projection on principal components.

    The root of the mean square over the window's values, all channels together (Shyu et al. 2003
    take the same components' distances).

    Args:
        channels: C.
        window: rows of the detector's window.
        share: of the variance of training windows that the components explain.
        most: components that are kept at most.
    """

    def __init__(
        self,
        channels: int,
        window: int,
        *,
        share: Annotated[float, Gt(0), Lt(1)] = 0.9,
        most: Annotated[int, Ge(1)] = 64,
    ) -> None:
        super().__init__(channels, window, window, _HOPS)
        self.share, self.most = share, most

    @property
    def names(self) -> tuple[str, ...]:
        """One score."""
        return ("pca",)

    def fit(self, parts: Sequence[Tensor], rng: Rng) -> None:
        """Find the components of windows that are spread evenly over the recordings."""
        count = sum(len(part) - self.rows + 1 for part in parts)
        hop = max(1, -(-count // _SAMPLE))
        windows = torch.cat([part.unfold(0, self.rows, hop).flatten(1) for part in parts])
        pca = PCA(
            min(self.most, *windows.shape), svd_solver="randomized",
            random_state=int(rng.host.integers(2**31)),
        )  # fmt: skip
        with np.errstate(invalid="ignore"):  # shares of no variance at all
            found = pca.fit(windows.numpy())
        explained = np.cumsum(found.explained_variance_ratio_)
        kept = 1 + int(np.searchsorted(explained, self.share))
        axes = np.ascontiguousarray(found.components_[:kept].T, np.float32)
        self.state = {
            "centre": torch.from_numpy(found.mean_.astype(np.float32)),
            "axes": torch.from_numpy(axes),
        }

    def trailing(self, values: Tensor, hop: int = 1) -> Tensor:
        """Score windows as the base says."""
        blocks = torch.split(values.unfold(0, self.rows, hop), _BLOCK)
        return torch.cat([self._left(block.flatten(1)) for block in blocks])

    def _left(self, windows: Tensor) -> Tensor:
        """Return what is left of windows (n, C * rows): (n, 1)."""
        away = windows - self.state["centre"]
        left = away - (away @ self.state["axes"]) @ self.state["axes"].T
        return left.square().mean(1, keepdim=True).sqrt() + _SMALLEST

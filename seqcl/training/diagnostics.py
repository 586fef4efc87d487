"""Diagnostics: is the embedding collapsing, and did the weights move at all."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from seqcl.batch import Batch
from seqcl.methods.base import Method
from seqcl.metrics.collapse import alignment, rankme, relative_std, uniformity

__all__ = ["Diagnostics", "Movement"]

Floats = npt.NDArray[np.float32]

_LARGEST = 512
"""Records that are watched: enough for a rank of some hundreds, a fraction of a step's time."""

_AT_ONCE = 64
"""Records encoded together: less memory than a training step takes."""

_LEAST_STD = 0.5
_LEAST_RANK = 0.25
"""Shares of the untrained encoder's measures. Absolute limits would not do: the features of an
untrained encoder share a direction, so its relative_std is anything from 0.06 to 0.5."""


class Diagnostics:
    """Measures the embeddings of two fixed views of the same records, in eval mode.

    Args:
        views: two views (or more, of which the first two count) of the watched records.
    """

    def __init__(self, views: tuple[Batch, ...]) -> None:
        self.views = tuple(view[slice(0, _LARGEST)] for view in views)
        self.untrained: dict[str, float] | None = None
        """What the first call of `measure` gave."""

    def measure(self, method: Method) -> dict[str, float]:
        """Return the measures of `seqcl.metrics.collapse`; changes nothing in `method`.

        Nothing is measured ({}) of embeddings that are not finite: the guard tells those, with
        their step and records.
        """
        was_training = method.training
        method.eval()
        with torch.no_grad():
            pooled = self._pooled(method)
        method.train(was_training)
        first, last = pooled[0], pooled[min(1, len(pooled) - 1)]
        if not (np.isfinite(first).all() and np.isfinite(last).all()):
            return {}
        measured = {
            "relative_std": relative_std(first),
            "rankme": rankme(first),
            "alignment": alignment(first, last),
            "uniformity": uniformity(first),
        }
        self.untrained = self.untrained or measured
        return measured

    def _pooled(self, method: Method) -> list[Floats]:
        """Return (N, D) of each view, encoded in slices."""
        parts = []
        for start in range(0, len(self.views[0]), _AT_ONCE):
            rows = slice(start, start + _AT_ONCE)
            encoded = method.encode(tuple(view[rows] for view in self.views))
            parts.append([each.pooled.float().cpu().numpy() for each in encoded])
        return [np.concatenate(view) for view in zip(*parts, strict=True)]

    def warnings(self, measured: dict[str, float]) -> list[str]:
        """Say in words what collapsed since the start and what to change; [] if nothing did."""
        start = self.untrained or measured
        if not measured:
            return []
        spread, rank = measured["relative_std"], measured["rankme"]
        if spread < _LEAST_STD * start["relative_std"]:
            return [
                f"the embedding is collapsing: records differ less and less (relative_std "
                f"{spread:.3f}, {start['relative_std']:.3f} before training); lower training.lr, "
                f"or use a larger training.batch_size or milder views"
            ]
        if rank < _LEAST_RANK * start["rankme"]:
            return [
                f"the embedding is losing dimensions (rankme {rank:.1f}, {start['rankme']:.1f} "
                f"before training); use a larger training.batch_size, a lower temperature or "
                f"stronger views"
            ]
        return []


class Movement:
    """How far weights have moved from where they were when this was made."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self._start = [weight.detach().clone() for weight in module.parameters()]

    def share(self) -> float:
        """Return the norm of the change over the norm of the start; 0 = nothing moved."""
        now = [weight.detach() for weight in self.module.parameters()]
        change = _norm([a - b for a, b in zip(now, self._start, strict=True)])
        return change / max(1e-12, _norm(self._start))


def _norm(tensors: list[Tensor]) -> float:
    return float(torch.nn.utils.get_total_norm(tensors)) if tensors else 0.0

"""Diagnostics: is the embedding collapsing, does it tell labels, did the weights move at all."""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from seqcl.batch import Batch
from seqcl.methods.base import Method
from seqcl.metrics.collapse import alignment, pair_cosines, rankme, relative_std, uniformity
from seqcl.training.probe import Probe, encoded

__all__ = ["BINS", "Diagnostics", "Measures", "Movement"]

Measures = dict[str, float | list[int]]

BINS = 100
"""Of a histogram of cosines: equal steps from -1 to 1."""

_LARGEST = 512
"""Records that are watched: enough for a rank of some hundreds, a fraction of a step's time."""

_LEAST_STD = 0.5
_LEAST_RANK = 0.25
"""Shares of the untrained encoder's measures. Absolute limits would not do: the features of an
untrained encoder share a direction, so its relative_std is anything from 0.06 to 0.5."""


class Diagnostics:
    """Measures the embeddings of two fixed views of the same records, in eval mode.

    Args:
        views: two views (or more, of which the first two count) of the watched records.
        probe: labelled records that embeddings are judged by; None = none are known.
    """

    def __init__(self, views: tuple[Batch, ...], probe: Probe | None = None) -> None:
        self.views = tuple(view[slice(0, _LARGEST)] for view in views)
        self.probe = probe
        self.untrained: Measures | None = None
        """What the first call of `measure` gave."""
        self._first: list[Measures] = []
        self._last: list[Measures] = []
        """Of each method that learns apart, at the first and at the last call."""

    def measure(self, method: Method) -> Measures:
        """Return all measures by name; changes nothing in `method`, draws no random number.

        Those of `seqcl.metrics.collapse`, of the probe, and of the cosine between the two views
        of a record (positives) and between views of two records (negatives): its mean and how many
        pairs fall into each of `BINS` equal steps from -1 to 1. Views of one kind alone, as CPC
        has, make every positive 1.

        Of methods that learn apart these are the means of theirs, the counts their sums. Nothing
        is measured ({}) of embeddings that are not finite: the guard tells those, with their step
        and records.
        """
        was_training = method.training
        method.eval()
        self._last = [self._of_one(one) for one in method.members]
        method.train(was_training)
        self._first = self._first or self._last
        if not all(self._last):
            return {}
        measured = _mean(self._last)
        self.untrained = self.untrained or measured
        return measured

    def _of_one(self, method: Method) -> Measures:
        """Return all measures of a method that is one."""
        with torch.no_grad():
            pooled = encoded(method, self.views)
        probed = {} if self.probe is None else self.probe.measure(method)
        first, last = pooled[0], pooled[min(1, len(pooled) - 1)]
        if not (np.isfinite(first).all() and np.isfinite(last).all()):
            return {}
        positives, negatives = pair_cosines(first, last)
        return {
            "relative_std": relative_std(first),
            "rankme": rankme(first),
            "alignment": alignment(first, last),
            "uniformity": uniformity(first),
            "positive_cosine": float(positives.mean()),
            "negative_cosine": float(negatives.mean()),
            **probed,
            "positive_cosines": _counts(positives),
            "negative_cosines": _counts(negatives),
        }

    def warnings(self, measured: Measures) -> list[str]:
        """Say in words what collapsed since the start and what to change; [] if nothing did."""
        if len(self._last) > 1 and all(self._first) and all(self._last):
            pairs = zip(self._first, self._last, strict=True)
            told = [(number, _collapse(*pair)) for number, pair in enumerate(pairs)]
            return [f"member {number}: {text}" for number, text in told if text]
        text = _collapse(self.untrained or measured, measured) if measured else ""
        return [text] if text else []


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


def _mean(each: list[Measures]) -> Measures:
    """Return the means of numbers and the sums of counts."""
    mean: Measures = {}
    for name, value in each[0].items():
        if isinstance(value, list):
            mean[name] = np.sum([one[name] for one in each], axis=0).tolist()
        else:
            mean[name] = float(np.mean([one[name] for one in each]))
    return mean


def _collapse(start: Measures, now: Measures) -> str:
    """Say what collapsed since the start and what to change; "" if nothing did."""
    spread, rank = (cast(float, now[name]) for name in ("relative_std", "rankme"))
    spread_then, rank_then = (cast(float, start[name]) for name in ("relative_std", "rankme"))
    if spread < _LEAST_STD * spread_then:
        return (
            f"the embedding is collapsing: records differ less and less (relative_std "
            f"{spread:.3f}, {spread_then:.3f} before training); lower training.lr, or use a "
            "larger training.batch_size or milder views"
        )
    if rank < _LEAST_RANK * rank_then:
        return (
            f"the embedding is losing dimensions (rankme {rank:.1f}, {rank_then:.1f} before "
            "training); use a larger training.batch_size, a lower temperature or stronger views"
        )
    return ""


def _counts(cosines: npt.NDArray[np.float64]) -> list[int]:
    """Return how many fall into each bin; rounding beyond -1 or 1 counts there."""
    return [int(n) for n in np.histogram(cosines.clip(-1, 1), BINS, (-1, 1))[0]]


def _norm(tensors: list[Tensor]) -> float:
    return float(torch.nn.utils.get_total_norm(tensors)) if tensors else 0.0

"""NT-Xent, the loss of SimCLR (Chen et al. 2020, arXiv 2002.05709, equation 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Gt
from torch import Tensor

from seqcl.losses.base import Known, check_temperature, check_views, temperature_of
from seqcl.losses.exclusion import ExcludingLoss, Exclusion
from seqcl.losses.gathered import gather_views
from seqcl.losses.two_views import TwoViews

__all__ = ["NTXent", "nt_xent"]


def nt_xent(
    a: Tensor,
    b: Tensor,
    temperature: float | Tensor,
    *,
    exclusion: Exclusion | None = None,
    anchors: slice | None = None,
) -> Tensor:
    """Return the mean of -log softmax of each anchor's positive among all other rows.

    With z the 2N unit rows of `a` and `b`, s_ij = z_i . z_j / temperature and p(i) the other view
    of i: ``mean_i(log(sum_{j != i} exp s_ij) - s_ip(i))``. Lower is better; all rows equal give
    log(2N - 1). A zero row counts as similar to nothing and gets no gradient.

    Args:
        a: (N, D) projections of one view, of any scale; N at least 2. bfloat16 and float16 are
            computed in float32.
        b: (N, D) projections of the other view, rows in the same order.
        temperature: above 0; a scalar tensor gets its gradient.
        exclusion: records that are no negatives of each other; an anchor without any negative
            contributes 0.
        anchors: the rows of `a` and of `b` that count as anchors, all by default. A process of
            several passes its own, with `a` and `b` gathered over all.
    """
    check_views("nt_xent", a, b)
    check_temperature("nt_xent", temperature)
    views = TwoViews.of(a, b, temperature, exclusion, anchors)
    return views.lse(positive=True).mean() - views.positives().mean()


@dataclass(frozen=True, kw_only=True)
class NTXent(ExcludingLoss):
    """NT-Xent between two views; over several processes, against the batch of all of them.

    Each process returns the mean over its own anchors: averaging the gradients over processes,
    as DDP does, gives the gradient of one process with the whole batch.
    """

    temperature: Annotated[float, Gt(0)] = 0.1

    def __call__(self, a: Tensor, b: Tensor, known: Known | None = None) -> Tensor:
        """Return the mean loss over the anchors of `a` and `b`, both (B, D)."""
        a, b, known, own = gather_views("nt_xent", a, b, known)
        temperature = temperature_of(self.temperature, known)
        return nt_xent(a, b, temperature, exclusion=self.exclusion(known), anchors=own)

"""T-Loss: the logistic loss of a stretch, one inside it, and those of all other records."""

import math

import pytest
import torch
from series_views import batch, encoder

from seqcl.methods.t_loss import TLoss, logistic_loss
from seqcl.registry import Spec


def slow(anchor: torch.Tensor, positive: torch.Tensor) -> tuple[float, float]:
    def cost(x: float) -> float:
        return math.log1p(math.exp(-x))

    rows = range(len(anchor))
    near = [cost(float(anchor[i] @ positive[i])) for i in rows]
    far = [cost(-float(anchor[i] @ positive[j])) for i in rows for j in rows if i != j]
    return sum(near) / len(near), sum(far) / len(far)


@pytest.mark.parametrize("rows", [2, 3, 7])
def test_equals_a_slow_reference(rows: int) -> None:
    torch.manual_seed(rows)
    anchor, positive = torch.randn(2, rows, 4, dtype=torch.float64)
    near, far = logistic_loss(anchor, positive)
    assert (near.item(), far.item()) == pytest.approx(slow(anchor, positive))


def test_zero_embeddings_give_log_2_for_each_pair() -> None:
    method = TLoss({"main": encoder()}, negatives=5)
    with torch.no_grad():
        for weight in method.head.parameters():
            weight.zero_()
    total = method((batch(), batch(steps=12))).total
    assert total.item() == pytest.approx(6 * math.log(2), rel=1e-6)


def test_negatives_count_as_many_as_asked() -> None:
    views = (batch(seed=0), batch(seed=1, steps=13))
    method = TLoss({"main": encoder()}, negatives=7, head=Spec("heads", "identity"))
    near, far = slow(*(one.pooled for one in method.encode(views)))
    assert method(views).total.item() == pytest.approx(near + 7 * far, rel=1e-5)


def test_large_products_stay_finite() -> None:
    anchor = torch.full((3, 2), 1e4, requires_grad=True)
    near, far = logistic_loss(anchor, anchor)
    (near + far).backward()
    assert (near + far).isfinite()
    assert anchor.grad.isfinite().all()


def test_masked_steps_do_not_matter() -> None:
    method = TLoss({"main": encoder()})
    views = (batch(masked=True), batch(seed=1, masked=True))
    spoilt = tuple(v.with_values(v.values.masked_fill(~v.mask[:, None], 1e3)) for v in views)
    assert torch.equal(method(views).total, method(spoilt).total)

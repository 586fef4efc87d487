"""InfoNCE: closed forms, sampled candidates, messages."""

import math
from collections import Counter

import plain_losses as plain
import pytest
import torch
from plain_losses import views
from torch import Tensor

from seqcl.losses.info_nce import InfoNCE, info_nce


def sampled(a: Tensor, b: Tensor, ways: list[int], t: float) -> float:
    """Take the softmax of each row of `a` over its positive and the rows `ways` further on."""
    rows, others, losses = a.tolist(), b.tolist(), []
    for i, row in enumerate(rows):
        places = [i, *((i + way) % len(rows) for way in ways)]
        scores = [plain.cosine(row, others[place]) / t for place in places]
        losses.append(plain.lse(scores) - scores[0])
    return plain.mean(losses)


def test_equal_rows_give_the_logarithm_of_all_rows_or_of_the_candidates() -> None:
    a = torch.ones(300, 4)
    assert info_nce(a, 2 * a, 0.1).item() == pytest.approx(math.log(300), rel=1e-5)
    for candidates in (2, 17, 299):
        loss = info_nce(a, a, 0.1, candidates=candidates)
        assert loss.item() == pytest.approx(math.log(candidates), rel=1e-5)


def test_symmetric_is_the_mean_of_both_ways() -> None:
    a, b = views(9)
    there, back = info_nce(a, b, 0.2, symmetric=False), info_nce(b, a, 0.2, symmetric=False)
    assert there != back
    torch.testing.assert_close(info_nce(a, b, 0.2), (there + back) / 2)


@pytest.mark.parametrize("candidates", [2, 5, 12])
def test_candidates_are_drawn_without_replacement_and_never_the_positive(
    candidates: int, small_tiles: int
) -> None:
    a, b = views(13)
    torch.manual_seed(3)
    ways = (torch.randperm(12)[: candidates - 1] + 1).tolist()
    torch.manual_seed(3)
    loss = info_nce(a, b, 0.2, symmetric=False, candidates=candidates)
    assert len(set(ways)) == candidates - 1
    assert loss.item() == pytest.approx(sampled(a, b, ways, 0.2), rel=1e-12)


def test_every_draw_is_equally_likely() -> None:
    # Rows that are equal but for the anchor's own: the loss tells which columns were drawn.
    eye = torch.eye(5, dtype=torch.float64)
    seen: Counter[float] = Counter()
    a = torch.zeros(5, 5, dtype=torch.float64)
    a[0] = torch.tensor([0, 1, 2, 3, 4.0])
    torch.manual_seed(0)
    for _ in range(600):
        loss = info_nce(a, eye, 1.0, symmetric=False, candidates=2, anchors=slice(0, 1))
        seen[round(loss.item(), 6)] += 1
    assert len(seen) == 4
    # 150 each, with a standard deviation of 11.
    assert all(100 < count < 200 for count in seen.values())


def test_as_many_candidates_as_rows_are_all_rows() -> None:
    a, b = views(8)
    for candidates in (8, 100):
        assert torch.equal(info_nce(a, b, 0.1, candidates=candidates), info_nce(a, b, 0.1))


def test_the_seed_of_torch_sets_the_candidates() -> None:
    a, b = views(20)
    loss = InfoNCE(candidates=4)
    torch.manual_seed(0)
    first, second = loss(a, b), loss(a, b)
    torch.manual_seed(0)
    assert torch.equal(loss(a, b), first)
    assert first != second


def test_too_few_candidates_and_a_bad_temperature_are_told() -> None:
    a, b = views(4)
    with pytest.raises(ValueError, match="info_nce: candidates is 1; at least 2 are needed"):
        info_nce(a, b, 0.1, candidates=1)
    with pytest.raises(ValueError, match="info_nce: temperature is 0; it must be above 0"):
        info_nce(a, b, 0)

"""Marked pairs: who is whose partner, both losses by hand, and their share of the objective."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

import seqcl.methods.pair_supervised as module
from seqcl.batch import Batch
from seqcl.losses.nt_xent import nt_xent
from seqcl.methods.pair_supervised import (
    PairSupervised,
    marked_margin,
    marked_sigmoid,
    partners,
)
from seqcl.registry import registry

PAIRS = [3, 0, -1, 3, 2, -1, 0, 5]
"""Two whole pairs, alike and different; two records without a mark, two without their partner."""
SIGNS = [1, 0, -1, 1, 0, -1, 0, 0]


def build(**options: object) -> PairSupervised:
    torch.manual_seed(0)
    return PairSupervised({"main": registry("encoders")["conv1d"](1, widths=(8,))}, **options)  # type: ignore[arg-type]


def views(pairs: list[int] = PAIRS, count: int = 2) -> tuple[Batch, ...]:
    generator = torch.Generator().manual_seed(0)
    rows = len(pairs)
    return tuple(
        Batch(
            torch.randn(rows, 1, 20, generator=generator),
            ids=torch.arange(rows),
            pairs=torch.tensor(pairs),
        )
        for _ in range(count)
    )


def by_hand(a: Tensor, b: Tensor, kind: str) -> float:
    """Return the mean over ordered marked pairs (i, j), i in the first view, j in the second."""
    za, zb = (normalize(x.detach().double(), dim=1) for x in (a, b))
    terms = []
    for i, j, sign in [(0, 3, 1), (3, 0, 1), (2, 5, -1), (5, 2, -1)]:
        if kind == "sigmoid":
            terms.append(math.log(1 + math.exp(-sign * float(za[i] @ zb[j]) / 0.2)))
        else:
            distance = float((za[i] - zb[j]).norm())
            terms.append(distance**2 / 2 if sign > 0 else max(0.0, 1.0 - distance) ** 2 / 2)
    return sum(terms) / len(terms)


def test_partners_are_found_and_those_that_miss_one_are_left_out() -> None:
    partner, sign = partners(torch.tensor(PAIRS))
    assert sign.tolist() == SIGNS
    assert [partner[row].item() for row in (0, 3, 2, 5)] == [3, 0, 5, 2]


def test_partners_do_not_depend_on_the_order_of_the_records() -> None:
    order = torch.randperm(8, generator=torch.Generator().manual_seed(1))
    partner, sign = partners(torch.tensor(PAIRS)[order])
    assert sign.tolist() == [SIGNS[row] for row in order]
    for place in sign.nonzero().flatten():
        assert PAIRS[order[partner[place]]] == PAIRS[order[place]]
        assert partner[place] != place


@pytest.mark.parametrize("kind", ["sigmoid", "margin"])
def test_the_marked_term_is_that_of_the_paper(kind: str) -> None:
    method, given = build(marked=kind), views()
    a, b = method.project(method.encode(given))
    expected = by_hand(a, b, kind)
    assert float(method(given).parts["marked"]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("weight", [0.0, 0.25, 1.0])
def test_the_terms_are_weighed(weight: float) -> None:
    method, given = build(weight=weight), views()
    a, b = method.project(method.encode(given))
    loss = method(given)
    expected = (1 - weight) * nt_xent(a, b, 0.1) + weight * loss.parts["marked"]
    torch.testing.assert_close(loss.total, expected)
    assert ("contrast" in loss.parts) == (weight < 1)


def test_more_views_give_the_mean_over_their_pairs() -> None:
    method, given = build(weight=1.0), views(count=3)
    first, second, third = method.project(method.encode(given))
    expected = [
        by_hand(a, b, "sigmoid") for a, b in ((first, second), (first, third), (second, third))
    ]
    assert float(method(given).total.detach()) == pytest.approx(sum(expected) / 3, rel=1e-5)


def test_closed_forms() -> None:
    same, sign = torch.ones(2, 3), torch.tensor([1, 1])
    assert float(marked_sigmoid(same, same, sign, 0.5)) == pytest.approx(math.log1p(math.exp(-2)))
    assert float(marked_sigmoid(same, same, -sign, 0.5)) == pytest.approx(math.log1p(math.exp(2)))
    assert float(marked_margin(same, same, sign, 1.0)) == 0
    assert float(marked_margin(same, same, -sign, 1.0)) == pytest.approx(0.5, abs=1e-5)
    assert float(marked_margin(same, -same, -sign, 1.0)) == 0
    assert float(marked_margin(same, -same, sign, 1.0)) == pytest.approx(2.0)


@pytest.mark.parametrize("loss", [marked_sigmoid, marked_margin])
def test_equal_rows_and_no_marks_have_finite_gradients(loss: object) -> None:
    for sign in ([1, -1, 0], [0, 0, 0]):
        a = torch.ones(3, 4, requires_grad=True)
        value = loss(a, torch.ones(3, 4), torch.tensor(sign), 1.0)  # type: ignore[operator]
        (gradient,) = torch.autograd.grad(value, a)
        assert gradient.isfinite().all()
        assert value == 0 if not any(sign) else value > 0


def test_processes_with_unequal_numbers_of_pairs_average_to_one_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 8, 4, generator=generator)
    sign = torch.tensor([1, 1, -1, -1, 0, 0, 1, 1])
    expected = marked_sigmoid(a, b, sign, 0.5)
    monkeypatch.setattr(module, "world_size", lambda: 2)
    monkeypatch.setattr(module, "all_reduce_sum", lambda count: torch.tensor(6.0))
    found = [
        marked_sigmoid(a[rows], b[rows], sign[rows], 0.5) for rows in (slice(0, 4), slice(4, 8))
    ]
    torch.testing.assert_close(torch.stack(found).mean(), expected)


def test_a_batch_without_pairs_is_a_value_error() -> None:
    given = tuple(Batch(view.values, view.ids) for view in views())
    with pytest.raises(ValueError, match="PairSupervised: the batch has no pairs; 0 stands for no"):
        build()(given)

"""The weighted sum: its value, what it asks for, to whom a temperature goes."""

from dataclasses import replace

import pytest
import torch
from plain_losses import facts, views

from seqcl.config.resolve import Faults, resolve_component
from seqcl.losses.nt_xent import nt_xent
from seqcl.losses.supcon import supcon
from seqcl.losses.triplet import triplet
from seqcl.losses.weighted import Weighted
from seqcl.registry import Spec


def hybrid() -> Weighted:
    terms = (
        Spec("losses", "nt_xent", {"temperature": 0.2}),
        Spec("losses", "supcon", {"temperature": 0.2}),
        Spec("losses", "triplet", {"positives": "view"}),
    )
    return Weighted(terms=terms, weights=(1.0, 0.5, 2.0))


def test_is_the_sum_of_its_terms_times_their_weights() -> None:
    (a, b), known = views(9), facts(9)
    expected = (
        nt_xent(a, b, 0.2) + 0.5 * supcon(a, b, 0.2, labels=known.labels) + 2.0 * triplet(a, b)
    )
    torch.testing.assert_close(hybrid()(a, b, known), expected)


def test_needs_what_a_term_needs() -> None:
    excluding = Spec("losses", "nt_xent", {"exclude": ("group",)})
    loss = Weighted(terms=(excluding, Spec("losses", "supcon")), weights=(1.0, 1.0))
    assert loss.needs == {"labels", "groups"}
    assert Weighted().needs == frozenset()
    assert loss.min_batch == 2


def test_a_temperature_goes_to_the_terms_that_have_one() -> None:
    (a, b), known = views(9), facts(9)
    learnt = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    told = replace(known, temperature=learnt)
    loss = hybrid()(a, b, told)
    expected = (
        nt_xent(a, b, 0.3) + 0.5 * supcon(a, b, 0.3, labels=known.labels) + 2.0 * triplet(a, b)
    )
    torch.testing.assert_close(loss, expected)
    (grad,) = torch.autograd.grad(loss, learnt)
    assert grad.abs() > 1e-3
    hard = Weighted(terms=(Spec("losses", "triplet"),), weights=(1.0,))
    assert not hard.has_temperature
    with pytest.raises(ValueError, match="weighted has no temperature"):
        hard(a, b, told)


@pytest.mark.parametrize("weight", [-1.0, 0.0])
def test_a_weight_that_is_not_above_0_is_a_fault_of_the_preset(weight: float) -> None:
    faults = Faults()
    resolve_component("losses", {"weighted": {"weights": [weight]}}, "loss", faults)
    (told,) = faults.messages()
    assert "should be greater than 0" in told


def test_terms_without_weights_are_told() -> None:
    with pytest.raises(
        ValueError, match="weighted: 1 terms and 2 weights; give one weight for each"
    ):
        Weighted(weights=(1.0, 2.0))
    with pytest.raises(ValueError, match="weighted: 0 terms"):
        Weighted(terms=(), weights=())


def test_a_preset_can_write_it() -> None:
    faults = Faults()
    node = {
        "weighted": {
            "terms": ["nt_xent", {"supcon": {"temperature": 0.2}}],
            "weights": [1.0, 0.5],
        }
    }
    spec = resolve_component("losses", node, "method.loss", faults)
    assert faults.messages() == []
    assert spec is not None
    (a, b), known = views(6), facts(6)
    expected = nt_xent(a, b, 0.1) + 0.5 * supcon(a, b, 0.2, labels=known.labels)
    torch.testing.assert_close(spec.build()(a, b, known), expected)

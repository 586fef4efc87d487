"""What every registered loss must do; that of a plugin is tested once it is installed."""

import copy
import dataclasses
import pickle

import pytest
import torch
from torch import Tensor
from waiting import Waits

from seqcl.losses.base import Known, PairLoss
from seqcl.losses.exclusion import ExcludingLoss
from seqcl.registry import registry

NAMES = sorted(registry("losses"))
ROWS, DIM = 12, 16


def build(name: str) -> PairLoss:
    loss: PairLoss = registry("losses")[name]()
    return loss


def projections(rows: int = ROWS, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(rows, DIM, generator=generator)
    b = a + torch.randn(rows, DIM, generator=generator)
    return a.to(dtype).requires_grad_(), b.to(dtype).requires_grad_()


def facts(loss: PairLoss, rows: int = ROWS) -> Known:
    """Return what the loss says it needs: pairs of records with one label, and of one group."""
    codes = torch.arange(rows) // 2
    return Known(**dict.fromkeys(loss.needs & {"labels", "groups"}, codes))


def gradient(loss: Tensor, inputs: tuple[Tensor, Tensor]) -> Tensor:
    return torch.cat([grad.float() for grad in torch.autograd.grad(loss, inputs)])


@pytest.mark.parametrize("name", NAMES)
def test_is_a_frozen_dataclass_of_options_with_defaults(name: str) -> None:
    loss = build(name)
    assert isinstance(loss, PairLoss)
    for option in dataclasses.fields(loss):
        assert option.kw_only, option.name
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(loss, option.name, None)


@pytest.mark.parametrize("name", NAMES)
def test_gives_a_finite_float32_scalar_down_to_min_batch(name: str) -> None:
    loss = build(name)
    for rows in (loss.min_batch, ROWS):
        value = loss(*projections(rows), facts(loss, rows))
        assert value.shape == ()
        assert value.dtype == torch.float32
        assert value.isfinite()


@pytest.mark.parametrize("name", NAMES)
def test_below_min_batch_is_a_value_error_that_names_the_loss(name: str) -> None:
    loss = build(name)
    rows = loss.min_batch - 1
    with pytest.raises(ValueError, match=f"{name}: .* at least {loss.min_batch}"):
        loss(*projections(rows), facts(loss, rows))


@pytest.mark.parametrize("name", NAMES)
def test_views_of_different_shapes_are_a_value_error_that_names_both(name: str) -> None:
    loss, (a, b) = build(name), projections()
    with pytest.raises(ValueError, match=rf"{name}: .*\(12, 16\).*\(11, 16\)"):
        loss(a, b[1:], facts(loss))


@pytest.mark.parametrize("name", NAMES)
def test_both_views_get_a_finite_gradient_that_is_not_zero(name: str) -> None:
    loss, inputs = build(name), projections()
    for grad in torch.autograd.grad(loss(*inputs, facts(loss)), inputs):
        assert grad.isfinite().all()
        assert grad.norm() > 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_a_step_against_the_gradient_lowers_the_loss(name: str) -> None:
    loss, inputs = build(name), projections(dtype=torch.float64)
    before = loss(*inputs, facts(loss))
    grads = torch.autograd.grad(before, inputs)
    # Small, for which pairs count in a mined loss changes from place to place.
    a, b = (x - 1e-4 * grad / grad.norm() for x, grad in zip(inputs, grads, strict=True))
    assert loss(a, b, facts(loss)) < before


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_the_records_does_not_matter(name: str) -> None:
    loss, (a, b) = build(name), projections()
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(1))
    known = facts(loss)
    moved = Known(*(None if x is None else x[order] for x in (known.labels, known.groups)))
    # Sums in another order.
    torch.testing.assert_close(loss(a[order], b[order], moved), loss(a, b, known))


@pytest.mark.parametrize("name", NAMES)
def test_the_input_is_untouched(name: str) -> None:
    loss, inputs = build(name), projections()
    known = facts(loss)
    loss(*inputs, known).backward()
    for field in ("labels", "groups"):
        found, fresh = getattr(known, field), getattr(facts(loss), field)
        assert found is None or torch.equal(found, fresh)
    for x, before in zip(inputs, projections(), strict=True):
        assert torch.equal(x, before)


@pytest.mark.parametrize("name", NAMES)
def test_copies_and_pickles_to_an_equal_loss(name: str) -> None:
    loss, inputs = build(name), projections()
    for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert other == loss
        assert torch.equal(other(*inputs, facts(loss)), loss(*inputs, facts(loss)))


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_loss_and_gradient(name: str) -> None:
    found = []
    for _ in range(2):
        torch.manual_seed(0)
        inputs, made = projections(), build(name)
        loss = made(*inputs, facts(made))
        found.append((loss, gradient(loss, inputs)))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_close_to_float32(name: str, dtype: torch.dtype) -> None:
    halves, floats = projections(dtype=dtype), projections()
    made = build(name)
    loss, expected = made(*halves, facts(made)), made(*floats, facts(made))
    # bfloat16 rounds the inputs to 0.4 %; at temperature 0.1 scores are ten times as large.
    assert abs(loss - expected) < 0.05 * abs(expected)
    exact = gradient(expected, floats)
    assert (gradient(loss, halves) - exact).norm() < 0.05 * exact.norm()


@pytest.mark.parametrize("name", NAMES)
def test_a_zero_row_gives_a_finite_loss_and_gradient(name: str) -> None:
    a, b = projections()
    a = a.detach()
    a[3] = 0
    a.requires_grad_()
    made = build(name)
    loss = made(a, b, facts(made))
    assert loss.isfinite()
    assert gradient(loss, (a, b)).isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_a_broken_input_is_not_hidden(name: str) -> None:
    a, b = (x.detach() for x in projections())
    a[3, 2] = float("nan")
    loss = build(name)
    assert loss(a, b, facts(loss)).isnan()


@pytest.mark.parametrize("name", NAMES)
def test_a_temperature_that_is_known_is_used_or_refused_by_name(name: str) -> None:
    loss, (a, b) = build(name), projections()
    told = dataclasses.replace(facts(loss), temperature=torch.tensor(0.7, requires_grad=True))
    assert told.temperature is not None
    if not loss.has_temperature:
        with pytest.raises(ValueError, match=f"{name} has no temperature"):
            loss(a, b, told)
        return
    value = loss(a, b, told)
    assert value != loss(a, b, facts(loss))
    (grad,) = torch.autograd.grad(value, told.temperature)
    assert grad.isfinite()
    assert grad.abs() > 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_what_it_needs_follows_from_its_options(name: str) -> None:
    loss = build(name)
    assert loss.needs <= {"labels", "groups", "recordings"}
    assert loss.together <= loss.needs
    if isinstance(loss, ExcludingLoss):
        grouped = dataclasses.replace(loss, exclude=("label", "group"))
        assert grouped.needs == {"labels", "groups"}
        with pytest.raises(ValueError, match="exclude needs the labels of the records"):
            grouped(*projections())


@pytest.mark.parametrize("name", NAMES)
def test_nothing_waits_for_the_device(name: str, waits: Waits) -> None:
    loss, inputs = build(name), projections()
    known = facts(loss)
    with waits:
        torch.autograd.backward([loss(*inputs, known)])


@pytest.mark.parametrize("name", [name for name in NAMES if isinstance(build(name), ExcludingLoss)])
def test_excluding_waits_for_no_device(name: str, waits: Waits) -> None:
    loss: PairLoss = registry("losses")[name](
        exclude=("label", "group"), exclude_steps=3, exclude_above=0.5
    )
    inputs, codes = projections(), torch.arange(ROWS) // 2
    known = Known(labels=codes, groups=codes, recordings=codes, start=codes)
    with waits:
        torch.autograd.backward([loss(*inputs, known)])

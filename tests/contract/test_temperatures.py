"""What every registered temperature must do."""

import copy
import pickle

import pytest
import torch

from seqcl.losses.nt_xent import nt_xent
from seqcl.methods.base import Progress
from seqcl.methods.temperature import Temperature
from seqcl.registry import registry

NAMES = sorted(registry("temperatures"))
TOTAL = 20


def build(name: str) -> Temperature:
    temperature: Temperature = registry("temperatures")[name]()
    return temperature


def go(temperature: Temperature, first: int = 0, stop: int = TOTAL) -> list[float]:
    """Train it by a loss that depends on it; returns its values, after each step."""
    a, b = torch.randn(2, 8, 4, generator=torch.Generator().manual_seed(0))
    weights = list(temperature.parameters())
    values = []
    for step in range(first, stop):
        loss = nt_xent(a, b, temperature())
        if weights:
            grads = torch.autograd.grad(loss, weights)
            with torch.no_grad():
                for weight, grad in zip(weights, grads, strict=True):
                    weight.sub_(0.1 * grad)
        temperature.after_step(Progress(step + 1, TOTAL))
        values.append(float(temperature().detach()))
    return values


@pytest.mark.parametrize("name", NAMES)
def test_is_a_finite_scalar_above_zero_all_the_way(name: str) -> None:
    temperature = build(name)
    assert temperature().shape == ()
    assert temperature().dtype == torch.float32
    assert all(0 < value < 100 for value in go(temperature))


@pytest.mark.parametrize("name", NAMES)
def test_it_changes(name: str) -> None:
    assert len(set(go(build(name)))) > TOTAL // 2


@pytest.mark.parametrize("name", NAMES)
def test_all_that_it_knows_is_in_its_state(name: str) -> None:
    temperature = build(name)
    go(temperature, stop=7)
    other = build(name)
    other.load_state_dict(temperature.state_dict())
    copies = (other, copy.deepcopy(temperature), pickle.loads(pickle.dumps(temperature)))
    expected = go(temperature, first=7)
    assert all(go(copied, first=7) == expected for copied in copies)


@pytest.mark.parametrize("name", NAMES)
def test_what_the_loss_holds_is_not_changed_by_the_next_step(name: str) -> None:
    temperature = build(name)
    held = temperature()
    before = held.detach().clone()
    temperature.after_step(Progress(5, TOTAL))
    assert torch.equal(held.detach(), before)

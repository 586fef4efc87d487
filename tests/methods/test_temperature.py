"""Temperatures: their way through training, their bounds, and which losses they suit."""

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from seqcl.batch import Batch
from seqcl.config.preset import load_preset
from seqcl.errors import PresetError
from seqcl.losses.base import Known, PairLoss
from seqcl.losses.nt_xent import nt_xent
from seqcl.methods.base import Progress
from seqcl.methods.simclr import SimCLR
from seqcl.methods.temperature import (
    LearntTemperature,
    ScheduledTemperature,
    build_temperature,
)
from seqcl.registry import Spec, registry


def build(**options: object) -> SimCLR:
    torch.manual_seed(0)
    encoder = registry("encoders")["conv1d"](1, widths=(8,))
    return SimCLR({"main": encoder}, **options)  # type: ignore[arg-type]


def views(rows: int = 8, seed: int = 0) -> tuple[Batch, Batch]:
    generator = torch.Generator().manual_seed(seed)
    a, b = (
        Batch(torch.randn(rows, 1, 20, generator=generator), ids=torch.arange(rows))
        for _ in range(2)
    )
    return a, b


@dataclass(frozen=True, kw_only=True)
class Distance(PairLoss):
    """A loss without a temperature."""

    def __call__(self, a: Tensor, b: Tensor, known: Known | None = None) -> Tensor:
        return (a - b).square().mean()


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ("linear", [1.0, 0.8, 0.6, 0.4, 0.2]),
        ("cosine", [1.0, 0.6 + 0.4 * math.sqrt(0.5), 0.6, 0.6 - 0.4 * math.sqrt(0.5), 0.2]),
        ("oscillating", [1.0, 0.2, 1.0, 0.2, 1.0]),
    ],
)
def test_a_schedule_goes_from_start_to_end(shape: str, expected: list[float]) -> None:
    temperature = ScheduledTemperature(start=1.0, end=0.2, shape=shape, waves=2)  # type: ignore[arg-type]
    found = [float(temperature())]
    for step in range(1, 5):
        temperature.after_step(Progress(step, 4))
        found.append(float(temperature()))
    assert found == pytest.approx(expected, abs=1e-6)


def test_the_oscillating_schedule_is_that_of_the_paper() -> None:
    """(tau_plus - tau_minus) * (1 + cos(2 pi t / T)) / 2 + tau_minus, T = 200 epochs of 2,000."""
    ours = ScheduledTemperature(start=1.0, end=0.1, shape="oscillating", waves=10)
    for epoch in range(0, 2000, 37):
        paper = (1.0 - 0.1) * (1 + math.cos(2 * math.pi * epoch / 200)) / 2 + 0.1
        assert ours.at(epoch / 2000) == pytest.approx(paper, abs=1e-9)


def test_a_schedule_is_in_the_loss_and_in_the_state() -> None:
    schedule = Spec("temperatures", "scheduled", {"start": 0.5, "end": 0.1, "shape": "linear"})
    method, given = build(temperature=schedule), views()
    a, b = method.project(method.encode(given))
    loss = method(given)
    torch.testing.assert_close(loss.total, nt_xent(a, b, 0.5))
    loss.total.backward()
    method.after_step(Progress(1, 2), loss)
    torch.testing.assert_close(method(given).parts["temperature"], torch.tensor(0.3))
    other = build(temperature=schedule)
    other.load_state_dict(method.state_dict())
    assert other.temperature is not None
    assert float(other.temperature()) == pytest.approx(0.3)


def test_a_learnt_temperature_gets_the_gradient_of_its_logarithm() -> None:
    method, given = build(temperature=Spec("temperatures", "learnt", {"start": 0.2})), views()
    method(given).total.backward()
    a, b = (x.detach() for x in method.project(method.encode(given)))
    step = 1e-3
    up, down = (nt_xent(a, b, 0.2 * math.exp(change)) for change in (step, -step))
    assert isinstance(method.temperature, LearntTemperature)
    gradient = method.temperature.log_value.grad
    torch.testing.assert_close(gradient, (up - down) / (2 * step), rtol=1e-2, atol=1e-4)


def test_a_learnt_temperature_is_learnt_and_stays_between_its_bounds() -> None:
    method = build(
        temperature=Spec("temperatures", "learnt", {"start": 0.4, "low": 0.3, "high": 0.5})
    )
    optimizer = torch.optim.AdamW(method.parameters(), 0.1)
    seen = []
    for step in range(12):
        loss = method(views(seed=step))
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        method.after_step(Progress(step + 1, 12), loss)
        assert method.temperature is not None
        seen.append(float(method.temperature().detach()))
    assert len(set(seen)) > 2
    assert 0.3 - 1e-6 <= min(seen) <= max(seen) <= 0.5 + 1e-6
    assert max(seen) == pytest.approx(0.5)  # noise is best told apart softly


def test_no_temperature_is_the_number_of_the_loss() -> None:
    method = build(loss=Spec("losses", "nt_xent", {"temperature": 0.5}))
    a, b = method.project(method.encode(views()))
    loss = method(views())
    torch.testing.assert_close(loss.total, nt_xent(a, b, 0.5))
    assert "temperature" not in loss.parts


def test_bounds_the_wrong_way_round_are_a_fault_of_the_preset() -> None:
    learnt = "method.temperature={learnt: {low: 0.5, start: 0.1}}"
    with pytest.raises(PresetError, match=r"temperature\(learnt\): .*start is 0.1, low 0.5"):
        load_preset("series", [learnt])


def test_a_preset_can_set_one_and_its_options() -> None:
    preset = load_preset("series", ["method.temperature=scheduled", "method.temperature.start=0.3"])
    assert preset.method is not None
    assert preset.method.options["temperature"].options["start"] == 0.3
    assert load_preset("series").method.options["temperature"] is None  # type: ignore[union-attr]


def test_losses_without_a_temperature_are_told_apart_from_those_with_one() -> None:
    learnt = Spec("temperatures", "learnt")
    both = {"terms": (Spec("losses", "triplet"), Spec("losses", "nt_xent")), "weights": (1.0, 1.0)}
    assert build(temperature=learnt, loss=Spec("losses", "weighted", both)).temperature is not None
    with pytest.raises(ValueError, match="temperature=learnt: Triplet has no temperature; leave"):
        build(temperature=learnt, loss=Spec("losses", "triplet"))
    with pytest.raises(ValueError, match="temperature=learnt: Distance has no temperature; leave"):
        build_temperature(learnt, Distance())

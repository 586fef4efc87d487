"""What every registered method must do; that of a plugin is tested once it is installed."""

import copy
import pickle
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor
from torch.overrides import TorchFunctionMode
from waiting import Waits

from seqcl.batch import Batch
from seqcl.encoders.conv1d import Conv1d
from seqcl.encoders.time_frequency import TimeFrequency
from seqcl.methods.base import NEEDS, Loss, Method, Progress
from seqcl.methods.several import Several
from seqcl.registry import registry
from seqcl.training.guard import Guard
from seqcl.training.optim import build_optimizer, set_learning_rate, skip_update
from seqcl.training.options import TrainingOptions
from seqcl.training.step import backward, clip_gradient

NAMES = sorted(registry("methods"))
ROWS, CHANNELS, STEPS = 16, 2, 32
TOTAL_STEPS = 20


def build(name: str, seed: int = 0) -> Method:
    torch.manual_seed(seed)
    needs = registry("methods")[name].needs
    encoders = {"main": (TimeFrequency if "time_frequency" in needs else Conv1d)(CHANNELS)}
    if "paired" in needs:
        encoders["other"] = copy.deepcopy(encoders["main"])
    method: Method = registry("methods")[name](encoders)
    return method


def views(rows: int = ROWS, count: int = 2, step: int = 0) -> tuple[Batch, ...]:
    """Return noisy views of slow waves, one frequency and phase a record."""
    generator = torch.Generator().manual_seed(0)
    time = torch.linspace(0, 6.28, STEPS)
    rates = 1 + 4 * torch.rand(rows, CHANNELS, 1, generator=generator)
    phases = 6.28 * torch.rand(rows, CHANNELS, 1, generator=generator)
    waves = torch.sin(rates * time + phases)
    noise = torch.Generator().manual_seed(1 + step)
    return tuple(
        Batch(
            values=waves + 0.3 * torch.randn(waves.shape, generator=noise),
            ids=torch.arange(rows),
            groups=torch.arange(rows) // 2,
            labels=torch.arange(rows) % 4,
            pairs=(torch.arange(rows) // 2 + 1) * (1 - 2 * (torch.arange(rows) // 2 % 2)),
            start=torch.zeros(rows, dtype=torch.int64),
        )
        for _ in range(count)
    )


def train(method: Method, steps: int = TOTAL_STEPS, first: int = 0) -> list[float]:
    """Run the moments of a method as the loop does; returns the losses."""
    optimizer = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], 3e-3)
    method.train()
    losses = []
    for step in range(first, first + steps):
        torch.manual_seed(step)
        loss = method(views(step=step))
        optimizer.zero_grad()
        loss.total.backward()
        method.after_backward(Progress(step, TOTAL_STEPS))
        optimizer.step()
        method.after_step(Progress(step + 1, TOTAL_STEPS), loss)
        losses.append(loss.total.item())
    return losses


def tensors(value: Batch) -> list[Tensor]:
    known = (value.values, value.ids, value.groups, value.labels, value.pairs)
    return [x for x in known if x is not None]


@pytest.mark.parametrize("name", NAMES)
def test_declares_what_it_needs_in_known_words(name: str) -> None:
    method = build(name)
    assert isinstance(method, Method)
    assert method.needs <= NEEDS
    assert method.min_batch >= 1


@pytest.mark.parametrize("name", NAMES)
def test_gives_a_finite_scalar_with_detached_parts(name: str) -> None:
    method = build(name)
    for rows in (method.min_batch, ROWS):
        loss = method(views(rows))
        assert isinstance(loss, Loss)
        assert loss.total.shape == ()
        assert loss.total.isfinite()
        for part in loss.parts.values():
            assert part.shape == ()
            assert not part.requires_grad
        assert not any(kept.requires_grad for kept in loss.carry.values())


@pytest.mark.parametrize("name", NAMES)
def test_every_trained_parameter_has_a_finite_gradient_that_is_not_zero(name: str) -> None:
    method = build(name)
    method(views()).total.backward()
    for part, parameter in method.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, part
            assert parameter.grad.isfinite().all(), part
            assert parameter.grad.norm() > 1e-6, part  # rounding alone gives about 1e-8
        else:
            assert parameter.grad is None, part


@pytest.mark.parametrize("name", NAMES)
def test_the_views_are_untouched(name: str) -> None:
    given = views()
    method = build(name)
    loss = method(given)
    loss.total.backward()
    method.after_step(Progress(1, 2), loss)
    for view, before in zip(given, views(), strict=True):
        for x, expected in zip(tensors(view), tensors(before), strict=True):
            assert torch.equal(x, expected)


@pytest.mark.parametrize("name", NAMES)
def test_the_objective_changes_no_state(name: str) -> None:
    method = build(name).train()
    encoded = method.encode(views())
    before = {key: value.clone() for key, value in method.state_dict().items()}
    losses = []
    for _ in range(2):
        torch.manual_seed(0)
        losses.append(method.objective(encoded).total)
    assert torch.equal(losses[0], losses[1])
    running = ("running_mean", "running_var", "num_batches_tracked")  # batch norm may count
    for key, value in method.state_dict().items():
        assert torch.equal(value, before[key]) or key.endswith(running), key


@pytest.mark.parametrize("name", NAMES)
def test_too_few_records_or_views_are_value_errors_that_name_the_method(name: str) -> None:
    method = build(name)
    title, least = type(method).__name__, method.min_batch
    with pytest.raises(
        ValueError, match=f"{title}: a batch of {least - 1} records; at least {least} are needed"
    ):
        method(views(least - 1))
    if "two_views" in method.needs:
        with pytest.raises(ValueError, match=f"{title}: 1 view; at least 2 are needed"):
            method(views(count=1))


@pytest.mark.parametrize("name", NAMES)
def test_each_shape_of_view_takes_one_call_of_the_encoder(name: str) -> None:
    method, calls = build(name), Counter[tuple[int, ...]]()
    if "paired" in method.needs:
        pytest.skip(f"{name} has an encoder for each side")
    method.encoder.register_forward_pre_hook(
        lambda _, inputs: calls.update([tuple(inputs[0].values.shape)])
    )
    short = tuple(view.with_values(view.values[..., :20]) for view in views())
    encoded = method.encode((*views(), *short))
    assert calls == {(2 * ROWS, CHANNELS, STEPS): 1, (2 * ROWS, CHANNELS, 20): 1}
    assert [one.view.values.shape[-1] for one in encoded] == [STEPS, STEPS, 20, 20]


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_the_records_does_not_matter(name: str) -> None:
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(2))
    shuffled = tuple(
        replace(view, values=view.values[order], ids=view.ids[order],
                groups=view.groups[order], labels=view.labels[order], pairs=view.pairs[order])
        for view in views()
        if view.groups is not None and view.labels is not None and view.pairs is not None
    )  # fmt: skip
    losses = []
    for given in (views(), shuffled):
        torch.manual_seed(0)
        losses.append(build(name)(given).total)
    torch.testing.assert_close(losses[0], losses[1], rtol=2e-5, atol=2e-5)  # another order of sums


@pytest.mark.parametrize("name", NAMES)
def test_runs_under_bfloat16_autocast(name: str) -> None:
    exact = build(name)(views()).total
    method = build(name)
    with torch.autocast("cpu", torch.bfloat16):
        loss = method(views())
    loss.total.backward()
    assert loss.total.dtype == torch.float32
    # 8 bits of mantissa through an encoder and a head.
    assert abs(loss.total - exact) < 0.1 * abs(exact)
    assert all(p.grad.isfinite().all() for p in method.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", NAMES)
def test_twenty_steps_lower_a_steady_loss_and_are_the_same_for_the_same_seed(name: str) -> None:
    losses = train(build(name))
    if build(name).steady:
        assert sum(losses[-5:]) < sum(losses[:5])
    assert train(build(name)) == losses


@pytest.mark.parametrize("name", NAMES)
def test_all_that_it_learns_is_in_its_state(name: str) -> None:
    method = build(name)
    train(method, 5)
    state = load(save({key: value.contiguous() for key, value in method.state_dict().items()}))
    other = build(name, seed=9)
    other.load_state_dict(state)
    for copied in (other, copy.deepcopy(method), pickle.loads(pickle.dumps(method))):
        assert train(copied, 3, first=5) == train(copy.deepcopy(method), 3, first=5)


class Undrawn(TorchFunctionMode):
    """Gives the same numbers at every draw, so that who draws first does not matter."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        state = torch.random.get_rng_state()
        found = func(*args, **(kwargs or {}))
        torch.random.set_rng_state(state)
        return found


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["adamw", "sgd", "lars"])
def test_members_of_an_ensemble_learn_what_each_would_alone(name: str, kind: str) -> None:
    if "paired" in registry("methods")[name].needs:
        pytest.skip(f"{name} has an encoder for each side")
    alone = [build(name, seed).train() for seed in (0, 1)]
    both = Several(copy.deepcopy(alone)).train()
    options = TrainingOptions(optimizer=kind, clip_norm=0.1)
    trained = [(method, build_optimizer(method, options)) for method in (both, *alone)]
    for step in range(3):
        losses = []
        for method, optimizer in trained:
            optimizer.zero_grad()
            with Undrawn():
                loss = backward(method, views(step=step), 1, (1, step))
            method.after_backward(Progress(step, TOTAL_STEPS))
            clip_gradient(method, options.clip_norm)
            set_learning_rate(optimizer, 1e-2)
            optimizer.step()
            method.after_step(Progress(step + 1, TOTAL_STEPS), loss)
            losses.append(loss.total)
        torch.testing.assert_close(losses[0], (losses[1] + losses[2]) / 2)
    for one, copied in zip(alone, both.members, strict=True):
        for key, value in one.state_dict().items():
            torch.testing.assert_close(value, copied.state_dict()[key], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["adamw", "sgd", "lars"])
@pytest.mark.parametrize("name", NAMES)
def test_no_step_waits_for_the_device(name: str, kind: str, waits: Waits) -> None:
    method, options = build(name).train(), TrainingOptions(optimizer=kind)
    optimizer, guard = build_optimizer(method, options), Guard(torch.device("cpu"))
    for step in range(2):  # the first makes the optimizer's state
        batch = views(step=step)
        with waits if step else nullcontext():
            optimizer.zero_grad()
            loss = backward(method, batch, 1, (1, step))
            method.after_backward(Progress(step, TOTAL_STEPS))
            norm = clip_gradient(method, options.clip_norm)
            skip_update(optimizer, guard.watch(step, batch[0], loss, norm))
            set_learning_rate(optimizer, 1e-3)
            optimizer.step()
            method.after_step(Progress(step + 1, TOTAL_STEPS), loss)

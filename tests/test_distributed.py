"""The distributed primitives and every loss, in one process and in two and three over gloo."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from forked import in_processes
from torch import Tensor, distributed

from seqcl.distributed import all_reduce_sum, gather_with_grad, rank, world_size
from seqcl.losses.base import Known, PairLoss
from seqcl.losses.dcl import DCL
from seqcl.losses.exclusion import ExcludingLoss
from seqcl.losses.margin import Margin
from seqcl.losses.positives import PositivesLoss
from seqcl.losses.triplet import Triplet
from seqcl.losses.weighted import Weighted
from seqcl.registry import Spec, registry

ROWS, DIM = 5, 7


def whole(seed: int, world: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(ROWS * world, DIM, generator=generator, dtype=torch.float64)


def part(x: Tensor, number: int) -> Tensor:
    return x[number * ROWS : (number + 1) * ROWS].clone().requires_grad_()


def views(world: int) -> tuple[Tensor, Tensor]:
    return whole(0, world), whole(0, world) + 0.5 * whole(1, world)


def facts(world: int, rows: slice) -> Known:
    """Return what is known; a class is on several processes, and none has as many pairs."""
    n = ROWS * world
    labels = torch.tensor([0, 0, 0, -1, 1, 1, 2, 0, -1, 3, 4, 5, 6, 7, 0])[:n]
    at = torch.arange(n)
    return Known(labels[rows], (at // 4)[rows], at[rows], recordings=(at // 6)[rows])


def losses() -> dict[str, PairLoss]:
    """Return every registered loss, and those with options that count pairs by themselves."""
    made = {name: registry("losses")[name]() for name in registry("losses").builtin}
    found: dict[str, PairLoss] = {k: v for k, v in made.items() if isinstance(v, PairLoss)}
    for name, loss in tuple(found.items()):
        if isinstance(loss, ExcludingLoss):
            found[f"{name}, excluding"] = replace(loss, exclude=("label",), exclude_steps=3)
        if isinstance(loss, PositivesLoss):
            found[f"{name}, labels"] = replace(loss, positives="label")
    for mining in ("all", "hard"):
        found[f"triplet, {mining}"] = Triplet(mining=mining, positives="label")
    found["weights"] = DCL(weighted=True)
    found["margin, cosine"] = Margin(metric="cosine", positives="label")
    found["hybrid"] = Weighted(
        terms=(Spec("losses", "supcon"), Spec("losses", "triplet", {"positives": "label"})),
        weights=(1.0, 0.3),
    )
    return found


def gradients(
    loss: PairLoss, a: Tensor, b: Tensor, world: int, rows: slice
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the loss of some rows, the gradient of both views and that of the temperature."""
    a, b = (x[rows].clone().requires_grad_() for x in (a, b))
    known = facts(world, rows)
    temperature = torch.tensor(0.4, dtype=a.dtype, requires_grad=True)
    if loss.has_temperature:
        known = replace(known, temperature=temperature)
    value = loss(a, b, known)
    value.backward()
    assert a.grad is not None
    assert b.grad is not None
    learnt = torch.zeros_like(temperature) if temperature.grad is None else temperature.grad
    return value.detach(), torch.cat([a.grad, b.grad]), learnt


def work(number: int, world: int, folder: str) -> None:
    """Do everything once in a process of its own, and save what came out."""
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=number, world_size=world
    )
    found: dict[str, Any] = {"rank": rank(), "world": world_size()}

    x = part(whole(0, world), number)
    gathered = gather_with_grad(x)
    # Each process weighs the rows by its own number + 1, so the sum over them is known.
    (gathered * whole(2, world) * (number + 1)).sum().backward()
    found["gathered"], found["gather_grad"] = gathered.detach(), x.grad

    count = torch.full((3,), number + 1.0)
    found["sum"], found["count"] = all_reduce_sum(count), count

    rows = slice(number * ROWS, (number + 1) * ROWS)
    for name, loss in losses().items():
        found[name] = gradients(loss, *views(world), world, rows)

    torch.save(found, f"{folder}/{number}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module", params=[2, 3])
def found(request: pytest.FixtureRequest, tmp_path_factory: Any) -> list[dict[str, Any]]:
    folder: Path = tmp_path_factory.mktemp("processes")
    in_processes(request.param, work, request.param, str(folder))
    return [torch.load(folder / f"{number}.pt") for number in range(request.param)]


def test_one_process_needs_no_process_group() -> None:
    x = torch.ones(3, requires_grad=True)
    assert (rank(), world_size()) == (0, 1)
    assert gather_with_grad(x) is x
    total = all_reduce_sum(x)
    assert torch.equal(total, x)
    assert not total.requires_grad
    total += 1
    assert (x == 1).all()


def test_each_process_knows_its_rank(found: list[dict[str, Any]]) -> None:
    world = len(found)
    assert [(own["rank"], own["world"]) for own in found] == [(i, world) for i in range(world)]


def test_gather_joins_in_order_of_rank(found: list[dict[str, Any]]) -> None:
    for own in found:
        assert torch.equal(own["gathered"], whole(0, len(found)))


def test_the_backward_of_gather_sums_over_processes(found: list[dict[str, Any]]) -> None:
    world = len(found)
    factor = sum(range(1, world + 1))
    for number, own in enumerate(found):
        expected = factor * part(whole(2, world), number)
        torch.testing.assert_close(own["gather_grad"], expected.detach(), rtol=1e-14, atol=0)


def test_all_reduce_sums_and_leaves_its_input(found: list[dict[str, Any]]) -> None:
    for number, own in enumerate(found):
        assert (own["sum"] == sum(range(1, len(found) + 1))).all()
        assert (own["count"] == number + 1).all()


@pytest.mark.parametrize("name", losses())
def test_a_loss_of_several_processes_is_that_of_one(name: str, found: list[dict[str, Any]]) -> None:
    world = len(found)
    value, grad, learnt = gradients(losses()[name], *views(world), world, slice(None))
    assert value != 0
    values, parts, temperatures = zip(*(own[name] for own in found), strict=True)
    torch.testing.assert_close(torch.stack(values).mean(), value, rtol=1e-12, atol=0)
    # DDP averages over processes: no factor of the world size is left over.
    ours = torch.cat([x.unflatten(0, (2, ROWS)) for x in parts], 1).flatten(0, 1) / world
    assert (ours - grad).norm() < 1e-12 * grad.norm()
    torch.testing.assert_close(torch.stack(temperatures).mean(), learnt, rtol=1e-12, atol=1e-15)

"""The distributed primitives, in one process and in two and three over gloo."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed
from torch import multiprocessing as mp

from seqcl.distributed import all_reduce_sum, gather_with_grad, rank, world_size
from seqcl.losses.nt_xent import NTXent

ROWS, DIM = 5, 7


def whole(seed: int, world: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(ROWS * world, DIM, generator=generator, dtype=torch.float64)


def part(x: Tensor, number: int) -> Tensor:
    return x[number * ROWS : (number + 1) * ROWS].clone().requires_grad_()


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

    a, b = part(whole(0, world), number), part(whole(1, world), number)
    loss = NTXent(temperature=0.1)(a, b)
    loss.backward()
    found["loss"], found["a_grad"], found["b_grad"] = loss.detach(), a.grad, b.grad

    torch.save(found, f"{folder}/{number}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module", params=[2, 3])
def found(request: pytest.FixtureRequest, tmp_path_factory: Any) -> list[dict[str, Any]]:
    folder: Path = tmp_path_factory.mktemp("processes")
    mp.spawn(work, (request.param, str(folder)), nprocs=request.param)
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


def test_nt_xent_of_several_processes_is_that_of_one(found: list[dict[str, Any]]) -> None:
    world = len(found)
    a, b = whole(0, world).requires_grad_(), whole(1, world).requires_grad_()
    loss = NTXent(temperature=0.1)(a, b)
    loss.backward()
    mean = torch.stack([own["loss"] for own in found]).mean()
    torch.testing.assert_close(mean, loss.detach(), rtol=1e-12, atol=0)
    for name, x in (("a_grad", a), ("b_grad", b)):
        # DDP averages over processes: no factor of the world size is left over.
        grad = torch.cat([own[name] for own in found]) / world
        assert x.grad is not None
        assert (grad - x.grad).norm() < 1e-12 * x.grad.norm()

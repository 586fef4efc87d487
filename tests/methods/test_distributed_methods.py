"""Methods in two and three processes over gloo: gradient and state are those of one process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from forked import in_processes
from torch import Tensor, distributed

from seqcl.batch import Batch
from seqcl.distributed import all_reduce_sum
from seqcl.encoders.tcn import Tcn
from seqcl.methods.base import Method, Progress
from seqcl.registry import Spec, registry

ROWS, STEPS = 4, 16
TOTAL = 3
"""Optimizer steps: the queue is filled in the first two, so it counts in the third."""

METHODS: dict[str, dict[str, Any]] = {
    "simclr": {},
    "supcon": {},
    "moco": {"queue": 10},
    "moco_v3": {},
    "byol": {},
    "simsiam": {},
    "swav": {
        "prototypes": 3,
        "queue": 6,
        "frozen": 0.3,
        "neighbours": 2,
        "past": 7,
        "settled": 0.0,
    },
    "barlow_twins": {"head": Spec("heads", "mlp", {"out_dim": 8, "last": "none"})},
    "vicreg": {"head": Spec("heads", "mlp", {"out_dim": 8, "last": "none"})},
    "nnclr": {"queue": 10},
    "semi_supervised": {},
}


def build(name: str) -> Method:
    """Return a method around an encoder without batch norm, which would see its process alone."""
    torch.manual_seed(0)
    encoder = Tcn(2, width=6, depth=1, local_dim=5, pooling=Spec("poolings", "mean"))
    method: Method = registry("methods")[name]({"main": encoder}, **METHODS[name])
    return method.double()


def views(world: int, step: int) -> tuple[Batch, ...]:
    """Return two views of the whole batch, and a third, shorter one."""
    made = []
    for view, steps in enumerate((STEPS, STEPS, 9)):
        generator = torch.Generator().manual_seed(10 * step + view)
        values = torch.randn(
            ROWS * world, 2, steps, generator=generator, dtype=torch.float64
        ).cumsum(2)
        rows = torch.arange(ROWS * world)
        made.append(Batch(values, rows, labels=rows % 3, groups=rows % 4 - 1))
    return tuple(made)


def train(method: Method, world: int, rows: slice) -> dict[str, Tensor]:
    """Take some steps on some rows, gradients averaged over processes as DDP does."""
    processes = distributed.get_world_size() if distributed.is_initialized() else 1
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], 0.05)
    found: dict[str, Tensor] = {}
    for step in range(TOTAL):
        given = tuple(view[rows] for view in views(world, step))
        optimizer.zero_grad()
        loss = method(given)
        loss.total.backward()
        grads = [weight.grad for weight in method.parameters() if weight.grad is not None]
        for grad in grads:
            grad.copy_(all_reduce_sum(grad) / processes)
        found[f"{step}/gradient"] = torch.cat([grad.flatten() for grad in grads])
        found[f"{step}/loss"] = all_reduce_sum(loss.total) / processes
        method.after_backward(Progress(step, TOTAL))
        optimizer.step()
        method.after_step(Progress(step + 1, TOTAL), loss.detached())
    return found | {f"state/{name}": value for name, value in method.state_dict().items()}


def work(number: int, world: int, folder: str) -> None:
    """Train every method in a process of its own, and save what came out."""
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=number, world_size=world
    )
    rows = slice(number * ROWS, (number + 1) * ROWS)
    found = {name: train(build(name), world, rows) for name in METHODS}
    torch.save(found, f"{folder}/{number}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module", params=[2, 3])
def found(request: pytest.FixtureRequest, tmp_path_factory: Any) -> list[dict[str, Any]]:
    folder: Path = tmp_path_factory.mktemp("processes")
    in_processes(request.param, work, request.param, str(folder))
    return [torch.load(folder / f"{number}.pt") for number in range(request.param)]


def test_every_method_that_says_it_gathers_is_tried() -> None:
    known = registry("methods")
    gathering = {name for name in known.builtin if known[name].gathers}
    assert gathering == {*METHODS, "tf_c"}  # whose spectrum is float32, and loss that of simclr


@pytest.mark.parametrize("name", METHODS)
def test_gradient_and_state_are_those_of_one_process(
    name: str, found: list[dict[str, Any]]
) -> None:
    world = len(found)
    expected = train(build(name), world, slice(None))
    for own in found:
        assert own[name].keys() == expected.keys()
        for key, value in expected.items():
            difference = (own[name][key].double() - value.double()).norm()
            # Running means behind a norm are 0 but for rounding.
            assert difference <= 1e-12 * value.double().norm() + 1e-14, key


@pytest.mark.parametrize("name", ["moco", "swav", "nnclr"])
def test_a_queue_is_the_same_on_every_process(name: str, found: list[dict[str, Any]]) -> None:
    first, *others = (own[name]["state/queue.rows"] for own in found)
    assert all(torch.equal(first, other) for other in others)
    assert found[0][name]["state/queue.pushed"] == TOTAL * ROWS * len(found)

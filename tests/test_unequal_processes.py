"""Step-level losses over two gloo processes that hold unequal numbers of real steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from forked import in_processes
from torch import Tensor, distributed

from seqcl.batch import Batch, Encoded
from seqcl.losses.hierarchical import hierarchical
from seqcl.methods.future import future_contrast

ROWS, STEPS, DIM = 3, 12, 4
WORLD = 2
AT = torch.tensor([0, 3, 7])


def features(seed: int, rows: int = WORLD * ROWS, dim: int = DIM) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, STEPS, dim, generator=generator, dtype=torch.float64)


def real_steps() -> Tensor:
    """Return which steps are real: all of process 0's, few of process 1's."""
    lengths = torch.tensor([12, 12, 12, 5, 3, 1])
    return torch.arange(STEPS) < lengths[:, None]


def temporal(rows: slice, *, mask: bool = True) -> tuple[Tensor, Tensor]:
    """Return the loss of other steps, and its gradient: no record sees another."""
    x = features(0)[rows].requires_grad_()
    real = real_steps()[rows] if mask else None
    value = hierarchical(x, features(1)[rows], real, instance=0.0)
    value.backward()
    assert x.grad is not None
    return value.detach(), x.grad


def instance(rows: slice, steps: int = STEPS) -> tuple[Tensor, Tensor]:
    """Return the loss of other records at one scale, and its gradient."""
    x = features(0)[rows, :steps].requires_grad_()
    value = hierarchical(x, features(1)[rows, :steps], real_steps()[rows, :steps], instance=1.0)
    value.backward()
    assert x.grad is not None
    return value.detach(), x.grad


def future(rows: slice) -> tuple[Tensor, Tensor]:
    """Return the loss of predictions, and its gradient."""
    size = len(range(*rows.indices(WORLD * ROWS)))
    predicted = features(2, dim=3 * DIM)[rows, : len(AT)].reshape(size, len(AT), 3, DIM)
    predicted.requires_grad_()
    local = features(3)[rows].transpose(1, 2)
    blank = Batch(local, torch.arange(size))
    target = Encoded(local.mean(2), local, real_steps()[rows], blank)
    value = future_contrast(predicted, target, target, AT, across_steps=True)
    value.backward()
    assert predicted.grad is not None
    return value.detach(), predicted.grad


def work(number: int, folder: str) -> None:
    """Take each loss of the own records in a process of its own."""
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=number, world_size=WORLD
    )
    rows = slice(number * ROWS, (number + 1) * ROWS)
    found = {"temporal": temporal(rows), "future": future(rows), "instance": instance(rows, 1)}
    # A process without masks, and one of fewer scales than the other, must not wait for ever.
    found["mixed"] = temporal(rows, mask=number == 1)
    instance(rows, STEPS if number == 0 else 2)
    torch.save(found, f"{folder}/{number}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory: Any) -> list[dict[str, tuple[Tensor, Tensor]]]:
    folder: Path = tmp_path_factory.mktemp("unequal")
    in_processes(WORLD, work, str(folder))
    return [torch.load(folder / f"{number}.pt") for number in range(WORLD)]


@pytest.mark.parametrize("name", ["temporal", "mixed"])
def test_steps_of_one_record_weigh_as_in_one_process(
    name: str, found: list[dict[str, tuple[Tensor, Tensor]]]
) -> None:
    value, grad = temporal(slice(None))
    ours = torch.stack([own[name][0] for own in found]).mean()
    torch.testing.assert_close(ours, value, rtol=1e-10, atol=0)
    together = torch.cat([own[name][1] for own in found]) / WORLD
    assert (together - grad).norm() < 1e-10 * grad.norm()


def anchors(name: str, rows: slice) -> int:
    """Return how many anchors a process has."""
    real = real_steps()[rows]
    if name == "instance":
        return 2 * int(real[:, :1].sum())
    ahead = torch.arange(1, 4)
    inside = (AT[:, None] + ahead) < STEPS
    place = (AT[:, None] + ahead).clamp(max=STEPS - 1)
    return int((real[:, AT, None] & real[:, place] & inside).sum())


@pytest.mark.parametrize("name", ["future", "instance"])
def test_processes_weigh_by_their_anchors_where_negatives_are_their_own(
    name: str, found: list[dict[str, tuple[Tensor, Tensor]]]
) -> None:
    parts = [slice(number * ROWS, (number + 1) * ROWS) for number in range(WORLD)]
    alone = [future(rows) if name == "future" else instance(rows, 1) for rows in parts]
    counts = [anchors(name, rows) for rows in parts]
    weights = [count / sum(counts) for count in counts]
    assert name == "instance" or counts[0] > 4 * counts[1] > 0
    expected = sum(weight * value for weight, (value, _) in zip(weights, alone, strict=True))
    ours = torch.stack([own[name][0] for own in found]).mean()
    torch.testing.assert_close(ours, torch.as_tensor(expected, dtype=ours.dtype))
    for own, weight, (_, grad) in zip(found, weights, alone, strict=True):
        assert (own[name][1] / WORLD - weight * grad).norm() < 1e-5 * grad.norm()

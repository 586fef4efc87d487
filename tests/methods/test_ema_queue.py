"""The target network and the queue, alone and as methods keep them."""

import math

import pytest
import torch
from series_views import batch, encoder

from seqcl.heads.mlp import MlpHead
from seqcl.methods.base import Method, Progress
from seqcl.methods.ema import Ema, rising
from seqcl.methods.queue import Queue
from seqcl.registry import registry

VIEWS = (batch(8), batch(8, seed=1))


def target() -> tuple[Ema, MlpHead]:
    torch.manual_seed(0)
    head = MlpHead(6)
    return Ema(encoder(), head), head


def test_a_target_starts_as_a_copy_and_follows_by_its_momentum() -> None:
    ema, head = target()
    model = encoder()
    before = [weight.clone() for weight in ema.parameters()]
    with torch.no_grad():
        for weight in (*model.parameters(), *head.parameters()):
            weight.add_(1.0)
    ema.follow(model, head, 0.75)
    for now, then in zip(ema.parameters(), before, strict=True):
        torch.testing.assert_close(now, then + 0.25)
    ema.follow(model, head, 0.0)
    for now, original in zip(ema.encoder.parameters(), model.parameters(), strict=True):
        assert torch.equal(now, original)


def test_a_target_projects_each_view_without_gradient() -> None:
    ema, head = target()
    projected = ema(VIEWS)
    for one, view in zip(projected, VIEWS, strict=True):
        assert not one.requires_grad
        torch.testing.assert_close(one, head(encoder()(view).pooled))


def test_a_momentum_rises_to_one_along_a_half_cosine() -> None:
    for step in range(11):
        expected = 1 - 0.004 * (math.cos(math.pi * step / 10) + 1) / 2
        assert rising(0.996, Progress(step, 10)) == pytest.approx(expected, rel=1e-12)
    assert rising(0.996, Progress(0, 10)) == pytest.approx(0.996)
    assert rising(0.996, Progress(10, 10)) == 1


@pytest.mark.parametrize("rows", [1, 3, 7, 10, 23])
def test_a_queue_holds_the_last_rows(rows: int) -> None:
    queue, pushed = Queue(7, 2), torch.zeros(0, 2)
    start = queue.rows.clone()
    for count in range(4):
        new = torch.arange(2.0 * rows).view(rows, 2) + 100 * count
        pushed = torch.cat([pushed, new])
        queue.push(new)
        kept = min(7, len(pushed))
        held = sorted(queue.rows.tolist())
        left = [row for row in start.tolist() if row in held]
        assert len(left) == 7 - kept
        assert sorted([*left, *pushed[-kept:].tolist()]) == held
        assert bool(queue.full) == (len(pushed) >= 7)
    assert int(queue.pushed) == 4 * rows


def test_a_queue_starts_with_unit_vectors_and_is_whole_in_its_state() -> None:
    queue = Queue(50, 2, 8)
    torch.testing.assert_close(queue.rows.norm(dim=-1), torch.ones(50, 2))
    queue.push(torch.ones(3, 2, 8))
    other = Queue(50, 2, 8)
    other.load_state_dict(queue.state_dict())
    assert torch.equal(other.rows, queue.rows)
    assert other.pushed == 3


@pytest.mark.parametrize("name", ["moco", "moco_v3", "byol"])
def test_a_target_is_in_the_state_without_gradient_and_moves_only_after_the_step(name: str) -> None:
    torch.manual_seed(0)
    method: Method = registry("methods")[name]({"main": encoder()})
    state = method.state_dict()
    own = [key for key, weight in method.named_parameters() if key.startswith("target.")]
    assert own
    assert set(own) <= set(state)
    assert not any(dict(method.named_parameters())[key].requires_grad for key in own)
    before = [weight.clone() for weight in method.target.parameters()]
    loss = method(VIEWS)
    loss.total.backward()
    with torch.no_grad():
        for weight in method.encoder.parameters():
            weight.add_(0.1)
    assert all(map(torch.equal, method.target.parameters(), before))
    method.after_step(Progress(1, 100), loss)
    moved = zip(method.target.parameters(), before, strict=True)
    assert any(not torch.equal(now, then) for now, then in moved)

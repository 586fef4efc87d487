"""SimCLR: what its loss is, and that it learns what an untrained encoder does not see."""

from itertools import combinations

import pytest
import torch
from torch import Tensor

from seqcl.batch import Batch
from seqcl.losses.nt_xent import nt_xent
from seqcl.methods.simclr import SimCLR
from seqcl.registry import Spec, registry

STEPS, CLASSES = 64, 8


def build(**options: Spec[object]) -> SimCLR:
    torch.manual_seed(0)
    return SimCLR({"main": registry("encoders")["conv1d"](1)}, **options)  # type: ignore[arg-type]


def series(rows: int, seed: int) -> tuple[Batch, ...]:
    """Return two views of waves on a loud random level and slope, labelled by their pitch.

    Between the views the level, the slope and the phase change; the pitch does not.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(rows, 1, 1, generator=generator)

    time, pitch = torch.linspace(0, 1, STEPS), draw(2, 14)
    labels = ((pitch.flatten() - 2) / 12 * CLASSES).long()
    return tuple(
        Batch(
            values=torch.sin(6.28 * pitch * time + draw(0, 6.28))
            + draw(-3, 3)
            + draw(-3, 3) * time,
            ids=torch.arange(rows),
            labels=labels,
        )
        for _ in range(2)
    )


def neighbour_accuracy(method: SimCLR) -> float:
    """Return how often the nearest other record, by cosine, has the same class."""
    (view, _) = series(200, seed=999)
    with torch.no_grad():
        z = torch.nn.functional.normalize(method.eval().encoder(view).pooled, dim=1)
    nearest = (z @ z.T).fill_diagonal_(-2).argmax(1)
    assert view.labels is not None
    return float((view.labels[nearest] == view.labels).float().mean())


def test_two_views_give_nt_xent_of_their_projections() -> None:
    method, views = build(), series(10, 0)
    pooled = torch.cat([one.pooled for one in method.encode(views)])
    a, b = method.head(pooled).chunk(2)
    loss = method(views)
    torch.testing.assert_close(loss.total, nt_xent(a, b, 0.1))
    assert torch.equal(loss.parts["contrast"], loss.total.detach())


def test_more_views_give_the_mean_over_their_pairs() -> None:
    method = build(head=Spec("heads", "linear"))
    views = (*series(6, 0), *series(6, 1))
    projected = [method.head(one.pooled) for one in method.encode(views)]
    pairs = [nt_xent(a, b, 0.1) for a, b in combinations(projected, 2)]
    assert len(pairs) == 6
    torch.testing.assert_close(method(views).total, torch.stack(pairs).mean())


def test_the_loss_and_the_head_are_options() -> None:
    method = build(
        head=Spec("heads", "identity"), loss=Spec("losses", "nt_xent", {"temperature": 0.5})
    )
    views = series(8, 0)
    a, b = (one.pooled for one in method.encode(views))
    torch.testing.assert_close(method(views).total, nt_xent(a, b, 0.5))


def test_all_views_go_through_the_head_together() -> None:
    method, rows = build(), list[int]()
    method.head.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    method((*series(5, 0), *series(5, 1)))
    assert rows == [20]


def test_one_record_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="SimCLR: a batch of 1 records; at least 2 are needed"):
        build()(series(1, 0))


def test_training_beats_the_untrained_encoder_where_that_is_poor() -> None:
    method = build()
    before = neighbour_accuracy(method)
    optimizer = torch.optim.AdamW(method.parameters(), 3e-3)
    method.train()
    for step in range(60):
        optimizer.zero_grad()
        method(series(48, seed=step)).total.backward()
        optimizer.step()
    after = neighbour_accuracy(method)
    assert before < 0.65  # chance is 0.13
    assert after > 0.82

"""Best: lowest loss kept, patience counted, both across a save."""

from __future__ import annotations

import torch
from torch import nn

from seqcl.finetuning.best import Best


def test_the_lowest_loss_is_kept_and_restored() -> None:
    layer = nn.Linear(2, 1)
    best = Best({"layer": layer}, patience=2)
    for step, loss in enumerate((3.0, 1.0, 2.0, 1.5), start=1):
        nn.init.constant_(layer.weight, step)
        best.see({"layer": layer}, torch.tensor(loss), step)
    assert (int(best.step), float(best.loss), best.exhausted) == (2, 1.0, True)
    best.restore({"layer": layer})
    assert layer.weight.tolist() == [[2.0, 2.0]]


def test_looks_that_do_not_count_exhaust_nothing() -> None:
    layer = nn.Linear(2, 1)
    best = Best({"layer": layer}, patience=1)
    best.see({"layer": layer}, torch.tensor(1.0), 1)
    best.see({"layer": layer}, torch.tensor(2.0), 2, counts=False)
    assert not best.exhausted
    best.see({"layer": layer}, torch.tensor(torch.nan), 3)
    assert best.exhausted


def test_a_copy_made_from_its_state_goes_on_counting() -> None:
    layer = nn.Linear(2, 1)
    best, other = (Best({"layer": layer}, patience=1) for _ in range(2))
    best.see({"layer": layer}, torch.tensor(1.0), 1)
    best.see({"layer": layer}, torch.tensor(2.0), 2)
    other.load_state_dict(best.state_dict())
    assert other.exhausted
    assert int(other.step) == 1

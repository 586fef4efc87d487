"""SwAV's neighbours in other groups, against the same one record after the other."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from series_views import batch, encoder
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from seqcl.batch import Batch
from seqcl.methods.base import Progress
from seqcl.methods.other_groups import OtherGroups
from seqcl.methods.swav import SwAV

DIM, PROTOTYPES, SIZE = 6, 3, 20


def filled(count: int, rows: int = SIZE, *, active: bool = True) -> tuple[OtherGroups, Tensor]:
    """Return one that holds `rows` records of groups -1 to 2, and these groups."""
    generator = torch.Generator().manual_seed(0)
    made = OtherGroups(SIZE, DIM, PROTOTYPES, count)
    groups = torch.arange(rows) % 4 - 1
    projected = normalize(torch.randn(rows, DIM, generator=generator) + groups[:, None])
    codes = torch.rand(rows, PROTOTYPES, generator=generator)
    made.push(made.rows_of(projected, codes, groups), active)
    return made, groups


def one_by_one(
    made: OtherGroups, past: Tensor, asked: Tensor, group: int, count: int
) -> list[float]:
    """Return the mean assignment of the nearest records of other groups."""
    rows, codes, _ = torch.split(made.queue.rows[: len(past)], made.widths, dim=1)

    def centred(row: Tensor, own: int) -> Tensor:
        mates = rows[past == own]
        return row - mates.mean(0) if len(mates) else row

    others = [n for n, own in enumerate(past.tolist()) if own >= 0 and own != group]
    near = sorted(
        others,
        key=lambda n: (
            -float(cosine_similarity(centred(asked, group), centred(rows[n], int(past[n])), dim=0))
        ),
    )
    chosen = codes[near[:count]]
    return chosen.mean(0).tolist() if len(chosen) else [0.0] * PROTOTYPES


@pytest.mark.parametrize("rows", [0, 3, SIZE])
@pytest.mark.parametrize("count", [1, 4])
def test_targets_are_those_of_the_nearest_records_of_other_groups(count: int, rows: int) -> None:
    made, past = filled(count, rows)
    asked = normalize(torch.randn(5, DIM, generator=torch.Generator().manual_seed(1)))
    groups = torch.tensor([0, 1, 2, 7, -1])  # 7 has no record in the past, -1 is no group
    target, found = made.targets(asked, groups)
    for row, group in enumerate(groups.tolist()):
        held = group >= 0 and bool(((past >= 0) & (past != group)).any())
        assert found[row] == float(held)
        expected = one_by_one(made, past, asked[row], group, count) if held else [0.0] * 3
        assert target[row].tolist() == pytest.approx(expected, abs=1e-6)


def test_nothing_is_found_until_it_counts() -> None:
    made, _ = filled(2, active=False)
    target, found = made.targets(normalize(torch.ones(1, DIM)), torch.tensor([0]))
    assert not found.any()
    assert not target.any()


def build(neighbours: int) -> SwAV:
    model = encoder()
    torch.manual_seed(1)
    return SwAV({"main": model}, prototypes=5, neighbours=neighbours, past=16, settled=0.5)


def given(step: int, groups: Tensor | None) -> tuple[Batch, ...]:
    return tuple(replace(batch(8, 24, 2 * step + view), groups=groups) for view in (0, 1))


def test_neighbours_count_once_they_are_settled_and_only_with_groups() -> None:
    plain, method = build(0), build(3)
    groups = torch.arange(8) % 3
    for step in range(4):
        expected, loss = plain(given(step, groups)), method(given(step, groups))
        assert "neighbours" in loss.parts
        assert "neighbours" not in expected.parts
        whole = (loss.parts["swapped"] + loss.parts["neighbours"]) / 2
        settled = step >= 2
        torch.testing.assert_close(loss.parts["swapped"], expected.total)
        torch.testing.assert_close(loss.total, whole if settled else expected.total)
        assert bool(loss.parts["neighbours"] > 0) == settled
        method.after_step(Progress(step + 1, 4), loss.detached())
        plain.after_step(Progress(step + 1, 4), expected.detached())
    without = method(given(0, None))
    torch.testing.assert_close(without.total, plain(given(0, None)).total)
    assert set(without.parts) == {"swapped"}

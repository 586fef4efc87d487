"""What every registered front end of series promises."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import pytest
import torch
from waiting import Waits

from seqcl.batch import Batch
from seqcl.encoders.base import masked
from seqcl.registry import registry
from seqcl.rng import Rng
from seqcl.views.base import Frontend

NAMES = [name for name, found in registry("frontends").items() if "CT" in found.layouts]
LENGTHS = (4_000, 1, 2_401, 3_999)


def waves(channels: int = 2) -> Batch:
    values = torch.randn(4, channels, 4_000, generator=torch.Generator().manual_seed(0))
    return Batch(values, torch.arange(4), start=torch.arange(4) * 1_000)


def ragged(garbage: float = 0.0, padding: int = 0) -> Batch:
    lengths = torch.tensor(LENGTHS)
    mask = torch.arange(4_000 + padding) < lengths[:, None]
    values = torch.nn.functional.pad(waves().values, (0, padding))
    values = values.masked_fill(~mask[:, None], garbage)
    return replace(waves(), values=values, mask=mask, lengths=lengths, host_lengths=LENGTHS)


@pytest.fixture(params=NAMES)
def frontend(request: pytest.FixtureRequest) -> Frontend:
    made: Frontend = registry("frontends")[request.param](2)
    made.prepare(waves(), Rng(0))
    return made


def test_it_gives_the_channels_that_it_declares_and_learns_nothing(frontend: Frontend) -> None:
    batch, copy = waves(), waves()
    view = frontend(batch)
    assert view.values.shape[:2] == (4, frontend.out_channels)
    assert view.values.isfinite().all()
    assert view.mask is view.lengths is None
    assert torch.equal(view.ids, batch.ids)
    assert torch.equal(batch.values, copy.values)
    assert not list(frontend.parameters())


def test_padding_and_what_it_holds_do_not_matter(frontend: Frontend) -> None:
    view = frontend(ragged())
    other = frontend(ragged(float("nan"), padding=777))
    steps = view.values.shape[-1]
    assert torch.equal(other.mask[:, :steps], view.mask)
    assert not other.mask[:, steps:].any()
    apart = masked(other.values[..., :steps], view.mask) - masked(view.values, view.mask)
    assert apart.abs().max() < 1e-5
    assert view.lengths.tolist() == list(view.host_lengths) == view.mask.sum(1).tolist()


def test_a_padded_record_equals_itself_alone(frontend: Frontend) -> None:
    together = frontend(ragged())
    for row, length in enumerate(LENGTHS):
        alone = frontend(Batch(waves().values[row : row + 1, :, :length], torch.tensor([row])))
        steps = together.host_lengths[row]
        assert alone.values.shape[-1] == steps
        assert (alone.values[0] - together.values[row, :, :steps]).abs().max() < 1e-4


def test_it_pickles_and_its_state_is_all_that_it_learnt(frontend: Frontend) -> None:
    expected = frontend(waves()).values
    assert torch.equal(pickle.loads(pickle.dumps(frontend))(waves()).values, expected)
    other = type(frontend)(2)
    other.load_state_dict(frontend.state_dict())
    assert torch.equal(other(waves()).values, expected)


def test_bfloat16_comes_out_as_it_went_in(frontend: Frontend) -> None:
    batch = waves()
    view = frontend(batch.with_values(batch.values.bfloat16()))
    assert view.values.dtype == torch.bfloat16
    assert (view.values.float() - frontend(batch).values).abs().mean() < 0.05


@pytest.mark.parametrize("make", [waves, ragged])
def test_nothing_waits_for_the_device(frontend: Frontend, make: Any, waits: Waits) -> None:
    batch = make()
    with waits:
        frontend(batch)

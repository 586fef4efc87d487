"""Windows of whole steps, in proportion to each record's own length."""

from __future__ import annotations

import torch

from seqcl.batch import Batch
from seqcl.rng import Rng
from seqcl.views.window import random_start, share, window, window_lengths

HOST = (20, 13, 3, 1)


def ragged() -> Batch:
    lengths = torch.tensor(HOST)
    mask = torch.arange(20) < lengths[:, None]
    values = torch.arange(80.0).view(4, 1, 20) * mask[:, None]
    return Batch(values, torch.arange(4), lengths=lengths, host_lengths=HOST, mask=mask)


def test_a_window_is_its_share_of_each_record_and_at_least_a_step():
    batch = ragged()
    assert share(batch, 10).tolist() == [10, 6, 1, 0]
    assert window_lengths(batch, 10).tolist() == [10, 6, 1, 1]
    assert share(batch, 20).tolist() == list(HOST)
    cut = window(batch, torch.tensor([3, 7, 2, 0]), 10)
    assert cut.host_lengths == (10, 6, 1, 1)
    assert cut.lengths.tolist() == [10, 6, 1, 1]
    assert cut.values[1, 0].tolist() == [27.0, 28, 29, 30, 31, 32, 0, 0, 0, 0]


def test_an_empty_record_gives_an_empty_window():
    batch = Batch(
        torch.zeros(1, 1, 8), torch.arange(1), lengths=torch.tensor([0]), host_lengths=(0,)
    )
    cut = window(batch, torch.tensor([0]), 4)
    assert cut.host_lengths == (0,)
    assert cut.lengths.tolist() == [0]
    assert not cut.mask.any()


def test_a_window_knows_where_it_starts_in_its_recording():
    batch = Batch(torch.arange(16.0).view(2, 1, 8), torch.arange(2), start=torch.tensor([100, 200]))
    start = torch.tensor([1, 5])
    cut = window(batch, start, 3)
    assert cut.start.tolist() == [101, 205]
    assert cut.values.tolist() == [[[1.0, 2, 3]], [[13.0, 14, 15]]]
    assert cut.mask is None
    assert window(Batch(batch.values, batch.ids), start, 3).start.tolist() == [1, 5]


def test_tokens_are_cut_with_their_steps():
    tokens = torch.arange(16).view(2, 8)
    cut = window(
        Batch(torch.zeros(2, 1, 8), torch.arange(2), tokens=tokens), torch.tensor([1, 5]), 3
    )
    assert cut.tokens.tolist() == [[1, 2, 3], [13, 14, 15]]


def test_starts_are_uniform_over_the_slack():
    batch = Batch(torch.zeros(6000, 1, 8), torch.arange(6000))
    counts = random_start(batch, torch.tensor([2]), Rng(0)).bincount()
    # Three outcomes of 2,000 each; the deviation is 37
    assert len(counts) == 3
    assert (counts - 2000).abs().max() < 180

import numpy as np
import pytest
import torch
from toy_training import CHANNELS, RECORDS, Small, Toy

from seqcl.data.scaler import Scaler
from seqcl.embeddings.base import Embedding
from seqcl.embeddings.identity import IdentityEmbedding
from seqcl.model import Model
from seqcl.training.closed_form import fit_embedding
from seqcl.views.frontend import IdentityFrontend


class Centred(Embedding):
    """Subtract the mean over all views, taken in the second of two passes."""

    passes = 2

    def __init__(self, in_dim):
        super().__init__(in_dim)
        self.calls, self.solved = [], 0
        self.register_buffer("mean", torch.zeros(in_dim))

    def update(self, pooled, record, alike=None):
        self.calls.append((pooled, record))

    def solve(self, whole=True):
        self.solved += 1
        if self.solved < 2:
            return False
        half = self.calls[len(self.calls) // 2 :]
        self.mean.copy_(torch.cat([pooled for pooled, _ in half]).mean(0))
        return True

    def forward(self, pooled):
        return pooled - self.mean


@pytest.fixture
def toy():
    return Toy()


def model_of(embedding):
    torch.manual_seed(0)
    encoder = Small(CHANNELS)
    return Model(
        Scaler(CHANNELS), IdentityFrontend(CHANNELS), encoder, embedding(encoder.out_dim),
        channels=("c0", "c1"), missing="zero",
    )  # fmt: skip


def test_every_pass_shows_the_same_views_of_every_record_once(toy):
    model = model_of(Centred)
    fit_embedding(model, toy.loader, toy.views, seed=0)
    calls = model.embedding.calls
    assert len(calls) == 2 * 3  # 22 records in batches of 8, the smaller last one included
    for (a, rows_a), (b, rows_b) in zip(calls[:3], calls[3:], strict=True):
        assert torch.equal(a, b)
        assert torch.equal(rows_a, rows_b)
    rows = torch.cat([rows for _, rows in calls[:3]])
    assert rows.bincount().tolist() == [3] * RECORDS, "two views, and the record itself"
    assert model.embedding.solved == 2


def test_views_of_a_record_correspond_to_its_row(toy):
    model = model_of(Centred)
    fit_embedding(model, toy.loader, toy.views, seed=0)
    pooled, rows = model.embedding.calls[0]
    assert rows.tolist() == [*range(8)] * 3
    batch = model.collate()(toy.dataset.records(range(8)))
    clean = model.eval().encoder(batch).pooled
    assert torch.equal(pooled[:8], clean)
    near = torch.cdist(pooled, clean).argmin(1)
    assert np.mean((near == rows).numpy()) > 0.8


def test_an_embedding_without_passes_is_left_alone(toy):
    model = model_of(IdentityEmbedding).train()
    fit_embedding(model, toy.loader, toy.views, seed=0)
    assert model.training


def test_the_fit_is_part_of_the_model(toy):
    model = model_of(Centred)
    fit_embedding(model, toy.loader, toy.views, seed=0)
    pooled = torch.cat([pooled for pooled, _ in model.embedding.calls[:3]])
    assert model.embedding(pooled).mean(0).abs().max() < 1e-6

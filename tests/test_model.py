import numpy as np
import pytest
import torch
from torch import nn

from seqcl.batch import Batch
from seqcl.data.dataset import dataset_from_arrays
from seqcl.data.scaler import Scaler
from seqcl.embeddings.base import Embedding
from seqcl.embeddings.identity import IdentityEmbedding
from seqcl.encoders.base import Encoder
from seqcl.encoders.pooling import LastPool, MaxPool, MeanPool, StatsPool
from seqcl.model import Model
from seqcl.views.frontend import IdentityFrontend

POOLINGS = [MeanPool, MaxPool, LastPool, StatsPool]


class Strided(Encoder):
    """Looks at `stride` steps at a time and at nothing else, so that slices can be checked."""

    def __init__(self, in_channels, pooling, stride=1):
        super().__init__(in_channels, 3, pooling(3), stride=stride)
        self.conv = nn.Conv1d(in_channels, 3, stride, stride=stride)

    def features(self, values, mask, lengths):
        missing = -values.shape[2] % self.stride
        return self.conv(nn.functional.pad(values, (0, missing)))


class Doubled(Embedding):
    def forward(self, pooled):
        return 2 * pooled


def build(pooling=MeanPool, *, stride=1, embedding=IdentityEmbedding, channels=("a", "b")):
    torch.manual_seed(0)
    encoder = Strided(len(channels), pooling, stride)
    return Model(
        Scaler(len(channels)), IdentityFrontend(len(channels)), encoder,
        embedding(encoder.out_dim), channels=channels, missing="zero", rate_hz=10.0,
    )  # fmt: skip


def batch_of(steps=11, *, lengths=None, mask=None):
    torch.manual_seed(1)
    return Batch(
        torch.randn(3, 2, steps),
        torch.arange(3),
        lengths=None if lengths is None else torch.tensor(lengths),
        host_lengths=lengths,
        mask=mask,
    )


def test_a_model_is_encoder_then_embedding():
    model, batch = build(embedding=Doubled), batch_of()
    torch.testing.assert_close(model(batch), 2 * model.encoder(batch).pooled)


def test_collate_scales_with_the_models_own_scaler():
    model = build()
    dataset = dataset_from_arrays(np.random.default_rng(0).normal(5, 3, (4, 2, 6)))
    model.scaler.fit(dataset)
    batch = model.collate()(dataset.records(range(4)))
    assert batch.values.mean().abs() < 1e-5
    assert model.collate().scaler is not model.scaler


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("window", [1, 4, 5, 30])
def test_each_step_is_pooled_over_its_window(pooling, causal, window):
    model, batch = build(pooling), batch_of()
    local = model.encoder(batch, local=True).local
    before = window - 1 if causal else window // 2
    with torch.no_grad():
        found = model.step_windows(batch, window, causal)
        for row in range(3):
            for step in range(11):
                around = slice(max(0, step - before), step - before + window)
                expected = model.encoder.pooling(local[row : row + 1, :, around], None)[0]
                # the same sums, in another order
                torch.testing.assert_close(found[row][step], expected, rtol=1e-5, atol=1e-6)


def test_padding_and_masked_steps_are_left_out_of_windows():
    mask = torch.ones(3, 11, dtype=torch.bool)
    mask[0, 4] = False
    mask[1, 7:] = False
    model, batch = build(), batch_of(lengths=(11, 7, 11), mask=mask)
    local = model.encoder(batch, local=True).local
    rows = model.step_windows(batch, 3)
    assert [len(row) for row in rows] == [11, 7, 11]
    torch.testing.assert_close(rows[0][5], local[0, :, [5, 6]].mean(1))
    torch.testing.assert_close(rows[1][6], local[1, :, 5:7].mean(1))


def test_embeddings_of_a_striding_encoder_repeat_for_the_steps_they_stand_for():
    model, batch = build(stride=4), batch_of()
    (row, *_) = model.step_windows(batch, 4)  # 11 steps, 3 local steps
    assert row.shape == (11, 3)
    local = model.encoder(batch, local=True).local[0].T
    torch.testing.assert_close(row, local.repeat_interleave(4, dim=0)[:11])


def test_steps_are_embedded_too():
    batch = batch_of()
    plain, doubled = (
        build(embedding=e).step_windows(batch, 3)[0] for e in (IdentityEmbedding, Doubled)
    )
    torch.testing.assert_close(doubled, 2 * plain)


def test_many_windows_are_pooled_in_pieces_with_the_same_result(monkeypatch):
    model, batch = build(StatsPool), batch_of()
    whole = model.step_windows(batch, 5)
    monkeypatch.setattr("seqcl.model._POOLED_AT_ONCE", 1)
    for a, b in zip(whole, model.step_windows(batch, 5), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)  # another order of the same sums


def test_the_device_is_that_of_the_weights():
    assert build().device == torch.device("cpu")

from dataclasses import replace

import numpy as np
import pytest
import torch

from seqcl.data.dataset import dataset_from_arrays
from seqcl.data.scaler import Scaler
from seqcl.embeddings.identity import IdentityEmbedding
from seqcl.errors import DataError
from seqcl.model import Model
from seqcl.registry import REGISTRIES, registry
from seqcl.training.embed import embed, padded_length
from seqcl.views.frontend import IdentityFrontend

ALL = sorted(REGISTRIES["encoders"])
ENCODERS = [name for name in ALL if "CT" in registry("encoders")[name].layouts]
IMAGES = [name for name in ALL if name not in ENCODERS]
CHANNELS = ("x", "y")


def model_of(name="conv1d", *, missing="zero"):
    torch.manual_seed(0)
    width = 2 * len(CHANNELS) if missing == "indicator" else len(CHANNELS)
    encoder = registry("encoders")[name](width)
    return Model(
        Scaler(len(CHANNELS)), IdentityFrontend(width), encoder,
        IdentityEmbedding(encoder.out_dim), channels=CHANNELS, missing=missing,
    )  # fmt: skip


def series(count, steps=40, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, len(CHANNELS), steps)).astype(np.float32)


def images(count, seed=0):
    return np.random.default_rng(seed).random((count, len(CHANNELS), 12, 9), dtype=np.float32)


def uneven(count, seed=0):
    rng = np.random.default_rng(seed)
    return [x[:, : rng.integers(20, 41)] for x in series(count, seed=seed)]


def dataset_of(values, **options):
    return dataset_from_arrays(values, channels=CHANNELS, **options)


def test_every_record_is_embedded_with_what_is_known_of_it():
    data = dataset_of(series(5), y=["b", "a", "b", None, "a"], groups=["p", "p", "q", "q", "r"])
    found = embed(model_of(), data)
    assert found.values.shape == (5, model_of().encoder.out_dim)
    assert found.values.dtype == np.float32
    assert found.ids == tuple(data.ids)
    assert found.labels == ("b", "a", "b", None, "a")
    assert found.groups == ("p", "p", "q", "q", "r")
    assert found.lengths is None


def test_unlabelled_data_have_neither_labels_nor_groups():
    found = embed(model_of(), dataset_of(series(3)))
    assert found.labels is None
    assert found.groups is None


@pytest.mark.parametrize(
    ("name", "make"),
    [(name, make) for name in ENCODERS for make in (series, uneven)]
    + [(name, images) for name in IMAGES],
)
def test_a_record_has_the_same_bits_in_any_company_order_and_chunk(name, make):
    model, values = model_of(name), make(60)
    whole = embed(model, dataset_of(values)).values
    some = [41, 3, 17, 29, 58]
    part = embed(model, dataset_of([values[row] for row in some])).values
    small = embed(model, dataset_of(values), batch_size=20).values
    assert np.array_equal(part, whole[some])
    assert np.array_equal(small, whole)


@pytest.mark.parametrize("name", ENCODERS)
def test_a_record_has_the_same_bits_in_any_dataset_where_all_are_treated_alike(name):
    data, model = series(40), model_of(name)
    data[3, :, 5:9] = np.nan
    alone = embed(model, dataset_of(data[7:8]), alike=True).values[0]
    equal = embed(model, dataset_of(data), alike=True).values[7]
    unequal = embed(model, dataset_of([*uneven(5), data[7]]), alike=True).values[5]
    assert np.array_equal(alone, equal)
    assert np.array_equal(alone, unequal)


@pytest.mark.parametrize("name", ENCODERS)
def test_padding_among_longer_records_changes_less_than_1e_5(name):
    model, values = model_of(name), uneven(8)
    among = embed(model, dataset_of(values)).values
    alone = np.concatenate([embed(model, dataset_of([value])).values for value in values])
    np.testing.assert_allclose(among, alone, atol=1e-5, rtol=0)


def test_embedding_equals_the_models_own_forward():
    model, data = model_of(), dataset_of(series(20))
    with torch.no_grad():
        expected = model.eval()(model.collate()(data.records(range(20))))
    np.testing.assert_array_equal(embed(model, data).values, expected.numpy())


def test_a_gap_changes_its_own_record_only():
    values = series(20)
    whole = embed(model_of(), dataset_of(values)).values
    values[4, :, 10:15] = np.nan
    gap = embed(model_of(), dataset_of(values)).values
    others = np.arange(20) != 4
    np.testing.assert_allclose(gap[others], whole[others], atol=1e-5, rtol=0)
    assert not np.allclose(gap[4], whole[4], atol=1e-3)


@pytest.mark.parametrize("missing", ["zero", "hold", "indicator"])
def test_every_treatment_of_missing_values_can_be_embedded(missing):
    values = series(3)
    values[0, 1, 5:9] = np.nan
    found = embed(model_of(missing=missing), dataset_of(values, missing=missing))
    assert np.isfinite(found.values).all()


@pytest.mark.parametrize("name", [n for n in ENCODERS if registry("encoders")[n].embeds_steps])
def test_step_level_gives_a_row_for_each_real_step(name):
    values = uneven(6)
    found = embed(model_of(name), dataset_of(values), level="step", window=8)
    lengths = [value.shape[1] for value in values]
    assert found.lengths.tolist() == lengths
    assert found.values.shape == (sum(lengths), model_of(name).encoder.out_dim)
    assert np.isfinite(found.values).all()
    assert len(found.ids) == 6


def test_step_level_has_the_same_bits_in_any_company():
    model, values = model_of(), uneven(30)
    whole = embed(model, dataset_of(values), level="step")
    first = int(whole.lengths[:7].sum())
    part = embed(model, dataset_of(values[7:9]), level="step").values
    assert np.array_equal(part, whole.values[first : first + len(part)])


def test_a_window_longer_than_the_record_gives_the_instance_embedding():
    model, data = model_of(), dataset_of(series(2, steps=24))
    steps = embed(model, data, level="step", window=1000).values
    whole = embed(model, data).values
    # pooled over the same steps, summed in another order
    np.testing.assert_allclose(steps[[0, 24]], whole, atol=1e-5)


def test_training_mode_and_weights_are_left_as_they_were():
    model = model_of().train()
    embed(model, dataset_of(series(2)))
    assert model.training


def test_progress_is_told_in_records():
    told = []
    embed(
        model_of(), dataset_of(series(50)), batch_size=20, on_batch=lambda a, b: told.append((a, b))
    )
    assert told == [(20, 50), (40, 50), (50, 50)]


def test_channels_are_matched_by_name():
    model, values = model_of(), series(3)
    swapped = dataset_from_arrays(values[:, ::-1], channels=("y", "x"))
    expected = embed(model, dataset_of(values)).values
    np.testing.assert_array_equal(embed(model, swapped).values, expected)
    with pytest.raises(DataError, match="missing channels: x"):
        embed(model, dataset_from_arrays(values, channels=("y", "z")))


@pytest.mark.parametrize(("count", "window"), [(0, 4), (2, 0)])
def test_nothing_to_embed_is_an_error(count, window):
    data = dataset_of(series(2)).subset(range(count))
    with pytest.raises(ValueError, match=f"embed: {count} records, window {window}"):
        embed(model_of(), data, window=window)


def test_padded_lengths_are_at_most_an_eighth_longer():
    for steps in range(1, 5000):
        assert steps <= padded_length(steps) <= steps + steps / 8
    assert [padded_length(n) for n in (1, 15, 17, 150, 1000)] == [1, 15, 18, 160, 1024]


def test_steps_of_records_without_step_labels_are_unknown(monkeypatch):
    data = dataset_of([series(1, steps)[0] for steps in (20, 24, 30)])
    record = type(data).record

    def labelled(self, row):
        found = record(self, row)
        return replace(found, step_labels=np.arange(24)) if row == 1 else found

    assert embed(model_of(), data, level="step").step_labels is None
    monkeypatch.setattr(type(data), "record", labelled)
    found = embed(model_of(), data, level="step")
    assert found.step_labels.tolist() == [-1] * 20 + list(range(24)) + [-1] * 30
    assert len(found.step_labels) == len(found.values)


def test_records_that_no_process_or_two_embedded_are_an_error(monkeypatch):
    module = "seqcl.training.embed"
    data = dataset_from_arrays(series(20), channels=CHANNELS)
    monkeypatch.setattr(f"{module}.world_size", lambda: 2)
    monkeypatch.setattr(f"{module}.gather_rows", lambda x: x)
    with pytest.raises(ValueError, match="the processes share other records"):
        embed(model_of(), data, shared=True, batch_size=16)
    monkeypatch.setattr(f"{module}.world_size", lambda: 1)
    monkeypatch.setattr(f"{module}.gather_rows", lambda x: torch.cat([x, x]))
    with pytest.raises(ValueError, match="the processes share other records"):
        embed(model_of(), data, shared=True)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (np.inf, "is infinite, or beyond float32, at step 7"),
        (3e38, r"is 3e\+38, beyond what the encoder can take"),
    ],
)
def test_a_record_that_has_no_finite_embedding_is_named(value, told):
    values = series(5)
    values[3, 1, 7] = value
    with pytest.raises(DataError, match=f"^#3: channel 'y' {told}"):
        embed(model_of(), dataset_of(values))
    with pytest.raises(DataError, match="^#3: channel 'y'"):
        embed(model_of(), dataset_of(values), level="step")

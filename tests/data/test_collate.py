from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from seqcl.batch import Batch, Record
from seqcl.data.collate import Collate, collate_rows
from seqcl.data.dataset import dataset_from_arrays
from seqcl.data.options import Missing
from seqcl.data.scaler import Scaler

NAN = float("nan")
MODES: Sequence[Missing] = ("zero", "hold", "indicator")


def plain(series: list[np.ndarray], missing: Missing) -> tuple[np.ndarray, np.ndarray]:
    """Values and mask of unscaled records, step by step."""
    channels, longest = len(series[0]), max(part.shape[1] for part in series)
    width = 2 * channels if missing == "indicator" else channels
    values, mask = np.zeros((len(series), width, longest)), np.zeros((len(series), longest), bool)
    for row, part in enumerate(series):
        for step in range(part.shape[1]):
            mask[row, step] = missing != "zero" or not np.isnan(part[:, step]).all()
            for channel in range(channels):
                value = part[channel, step]
                seen = part[channel][~np.isnan(part[channel])]
                if missing == "indicator":
                    values[row, channels + channel, step] = np.isnan(value)
                if np.isnan(value) and missing == "hold" and len(seen):
                    before = part[channel, :step]
                    before = before[~np.isnan(before)]
                    value = before[-1] if len(before) else seen[0]
                values[row, channel, step] = 0 if np.isnan(value) else value
    return values, mask


def gappy(lengths: Sequence[int], seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    found = []
    for length in lengths:
        part = rng.standard_normal((3, length)).astype(np.float32)
        part[rng.random(part.shape) < 0.4] = np.nan
        found.append(part)
    found[0][:, 0] = np.nan  # a step with nothing
    found[0][1] = np.nan  # a channel with nothing
    return found


def collate(missing: Missing, **options: int) -> Collate:
    return Collate(Scaler(3, mode="none"), missing, **options)


def equal(a: Batch, b: Batch) -> None:
    for name in ("values", "lengths", "mask", "labels"):
        first, second = getattr(a, name), getattr(b, name)
        assert (first is None) == (second is None), name
        if first is not None:
            torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert a.host_lengths == b.host_lengths


@pytest.mark.parametrize("missing", MODES)
@pytest.mark.parametrize("lengths", [(9, 9, 9), (9, 4, 1, 12)])
def test_a_batch_is_that_of_the_plain_loop(missing: Missing, lengths: tuple[int, ...]) -> None:
    series = gappy(lengths)
    dataset = dataset_from_arrays(series)
    batch = collate_rows(dataset, range(len(series)), collate(missing))
    values, mask = plain(series, missing)
    np.testing.assert_array_equal(batch.values.numpy(), values.astype(np.float32))
    np.testing.assert_array_equal(
        np.ones_like(mask) if batch.mask is None else batch.mask.numpy(), mask
    )
    assert (batch.mask is None) == mask.all()
    if len(set(lengths)) > 1:
        assert batch.host_lengths == lengths
        assert batch.lengths is not None
        assert batch.lengths.tolist() == list(lengths)
    else:
        assert batch.lengths is batch.host_lengths is None


@pytest.mark.parametrize("missing", MODES)
def test_records_from_anywhere_give_the_same_batch_as_rows(missing: Missing) -> None:
    dataset = dataset_from_arrays(gappy((9, 4, 1, 12)), ["b", "a", None, "b"])
    rows = [3, 0, 2]
    by_records = collate(missing)(dataset.records(rows), rows, dataset.classes)
    equal(by_records, collate_rows(dataset, rows, collate(missing)))
    assert by_records.labels is not None
    assert by_records.labels.tolist() == [1, 1, -1]
    assert by_records.ids.tolist() == rows


def test_a_complete_batch_of_equal_lengths_has_neither_mask_nor_lengths() -> None:
    dataset = dataset_from_arrays(np.ones((4, 3, 8)))
    for missing in MODES:
        batch = collate_rows(dataset, [1, 2], collate(missing))
        assert batch.mask is batch.lengths is batch.host_lengths is None
        assert batch.labels is batch.groups is batch.start is None
        assert batch.values.shape[1] == (6 if missing == "indicator" else 3)
    assert batch.values[:, 3:].eq(0).all()  # the indicators of the last one


def test_a_gap_in_one_channel_alone_needs_no_mask() -> None:
    X = np.ones((2, 3, 5), dtype=np.float32)
    X[0, 1, 2] = np.nan
    batch = collate_rows(dataset_from_arrays(X), [0, 1], collate("zero"))
    assert batch.mask is None
    assert batch.values[0, 1].tolist() == [1, 1, 0, 1, 1]


def test_a_missing_value_is_the_mean_after_scaling() -> None:
    X = np.array([[[3.0, NAN, 5.0]]])
    dataset = dataset_from_arrays(X)
    scaler = Scaler(1)
    scaler.fit(dataset)
    assert collate_rows(dataset, [0], Collate(scaler)).values.tolist() == [[[-1, 0, 1]]]


def test_the_model_may_move_its_scaler_without_moving_the_collates() -> None:
    scaler = Scaler(3)
    made = Collate(scaler)
    scaler.to("meta")
    assert (
        collate_rows(dataset_from_arrays(np.ones((2, 3, 4))), [0], made).values.device.type == "cpu"
    )


def test_padding_to_a_multiple_gives_fewer_shapes() -> None:
    dataset = dataset_from_arrays(gappy((9, 4)))
    batch = collate_rows(dataset, [0, 1], collate("hold", pad_multiple=8))
    assert batch.values.shape == (2, 3, 16)
    assert batch.host_lengths == (9, 4)
    assert batch.values[:, :, 9:].eq(0).all()
    narrow = collate_rows(dataset, [0, 1], collate("hold"))
    torch.testing.assert_close(batch.values[:, :, :9], narrow.values)


def test_the_values_of_a_record_do_not_depend_on_the_rest_of_the_batch() -> None:
    dataset = dataset_from_arrays(gappy((9, 4, 1, 12)))
    for mode in ("none", "record", "channel"):
        made = Collate(Scaler(3, mode=mode), "hold")  # type: ignore[arg-type]
        alone = collate_rows(dataset, [1], made).values
        among = collate_rows(dataset, [3, 1, 0], made).values[1:2, :, :4]
        torch.testing.assert_close(alone, among, rtol=0, atol=0)


def test_a_batch_changes_nothing_in_the_dataset() -> None:
    dataset = dataset_from_arrays(gappy((9, 4, 1, 12)))
    before = dataset.fingerprint
    batch = collate_rows(dataset, [0, 1, 2, 3], collate("zero"))
    batch.values.zero_()
    assert dataset.fingerprint == before


def test_records_bring_their_rate_and_groups() -> None:
    record = Record(np.zeros((3, 4), np.float32), "a", group="anna", rate_hz=50.0, start=7)
    batch = collate("zero")([record], groups=["bert", "anna"])
    assert batch.rate_hz == 50.0
    assert batch.start is not None
    assert batch.start.tolist() == [7]
    assert batch.groups is not None
    assert batch.groups.tolist() == [1]


def test_what_fills_a_step_without_any_value_reaches_the_encoder_unless_it_is_zero() -> None:
    dataset = dataset_from_arrays(np.array([[[1.0, NAN, 2.0]]]))
    found = {mode: collate_rows(dataset, [0], Collate(Scaler(1), mode)) for mode in MODES}
    assert found["zero"].mask is not None
    assert found["zero"].mask.tolist() == [[True, False, True]]
    assert found["hold"].mask is found["indicator"].mask is None
    assert found["hold"].values.tolist() == [[[1, 1, 2]]]
    assert found["indicator"].values.tolist() == [[[1, 0, 2], [0, 1, 0]]]

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from seqcl.data import Collate, DataOptions, Dataset, Scaler, collate_rows, open_dataset

DATA = Path(os.environ.get("SEQCL_DATA", "")) / "series"
pytestmark = pytest.mark.skipif(
    "SEQCL_DATA" not in os.environ, reason="SEQCL_DATA names no folder of real data"
)


def open_(name: str) -> Dataset:
    return open_dataset([str(DATA / name)], DataOptions())


def test_a_set_of_unequal_lengths_gives_lengths_and_a_mask() -> None:
    dataset = open_("GesturePebbleZ1_TRAIN.npz")
    scaler = Scaler(1)
    scaler.fit(dataset)
    batch = collate_rows(dataset, range(len(dataset)), Collate(scaler))
    assert batch.host_lengths is not None
    assert batch.mask is not None
    assert len(set(batch.host_lengths)) > 20
    assert batch.mask.sum(1).tolist() == list(batch.host_lengths)
    assert batch.values[~batch.mask[:, None]].eq(0).all()
    assert batch.values[batch.mask[:, None]].mean().abs() < 1e-5


def test_a_set_with_gaps_has_steps_that_are_not_observed() -> None:
    dataset = open_("DodgerLoopDay_TRAIN.npz")
    raw = dataset.gather(range(len(dataset)))
    batch = collate_rows(dataset, range(len(dataset)), Collate(Scaler(1, mode="none")))
    assert batch.mask is not None
    assert torch.equal(~batch.mask, torch.from_numpy(raw.values).isnan().all(dim=1))
    assert 0 < (~batch.mask).sum() < 0.2 * batch.mask.numel()


def test_several_channels_are_complete_and_labelled() -> None:
    dataset = open_("Epilepsy_TRAIN.npz")
    batch = collate_rows(dataset, [0, 5, 9], Collate(Scaler(3)))
    assert batch.values.shape[:2] == (3, 3)
    assert batch.mask is batch.lengths is None
    assert batch.labels is not None
    assert [dataset.classes[code] for code in batch.labels] == list(
        dataset.subset([0, 5, 9]).labels
    )

from __future__ import annotations

import csv

import numpy as np
import pytest

from seqcl.data.reader import Columns
from seqcl.modalities.sequence.arrays import NpzReader
from seqcl.modalities.sequence.table import TableReader


def test_every_sensor_table_reads_as_its_manifest_says(real_data):
    folder = real_data / "sensor"
    with (folder / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    reader = TableReader()
    for row in rows:
        (entry,) = reader.scan(folder / row["file"])
        record = reader.read(entry, 0, entry.length)
        assert record.values.shape == (int(row["channels"]), int(row["rows"])), row["file"]
        assert record.step_labels is not None
        anomalous = record.step_labels[int(row["train_rows"]) :]
        assert anomalous.sum() == int(row["anomalous_test_rows"]), row["file"]
        assert (record.times is None) == (row["set"] in ("ecg", "msl", "smap"))
    assert len(rows) == 63


@pytest.mark.parametrize(
    ("name", "label", "shape", "rate_hz", "anomalous"),
    [
        ("skab_valve1_0.csv", "anomaly", (9, 1147), 1.0, 401),
        ("daphnet_S06R02E0.csv", "is_anomaly", (9, 7040), 64.0, 0),
    ],
)
def test_sensor_tables_in_their_original_form_read(
    real_data, name, label, shape, rate_hz, anomalous
):
    reader = TableReader(Columns(label=label))
    (entry,) = reader.scan(real_data / "sensor_raw" / name)
    record = reader.read(entry, 0, entry.length)
    assert record.values.shape == shape
    assert entry.rate_hz == pytest.approx(rate_hz, rel=1e-4)
    assert record.step_labels.sum() == anomalous


def test_series_of_the_archives_read_with_labels_and_lengths(real_data):
    paths = sorted((real_data / "series").glob("*.npz"))
    for path in paths:
        with np.load(path) as arrays:
            X, y = arrays["X"], arrays["y"]
        reader = NpzReader()
        entries = list(reader.scan(path))
        assert [str(entry.label) for entry in entries] == [str(label) for label in y.tolist()], path
        entry = entries[-1]
        np.testing.assert_array_equal(
            reader.read(entry, 0, entry.length).values, X[-1][:, : entry.length]
        )
        assert np.isnan(X[-1][:, entry.length :]).all()
    assert len(paths) == 24

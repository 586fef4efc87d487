"""Every registered reader: what it scans is what it reads, and what was written."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from seqcl.batch import Record
from seqcl.data.reader import Columns, Reader
from seqcl.data.store import Store
from seqcl.errors import SeqclError
from seqcl.registry import registry

RNG = np.random.default_rng(0)
SERIES = [RNG.integers(-50, 50, (2, steps)).astype(np.float32) / 4 for steps in (30, 20, 25)]
SERIES[1][0, 4:7] = np.nan
LABELS = [1, 2, 1]
NAMES = ("flow", "level")


@dataclass(frozen=True)
class Case:
    """How to write SERIES, or the first `channels` of them, for one reader."""

    write: Callable[[Path], None]
    suffix: str
    channels: int = 2
    options: Columns = field(default_factory=Columns)
    named: bool = False
    count: int = 3

    @property
    def truth(self) -> list[np.ndarray]:
        return [series[: self.channels] for series in SERIES[: self.count]]


def padded() -> np.ndarray:
    out = np.full((3, 2, 30), np.nan, dtype=np.float32)
    for row, series in enumerate(SERIES):
        out[row, :, : series.shape[1]] = series
    return out


def cells(values: Any) -> list[str]:
    return ["" if np.isnan(value) else repr(float(value)) for value in values]


def write_table(path: Path) -> None:
    lines = ["machine,label,flow,level"]
    for group, (label, series) in enumerate(zip(LABELS, SERIES, strict=True)):
        lines += [",".join([f"m{group}", str(label), *cells(step)]) for step in series.T]
    path.write_text("\n".join(lines))


def write_store(path: Path) -> None:
    Store.write(
        path,
        [
            Record(values=series, id=str(row), label=label, channels=NAMES)
            for row, (label, series) in enumerate(zip(LABELS, SERIES, strict=True))
        ],
    )


def write_ts(path: Path) -> None:
    lines = ["@univariate false", "@equalLength false", "@classLabel true 1 2", "@data"]
    for label, series in zip(LABELS, SERIES, strict=True):
        lines.append(
            ":".join([*(",".join(c or "?" for c in cells(row)) for row in series), str(label)])
        )
    path.write_text("\n".join(lines))


def write_ucr(path: Path) -> None:
    rows = zip(LABELS, SERIES, strict=True)
    path.write_text("\n".join("\t".join([str(y), *cells(series[0])]) for y, series in rows))


def write_sound(path: Path) -> None:
    soundfile.write(path, SERIES[0].T, 8_000, subtype="FLOAT")


CASES = {
    "npz": Case(lambda p: np.savez(p, X=padded(), y=LABELS, channels=NAMES), ".npz", named=True),
    "npy": Case(lambda p: np.save(p, padded()), ".npy"),
    "table": Case(write_table, ".csv", options=Columns(group="machine"), named=True),
    "hdf5": Case(write_store, ".h5", named=True),
    "ts": Case(write_ts, ".ts"),
    "ucr": Case(write_ucr, ".tsv", channels=1),
    "audio": Case(write_sound, ".wav", options=Columns(mono=False), count=1),
}


@pytest.fixture(params=[n for n, reader in registry("readers").items() if "CT" in reader.layouts])
def name(request: pytest.FixtureRequest) -> str:
    assert request.param in CASES, f"add a case for reader {request.param!r}"
    return request.param


@pytest.fixture
def case(name: str) -> Case:
    return CASES[name]


@pytest.fixture
def path(case: Case, tmp_path: Path) -> Path:
    path = tmp_path / f"data{case.suffix}"
    case.write(path)
    return path


@pytest.fixture
def reader(name: str, case: Case) -> Reader:
    return registry("readers")[name](case.options)


def test_what_is_read_is_what_was_written(reader, case, path):
    entries = list(reader.scan(path))
    assert len(entries) == case.count
    for entry, truth in zip(entries, case.truth, strict=True):
        assert entry.length == truth.shape[1]
        assert len(entry.channels) == case.channels
        record = reader.read(entry, 0, entry.length)
        np.testing.assert_array_equal(record.values, truth)
        assert record.values.dtype == np.float32


def test_a_window_is_a_slice_of_the_whole(reader, case, path):
    for entry, truth in zip(list(reader.scan(path)), case.truth, strict=True):
        for start, stop in [(0, 1), (3, 9), (entry.length - 1, entry.length), (5, 5)]:
            record = reader.read(entry, start, stop)
            np.testing.assert_array_equal(record.values, truth[:, start:stop])
            assert record.start == start
            assert record.times is None or len(record.times) == stop - start
            assert record.step_labels is None or len(record.step_labels) == stop - start


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (4, 2), (0, 31)])
def test_steps_beyond_a_recording_are_an_index_error(reader, path, start, stop):
    entry = next(iter(reader.scan(path)))
    with pytest.raises(IndexError, match=f"steps {start} to {stop} of 30"):
        reader.read(entry, start, stop)


def test_a_record_says_what_its_entry_says(reader, case, path):
    for entry in list(reader.scan(path)):
        record = reader.read(entry, 2, 8)
        for name in ("id", "label", "group", "channels", "rate_hz"):
            assert getattr(record, name) == getattr(entry, name), name
        assert entry.named == case.named
        assert entry.channels == (NAMES if case.named else ("c0", "c1")[: case.channels])


def test_labels_of_windows_agree_with_the_recording(name, case, reader, path):
    expected = [None] * case.count if name in ("npy", "audio") else LABELS
    entries = list(reader.scan(path))
    assert [entry.label for entry in entries] == expected
    for entry in entries:
        assert list(reader.labels(entry, [(0, 5), (5, 10)])) == [entry.label] * 2


def test_ids_are_unique_stable_and_begin_with_the_files_name(name, case, reader, path):
    ids = [entry.id for entry in reader.scan(path)]
    again = [entry.id for entry in registry("readers")[name](case.options).scan(path)]
    assert ids == again
    assert len(set(ids)) == case.count
    assert all(identity.startswith(path.name) for identity in ids)
    assert case.count == 1 or all("#" in identity for identity in ids)


def test_a_pickled_reader_reads_the_same(reader, path):
    entries = list(reader.scan(path))
    copy = pickle.loads(pickle.dumps(reader))
    for entry in entries:
        np.testing.assert_array_equal(
            copy.read(entry, 1, 9).values, reader.read(entry, 1, 9).values
        )


def test_channels_are_picked_in_the_order_asked_for(name, case, path):
    wanted = (NAMES if case.named else ("c0", "c1"))[: case.channels][::-1]
    columns = replace(case.options, values=wanted)
    reader = registry("readers")[name](columns)
    for entry, truth in zip(list(reader.scan(path)), case.truth, strict=True):
        assert entry.channels == wanted
        np.testing.assert_array_equal(reader.read(entry, 0, entry.length).values, truth[::-1])


def test_what_is_read_does_not_change_what_is_read_next(reader, case, path):
    entry = next(iter(reader.scan(path)))
    values = reader.read(entry, 0, 10).values
    if values.flags.writeable:
        values[:] = 99
    np.testing.assert_array_equal(reader.read(entry, 0, 10).values, case.truth[0][:, :10])


@pytest.mark.parametrize("part", [0.0, 0.4])
def test_a_file_cut_short_is_told_by_its_name_in_one_line(name, case, path, part):
    raw = path.read_bytes()
    # a text that ends early is whole, so text ends in the middle of a letter instead
    path.write_bytes(raw[: int(len(raw) * part)] + (b"\xe2" if part else b""))
    reader = registry("readers")[name](case.options)
    with pytest.raises(SeqclError) as caught:
        [reader.read(entry, 0, entry.length) for entry in reader.scan(path)]
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)

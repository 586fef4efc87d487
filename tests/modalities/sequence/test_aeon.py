from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
from aeon import datasets

from seqcl.data.reader import Columns
from seqcl.errors import DataError
from seqcl.modalities.sequence import aeon as aeon_source
from seqcl.modalities.sequence.aeon import AeonSource

SHIPPED = {
    "ACSF1": (100, 100, 1),
    "ArrowHead": (36, 175, 1),
    "BasicMotions": (40, 40, 6),
    "GunPoint": (50, 150, 1),
    "ItalyPowerDemand": (67, 1029, 1),
    "JapaneseVowels": (270, 370, 12),
    "OSULeaf": (200, 242, 1),
    "PickupGestureWiimoteZ": (50, 50, 1),
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("SEQCL_CACHE", str(tmp_path))
    return tmp_path / "aeon"


def entries(name: str, **columns: object):
    return list(AeonSource(name, Columns(**columns)).entries())


@pytest.mark.parametrize("name", SHIPPED)
def test_sets_of_the_wheel_are_read_with_their_official_splits(name):
    train, test, channels = SHIPPED[name]
    assert len(entries(f"{name}:train")) == train
    assert len(entries(f"{name}:test")) == test
    both = entries(name)
    assert len({entry.id for _, entry in both}) == len(both) == train + test
    assert {len(entry.channels) for _, entry in both} == {channels}
    assert None not in {entry.label for _, entry in both}


def test_values_are_those_of_aeon_and_lengths_those_of_the_files():
    X, y = datasets.load_japanese_vowels("train")
    found = entries("JapaneseVowels:train")
    assert [entry.length for _, entry in found] == [one.shape[1] for one in X]
    assert [str(entry.label) for _, entry in found] == y.tolist()
    reader, entry = found[7]
    np.testing.assert_array_equal(reader.read(entry, 0, entry.length).values, np.float32(X[7]))


def test_a_set_in_the_cache_is_read_from_there(cache):
    folder = cache / "Mine"
    folder.mkdir(parents=True)
    for split in ("TRAIN", "TEST"):
        text = "@equalLength true\n@classLabel true a\n@data\n1,2:a\n"
        (folder / f"Mine_{split}.ts").write_text(text)
    assert [entry.id for _, entry in entries("Mine")] == ["Mine_TRAIN.ts", "Mine_TEST.ts"]


def test_without_a_network_it_says_where_to_put_the_files(cache, monkeypatch):
    def unreachable(name, split, extract_path, **_):
        (Path(extract_path) / name).mkdir()  # a download that broke off
        raise OSError("Name or\nservice not known")

    monkeypatch.setattr(datasets, "load_classification", unreachable)
    with pytest.raises(DataError) as caught:
        entries("CBF:train")
    assert str(caught.value) == (
        "aeon:CBF: is not on this machine and cannot be downloaded, is there a network? (Name or "
        f"service not known); or put CBF_TRAIN.ts and CBF_TEST.ts into {cache / 'CBF'}"
    )
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "loader"), [("CBF", "load_classification"), ("IEEEPPG", "load_regression")]
)
def test_a_download_is_kept_in_the_cache(cache, monkeypatch, name, loader):
    calls = []

    def download(name, split, extract_path, *, load_equal_length, load_no_missing):
        calls.append((name, load_equal_length, load_no_missing))
        folder = Path(extract_path) / name
        folder.mkdir()
        for split in ("TRAIN", "TEST"):
            (folder / f"{name}_{split}.ts").write_text("@equalLength true\n@data\n1,2:a\n")

    monkeypatch.setattr(datasets, loader, download)
    assert len(entries(f"{name}:test")) == 1
    assert len(entries(name)) == 2
    assert calls == [(name, False, False)]
    assert [path.name for path in cache.iterdir()] == [name]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "gunpoint",
            "aeon:gunpoint: no such set. Did you mean 'GunPoint'? Known: ACSF1, ArrowHead",
        ),
        ("CBFF", "aeon:CBFF: no such set. Did you mean 'CBF'?"),
        ("../../etc/passwd", "aeon:../../etc/passwd: no such set. Known: ACSF1"),
        ("Airline", "aeon:Airline: no such set."),
        ("GunPoint:val", "aeon:GunPoint:val: unknown split 'val'; write aeon:GunPoint:train"),
    ],
)
def test_unknown_names_and_splits_are_told_with_the_nearest(name, message):
    with pytest.raises(DataError) as caught:
        entries(name)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_channels_are_picked_by_number():
    reader, entry = entries("BasicMotions:train", values=("c5", "c0"))[0]
    assert entry.channels == ("c5", "c0")
    assert reader.read(entry, 0, 100).values.shape == (2, 100)


def test_aeon_is_imported_only_where_it_is_used():
    for path in Path(aeon_source.__file__).parent.glob("*.py"):
        for node in ast.parse(path.read_text()).body:
            names = [alias.name for alias in getattr(node, "names", [])]
            module = getattr(node, "module", None) or ""
            assert "aeon" not in {name.partition(".")[0] for name in (*names, module)}, path

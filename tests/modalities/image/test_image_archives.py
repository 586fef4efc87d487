from __future__ import annotations

import io
import lzma
from pathlib import Path

import numpy as np
import pytest
from image_bytes import jpeg, packed
from PIL import Image

from seqcl.data.dataset import Dataset, open_dataset
from seqcl.data.options import DataOptions
from seqcl.errors import ArtefactError, DataError

X = np.random.default_rng(0).integers(0, 256, (6, 3, 8, 8), dtype=np.uint8)


def opened(path: Path | str, **options) -> Dataset:
    return open_dataset([str(path)], DataOptions(layout="CHW", scaler="none", **options))


def truth(file: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(file)) as image:
        return np.asarray(image).transpose(2, 0, 1) / np.float32(255)


@pytest.fixture
def files() -> list[bytes]:
    return [jpeg() for _ in range(5)]


@pytest.fixture
def archive(tmp_path: Path, files) -> Path:
    """A packed archive of three training and two test images, in xz."""
    arrays = {"classes": np.array(["cat", "dog"])}
    for split, part in (("train", files[:3]), ("test", files[3:])):
        arrays |= {f"{split}_{name}": array for name, array in packed(*part).items()}
    stream = io.BytesIO()
    np.savez(stream, train_y=[0, 1, 0], test_y=[1, 0], **arrays)
    path = tmp_path / "pets.npz.xz"
    path.write_bytes(lzma.compress(stream.getvalue()))
    return path


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_channels_first_last_or_none(tmp_path: Path, save) -> None:
    for array in (X, X.transpose(0, 2, 3, 1), X[:, 0], X / np.float32(255)):
        save(tmp_path / "a.npz", X=array, y=np.arange(6) % 2)
        dataset = opened(tmp_path / "a.npz")
        channels = 1 if array.ndim == 3 else 3
        assert dataset.record(4).values.shape == (channels, 8, 8)
        np.testing.assert_array_equal(dataset.record(4).values, X[4, :channels] / np.float32(255))
        assert list(dataset.labels) == [0, 1, 0, 1, 0, 1]


def test_any_number_of_channels_passes(tmp_path: Path) -> None:
    np.savez(tmp_path / "bands.npz", X=np.zeros((4, 13, 6, 6), np.uint16))
    assert len(opened(tmp_path / "bands.npz").channels) == 13


def test_groups_and_columns_of_other_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", X=X, kind=np.arange(6) % 3, camera=list("aabbcc"))
    dataset = opened(tmp_path / "a.npz", label="kind", group="camera")
    assert list(dataset.labels) == [0, 1, 2, 0, 1, 2]
    assert list(dataset.groups) == list("aabbcc")
    with pytest.raises(DataError, match="has no array 'colour'"):
        opened(tmp_path / "a.npz", label="colour")


def test_an_array_is_resized_too(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", X=X)
    dataset = opened(tmp_path / "a.npz", size=(4, 4))
    assert dataset.record(0).values.shape == (3, 4, 4)
    assert abs(dataset.record(0).values.mean() - X[0].mean() / 255) < 0.05


def test_both_splits_of_a_packed_archive_or_one(archive: Path, files) -> None:
    both = opened(archive)
    assert len(both) == 5
    train, test = opened(f"{archive}:train"), opened(f"{archive}:test")
    assert list(train.labels) == ["cat", "dog", "cat"]
    assert list(test.labels) == ["dog", "cat"]
    assert test.ids[1] == "pets.npz.xz#test1"
    np.testing.assert_array_equal(test.record(1).values, truth(files[4]))
    with pytest.raises(DataError, match="holds no images for split 'val'"):
        opened(f"{archive}:val")


def test_a_split_of_an_archive_without_splits_is_an_error(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", X=X)
    with pytest.raises(DataError, match="holds no images for split 'train'"):
        opened(f"{tmp_path / 'a.npz'}:train")


@pytest.mark.parametrize("place", [0, 2])
def test_a_corrupt_image_costs_itself_alone(tmp_path: Path, files, place: int) -> None:
    for spoilt in (files[0][:40], files[0][:-60], b"", b"noise" * 9):
        several = [*files * 5]
        several[place] = spoilt
        np.savez(tmp_path / "a.npz", **{f"all_{k}": v for k, v in packed(*several).items()})
        dataset = opened(tmp_path / "a.npz")
        assert len(dataset) == 24
        assert [skipped.path for skipped in dataset.skipped] == [f"a.npz#all{place}"]


def test_a_pickle_is_never_loaded(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self):
            return open, (str(tmp_path / "ran"), "w")

    np.savez(tmp_path / "a.npz", X=np.array([Bomb()], dtype=object))
    with pytest.raises(ArtefactError, match="never are"):
        opened(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", X=X, y=np.array([Bomb()] * 6, dtype=object))
    with pytest.raises(ArtefactError, match="never are"):
        opened(tmp_path / "b.npz")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": np.zeros((3, 4))}, r"X is \(3, 4\); images are"),
        ({"X": np.zeros((0, 1, 4, 4))}, "holds no values"),
        ({"X": np.zeros((2, 1, 4, 4)), "y": [1]}, r"y is \(1,\) for 2 images"),
        ({"X": np.full((2, 1, 4, 4), 7.0)}, "image 0 holds 7"),
        ({"Z": np.zeros(3)}, "holds no images: no array 'X'"),
        ({"a_blob": np.zeros(9, np.uint8)}, "has a_blob but no a_off"),
        ({"a_blob": np.zeros(9), "a_off": [0, 9]}, "a_blob is .* needed: bytes"),
        (
            {"a_blob": np.zeros(9, np.uint8), "a_off": [0, 99]},
            "a_off does not rise from 0 to the 9",
        ),
        ({"a_blob": np.zeros(9, np.uint8), "a_off": [5, 2]}, "a_off does not rise"),
        ({"a_blob": np.zeros(9, np.uint8), "a_off": [0, 9]}, "none of the 1 images of a can be"),
        (
            {"a_blob": np.zeros(9, np.uint8), "a_off": [0, 9], "a_y": [3], "classes": ["x"]},
            "a_y holds 3; needed: places in 1 classes",
        ),
    ],
)
def test_what_is_wrong_with_an_archive_is_told(tmp_path: Path, arrays, message: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=message):
        opened(tmp_path / "a.npz")


def test_damaged_or_exploding_xz_is_told(archive: Path, monkeypatch) -> None:
    raw = archive.read_bytes()
    archive.write_bytes(raw[: len(raw) // 2])
    with pytest.raises(DataError, match="pets.npz.xz: is damaged"):
        opened(archive)
    monkeypatch.setattr("seqcl.modalities.sequence.unpacking.BOMB_BYTES", 1 << 20)
    archive.write_bytes(lzma.compress(bytes(1 << 24)))
    with pytest.raises(DataError, match="unpacks from"):
        opened(archive)


def test_the_digits_come_in_two_fixed_parts() -> None:
    train, test = opened("sklearn:digits:train"), opened("sklearn:digits:test")
    both = opened("sklearn:digits")
    assert (len(train), len(test), len(both)) == (1_297, 500, 1_797)
    assert train.size == (8, 8)
    assert train.channels == ("grey",)
    assert train.classes == tuple(range(10))
    assert not set(train.ids) & set(test.ids)
    assert train.record(0).values.max() <= 1
    assert opened("sklearn:digits", size=(16, 16)).record(0).values.shape == (1, 16, 16)
    with pytest.raises(DataError, match="no such set; write sklearn:digits:train"):
        opened("sklearn:iris")

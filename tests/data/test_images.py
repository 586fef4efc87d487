from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from seqcl.batch import Record
from seqcl.data.collate import Collate, collate_rows
from seqcl.data.dataset import dataset_from_arrays, open_dataset
from seqcl.data.images import channels_first, unit_images
from seqcl.data.options import DataOptions
from seqcl.data.scaler import Scaler
from seqcl.data.store import Store
from seqcl.errors import ArtefactError, DataError

X = np.random.default_rng(0).random((7, 3, 5, 4), dtype=np.float32)


def write_store(path: Path, images: np.ndarray = X) -> Path:
    Store.write(
        path, [Record(image, id=str(row), label=row % 2) for row, image in enumerate(images)]
    )
    return path


def test_images_in_memory_come_back_as_they_were() -> None:
    dataset = dataset_from_arrays(X, y=[0, 1] * 3 + [0])
    assert dataset.size == (5, 4)
    np.testing.assert_array_equal(dataset.record(3).values, X[3])
    batch = collate_rows(dataset, [4, 1], Collate(Scaler(3, mode="none")))
    assert torch.equal(batch.values, torch.from_numpy(X[[4, 1]]))
    assert batch.mask is None
    assert batch.lengths is None
    assert batch.labels.tolist() == [0, 1]


def test_a_collate_of_records_gives_the_same_batch() -> None:
    dataset = dataset_from_arrays(X)
    collate = Collate(Scaler(3, mode="none"))
    records = collate(dataset.records([4, 1]))
    assert torch.equal(records.values, collate_rows(dataset, [4, 1], collate).values)


def test_the_scaler_takes_every_pixel_once() -> None:
    dataset = dataset_from_arrays(X)
    scaler = Scaler(3)
    scaler.fit(dataset)
    np.testing.assert_allclose(scaler.mean, X.mean((0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(scaler.std, X.std((0, 2, 3)), rtol=1e-5)


def test_the_size_is_part_of_the_fingerprint() -> None:
    turned = X.reshape(7, 3, 4, 5)
    assert dataset_from_arrays(X).fingerprint != dataset_from_arrays(turned).fingerprint


def test_a_store_keeps_images(tmp_path: Path) -> None:
    path = write_store(tmp_path / "images.h5")
    dataset = open_dataset([str(path)], DataOptions(layout="CHW"))
    assert dataset.size == (5, 4)
    np.testing.assert_array_equal(dataset.record(6).values, X[6])
    assert list(dataset.labels) == [0, 1, 0, 1, 0, 1, 0]
    assert [values.shape for _, values in dataset.pieces()] == [(7, 3, 20)]


def test_a_store_refuses_an_image_of_another_size(tmp_path: Path) -> None:
    path = write_store(tmp_path / "images.h5")
    with pytest.raises(
        DataError, match=r"new: has shape \(3, 4, 5\), and the store holds images of"
    ):
        Store.append(path, [Record(X[0].transpose(0, 2, 1), id="new")])
    with pytest.raises(DataError, match=r"new: has shape \(3, 20\)"):
        Store.append(path, [Record(X[0].reshape(3, 20), id="new")])


@pytest.mark.parametrize(
    ("size", "message"),
    [((5, 5), "offsets do not fit the size"), ((0, 4), "size is not height and width")],
)
def test_a_store_whose_size_lies_is_refused(tmp_path: Path, size, message: str) -> None:
    path = write_store(tmp_path / "images.h5")
    with h5py.File(path, "r+") as file:
        file.attrs["size"] = np.array(size)
    with pytest.raises(ArtefactError, match=message):
        Store(path)


def test_images_are_refused_where_series_are_needed_and_the_other_way(tmp_path: Path) -> None:
    path = write_store(tmp_path / "images.h5")
    with pytest.raises(
        DataError, match="is an image, and this preset is for a series; use a preset"
    ):
        open_dataset([str(path)], DataOptions(layout="CT"))
    np.savez(tmp_path / "series.npz", X=X[:, :, 0])
    with pytest.raises(DataError, match="one is an image and one a series"):
        open_dataset([str(path), str(tmp_path / "series.npz")], DataOptions())


def test_the_sizes_that_differ_are_both_told(tmp_path: Path) -> None:
    first = write_store(tmp_path / "a.h5")
    other = write_store(tmp_path / "b.h5", X.transpose(0, 1, 3, 2))
    with pytest.raises(DataError, match=r"a.h5#0 is 5 x 4 and b.h5#0 is 4 x 5 .*data.size=\[4,4\]"):
        open_dataset([str(first), str(other)], DataOptions())


@pytest.mark.parametrize("option", [{"window": 8}, {"missing": "hold"}])
def test_options_of_series_are_refused_for_images(option) -> None:
    with pytest.raises(ValueError, match="drop data"):
        DataOptions(layout="CHW", **option)


def test_where_the_channels_of_an_array_stand() -> None:
    shapes = {
        (9, 32, 32): (9, 1, 32, 32),
        (9, 3, 32, 32): (9, 3, 32, 32),
        (9, 32, 30, 3): (9, 3, 32, 30),
        (9, 13, 32, 32): (9, 13, 32, 32),
        (9, 3, 32, 3): (9, 3, 32, 3),
    }
    for shape, expected in shapes.items():
        assert channels_first("X", np.zeros(shape)).shape == expected
    with pytest.raises(DataError, match=r"looks like 32 x 32 pixels of 13 channels; channels come"):
        channels_first("X", np.zeros((9, 32, 32, 13)))
    with pytest.raises(DataError, match="X is "):
        channels_first("X", np.zeros((9, 3)))


def test_integers_are_divided_by_the_largest_of_their_type() -> None:
    for kind in (np.uint8, np.uint16):
        most = np.iinfo(kind).max
        values = np.array([[[[0, most]]]], dtype=kind)
        np.testing.assert_array_equal(unit_images("X", values), [[[[0, 1]]]])


@pytest.mark.parametrize("wrong", [-0.1, 1.5, 255.0, np.nan, np.inf])
def test_floats_beyond_one_are_told_with_their_image(wrong: float) -> None:
    values = X.copy()
    values[5, 1, 2, 3] = wrong
    with pytest.raises(DataError, match=f"X: image 5 holds {wrong:g}; floats must lie in"):
        unit_images("X", values)


def test_signed_integers_are_refused() -> None:
    with pytest.raises(DataError, match="X is of int64; images are uint8"):
        unit_images("X", np.zeros((1, 1, 2, 2), dtype=np.int64))

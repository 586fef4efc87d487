from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from seqcl.data.hdf5 import hdf5_dataset, open_hdf5
from seqcl.errors import ArtefactError, DataError, MissingInputError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.h5"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file that a hostile HDF5 file would like to show."""
    path = tmp_path / "secret.h5"
    with h5py.File(path, "w") as file:
        file["group/values"] = np.arange(10.0)
    return path


def read(path: Path, name: str = "values") -> np.ndarray:
    with open_hdf5(path) as file:
        return hdf5_dataset(file, name)[:]


def test_plain_compressed_and_nested_datasets_are_read(path: Path) -> None:
    values = np.random.default_rng(0).standard_normal(5_000)
    with h5py.File(path, "w") as file:
        file["values"] = values
        file.create_dataset("a/b/zipped", data=values, compression="gzip", chunks=(100,))
        file["empty"] = np.zeros((0, 3))
    np.testing.assert_array_equal(read(path), values)
    np.testing.assert_array_equal(read(path, "/a/b/zipped"), values)
    assert read(path, "empty").shape == (0, 3)


def test_external_storage_is_refused(path: Path, secret: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("values", (64,), "u1", external=[(str(secret), 0, 64)])
    assert path.stat().st_size < 6_000
    with pytest.raises(ArtefactError, match=r"a\.h5: values: keeps its values in another file"):
        read(path)


@pytest.mark.parametrize("name", ["link", "group/link", "way/values", "alias"])
def test_a_link_on_any_part_of_the_path_is_refused(path: Path, secret: Path, name: str) -> None:
    with h5py.File(path, "w") as file:
        file["link"] = h5py.ExternalLink(str(secret), "/group/values")
        file["group/link"] = h5py.ExternalLink(str(secret), "/group/values")
        file["way"] = h5py.ExternalLink(str(secret), "/group")
        file["alias"] = h5py.SoftLink("/way/values")
    with h5py.File(path) as file:
        assert file[name][3] == 3  # plain h5py follows it
    with pytest.raises(ArtefactError, match="is a link, which may lead out of the file"):
        read(path, name)


def test_a_virtual_dataset_is_refused(path: Path, secret: Path) -> None:
    layout = h5py.VirtualLayout((10,), "f8")
    layout[:] = h5py.VirtualSource(str(secret), "group/values", (10,))
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("values", layout)
    with h5py.File(path) as file:
        assert file["values"][3] == 3
    with pytest.raises(ArtefactError, match="is a virtual dataset"):
        read(path)


@pytest.mark.parametrize("options", [{}, {"compression": "gzip"}])
def test_a_size_that_the_file_cannot_hold_is_refused(path: Path, options: dict[str, str]) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("values", (1 << 40,), "f4", chunks=(1024,), **options)
        file["values"][:10] = 1
    assert path.stat().st_size < 10_000
    with pytest.raises(
        ArtefactError, match=r"declares 4398046511104 bytes .* stores \d+ in a file"
    ):
        read(path)


def test_an_unknown_filter_is_named(path: Path) -> None:
    with h5py.File(path, "w") as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((100,))
        plist.set_filter(32_999, h5py.h5z.FLAG_OPTIONAL, (1,))
        space = h5py.h5s.create_simple((100,))
        h5py.h5d.create(file.id, b"values", h5py.h5t.NATIVE_FLOAT, space, plist)
    with pytest.raises(
        DataError, match=r"values: needs the HDF5 filter 32999 \(unnamed\), .* gzip"
    ):
        read(path)


def test_what_is_not_there_is_told_with_what_is(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["group/values"] = [1.0]
    with pytest.raises(DataError, match=r"a\.h5: values: no such dataset; there are: group"):
        read(path)
    with pytest.raises(DataError, match="is a group, needed is a dataset; it holds: values"):
        read(path, "group")
    with pytest.raises(DataError, match="no such dataset"):
        read(path, "group/values/more")


def test_a_file_that_is_not_whole_is_told(path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"a\.h5: cannot be read"):
        read(path)
    path.write_bytes(b"text")
    with pytest.raises(
        DataError, match=r"a\.h5: is not a whole HDF5 file: file signature not found"
    ):
        read(path)
    with h5py.File(path, "w") as file:
        file["values"] = np.zeros(10_000)
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(DataError, match=r"is not a whole HDF5 file: truncated file"):
        read(path)

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from seqcl.data.reader import Columns
from seqcl.errors import ArtefactError, DataError, MissingInputError
from seqcl.modalities.sequence import numpy_files, unpacking
from seqcl.modalities.sequence.arrays import NpyReader, NpzReader

X = np.random.default_rng(0).standard_normal((4, 3, 10)).astype(np.float32)


def scan(path: Path, **columns: object):
    reader = (
        NpzReader(Columns(**columns)) if path.suffix == ".npz" else NpyReader(Columns(**columns))
    )
    return reader, list(reader.scan(path))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<i2", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npz_gives_the_array_whatever_its_storage(tmp_path, save, dtype, order):
    stored = np.asarray(X > 0 if dtype == "?" else X * 100, dtype=dtype, order=order)
    save(tmp_path / "a.npz", X=stored)
    reader, entries = scan(tmp_path / "a.npz")
    for row, entry in enumerate(entries):
        np.testing.assert_array_equal(reader.read(entry, 2, 7).values, stored[row, :, 2:7])
        assert reader.read(entry, 2, 7).values.dtype == np.float32


def test_stored_npz_is_mapped_and_compressed_npz_is_not(tmp_path):
    np.savez(tmp_path / "stored.npz", y=np.arange(4), X=X)
    np.savez_compressed(tmp_path / "packed.npz", X=X)
    stored, _ = scan(tmp_path / "stored.npz")
    packed, _ = scan(tmp_path / "packed.npz")
    assert isinstance(stored._open(tmp_path / "stored.npz").series, np.memmap)
    assert not isinstance(packed._open(tmp_path / "packed.npz").series, np.memmap)


def test_npz_labels_groups_and_channels_come_along(tmp_path):
    names = np.array(["flow", "level", "power"])
    np.savez(tmp_path / "a.npz", X=X, y=[1, 2, 1, 2], groups=["p", "p", "q", "q"], channels=names)
    reader, entries = scan(tmp_path / "a.npz")
    assert [entry.label for entry in entries] == [1, 2, 1, 2]
    assert [entry.group for entry in entries] == ["p", "p", "q", "q"]
    assert entries[0].channels == ("flow", "level", "power")
    assert entries[0].named
    record = reader.read(entries[2], 0, 10)
    assert (record.label, record.group, record.channels) == (1, "q", ("flow", "level", "power"))


def test_npz_names_for_labels_and_groups_are_options(tmp_path):
    np.savez(tmp_path / "a.npz", X=X, target=[0, 1, 0, 1], subject=[7, 7, 8, 8])
    _, entries = scan(tmp_path / "a.npz", label="target", group="subject")
    assert [entry.label for entry in entries] == [0, 1, 0, 1]
    assert [entry.group for entry in entries] == ["7", "7", "8", "8"]


@pytest.mark.parametrize(
    ("y", "labels"),
    [
        (np.array([1.0, 2.0, np.nan, 1.0]), [1, 2, None, 1]),
        (np.array([0.5, 2.0, 1.0, 1.0]), [0.5, 2.0, 1.0, 1.0]),
        (np.array(["a", "b", "a", "b"]), ["a", "b", "a", "b"]),
        (np.array([b"a", b"b", b"a", b"b"]), ["a", "b", "a", "b"]),
        (np.array(["a", "", "a", "b"]), ["a", None, "a", "b"]),
        (np.array([b"a", b"", b"a", b"b"]), ["a", None, "a", "b"]),
        (np.array([True, False, True, True]), [True, False, True, True]),
    ],
)
def test_labels_keep_their_kind_and_whole_floats_become_int(tmp_path, y, labels):
    np.savez(tmp_path / "a.npz", X=X, y=y)
    assert [entry.label for entry in scan(tmp_path / "a.npz")[1]] == labels


def test_nan_at_the_end_in_all_channels_is_padding(tmp_path):
    padded = X.copy()
    padded[1, :, 6:] = np.nan
    padded[2, :2, 6:] = np.nan  # one channel goes on: missing values, no padding
    padded[3, :, 2:4] = np.nan  # a gap
    np.savez(tmp_path / "a.npz", X=padded)
    reader, entries = scan(tmp_path / "a.npz")
    assert [entry.length for entry in entries] == [10, 6, 10, 10]
    assert np.isnan(reader.read(entries[3], 2, 4).values).all()


@pytest.mark.parametrize(
    ("shape", "records", "channels", "steps"),
    [((7,), 1, 1, 7), ((5, 7), 5, 1, 7), ((5, 2, 7), 5, 2, 7), ((1, 2, 7), 1, 2, 7)],
)
def test_npy_of_two_axes_is_records_of_one_channel(tmp_path, shape, records, channels, steps):
    array = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    np.save(tmp_path / "a.npy", array)
    reader, entries = scan(tmp_path / "a.npy")
    assert (len(entries), len(entries[0].channels), entries[0].length) == (records, channels, steps)
    np.testing.assert_array_equal(
        np.stack([reader.read(entry, 0, steps).values for entry in entries]).reshape(shape), array
    )


def test_one_record_is_named_after_its_file_and_several_by_row(tmp_path):
    np.save(tmp_path / "one.npy", X[:1])
    np.save(tmp_path / "two.npy", X[:2])
    assert [entry.id for entry in scan(tmp_path / "one.npy")[1]] == ["one.npy"]
    assert [entry.id for entry in scan(tmp_path / "two.npy")[1]] == ["two.npy#0", "two.npy#1"]


def test_channels_are_picked_by_name_in_the_order_asked_for(tmp_path):
    np.savez(tmp_path / "a.npz", X=X, channels=["a", "b", "c"])
    reader, entries = scan(tmp_path / "a.npz", values=("c", "a"))
    assert entries[0].channels == ("c", "a")
    np.testing.assert_array_equal(reader.read(entries[1], 0, 10).values, X[1][[2, 0]])


def test_values_beyond_float32_become_infinite_without_a_warning(tmp_path, recwarn):
    np.save(tmp_path / "a.npy", np.array([[1.0, 1e300]]))
    reader, entries = scan(tmp_path / "a.npy")
    assert np.isinf(reader.read(entries[0], 0, 2).values[0, 1])
    assert not recwarn.list


def test_reader_pickles_without_what_it_opened(tmp_path):
    np.savez(tmp_path / "a.npz", X=np.zeros((100, 1, 1000)))
    reader, entries = scan(tmp_path / "a.npz")
    blob = pickle.dumps(reader)
    assert len(blob) < 1000  # 800 kB are open
    assert pickle.loads(blob).read(entries[3], 0, 5).values.shape == (1, 5)


def test_files_opened_long_ago_are_closed_and_opened_again(tmp_path):
    reader = NpyReader()
    reader.open_files = 2
    entries = []
    for number in range(4):
        np.save(tmp_path / f"{number}.npy", X + number)
        entries += list(reader.scan(tmp_path / f"{number}.npy"))
    assert len(reader._opened) == 2
    np.testing.assert_array_equal(reader.read(entries[0], 0, 10).values, X[0])
    assert len(reader._opened) == 2


def test_reader_is_lazy_once_its_files_are_too_large_to_be_kept_twice(tmp_path):
    np.save(tmp_path / "a.npy", X)
    reader = NpyReader()
    reader.memory_bytes = X.nbytes - 1
    assert not reader.lazy
    list(reader.scan(tmp_path / "a.npy"))
    assert reader.lazy


OBJECTS = np.array([[1.0, 2.0], "text", None], dtype=object)


def npz_of(path: Path, **arrays: object) -> Path:
    np.savez(path, **arrays)
    return path


def test_object_arrays_are_an_artefact_error_that_says_how_to_save(tmp_path):
    path = npz_of(tmp_path / "a.npz", X=OBJECTS)
    with pytest.raises(ArtefactError, match=r"a\.npz: X holds Python objects.*np\.savez"):
        scan(path)
    with pytest.raises(ArtefactError, match="y holds Python objects"):
        scan(npz_of(tmp_path / "b.npz", X=X, y=np.array([1, "a", None, 2], dtype=object)))
    np.save(tmp_path / "c.npy", OBJECTS)
    with pytest.raises(ArtefactError, match="the array holds Python objects"):
        scan(tmp_path / "c.npy")


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("name", ["a.npz", "a.npy"])
def test_no_pickle_is_ever_loaded(tmp_path, name):
    trap = np.array([Trap(tmp_path / "sprung")], dtype=object)
    (np.savez(tmp_path / name, X=trap) if name == "a.npz" else np.save(tmp_path / name, trap))
    with pytest.raises(ArtefactError):
        scan(tmp_path / name)
    assert not (tmp_path / "sprung").exists()


def test_a_bare_pickle_called_npz_is_an_artefact_error(tmp_path):
    (tmp_path / "a.npz").write_bytes(pickle.dumps(X))
    with pytest.raises(ArtefactError, match="is a pickle, which is never loaded"):
        scan(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"data": X, "y": [1]}, r"has no array 'X' of shape .*; found: data, y"),
        ({"X": np.array(["a", "b"])}, r"X is \(2,\) of <U1; needed: numbers of shape"),
        ({"X": np.zeros((2, 2, 2, 2))}, r"X is \(2, 2, 2, 2\)"),
        ({"X": np.zeros((2, 2), dtype=complex)}, r"of complex128; needed: numbers"),
        ({"X": np.zeros((0, 2, 5))}, r"X is \(0, 2, 5\): it holds no values"),
        ({"X": X, "y": [1, 2, 3]}, r"X is \(4, 3, 10\) and y \(3,\); needed: \(4,\)"),
        ({"X": X, "channels": ["a"]}, r"and channels \(1,\); needed: \(3,\)"),
        ({"X": X, "y": np.zeros(4, dtype="M8[s]")}, r"y is datetime64\[s\]; needed"),
    ],
)
def test_npz_that_is_not_what_is_needed_says_so(tmp_path, arrays, message):
    path = npz_of(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=message) as caught:
        scan(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_missing_names_are_told_with_those_found(tmp_path):
    path = npz_of(tmp_path / "a.npz", X=X, y=[1, 2, 3, 4])
    with pytest.raises(DataError, match="has no array 'target'; found: X, y"):
        scan(path, label="target")
    with pytest.raises(DataError, match="has no channel 'c9', asked for by data.columns"):
        scan(path, values=("c9",))
    with pytest.raises(MissingInputError, match=r"gone\.npz: cannot be read"):
        scan(tmp_path / "gone.npz")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("part", [0.0, 0.2, 0.5, 0.95])
def test_truncated_npz_is_a_data_error_of_one_line(tmp_path, save, part):
    path = tmp_path / "a.npz"
    save(path, X=X)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(DataError, match=r"a\.npz: ") as caught:
        scan(path)
    assert "\n" not in str(caught.value)


def test_flipped_bytes_in_a_packed_array_are_found(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, X=X)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    path.write_bytes(raw)
    with pytest.raises(DataError, match="is damaged"):
        scan(path)


def header_of(shape: str, dtype: str = "<f4") -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (63 - (10 + len(text)) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize("shape", ["(4, 3, 1000000000000)", "(3,)", "(-4, -3, 10)", "(4, 3, 9)"])
@pytest.mark.parametrize("form", ["npy", "stored", "packed"])
def test_a_header_that_lies_about_its_size_is_refused_before_memory_is_taken(tmp_path, shape, form):
    raw = header_of(shape) + X.tobytes()
    path = tmp_path / ("a.npy" if form == "npy" else "a.npz")
    if form == "npy":
        path.write_bytes(raw)
    else:
        kind = zipfile.ZIP_STORED if form == "stored" else zipfile.ZIP_DEFLATED
        with zipfile.ZipFile(path, "w", kind) as archive:
            archive.writestr("X.npy", raw)
    with pytest.raises(DataError, match=r"claims shape .* bytes, but 480 follow"):
        scan(path)


def test_a_zip_bomb_is_refused_without_unpacking_it(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, X=np.zeros((1, 1, 1_000_000), dtype=np.float32))
    scan(path)  # packs well and is small
    monkeypatch.setattr(unpacking, "BOMB_BYTES", 1_000_000)
    with pytest.raises(
        DataError, match=r"array 'X' unpacks from .* to more than 4,000,1\d\d bytes"
    ):
        scan(path)


def test_a_packed_array_larger_than_the_cap_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, X=X)
    monkeypatch.setattr(numpy_files, "UNPACKED_BYTES", 100)
    with pytest.raises(DataError, match="unpacks to .* bytes of memory; save it uncompressed"):
        scan(path)


def test_an_archive_of_another_kind_is_told(tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(b"\x1f\x8b not a zip")
    with pytest.raises(DataError, match="is no .npz archive; save the arrays with np.savez"):
        scan(path)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("readme.txt", "nothing")
    path.write_bytes(buffer.getvalue())
    with pytest.raises(DataError, match=r"has no array 'X'.*found: readme\.txt"):
        scan(path)


def test_an_infinite_label_is_refused_with_its_record(tmp_path):
    np.savez(tmp_path / "a.npz", X=np.zeros((3, 1, 4)), y=[0.0, 1.0, -np.inf])
    with pytest.raises(DataError, match=r"a\.npz: y is -inf in record 2; needed: finite numbers"):
        list(NpzReader().scan(tmp_path / "a.npz"))


@pytest.mark.parametrize("name", ["y", "groups", "channels"])
def test_bytes_that_are_not_utf8_are_refused_with_their_array(tmp_path, name):
    texts = {name: np.array([b"caf\xe9"])}
    np.savez(tmp_path / "a.npz", X=np.zeros((1, 1, 4)), **texts)
    with pytest.raises(DataError, match=rf"a\.npz: {name} holds bytes that are not UTF-8"):
        list(NpzReader().scan(tmp_path / "a.npz"))

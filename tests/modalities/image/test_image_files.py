from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from image_bytes import jpeg, picture
from PIL import Image

from seqcl.data.dataset import open_dataset
from seqcl.data.options import DataOptions
from seqcl.errors import DataError

OPTIONS = DataOptions(layout="CHW", scaler="none")


def opened(path: Path | str, **options):
    return open_dataset([str(path)], DataOptions(layout="CHW", scaler="none", **options))


def test_the_sub_folder_is_the_class(folder: Path) -> None:
    dataset = opened(folder)
    assert dataset.size == (8, 8)
    assert dataset.channels == ("red", "green", "blue")
    assert list(dataset.labels) == ["cat"] * 3 + ["dog"] * 3
    assert dataset.ids[4] == "dog/1.png"
    with Image.open(folder / "dog" / "1.png") as image:
        truth = np.asarray(image).transpose(2, 0, 1) / np.float32(255)
    np.testing.assert_array_equal(dataset.record(4).values, truth)


def test_labels_csv_gives_labels_groups_and_splits(folder: Path) -> None:
    rows = ["cat/0.png,7,a,train", "dog/0.png,8,a,train", "dog/1.png,8,b,test"]
    (folder / "labels.csv").write_text("\n".join(["file,label,group,split", *rows]))
    train = opened(f"{folder}:train")
    assert list(train.labels) == [7, 8]
    assert list(train.groups) == ["a", "a"]
    assert list(opened(f"{folder}:test").ids) == ["dog/1.png"]
    assert len(opened(folder)) == 6
    with pytest.raises(DataError, match="no file of split 'val' in labels.csv; there are: test, t"):
        opened(f"{folder}:val")


@pytest.mark.parametrize("name", ["../secret.png", "/etc/hostname"])
def test_a_name_that_leaves_the_folder_is_refused(folder: Path, name: str) -> None:
    Image.fromarray(picture()).save(folder.parent / "secret.png")
    (folder / "labels.csv").write_text(f"file,label\n{name},1\n")
    with pytest.raises(DataError, match="must be a path inside this folder"):
        opened(folder)


def test_a_split_of_a_folder_without_splits_is_an_error(folder: Path) -> None:
    with pytest.raises(DataError, match="holds no splits, asked for 'train'"):
        opened(f"{folder}:train")


def test_sub_folders_named_like_splits_are_told_and_taken_apart(tmp_path: Path) -> None:
    for name in ("train/cat", "train/dog", "test/cat", "test/dog"):
        (tmp_path / "tv" / name).mkdir(parents=True)
        Image.fromarray(picture()).save(tmp_path / "tv" / name / "0.png")
    both = opened(tmp_path / "tv")
    assert set(both.labels) == {"train", "test"}
    (note,) = both.notes
    assert "the sub-folders test, train are named like splits" in note
    train = opened(tmp_path / "tv" / "train")
    assert (list(train.labels), train.notes) == (["cat", "dog"], ())
    with pytest.raises(DataError, match=r"holds no splits, asked for 'train'; give .*tv/train for"):
        opened(f"{tmp_path / 'tv'}:train")


def test_sizes_that_differ_are_an_error_and_an_option_resizes_them(folder: Path) -> None:
    Image.fromarray(picture(10, 12)).save(folder / "cat" / "wide.png")
    with pytest.raises(DataError, match=r"cat/wide.png is 10 x 12 .* set data.size=\[8,8\]"):
        opened(folder)
    dataset = opened(folder, size=(6, 4))
    assert dataset.size == (6, 4)
    assert dataset.record(0).values.shape == (3, 6, 4)


def test_resizing_keeps_proportions_and_cuts_the_longer_side(tmp_path: Path) -> None:
    wide = np.zeros((10, 30), np.uint8)
    wide[:, 10:20] = 200
    Image.fromarray(wide).save(tmp_path / "wide.png")
    values = opened(tmp_path / "wide.png", size=(5, 5), colour="grey").record(0).values
    np.testing.assert_allclose(values[0, :, 1:4], 200 / 255, atol=0.01)


@pytest.mark.parametrize(
    ("mode", "colour", "channels"),
    [
        ("RGB", "grey", ("grey",)),
        ("L", "rgb", ("red", "green", "blue")),
        ("L", "as_it_is", ("grey",)),
        ("LA", "as_it_is", ("grey", "alpha")),
        ("RGBA", "as_it_is", ("red", "green", "blue", "alpha")),
        ("RGBA", "rgb", ("red", "green", "blue")),
        ("P", "as_it_is", ("red", "green", "blue")),
        ("1", "as_it_is", ("grey",)),
        ("CMYK", "as_it_is", ("red", "green", "blue")),
    ],
)
def test_the_channels_of_each_kind_of_file(tmp_path: Path, mode, colour, channels) -> None:
    path = tmp_path / ("image.tif" if mode == "CMYK" else "image.png")
    Image.fromarray(picture()).convert(mode).save(path)
    dataset = opened(path, colour=colour)
    assert dataset.channels == channels
    values = dataset.record(0).values
    assert values.shape == (len(channels), 8, 8)
    assert 0 <= values.min() < values.max() <= 1


def test_grey_and_coloured_files_are_not_mixed_as_they_are(folder: Path) -> None:
    Image.fromarray(picture()).convert("L").save(folder / "cat" / "grey.png")
    assert len(opened(folder)) == 7
    with pytest.raises(DataError, match="missing channels: red, green, blue"):
        opened(folder, colour="as_it_is")


@pytest.mark.parametrize("colour", ["grey", "rgb", "as_it_is"])
def test_sixteen_bits_keep_their_precision(tmp_path: Path, colour: str) -> None:
    deep = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1_000
    Image.fromarray(deep).save(tmp_path / "deep.png")
    values = opened(tmp_path / "deep.png", colour=colour).record(0).values
    assert len(values) == (3 if colour == "rgb" else 1)
    np.testing.assert_allclose(values[-1], deep / 65_535, rtol=1e-6)


def test_a_corrupt_image_among_many_is_skipped_and_listed(folder: Path) -> None:
    for number in range(3, 20):
        Image.fromarray(picture()).save(folder / "cat" / f"{number}.png")
    whole = jpeg(8, 8)
    (folder / "dog" / "cut.jpg").write_bytes(whole[: len(whole) - 40])
    dataset = opened(folder)
    assert len(dataset) == 23
    assert [skipped.path for skipped in dataset.skipped] == ["dog/cut.jpg"]
    assert "cut.jpg: is damaged" in dataset.skipped[0].reason
    (folder / "dog" / "text.png").write_bytes(b"not an image")
    reasons = [skipped.reason for skipped in opened(folder, max_skipped=0.1).skipped]
    assert any("is no image of a known format" in reason for reason in reasons)


def test_images_too_many_for_memory_are_checked_before_training(folder, monkeypatch) -> None:
    monkeypatch.setattr("seqcl.data.loading.MEMORY_LIMIT", 0)
    whole = jpeg(8, 8)
    (folder / "dog" / "cut.jpg").write_bytes(whole[: len(whole) - 40])
    dataset = opened(folder, max_skipped=0.5)
    assert len(dataset) == 6
    assert [skipped.path for skipped in dataset.skipped] == ["dog/cut.jpg"]
    assert dataset.record(5).values.shape == (3, 8, 8)


def test_more_than_five_percent_of_corrupt_images_is_an_error(folder: Path) -> None:
    (folder / "dog" / "0.png").write_bytes(b"")
    with pytest.raises(DataError, match="1 of 6 files cannot be read"):
        opened(folder)


@pytest.mark.parametrize("limit", [2 << 30, 0], ids=["in memory", "on disk"])
def test_damage_in_headers_and_in_pixels_counts_together(folder, monkeypatch, limit) -> None:
    monkeypatch.setattr("seqcl.data.loading.MEMORY_LIMIT", limit)
    for number in range(3, 34):
        Image.fromarray(picture()).save(folder / "cat" / f"{number}.png")
    for name in ("one", "two"):
        (folder / "dog" / f"{name}.png").write_bytes(b"not an image")
    whole = jpeg(8, 8)
    (folder / "dog" / "cut.jpg").write_bytes(whole[: len(whole) - 40])
    with pytest.raises(DataError, match="3 of 40 recordings cannot be read"):
        opened(folder)
    assert len(opened(folder, max_skipped=0.075).skipped) == 3


def test_a_bomb_is_refused_before_it_unpacks(tmp_path: Path) -> None:
    """A valid header of 60,000 x 60,000 pixels, which would take 10 GB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    body = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99))
    (tmp_path / "bomb.png").write_bytes(body + chunk(b"IEND", b""))
    with pytest.raises(DataError, match=r"bomb.png: has more than [\d,]+ pixels and may be made"):
        opened(tmp_path / "bomb.png")


def test_an_image_of_several_frames_is_refused(tmp_path: Path) -> None:
    first, second = (Image.fromarray(picture()) for _ in range(2))
    first.save(tmp_path / "film.tif", save_all=True, append_images=[second])
    with pytest.raises(DataError, match="film.tif: has several frames; save each as an image"):
        opened(tmp_path / "film.tif")


def test_a_photograph_with_a_second_frame_is_refused(tmp_path: Path) -> None:
    first, second = (Image.fromarray(picture()) for _ in range(2))
    first.save(tmp_path / "phone.jpg", "MPO", save_all=True, append_images=[second])
    with pytest.raises(DataError, match="phone.jpg: has several frames; save each as an image"):
        opened(tmp_path / "phone.jpg")


@pytest.mark.parametrize(("suffix", "size"), [("jpg", (8, 12)), ("png", (8, 12)), ("tif", (12, 8))])
def test_exif_turns_a_tiff_alone(tmp_path: Path, suffix: str, size: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: a quarter turn
    Image.fromarray(picture(8, 12)).save(tmp_path / f"turned.{suffix}", exif=exif)
    assert opened(tmp_path / f"turned.{suffix}").record(0).values.shape[1:] == size


def test_a_file_that_runs_a_program_when_opened_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "page.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n")
    with pytest.raises(DataError, match="is no image of a known format"):
        opened(tmp_path / "page.png")


def test_a_folder_without_files_is_an_error_that_tells_the_suffixes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no data file in there; known suffixes: .*\.jpeg"):
        opened(tmp_path)

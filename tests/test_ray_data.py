"""Batches of rows as Ray Data gives them; examples/over_ray.py runs under Ray itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import seqcl
from seqcl.errors import DataError
from seqcl.ray_data import BatchEmbedder
from seqcl.run import Settings, pretrain
from seqcl.run.embedding import embed_sources

SMALL = ("training.steps=2", "training.batch_size=4", "encoder.widths=[4,4]")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a table a recording and a run of their windows."""
    made = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        rows = [f"{a:.3f},{b:.3f}" for a, b in rng.normal(size=(96 if name == "b" else 64, 2))]
        (made / f"{name}.csv").write_text("flow,pressure\n" + "\n".join(rows))
    given = Settings(
        sources=[str(made / "*.csv")], overrides=(*SMALL, "data.window=32"), device="cpu"
    )
    pretrain("series", given, made / "run")
    return made


@pytest.fixture(scope="module")
def embedder(folder: Path) -> BatchEmbedder:
    return BatchEmbedder(folder / "run", device="cpu")


def records(count: int, steps: int = 32) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(count, 2, steps)).astype(np.float32)


def test_rows_are_embedded_to_the_same_bits_in_any_batch(
    folder: Path, embedder: BatchEmbedder
) -> None:
    values = records(40)
    whole = embedder({"n": np.arange(40), "values": values})
    assert sorted(whole) == ["embedding", "n"]
    parts = [
        embedder({"n": np.arange(40)[part], "values": values[part]})["embedding"]
        for part in (slice(0, 1), slice(1, 30), slice(30, 40))
    ]
    assert np.array_equal(whole["embedding"], np.concatenate(parts))
    own = seqcl.load(folder / "run").embed(values)
    np.testing.assert_allclose(whole["embedding"], own, atol=1e-5)


def test_rows_of_any_length_and_nested_lists_are_embedded(embedder: BatchEmbedder) -> None:
    arrays = [records(1, steps)[0] for steps in (20, 32, 50)]
    ragged = np.empty(3, object)
    nested = np.empty(3, object)
    for row, array in enumerate(arrays):
        ragged[row] = array
        nested[row] = np.empty(2, object)
        nested[row][:] = list(array)
    found = embedder({"values": ragged})["embedding"]
    assert np.array_equal(found, embedder({"values": nested})["embedding"])
    for row, array in enumerate(arrays):
        assert np.array_equal(found[row], embedder({"values": array[None]})["embedding"][0])


def test_names_of_files_give_a_row_for_each_window(folder: Path) -> None:
    embedder = BatchEmbedder(folder / "run", "file", device="cpu")
    files = np.array([str(folder / f"{name}.csv") for name in ("c", "b")])
    found = embedder({"file": files, "site": np.array([5, 7])})
    assert found["site"].tolist() == [5] * 2 + [7] * 3
    assert found["start"].tolist() == [0, 32, 0, 32, 64]
    assert found["file"].tolist() == [files[0]] * 2 + [files[1]] * 3
    expected, _ = embed_sources(seqcl.load(folder / "run"), files.tolist(), device="cpu")
    assert found["id"].tolist() == list(expected.ids)
    np.testing.assert_allclose(found["embedding"], expected.values, atol=1e-5)


def test_what_does_not_suit_the_run_is_refused(embedder: BatchEmbedder) -> None:
    with pytest.raises(DataError, match="no column 'values'. Known: value"):
        embedder({"value": records(2)})
    with pytest.raises(ValueError, match="2 channel names for 1 channels"):
        embedder({"values": records(2)[:, :1]})
    with pytest.raises(
        DataError, match=r"row 0 of 'values' has shape \(2, 32, 1\); this run takes"
    ):
        embedder({"values": records(2)[..., None]})
    with pytest.raises(DataError, match=r"row 1 of 'values' has shape \(\)"):
        embedder({"values": np.array([records(1)[0], None], object)})
    with pytest.raises(DataError, match="column 'embedding' is there already"):
        embedder({"values": records(2), "embedding": np.arange(2)})
    none = embedder({"n": np.arange(0), "values": records(0)})
    assert sorted(none) == ["embedding", "n"]
    assert none["embedding"].shape == (0, embedder.model.embedding.out_dim)


def test_a_file_that_cannot_be_read_is_told(folder: Path, tmp_path: Path) -> None:
    embedder = BatchEmbedder(folder / "run", "file", device="cpu")
    for name in "abc":
        (tmp_path / f"{name}.csv").write_bytes((folder / f"{name}.csv").read_bytes())
    (tmp_path / "d.csv").write_text("flow,pressure\n1,x\n")
    with pytest.raises(DataError, match=r"d\.csv"):
        embedder({"file": np.array([str(tmp_path)])})
    found = embedder({"file": np.array([str(folder / "a.csv").encode()], object)})
    assert found["embedding"].shape[0] == 2


def test_images_are_embedded_as_the_run_does(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (12, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", X=images[:, None])
    small = ("training.steps=1", "training.batch_size=4", "encoder.width=8")
    given = Settings(sources=[str(tmp_path / "images.npz")], overrides=small, device="cpu")
    pretrain("image-simclr", given, tmp_path / "run")
    embedder = BatchEmbedder(tmp_path / "run", device="cpu")
    expected = seqcl.load(tmp_path / "run").embed(images[:, None])
    apart = np.empty(12, object)
    for row, image in enumerate(images):
        apart[row] = image
    for values in (images, images[:, None], apart):
        np.testing.assert_allclose(embedder({"values": values})["embedding"], expected, atol=1e-5)
    with pytest.raises(DataError, match=r"this run takes images \(C, H, W\) of one size"):
        embedder({"values": np.array([images[0], images[1, :4]], object)})

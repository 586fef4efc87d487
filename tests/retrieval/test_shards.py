"""Vectors on disk: unit length, the same bits, and damage that is noticed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seqcl.errors import ArtefactError, DataError
from seqcl.retrieval.shards import Shards, unit_vectors, write_shard


def vectors(count: int, size: int = 12) -> np.ndarray:
    values = np.random.default_rng(count).normal(size=(count, size)).astype(np.float32)
    return unit_vectors(values, [str(n) for n in range(count)])


def test_unit_vectors_have_the_same_bits_in_any_company() -> None:
    values = np.random.default_rng(0).normal(size=(300, 37)).astype(np.float32)
    together = unit_vectors(values, ["x"] * 300)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    for row in (0, 7, 299):
        assert np.array_equal(unit_vectors(values[row : row + 1], ["x"])[0], together[row])


def test_a_vector_of_zeros_stays_zero() -> None:
    assert not unit_vectors(np.zeros((1, 4), np.float32), ["silent"]).any()


def test_an_embedding_that_is_not_finite_is_named() -> None:
    values = np.ones((2, 3), np.float32)
    values[1, 2] = np.nan
    with pytest.raises(DataError, match=r"b\.wav: its embedding is not finite"):
        unit_vectors(values, ["a.wav", "b.wav"])


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 0), ("float16", 5e-4)])
def test_vectors_are_read_by_id_over_several_files(
    tmp_path: Path, precision: str, tolerance: float
) -> None:
    parts = [vectors(5), vectors(3), vectors(9)]
    shards = []
    for part in parts:
        shards.append(write_shard(tmp_path, sum(s.rows for s in shards), part, precision))
    whole, store = np.concatenate(parts), Shards(tmp_path, shards)
    ids = np.array([16, 0, 7, 7, 5])
    np.testing.assert_allclose(store.read(ids), whole[ids], atol=tolerance)  # half's last bit
    blocks = [(first, block) for first, block in store.blocks(4)]
    assert [first for first, _ in blocks] == [0, 4, 5, 8, 12, 16]
    np.testing.assert_allclose(np.concatenate([b for _, b in blocks]), whole, atol=tolerance)
    assert len(store) == 17


def test_a_flipped_bit_and_a_missing_file_are_noticed(tmp_path: Path) -> None:
    shard = write_shard(tmp_path, 0, vectors(4), "float32")
    path = tmp_path / shard.name
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    with pytest.raises(ArtefactError, match="sha256 is not the one that was noted"):
        Shards(tmp_path, [shard]).read(np.array([0]))
    path.unlink()
    with pytest.raises(ArtefactError, match="is missing; restore it or index again"):
        Shards(tmp_path, [shard]).read(np.array([0]))


def test_bytes_come_back_as_unit_vectors_within_their_rounding(tmp_path: Path) -> None:
    values = vectors(40, 48)
    values[1] = 0
    found = Shards(tmp_path, [write_shard(tmp_path, 0, values, "int8")]).read(np.arange(40))
    assert found.dtype == np.float32
    assert np.allclose(np.linalg.norm(found, axis=1)[np.arange(40) != 1], 1, atol=1e-6)
    assert not found[1].any()
    # Each value is off by half a step of largest / 127 at most, and by what the length changes.
    step = np.abs(values).max(axis=1, keepdims=True) / 127
    assert (np.abs(found - values) <= 0.5 * step + 0.01 * np.abs(values)).all()
    assert np.abs(found - values).max() > 1e-4


def test_bytes_read_by_blocks_are_those_read_by_id(tmp_path: Path) -> None:
    shards = Shards(tmp_path, [write_shard(tmp_path, 0, vectors(30), "int8")])
    blocks = np.concatenate([part for _, part in shards.blocks(7)])
    assert np.array_equal(blocks, shards.read(np.arange(30)))


def test_bytes_take_a_quarter(tmp_path: Path) -> None:
    sizes = {}
    for precision in ("float32", "int8"):
        shard = write_shard(tmp_path, 0, vectors(1000, 64), precision)
        sizes[precision] = (tmp_path / shard.name).stat().st_size - 128
    assert sizes == {"float32": 4 * 64_000, "int8": 64_000}


def test_half_bytes_come_back_within_a_fourteenth_of_the_largest(tmp_path: Path) -> None:
    values = vectors(40, 48)
    shard = write_shard(tmp_path, 0, values, "int4")
    found = Shards(tmp_path, [shard]).read(np.arange(40))
    assert (tmp_path / shard.name).stat().st_size - 128 == 40 * 24
    assert found.shape == values.shape
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    cosines = (found * values).sum(axis=1)
    assert 0.97 < cosines.min() < 0.9999
    back = found * np.linalg.norm(values, axis=1, keepdims=True) / cosines[:, None]
    assert (np.abs(back - values) <= np.abs(values).max(axis=1, keepdims=True) / 7).all()


def test_half_bytes_know_an_odd_number_of_dimensions(tmp_path: Path) -> None:
    values = vectors(5, 7)
    found = Shards(tmp_path, [write_shard(tmp_path, 0, values, "int4")]).read(np.arange(5))
    assert found.shape == (5, 7)
    assert ((found * values).sum(axis=1) > 0.97).all()


def test_quarters_of_bytes_lose_an_eighth_of_normal_values(tmp_path: Path) -> None:
    values = vectors(2000, 64)
    values[7] = 0
    shard = write_shard(tmp_path, 0, values, "int2")
    found = Shards(tmp_path, [shard]).read(np.arange(2000))
    assert (tmp_path / shard.name).stat().st_size - 128 == 2000 * 16
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    cosines = np.delete((found * values).sum(axis=1), 7)
    # Four levels keep 1 - 0.1188 of the variance (Max 1960), which is the squared cosine.
    assert np.isclose(np.square(cosines).mean(), 1 - 0.1188, atol=0.01)
    magnitudes = np.unique(np.abs(found[0]))
    assert len(magnitudes) == 2
    assert np.isclose(magnitudes[1], 3 * magnitudes[0])
    assert ((found[0] > 0) == (values[0] >= 0)).all()


@pytest.mark.parametrize("width", [1, 6, 7, 8])
def test_quarters_of_bytes_know_how_many_dimensions_there_are(tmp_path: Path, width: int) -> None:
    values = vectors(30, width)
    shards = Shards(tmp_path, [write_shard(tmp_path, 0, values, "int2")])
    found = shards.read(np.arange(30))
    assert found.shape == (30, width)
    assert (np.sign(found) == np.where(values < 0, -1, 1)).all()
    assert np.array_equal(np.concatenate([part for _, part in shards.blocks(7)]), found)

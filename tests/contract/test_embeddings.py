"""What every registered embedding must do, fitted where it has something to fit."""

import pickle

import pytest
import torch
from torch import Tensor

from seqcl.embeddings.base import Embedding
from seqcl.errors import EmbeddingError
from seqcl.registry import registry

NAMES = sorted(registry("embeddings"))
FITTED = [name for name in NAMES if registry("embeddings")[name].passes]
DIM, RECORDS, VIEWS = 16, 64, 4


def views(seed: int = 1) -> tuple[Tensor, Tensor]:
    """Vectors (VIEWS * RECORDS, DIM) around one centre per record, and which record each is."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(RECORDS, DIM, generator=generator).repeat(VIEWS, 1)
    noise = torch.randn(VIEWS * RECORDS, DIM, generator=generator)
    return centres + 0.3 * noise, torch.arange(RECORDS).repeat(VIEWS)


def fitted(name: str) -> Embedding:
    torch.manual_seed(0)
    embedding: Embedding = registry("embeddings")[name](DIM)
    for _ in range(embedding.passes):
        embedding.update(*views())
        if embedding.solve():
            return embedding
    assert not embedding.passes, "the last pass determines the map"
    return embedding


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rows", [1, 7])
def test_maps_rows_of_in_dim_to_finite_rows_of_out_dim(name: str, rows: int) -> None:
    embedding = fitted(name)
    pooled = views()[0][:rows]
    kept = embedding(pooled)
    assert embedding.in_dim == DIM
    assert kept.shape == (rows, embedding.out_dim)
    assert kept.isfinite().all()
    assert torch.equal(pooled, views()[0][:rows])


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(FITTED)))
def test_without_passes_there_is_nothing_to_fit_and_it_says_so(name: str) -> None:
    embedding = fitted(name)
    with pytest.raises(NotImplementedError, match="nothing to fit"):
        embedding.update(*views())
    with pytest.raises(NotImplementedError, match="nothing to fit"):
        embedding.solve()


@pytest.mark.parametrize("name", FITTED)
def test_before_it_is_solved_it_is_the_identity(name: str) -> None:
    pooled = views()[0]
    assert torch.equal(registry("embeddings")[name](DIM)(pooled), pooled)


@pytest.mark.parametrize("name", FITTED)
def test_two_passes_in_parts_give_what_one_call_gives(name: str) -> None:
    embedding: Embedding = registry("embeddings")[name](DIM)
    pooled, record = views()
    for whole in (False, True):
        for first in range(0, RECORDS, 24):
            rows = (record >= first) & (record < first + 24)
            embedding.update(pooled[rows], record[rows])
        done = embedding.solve(whole=whole)
    assert done
    once = fitted(name)(pooled)
    # Axes of nearly equal variance turn with rounding; the products of the rows do not.
    torch.testing.assert_close(embedding(pooled) @ embedding(pooled).T, once @ once.T,
                               atol=1e-3, rtol=1e-3)  # fmt: skip


@pytest.mark.parametrize("name", FITTED)
def test_a_single_record_is_an_error_with_both_numbers(name: str) -> None:
    embedding: Embedding = registry("embeddings")[name](DIM)
    embedding.update(torch.randn(3, DIM), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(EmbeddingError, match="1 record to tell apart; at least 2 are needed"):
        embedding.solve()


@pytest.mark.parametrize("name", FITTED)
def test_records_of_the_same_features_are_an_error(name: str) -> None:
    embedding: Embedding = registry("embeddings")[name](DIM)
    embedding.update(torch.ones(6, DIM), torch.arange(3).repeat(2))
    with pytest.raises(EmbeddingError, match="3 records with the same features"):
        embedding.solve()


@pytest.mark.parametrize("name", NAMES)
def test_has_no_learnt_parameters_and_treats_every_row_alone(name: str) -> None:
    embedding, pooled = fitted(name), views()[0]
    assert not [part for part, p in embedding.named_parameters() if p.requires_grad]
    torch.testing.assert_close(embedding(pooled)[3:4], embedding(pooled[3:4]))


@pytest.mark.parametrize("name", NAMES)
def test_fitting_again_gives_the_same_map(name: str) -> None:
    assert torch.equal(fitted(name)(views(2)[0]), fitted(name)(views(2)[0]))


@pytest.mark.parametrize("name", NAMES)
def test_pickles_and_its_state_loads_bit_for_bit(name: str) -> None:
    embedding, pooled = fitted(name), views(2)[0]
    copy = pickle.loads(pickle.dumps(embedding))
    other: Embedding = registry("embeddings")[name](DIM)
    other.load_state_dict(embedding.state_dict())
    assert torch.equal(copy(pooled), embedding(pooled))
    assert torch.equal(other(pooled), embedding(pooled))

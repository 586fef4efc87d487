"""Each: one closed form a part of the encoder's output."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from seqcl.embeddings import held
from seqcl.embeddings.each import EachEmbedding
from seqcl.embeddings.identity import IdentityEmbedding
from seqcl.embeddings.spectral import Spectral
from seqcl.registry import Spec

SIZES = (6, 10)
SPECTRAL = Spec("embeddings", "spectral", {"dim": 4})


def views() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(40, 16, generator=generator).repeat(3, 1)
    scales = torch.tensor([100.0] * 6 + [0.1] * 10)
    noise = torch.randn(120, 16, generator=generator)
    return (centres + 0.3 * noise) * scales, torch.arange(40).repeat(3)


def fitted(embedding):
    for _ in range(embedding.passes):
        embedding.update(*views())
        if embedding.solve():
            return embedding
    raise AssertionError("not solved")


def test_each_part_is_what_it_would_be_alone_with_half_of_the_cosine() -> None:
    both = EachEmbedding(16, of=SPECTRAL)
    both.take_parts(SIZES)
    both = fitted(both)
    pooled, record = views()
    kept = []
    for part in pooled.split(SIZES, 1):
        alone = Spectral(part.shape[1], dim=4)
        for _ in range(2):
            alone.update(part, record)
            if alone.solve():
                break
        kept.append(normalize(alone(part), dim=1))
    expected = sum(one @ one.T for one in kept) / 2
    found = both(pooled)
    assert both.out_dim == found.shape[1] == 8
    torch.testing.assert_close(found @ found.T, expected, atol=1e-4, rtol=1e-4)


def test_one_closed_form_over_several_sees_parts_of_length_1() -> None:
    spectral, plain = Spectral(16, dim=4), Spectral(16, dim=4)
    spectral.take_parts(SIZES)
    pooled, record = views()
    level = torch.cat([normalize(part, dim=1) for part in pooled.split(SIZES, 1)], 1)
    for embedding, given in ((spectral, pooled), (plain, level)):
        embedding.update(given, record)
        assert embedding.solve()
    torch.testing.assert_close(spectral(pooled), plain(level))
    identity = IdentityEmbedding(16)
    identity.take_parts(SIZES)
    torch.testing.assert_close(identity(pooled), level)


def test_without_anything_to_fit_there_are_no_passes() -> None:
    plain = EachEmbedding(16, of=Spec("embeddings", "identity"))
    assert plain.passes == 0
    with pytest.raises(NotImplementedError, match="nothing to fit"):
        plain.update(*views())
    with pytest.raises(NotImplementedError, match="nothing to fit"):
        plain.solve()


def test_a_part_that_is_solved_in_the_first_pass_waits_for_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(held, "_BYTES", 240 * 4 * SIZES[0])  # the wider part has to thin out
    both = EachEmbedding(16, of=SPECTRAL)
    both.take_parts(SIZES)
    pooled, record = views()
    both.update(pooled, record)
    assert not both.solve()
    kept = both.each[0].weight.clone()
    both.update(pooled, record)
    assert both.solve()
    assert torch.equal(both.each[0].weight, kept)
    assert both(pooled).isfinite().all()


def test_a_projection_is_nothing_to_fit() -> None:
    with pytest.raises(ValueError, match="projected has none to fit"):
        EachEmbedding(16, of=Spec("embeddings", "projected"))

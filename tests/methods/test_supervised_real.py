"""Supervised methods on outlines of leaves: each beats its own untrained encoder, which is poor."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
import torch
from aeon.datasets import load_classification

from seqcl.config.preset import load_preset
from seqcl.data.dataset import dataset_from_arrays
from seqcl.model import Model
from seqcl.run.fitting import assemble, fit
from seqcl.training.embed import embed

SMALL = (
    "encoder.widths=[32,64]", "training.batch_size=32", "training.steps=100", "training.lr=2e-3",
    "training.diagnose_every=0",
)  # fmt: skip
Strings = npt.NDArray[np.str_]


@cache
def leaves(split: str) -> tuple[npt.NDArray[np.float32], Strings]:
    """Return OSULeaf, outlines of six species: (n, 1, 427)."""
    X, y = load_classification("OSULeaf", split)
    return X.astype(np.float32), y


def accuracy(model: Model) -> float:
    """Return how often the nearest training leaf, by cosine, is of the same species."""
    z = []
    for split in ("train", "test"):
        values = embed(model, dataset_from_arrays(leaves(split)[0]), device="cpu").values
        z.append(values / np.linalg.norm(values, axis=1, keepdims=True))
    nearest = (z[1] @ z[0].T).argmax(1)
    return float((leaves("train")[1][nearest] == leaves("test")[1]).mean())


def first_of_each(y: Strings, count: int) -> list[str | None]:
    """Keep `count` labels of each class."""
    known = {int(row) for label in set(y) for row in np.flatnonzero(y == label)[:count]}
    return [str(label) if row in known else None for row, label in enumerate(y)]


def marks(y: Strings) -> list[str | None]:
    """Mark pairs, in turn alike and different, as long as partners are found."""
    free = np.random.default_rng(0).permutation(len(y)).tolist()
    found: list[str | None] = [None] * len(y)
    alike = True
    while free:
        row = free.pop()
        partner = next((other for other in free if (y[row] == y[other]) == alike), None)
        if partner is not None:
            free.remove(partner)
            found[row] = found[partner] = f"{'' if alike else '!'}{row}"
        alike = not alike
    return found


@pytest.mark.parametrize(
    ("preset", "method", "gain"),
    [
        ("series-supcon", None, 0.10),
        ("series-triplet", None, 0.09),
        ("series-margin", None, 0.07),
        ("series", "semi_supervised", 0.06),
        ("series", "pair_supervised", 0.05),
    ],
)
def test_it_beats_its_own_untrained_encoder(preset: str, method: str | None, gain: float) -> None:
    X, y = leaves("train")
    labels = first_of_each(y, 8) if method == "semi_supervised" else y.tolist()
    pairs = marks(y) if method == "pair_supervised" else None
    chosen = SMALL if method is None else (f"method={method}", *SMALL)
    data = dataset_from_arrays(X, None if pairs else labels, pairs=pairs)
    parts = assemble(load_preset(preset, chosen), data, seed=0, device=torch.device("cpu"))
    before = accuracy(parts.model.eval())
    parts.model.train()
    fit(parts)
    after = accuracy(parts.model)
    assert before < 0.57  # six species
    assert after - before > gain  # three seeds gave at least 0.13, 0.13, 0.10, 0.09 and 0.07

"""On real series each method beats its own untrained encoder, which is poor there."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from seqcl.config.preset import load_preset
from seqcl.data import Dataset, open_dataset
from seqcl.model import Model
from seqcl.run.fitting import assemble, fit
from seqcl.training.embed import embed

DATA = Path(os.environ.get("SEQCL_DATA", "")) / "series"
pytestmark = pytest.mark.skipif(
    "SEQCL_DATA" not in os.environ, reason="SEQCL_DATA names no folder of real data"
)

TCN = "{tcn: {width: 16, depth: 4, local_dim: 32, pooling: max}}"
BOTH = f"{{time_frequency: {{time: {TCN}, frequency: {TCN}}}}}"
SHORT = ("training.steps=60", "training.lr=3e-3", "training.diagnose_every=0")


def accuracy(model: Model, train: Dataset, test: Dataset) -> float:
    """Return how often the nearest training record, by cosine, is of the same class."""
    z = []
    for dataset in (train, test):
        values = embed(model, dataset, device="cpu").values
        z.append(values / np.linalg.norm(values, axis=1, keepdims=True))
    nearest = (z[1] @ z[0].T).argmax(1)
    return float((np.array(train.labels)[nearest] == np.array(test.labels)).mean())


@pytest.mark.parametrize(
    ("preset", "name", "batch_size", "gain"),
    [
        ("ts2vec", "SyntheticControl", 8, 0.10),
        ("t-loss", "SyntheticControl", 32, 0.05),
        ("tnc", "SyntheticControl", 32, 0.06),
        ("ts-tcc", "SyntheticControl", 32, 0.05),
        ("cpc", "SyntheticControl", 32, 0.08),
        ("tf-c", "CBF", 32, 0.03),
        ("series-moco", "SyntheticControl", 32, 0.05),
        ("series-byol", "SyntheticControl", 32, 0.06),
        ("series-simsiam", "SyntheticControl", 32, 0.06),
        ("series-swav", "SyntheticControl", 32, 0.04),
        ("series-barlow", "SyntheticControl", 32, 0.06),
        ("series-vicreg", "SyntheticControl", 32, 0.06),
        ("series-nnclr", "SyntheticControl", 32, 0.06),
    ],
)
def test_it_beats_its_own_untrained_encoder(
    preset: str, name: str, batch_size: int, gain: float
) -> None:
    encoder = BOTH if preset == "tf-c" else TCN
    chosen = (f"encoder={encoder}", f"training.batch_size={batch_size}", *SHORT)
    checked = load_preset(preset, chosen)
    train, test = (
        open_dataset([str(DATA / f"{name}_{part}.npz")], checked.data) for part in ("TRAIN", "TEST")
    )
    parts = assemble(checked, train, seed=0, device=torch.device("cpu"))
    before = accuracy(parts.model.eval(), train, test)
    fit(parts)
    after = accuracy(parts.model, train, test)
    assert before < 0.86  # 1-NN of the raw values: 0.88 on SyntheticControl, 0.85 on CBF
    assert after > before + gain

"""Named systems on real series and images and on made sounds: twenty steps lower the loss."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from seqcl.config import load_preset
from seqcl.data.dataset import open_dataset
from seqcl.run.fitting import assemble, fit
from seqcl.training.embed import embed
from seqcl.training.sinks import Sink

STEPS, ROWS, FEW = 20, 40, 5
SYSTEMS = {name: (f"method={name}",) for name in (
    "simclr", "supcon", "byol", "simsiam", "swav", "barlow_twins", "vicreg", "nnclr",
)}  # fmt: skip
# A target that follows at once, for so few steps. MoCo v2's loss is not steady: its keys change.
SYSTEMS["moco_v3"] = ("method={moco_v3: {momentum: 0}}",)
MODALITIES = {
    "series": ("aeon:OSULeaf:train", ("encoder.widths=[16,16]",)),
    "image-simclr": ("sklearn:digits:train", ("encoder.width=16",)),
    "audio-clip": ("sounds", ("data.window=8000", "encoder.widths=[8,8]")),
}


class Losses(Sink):
    """Keep the loss of every step."""

    def __init__(self) -> None:
        self.found: list[float] = []

    def on_log(self, record: Mapping[str, Any]) -> None:
        if "loss" in record:
            self.found.append(record["loss"])


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write half a second of a tone in noise, each of another pitch."""
    folder = tmp_path_factory.mktemp("sounds")
    rng, time = np.random.default_rng(0), np.arange(8_000) / 16_000
    rows = ["file,label"]
    for number in range(ROWS):
        tone = np.sin(2 * np.pi * 150 * 1.1**number * time)
        noise = rng.normal(0, rng.uniform(0.02, 0.2), time.size)
        soundfile.write(folder / f"{number}.wav", 0.2 * tone + noise, 16_000)
        rows.append(f"{number}.wav,{number % 4}")
    (folder / "labels.csv").write_text("\n".join(rows))
    return folder


@pytest.mark.parametrize("base", MODALITIES)
@pytest.mark.parametrize("name", SYSTEMS)
def test_twenty_steps_lower_the_loss(name: str, base: str, sounds: Path) -> None:
    source, small = MODALITIES[base]
    training = (f"training.steps={STEPS}", f"training.batch_size={ROWS}", "training.log_every=1",
                "training.lr=3e-3", "training.warmup=0", "training.schedule=constant",
                "training.diagnose_every=0", "training.sampler=shuffle")  # fmt: skip
    preset = load_preset(base, (*SYSTEMS[name], *small, *training))
    data = open_dataset([str(sounds) if source == "sounds" else source], preset.data)
    parts = assemble(preset, data.subset(range(ROWS)), seed=0, device=torch.device("cpu"))
    losses, before = Losses(), copy.deepcopy(parts.model).eval()
    fit(parts, sinks=[losses])
    assert len(losses.found) == STEPS
    assert np.mean(losses.found[-FEW:]) < np.mean(losses.found[1 : 1 + FEW])
    old, new = (dict(model.encoder.named_parameters()) for model in (before, parts.model))
    assert all(not torch.equal(old[key], new[key]) for key in old), "the encoder itself learns"
    apart = [spread(embed(model, parts.dataset).values) for model in (before, parts.model)]
    assert apart[1] > 0.5 * apart[0], "embeddings do not fall together"


def spread(embeddings: np.ndarray) -> float:
    """Return how far directions lie apart: one minus the length of their mean."""
    units = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    return 1 - float(np.linalg.norm(units.mean(0)))

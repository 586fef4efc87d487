"""What the documents say is run: the components of CONTRIBUTING.md, the examples."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from seqcl.config.preset import resolve_preset
from seqcl.data.dataset import dataset_from_arrays
from seqcl.registry import registry
from seqcl.run.fitting import assemble, fit
from seqcl.training.embed import embed

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)


@pytest.fixture
def contributed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the three components of CONTRIBUTING.md, as their authors would."""
    names = (("losses", "Alignment"), ("augmentations", "Invert"), ("encoders", "Shallow"))
    for (kind, name), source in zip(names, BLOCKS, strict=True):
        module = ModuleType(f"contributed_{kind}")
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exec(compile(source, f"CONTRIBUTING.md ({kind})", "exec"), module.__dict__)
        monkeypatch.setitem(registry(kind)._local, name.lower(), getattr(module, name))


def test_the_components_of_contributing_are_short_and_train(contributed: None) -> None:
    assert all(block.count("\n") <= 32 for block in BLOCKS)
    preset = resolve_preset(
        {
            "modality": "sequence",
            "views": {"independent": {"before": ["invert", "jitter"]}},
            "encoder": {"shallow": {"width": 16}},
            "method": {"simclr": {"loss": {"alignment": {"weight": 2.0}}}},
            "training": {"steps": 3, "batch_size": 8},
        },
        "contributing",
    )
    values = np.random.default_rng(0).normal(size=(16, 2, 40)).astype(np.float32)
    dataset = dataset_from_arrays(values)
    parts = assemble(preset, dataset, seed=0, device=torch.device("cpu"))
    before = parts.model.encoder.conv.weight.detach().clone()
    result = fit(parts)
    assert result is not None
    assert result.steps == 3
    assert not torch.equal(before, parts.model.encoder.conv.weight)
    assert embed(parts.model, dataset).values.shape == (16, 64)


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda p: p.name)
def test_an_example_runs_and_is_short(path: Path, tmp_path: Path) -> None:
    assert path.read_text().count("\n") <= 80
    subprocess.run([sys.executable, str(path)], cwd=tmp_path, check=True)

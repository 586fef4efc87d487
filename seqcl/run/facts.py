"""What a run's manifest says of its data and its training, and the list of what was skipped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seqcl.config.preset import Preset, specs_in
from seqcl.data.dataset import Dataset
from seqcl.data.source import Skipped
from seqcl.files import atomic_write, sha256
from seqcl.training.loop import TrainResult

__all__ = ["data_facts", "train_facts", "view_files", "write_skipped"]


def data_facts(data: Dataset, sources: Sequence[str]) -> dict[str, Any]:
    """Return where the training records come from, and what tells them from others."""
    return {
        "sources": [str(source) for source in sources],
        "records": len(data),
        "max_length": data.max_length,
        "size": data.size,
        "fingerprint": data.fingerprint,
    }


def train_facts(result: TrainResult | None) -> dict[str, Any]:
    """Return how training by gradient went; None = there was none."""
    if result is None:
        return {"stopped": "done", "steps": 0, "seconds": 0.0, "weights_moved": 0.0}
    return {
        "steps": result.steps,
        "stopped": result.stopped,
        "seconds": result.seconds,
        "weights_moved": result.weights_moved,
    }


def write_skipped(out: Path, skipped: Sequence[Skipped]) -> None:
    """List the files that were passed over in skipped.jsonl, where there are any."""
    lines = [json.dumps({"path": str(item.path), "reason": item.reason}) for item in skipped]
    if lines:
        atomic_write(out / "skipped.jsonl", "\n".join(lines) + "\n")


def view_files(preset: Preset) -> dict[str, str]:
    """Return the sha256 of each file that the views take noise, rooms or the like from."""
    specs = (*specs_in(preset.views), *specs_in(preset.embedding))
    made = [spec.build() for spec in specs if spec.kind == "augmentations"]
    return {str(path): sha256(path) for step in made for path in step.files()}

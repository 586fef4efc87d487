"""Predict with a fine-tuned run, and write the result as .csv, .npz or .parquet."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seqcl.batch import Label
from seqcl.data.dataset import Dataset
from seqcl.files import atomic_write
from seqcl.finetuning.predictions import Predictions
from seqcl.run.build import threads
from seqcl.run.embedding import check_output, open_for
from seqcl.run.folder import Run
from seqcl.run.results import escaped

__all__ = ["PREDICTION_SUFFIXES", "predict_sources", "write_predictions"]

PREDICTION_SUFFIXES = (".csv", ".npz", ".parquet")


def predict_sources(
    run: Run,
    sources: Sequence[str],
    *,
    overrides: Sequence[str] = (),
    device: str = "auto",
    batch_size: int = 256,
    cpu_threads: int | None = None,
) -> tuple[Predictions, Dataset]:
    """Predict every record of `sources`; returns predictions and the dataset they are of.

    Raises UsageError, before any data is read, where the run has no head.
    """
    assert run.targets
    with threads(cpu_threads):
        dataset = open_for(run, sources, overrides)
        return run.predict(dataset, device=device, batch_size=batch_size), dataset


def write_predictions(predictions: Predictions, out: Path, separator: str = "|") -> None:
    """Write id, prediction, and the probability of each class or tag as ``p_NAME``.

    In ``.npz``: arrays `ids`, `predictions`, and `probabilities` (N, K) with `classes` (K,).
    The tags of a prediction are one text, `separator` between them.
    """
    check_output("--out", out, PREDICTION_SUFFIXES)
    if out.suffix == ".npz":
        stream = io.BytesIO()
        np.savez(stream, **_arrays(predictions, separator))
        atomic_write(out, stream.getvalue())
    elif out.suffix == ".parquet":
        atomic_write(out, _parquet(predictions, separator))
    else:
        atomic_write(out, _csv(predictions, separator))


def _plain(label: Label, separator: str) -> int | str | float:
    return separator.join(label) if isinstance(label, tuple) else label


def _column(predictions: Predictions, separator: str) -> list[int | str | float]:
    """Return the predictions in one type: as text where some of the classes are text."""
    plain = [_plain(label, separator) for label in predictions.labels]
    if any(isinstance(name, str) for name in predictions.classes):
        return [str(label) for label in plain]
    return plain


def _arrays(predictions: Predictions, separator: str) -> dict[str, Any]:
    arrays: dict[str, Any] = {
        "ids": np.asarray(predictions.ids, dtype=str),
        "predictions": np.asarray(_column(predictions, separator)),
    }
    if predictions.probabilities is not None:
        arrays["probabilities"] = predictions.probabilities
        arrays["classes"] = np.asarray(predictions.classes)
    return arrays


def _csv(predictions: Predictions, separator: str) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(["id", "prediction", *(f"p_{name}" for name in predictions.classes)])
    for row, (name, label) in enumerate(zip(predictions.ids, predictions.labels, strict=True)):
        shown = _plain(label, separator)
        text = f"{shown:.15g}" if isinstance(shown, float) else escaped(shown)
        shares = () if predictions.probabilities is None else predictions.probabilities[row]
        writer.writerow([escaped(name), text, *(f"{share:.6g}" for share in shares)])
    return stream.getvalue()


def _parquet(predictions: Predictions, separator: str) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {
        "id": pa.array(predictions.ids),
        "prediction": pa.array(_column(predictions, separator)),
    }
    if predictions.probabilities is not None:
        for place, name in enumerate(predictions.classes):
            columns[f"p_{name}"] = pa.array(predictions.probabilities[:, place])
    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream)
    return stream.getvalue()

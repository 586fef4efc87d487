"""Embed data with a run, and write the result as .npz, .h5 or .parquet."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from seqcl.batch import Embeddings
from seqcl.config.preset import changed_data, data_options
from seqcl.data.dataset import Dataset, open_dataset
from seqcl.data.duration import duration_text
from seqcl.data.store import write_arrays
from seqcl.distributed import world_size
from seqcl.errors import DataError, UsageError
from seqcl.files import atomic_write
from seqcl.run.build import pick_device, threads
from seqcl.run.folder import Run
from seqcl.run.launching import refuse_another_start
from seqcl.training.embed import embed

__all__ = [
    "SUFFIXES",
    "check_output",
    "check_rate",
    "embed_sources",
    "open_for",
    "write_embeddings",
]

Level = Literal["instance", "step"]
_AUDIO_HZ = 4_000
_RATE_WITHIN = 1.01
"""Ratio of two sampling rates that are taken to be one."""
SUFFIXES = (".npz", ".h5", ".parquet")


def open_for(run: Run, sources: Sequence[str], overrides: Sequence[str] = ()) -> Dataset:
    """Open data as the run's preset says, its channels matched to the run's by name.

    `overrides` may change the `data:` section (``data.label=activity``), nothing else.
    """
    tree = changed_data(run.preset.tree()["data"], overrides)
    dataset = open_dataset(sources, data_options(tree), channels=run.channels)
    check_rate(run, dataset, sources[0])
    return dataset


def check_rate(run: Run, dataset: Dataset, source: str, *, within: float = _RATE_WITHIN) -> None:
    """Raise DataError where data have another sampling rate than the run was trained on.

    A ratio up to `within` is borne, and a note of the dataset where it is a difference.
    """
    rate, trained = dataset.rate_hz, run.manifest["rate_hz"]
    if rate is None or trained is None or max(rate / trained, trained / rate) <= _RATE_WITHIN:
        return
    told = f"{source}: has {rate:g} Hz and the run was trained on {trained:g} Hz"
    if max(rate / trained, trained / rate) > within:
        raise DataError(f"{told}; resample the data{_grid_of(trained)}")
    dataset.note(f"{told}; a window of as many rows lasts {trained / rate:.2f} times as long")


def _grid_of(rate_hz: float) -> str:
    """Say how, where rows may have time stamps: audio has an option of its own."""
    if rate_hz >= _AUDIO_HZ:
        return ""
    return f" (rows with time stamps: --set data.every={duration_text(1e9 / rate_hz)})"


def embed_sources(
    run: Run,
    sources: Sequence[str],
    *,
    level: Level = "instance",
    window: int = 32,
    overrides: Sequence[str] = (),
    device: str = "auto",
    batch_size: int = 256,
    cpu_threads: int | None = None,
    on_batch: Callable[[int, int], None] | None = None,
    shared: bool = False,
) -> tuple[Embeddings, Dataset]:
    """Embed every record of `sources`; returns the embeddings and the dataset they come from.

    `shared`: all processes of a group call it, each embeds a part, and all get the whole.
    """
    target = pick_device(device)
    with threads(cpu_threads):
        dataset = open_for(run, sources, overrides)
        if shared and world_size() > 1:
            refuse_another_start({
                "run": run.manifest["files"], "data": dataset.fingerprint, "level": level,
                "window": window, "batch size": batch_size, "kind of device": target.type,
                "options of the data": list(overrides),
            })  # fmt: skip
        model = run.model.to(target)
        found = embed(
            model, dataset, level=level, window=window,
            batch_size=batch_size, device=target, on_batch=on_batch, shared=shared,
        )  # fmt: skip
    return found, dataset


def check_output(option: str, path: Path | None, suffixes: Sequence[str] = ()) -> None:
    """Raise UsageError, before any work, where `path` cannot be written in a known form."""
    if path is None or str(path) == "-":
        return
    if suffixes and path.suffix not in suffixes:
        known = ", ".join(suffixes)
        raise UsageError(f"{option} {path}: unknown suffix {path.suffix!r}. Known: {known}")
    if not path.parent.is_dir():
        raise UsageError(f"{option} {path}: there is no folder {path.parent}; make it first")
    if path.is_dir():
        raise UsageError(f"{option} {path}: is a folder; name a file")


def write_embeddings(embeddings: Embeddings, out: Path) -> None:
    """Write arrays `embeddings`, `ids` and, where known, `labels` (and `lengths`, `start`)."""
    check_output("--out", out, SUFFIXES)
    arrays = _arrays(embeddings)
    if out.suffix == ".npz":
        stream = io.BytesIO()
        np.savez(stream, **arrays)
        atomic_write(out, stream.getvalue())
    elif out.suffix == ".h5":
        write_arrays(out, arrays)
    else:
        atomic_write(out, _parquet(embeddings, arrays))


def _arrays(embeddings: Embeddings) -> dict[str, Any]:
    arrays: dict[str, Any] = {
        "embeddings": embeddings.values,
        "ids": np.asarray(embeddings.ids, dtype=str),
    }
    labels = embeddings.labels
    if labels is not None and any(label is not None for label in labels):
        arrays["labels"] = np.asarray(["" if label is None else str(label) for label in labels])
    for name in ("lengths", "start", "step_labels"):
        if (value := getattr(embeddings, name)) is not None:
            arrays[name] = value
    return arrays


def _parquet(embeddings: Embeddings, arrays: dict[str, Any]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    values = embeddings.values
    ids = arrays["ids"]
    labels = arrays.get("labels")
    if embeddings.lengths is not None:
        ids = np.repeat(ids, embeddings.lengths)
        labels = None if labels is None else np.repeat(labels, embeddings.lengths)
    flat = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
    columns = {"id": pa.array(ids), "embedding": flat}
    if labels is not None:
        columns["label"] = pa.array(labels)
    if embeddings.lengths is not None:
        columns["step"] = pa.array(np.concatenate([np.arange(n) for n in embeddings.lengths]))
    elif embeddings.start is not None:
        columns["start"] = pa.array(embeddings.start)
    if embeddings.step_labels is not None:
        columns["step_label"] = pa.array(embeddings.step_labels)
    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream)
    return stream.getvalue()

"""Draw records beside the views that a preset makes of them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seqcl.batch import Batch
from seqcl.config.preset import load_preset
from seqcl.data.collate import Collate, collate_rows
from seqcl.data.dataset import Dataset, open_dataset
from seqcl.errors import UsageError
from seqcl.files import atomic_write
from seqcl.model import Model
from seqcl.report.grid import draw_grid
from seqcl.report.picture import Panel, draw_panels
from seqcl.rng import Rng
from seqcl.run.build import build_model, prepare
from seqcl.run.embedding import check_output

__all__ = ["draw_views"]


def draw_views(
    preset_name: str,
    sources: Sequence[str],
    out: Path,
    *,
    records: int = 6,
    overrides: Sequence[str] = (),
    seed: int = 0,
) -> int:
    """Write a picture or the arrays (.npz); returns how many records it shows.

    The picture of series is .svg or .html, that of images .png.
    """
    check_output("--out", out, (".html", ".npz", ".png", ".svg"))
    preset = load_preset(preset_name, overrides)
    is_images = preset.modality.layout == "CHW"
    if out.suffix != ".npz" and is_images != (out.suffix == ".png"):
        kind, known = ("images", ".png") if is_images else ("series", ".svg or .html")
        raise UsageError(f"--out {out}: {kind} are drawn as {known}, or written as .npz")
    generator = preset.views.build()
    dataset = open_dataset(sources, preset.data, extra_steps=generator.extra_steps)
    model = build_model(preset, dataset.channels, dataset.rate_hz, seed)
    prepare(model, dataset, seed)
    rows = np.unique(np.linspace(0, len(dataset) - 1, min(records, len(dataset))).astype(int))
    batch = collate_rows(dataset, rows.tolist(), Collate(model.scaler, model.missing))
    views = generator(batch, model.frontend, Rng(seed, 0))
    if out.suffix == ".npz":
        _write_arrays(out, batch, views)
    elif is_images:
        atomic_write(out, draw_grid(_images(model, batch, views)))
    else:
        panels = _panels(dataset, rows.tolist(), model, batch, views)
        atomic_write(out, draw_panels(panels, html=out.suffix == ".html"))
    return len(rows)


def _images(
    model: Model, batch: Batch, views: tuple[Batch, ...]
) -> list[list[npt.NDArray[np.float32]]]:
    """Return a row for each record: itself, then its views as they were before the front end."""
    seen = [model.frontend.picture(view.values).float().numpy() for view in views]
    return [[batch.values[row].numpy(), *(view[row] for view in seen)] for row in range(len(batch))]


def _panels(
    dataset: Dataset, rows: Sequence[int], model: Model, batch: Batch, views: tuple[Batch, ...]
) -> list[list[Panel]]:
    names = ["record", *(f"view {index + 1}" for index in range(len(views)))]
    grid = []
    for place, row in enumerate(rows):
        line = []
        for name, item in zip(names, (batch, *views), strict=True):
            length = item.host_lengths[place] if item.host_lengths else item.values.shape[-1]
            values = item.values[place, : len(model.channels), :length].float().numpy()
            title = f"{dataset.ids[row]}" if item is batch else name
            line.append(Panel(title, values))
        grid.append(line)
    return grid


def _write_arrays(out: Path, batch: Batch, views: tuple[Batch, ...]) -> None:
    stream = io.BytesIO()
    arrays: dict[str, Any] = {
        f"view{index + 1}": view.values.numpy() for index, view in enumerate(views)
    }
    np.savez(stream, X=batch.values.numpy(), **arrays)
    atomic_write(out, stream.getvalue())

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
from seqcl.data.collate import collate_rows
from seqcl.data.dataset import Dataset, open_dataset
from seqcl.errors import UsageError
from seqcl.files import atomic_write
from seqcl.model import Model
from seqcl.registry import registry
from seqcl.report.grid import draw_grid
from seqcl.report.picture import Panel, draw_panels
from seqcl.rng import Rng
from seqcl.run.build import build_model, prepare
from seqcl.run.embedding import check_output
from seqcl.run.listening import check_folder, heard_views, write_sounds

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
    """Write a picture, sounds or the arrays (.npz); returns how many records there are.

    The picture of series is .svg or .html, that of images and spectrograms .png. A path without a
    suffix is a folder of .wav files of what audio views sound like before the front end.
    """
    preset = load_preset(preset_name, overrides)
    is_images = preset.modality.layout == "CHW"
    if is_sounds := not out.suffix and preset.modality.name == "audio":
        check_folder("--out", out)
    else:
        check_output("--out", out, (".html", ".npz", ".png", ".svg"))
    is_drawn = is_images or registry("frontends")[preset.frontend.name].pictured
    if not is_sounds and out.suffix != ".npz" and is_drawn != (out.suffix == ".png"):
        kind, known = ("series", ".svg or .html")
        if is_drawn:
            kind, known = ("images" if is_images else "spectrograms", ".png")
        raise UsageError(f"--out {out}: {kind} are drawn as {known}, or written as .npz")
    generator = preset.views.build()
    dataset = open_dataset(sources, preset.data, extra_steps=generator.extra_steps)
    model = build_model(preset, dataset.channels, dataset.rate_hz, seed)
    prepare(model, dataset, seed)
    rows = np.unique(np.linspace(0, len(dataset) - 1, min(records, len(dataset))).astype(int))
    batch = collate_rows(dataset, rows.tolist(), model.collate(dataset))
    if is_sounds:
        heard = heard_views(generator, batch, model.frontend, Rng(seed, 0))
        write_sounds(out, dataset.ids, rows.tolist(), batch, heard)
        return len(rows)
    views = generator(batch, model.frontend, Rng(seed, 0))
    if out.suffix == ".npz":
        _write_arrays(out, batch, views)
    elif is_drawn:
        shown = batch if is_images else model.frontend(batch)
        atomic_write(out, draw_grid(_images(model, shown, views, is_images)))
    else:
        panels = _panels(dataset, rows.tolist(), model, batch, views)
        atomic_write(out, draw_panels(panels, html=out.suffix == ".html"))
    return len(rows)


def _images(
    model: Model, batch: Batch, views: tuple[Batch, ...], is_images: bool
) -> list[list[npt.NDArray[np.float32]]]:
    """Return a row for each record: itself, then its views; images as before the front end."""
    seen = [model.frontend.picture(view.values).float().numpy() for view in views]
    own = batch.values if is_images else model.frontend.picture(batch.values)
    return [[own[row].numpy(), *(view[row] for view in seen)] for row in range(len(batch))]


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

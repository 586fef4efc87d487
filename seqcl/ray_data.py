"""Embed a corpus over many machines: a run as what Ray Data maps over batches.

``ray.data.read_parquet(FOLDER).map_batches(BatchEmbedder, fn_constructor_args=(RUN,),
compute=ray.data.ActorPoolStrategy(size=8))`` adds a column `embedding`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seqcl.batch import Embeddings
from seqcl.data.dataset import Dataset, dataset_from_arrays
from seqcl.errors import DataError
from seqcl.run.build import pick_device
from seqcl.run.embedding import open_for
from seqcl.run.folder import load
from seqcl.training.embed import embed

__all__ = ["BatchEmbedder"]

Columns = dict[str, npt.NDArray[Any]]


class BatchEmbedder:
    """A run that embeds batches of rows; every worker loads it once, and needs to reach its folder.

    Args:
        run: folder of the run.
        column: holds a record a row, (T,) or (C, T), lengths may differ, or (C, H, W) for images;
            or a text a row, the name of a file that every worker can read (or folder, or glob).
        batch_size: records at most in a forward pass.
        device: `auto` takes the GPU that ``num_gpus=1`` gives to a worker.
    """

    def __init__(
        self,
        run: str | Path,
        column: str = "values",
        *,
        batch_size: int = 256,
        device: str = "auto",
    ) -> None:
        self.run = load(Path(run))
        self.model = self.run.model
        self.column = column
        self.batch_size = batch_size
        self.device = pick_device(device)

    def __call__(self, batch: Mapping[str, npt.NDArray[Any]]) -> Columns:
        """Return the columns with `embedding` (rows, E) float32, the same in any batch.

        Arrays are left out of what is returned. Files give a row for each of their records, with
        its `id` and, of windows, its `start`; the other columns are repeated.

        Raises:
            DataError: no such column, a column whose name is that of a new one, a file that cannot
                be read, or a record that does not suit the run.
            ValueError: arrays of another number of channels than the run's.
        """
        if self.column not in batch:
            raise DataError(f"no column {self.column!r}. Known: {', '.join(sorted(batch))}")
        rows = batch[self.column]
        columns = {name: column for name, column in batch.items() if name != self.column}
        if not len(rows):
            found = {"embedding": np.empty((0, self.model.embedding.out_dim), np.float32)}
        elif isinstance(rows[0], str | bytes):
            names = [row.decode() if isinstance(row, bytes) else str(row) for row in rows]
            times, found = self._files(names)
            columns = {name: np.repeat(column, times, axis=0) for name, column in batch.items()}
        else:
            dataset = dataset_from_arrays(
                self._records(rows),
                channels=self.run.channels,
                missing=self.run.preset.data.missing,
            )
            found = {"embedding": self._embed(dataset).values}
        if taken := sorted(columns.keys() & found.keys()):
            raise DataError(f"column {taken[0]!r} is there already; give it another name")
        return {**columns, **found}

    def _files(self, names: Sequence[str]) -> tuple[list[int], Columns]:
        """Embed the records of files; returns how many each has, and what is known of them."""
        parts = []
        for name in names:
            dataset = open_for(self.run, [name])
            if dataset.skipped:
                first = dataset.skipped[0]
                raise DataError(f"{first.path}: {first.reason}")
            parts.append(self._embed(dataset))
        found: Columns = {
            "id": np.array([name for part in parts for name in part.ids]),
            "embedding": np.concatenate([part.values for part in parts]),
        }
        if all(part.start is not None for part in parts):
            found["start"] = np.concatenate([part.start for part in parts])
        return [len(part) for part in parts], found

    def _records(self, rows: npt.NDArray[Any]) -> npt.NDArray[Any] | list[npt.NDArray[Any]]:
        """Return images (n, C, H, W), or series (C, T_i), as a dataset takes them."""
        of_images = self.run.preset.data.layout == "CHW"
        axes = 3 if of_images else 2
        records = [_array(row) for row in rows]
        records = [one[None] if one.ndim == axes - 1 else one for one in records]
        for place, one in enumerate(records):
            if one.ndim != axes or (of_images and one.shape != records[0].shape):
                wanted = "images (C, H, W) of one size" if of_images else "series (C, T)"
                raise DataError(
                    f"row {place} of {self.column!r} has shape {np.shape(rows[place])}; this run "
                    f"takes {wanted}"
                )
            if one.size and one.dtype.kind == "f" and np.isnan(one).all():
                raise DataError(f"row {place} of {self.column!r} has no value, NaN throughout")
        return np.stack(records) if of_images else [one.astype(np.float32) for one in records]

    def _embed(self, dataset: Dataset) -> Embeddings:
        return embed(
            self.model, dataset, batch_size=self.batch_size, device=self.device, alike=True,
            by_group=False,
        )  # fmt: skip


def _array(row: Any) -> npt.NDArray[Any]:
    """Return an array of numbers, also of nested lists; of nothing one without axes."""
    values = np.asarray(row)
    if values.dtype != object or not values.ndim:
        return values
    return np.stack([_array(part) for part in values])

"""Embed a corpus over many machines: a run as what Ray Data maps over batches.

``ray.data.read_parquet(FOLDER).map_batches(BatchEmbedder, fn_constructor_args=(RUN,),
concurrency=8)`` adds a column `embedding`; https://docs.ray.io/en/latest/data.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seqcl.data.dataset import dataset_from_arrays
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
        self.column = column
        self.batch_size = batch_size
        self.device = pick_device(device)

    def __call__(self, batch: Mapping[str, npt.NDArray[Any]]) -> Columns:
        """Return the columns with `embedding` (rows, E) float32, the same in any batch.

        Files give a row for each of their records, with its `id` and, of windows, its `start`; the
        other columns are repeated, and `values` of arrays are left out.

        Raises:
            DataError: the column is missing, or a file or record cannot be used.
            ValueError: arrays of another number of channels than the run's.
        """
        if self.column not in batch:
            raise DataError(f"no column {self.column!r}. Known: {', '.join(sorted(batch))}")
        others = {name: column for name, column in batch.items() if name != self.column}
        rows = batch[self.column]
        if rows.dtype.kind in "US" or isinstance(rows[0], str):
            return self._files([str(name) for name in rows], batch)
        run, X = self.run, rows if rows.dtype != object else [_array(row) for row in rows]
        dataset = dataset_from_arrays(X, channels=run.channels, missing=run.preset.data.missing)
        return {**others, "embedding": self._embed(dataset).values}

    def _files(self, names: list[str], batch: Mapping[str, npt.NDArray[Any]]) -> Columns:
        found = [self._embed(open_for(self.run, [name])) for name in names]
        counts = [len(part) for part in found]
        columns = {name: np.repeat(column, counts, axis=0) for name, column in batch.items()}
        columns["id"] = np.array([name for part in found for name in part.ids])
        if all(part.start is not None for part in found):
            columns["start"] = np.concatenate([part.start for part in found])
        columns["embedding"] = np.concatenate([part.values for part in found])
        return columns

    def _embed(self, dataset: Any) -> Any:
        return embed(
            self.run.model, dataset, batch_size=self.batch_size, device=self.device, alike=True
        )


def _array(row: Any) -> npt.NDArray[np.float32]:
    """Return one record (C, T), from an array or from nested lists."""
    values = np.asarray(row) if np.asarray(row).dtype != object else np.stack(row)
    return np.atleast_2d(values.astype(np.float32))

"""A run as an index uses it: open, embed to the same bits, change as its views do."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from seqcl.batch import Axes
from seqcl.data.collate import collate_rows
from seqcl.data.dataset import Dataset, dataset_from_arrays
from seqcl.errors import DataError
from seqcl.retrieval.alignment import Cut
from seqcl.retrieval.census import inner_name
from seqcl.retrieval.queries import Embedder, windows_at
from seqcl.retrieval.ranking import Ranker
from seqcl.retrieval.recognition import Sample
from seqcl.retrieval.searcher import query_hop
from seqcl.retrieval.shards import unit_vectors
from seqcl.retrieval.speeds import speeds_within, stretched
from seqcl.rng import Rng
from seqcl.run.build import pick_device, threads
from seqcl.run.embedding import open_for
from seqcl.run.folder import Run
from seqcl.training.embed import embed

__all__ = ["RunEmbedder", "fingerprint"]

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

_WHOLE = ("data.window=null", "data.hop=null", "data.cache=null")
_ANY_LENGTH = 1 << 40
_SAMPLES, _LENGTHS, _SEED = 96, (1, 2, 3, 5), 17
"""Changed queries, their lengths in windows, and the stream that they are drawn from."""


@dataclass(frozen=True)
class RunEmbedder(Embedder):
    """Embeds with the Model of a run; `overrides` change its ``data:`` section."""

    run: Run
    overrides: tuple[str, ...] = ()
    device: str = "auto"
    batch_size: int = 256
    cpu_threads: int | None = None

    @property
    def layout(self) -> Axes:
        """Axes of the run's records."""
        return self.run.preset.modality.layout

    def open(self, source: str, most_steps: int | None = None) -> Dataset:
        """Open whole recordings of so many steps, their channels matched to the run's."""
        limit = f"data.max_steps={most_steps or _ANY_LENGTH}"
        return open_for(self.run, [source], (*self.overrides, *_WHOLE, limit))

    def from_arrays(self, arrays: Sequence[npt.NDArray[np.floating]]) -> Dataset:
        """Return a dataset of arrays (C, T_i), or of images (C, H, W) of one size.

        Raises DataError for another number of channels than the run has, or no steps.
        """
        names = self.run.channels
        for array in arrays:
            if array.shape[0] != len(names) or not array.size:
                raise DataError(
                    f"an array of shape {tuple(array.shape)}: the run has {len(names)} channels "
                    f"({', '.join(names[:4])}{', …' if len(names) > 4 else ''}); needed: an array "
                    f"({len(names)}, T) of some steps T"
                )
        values = np.stack(arrays) if arrays[0].ndim == 3 else list(arrays)
        missing = self.run.preset.data.missing
        return dataset_from_arrays(values, channels=self.run.channels, missing=missing)

    def embed(self, dataset: Dataset) -> Floats:
        """Embed every record, (N, E), to the same bits in any dataset (on a CPU).

        So a record is a group of its own for a front end that normalises by group.
        """
        device = pick_device(self.device)
        with threads(self.cpu_threads):
            found = embed(
                self.run.model, dataset, batch_size=self.batch_size, device=device, alike=True,
                by_group=False,
            )  # fmt: skip
        return found.values

    def changed(self, ranker: Ranker, dataset: Dataset, most: float = 0.0) -> list[Sample]:
        """Return queries made of recordings of `dataset` that the index holds.

        Each is played at a speed of its own, faster or slower by up to `most`, and cut at each
        that is tried. Each window is changed on its own, by the last view of the run's generator.
        A generator that reads beyond a window leaves them as they are.
        """
        entries, draw = ranker.entries, np.random.default_rng(_SEED)
        window, hop = entries.window, query_hop(entries.window, entries.hop)
        if window is None or hop is None or dataset.size is not None:
            return []
        paths = [entries.files[recording.file].path for recording in entries.recordings]
        places = {
            (path, inner_name(path, recording.name)): place
            for place, (path, recording) in enumerate(zip(paths, entries.recordings, strict=True))
        }
        known = dataset.recordings
        files = [str(file.path.resolve()) for file in known.files]
        own = [files[file] for file in known.file.tolist()]
        names = [(path, inner_name(path, name)) for path, name in zip(own, known.ids, strict=True)]
        shared = [row for row, name in enumerate(names) if name in places]
        samples = []
        for number in range(_SAMPLES if shared else 0):
            row = shared[int(draw.integers(len(shared)))]
            length = int(known.lengths[row])
            steps = min(_LENGTHS[number % len(_LENGTHS)] * window, length)
            played = draw.uniform(1 - most, min(1 + most, length / steps)) if most else 1.0
            span = min(math.ceil(steps * played), length)
            first = int(draw.integers(length - span + 1))
            values = dataset.excerpt(row, first, first + span).values
            values = stretched(values, 1 / played) if most else values
            name, found = known.ids[row], []
            for speed in speeds_within(most):
                windows, starts = windows_at(values, speed, window, hop, entries.hop or window)
                if windows:
                    vectors = self._changed(self.from_arrays(windows), number)
                    found.append(Cut(unit_vectors(vectors, [name] * len(starts)), starts, speed))
            samples.append(Sample(places[names[row]], first, tuple(found)))
        return samples

    @torch.no_grad()
    def _changed(self, dataset: Dataset, number: int) -> Floats:
        """Embed a changed view of every record."""
        device = pick_device(self.device)
        preset, model = self.run.preset, self.run.model.to(device).eval()
        spec = preset.views if preset.method is not None else model.embedding.views or preset.views
        make_views = spec.build()
        batch = collate_rows(dataset, np.arange(len(dataset)), model.collate()).to(device)
        with threads(self.cpu_threads):
            if make_views.extra_steps:
                return model(batch).cpu().numpy()  # type: ignore[no-any-return]
            views = make_views(batch, model.frontend, Rng(_SEED, number, device=device))
            view = views[-2] if make_views.whole and len(views) > 1 else views[-1]
            found = model.embedding(model.encoder(view).pooled.float())
        return found.cpu().numpy()  # type: ignore[no-any-return]


def fingerprint(run: Run) -> str:
    """Return what tells a run from every other: a hash of its preset and its weights."""
    files = run.manifest["files"]
    text = f"{files['preset.yaml']} {files['model.safetensors']}"
    return hashlib.sha256(text.encode()).hexdigest()

"""Searcher: an index that is open, and what can be asked of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from seqcl.batch import Record
from seqcl.errors import MissingInputError, UsageError, did_you_mean
from seqcl.metrics.projection import embedding_map
from seqcl.retrieval.alignment import align
from seqcl.retrieval.building import make_neighbours
from seqcl.retrieval.calibration import probability
from seqcl.retrieval.catalogue import Catalogue
from seqcl.retrieval.census import inner_name
from seqcl.retrieval.duplicates import DuplicateGroup, find_duplicates
from seqcl.retrieval.entries import Entries
from seqcl.retrieval.folder import CATALOGUE, NEIGHBOURS, VECTORS, Manifest
from seqcl.retrieval.matches import Identification, Match, Place, SearchResult
from seqcl.retrieval.neighbours import Neighbours
from seqcl.retrieval.queries import Embedder, Excerpt, Query, Source, make_queries
from seqcl.retrieval.ranking import Hit, Ranker
from seqcl.retrieval.recognition import confidence, evidence
from seqcl.retrieval.shards import Shards
from seqcl.retrieval.speeds import speeds_within

__all__ = ["Searcher", "open_parts", "query_hop"]

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_MAP_POINTS, _SEED = 5_000, 3


class Searcher:
    """An open index; every method may be called from several threads.

    Args:
        folder: of a complete index; raises MissingInputError or ArtefactError otherwise.
        embedder: the run that it was made with.
    """

    def __init__(self, folder: Path, embedder: Embedder) -> None:
        self.folder = folder
        self.embedder = embedder
        self.manifest = Manifest.of_complete(folder)
        for name in self.manifest.names:
            self.manifest.check(folder / name)
        entries, shards = open_parts(folder, self.manifest)
        facts = self.manifest.neighbours
        assert facts is not None
        if facts.quantise == "stored":
            near = make_neighbours(entries, shards, "stored")
        else:
            near = Neighbours.read(folder / NEIGHBOURS, facts)
        self.ranker = Ranker(entries, shards, near)

    @property
    def entries(self) -> Entries:
        """What the index holds."""
        return self.ranker.entries

    def __len__(self) -> int:
        return len(self.entries)

    def search(
        self,
        source: Source,
        k: int = 10,
        *,
        at: float | None = None,
        length: float | None = None,
        labels: Sequence[str] = (),
        exclude_self: bool = False,
        every: bool = False,
    ) -> list[SearchResult]:
        """Find what is like each recording of a source.

        A recording that is too short, or that the excerpt is not in, is left out: see
        `make_queries`.

        Args:
            source: a file, folder or glob, an array (C, T), or an open dataset.
            k: matches at most.
            at: where an excerpt begins: seconds, or steps where the rate is not known.
            length: how long it is, in the same unit.
            labels: only entries with one of these labels.
            exclude_self: leave out files with the content of the query's own.
            every: every entry that matches; False = the best of each recording.

        Raises UsageError for `k` below 1, an unknown label, or an excerpt outside every recording.
        """
        if k < 1:
            raise UsageError(f"k is {k}; give 1 or more matches")
        excerpt = None if at is None and length is None else Excerpt(at or 0.0, length)
        settings = self.manifest.settings
        queries = make_queries(self.embedder, source, settings, excerpt=excerpt)
        chosen = None if not labels else self._with_labels(labels)
        results = []
        for query in queries:
            allowed = self._allowed(chosen, query.sha256 if exclude_self else None)
            hits = self.ranker.rank(query.vectors, k + 1, allowed, distinct=not every)
            results.append(SearchResult(query.name, query.first, self._matches(query, hits, k)))
        return results

    def identify(
        self, source: Source, *, at: float | None = None, length: float | None = None
    ) -> list[Identification]:
        """Find which recording each query is from and where in it, or that it is a stranger."""
        excerpt = None if at is None and length is None else Excerpt(at or 0.0, length)
        settings = self.manifest.settings
        hop = query_hop(settings.window, settings.hop)
        queries = make_queries(
            self.embedder, source, settings,
            excerpt=excerpt, hop=hop, speeds=speeds_within(settings.speed),
        )  # fmt: skip
        return [self._identified(query) for query in queries]

    def duplicates(self, threshold: float = 0.98, share: float = 0.5) -> list[DuplicateGroup]:
        """Return groups of near-duplicates, see `seqcl.retrieval.duplicates`."""
        return find_duplicates(self.ranker, threshold, share)

    def excerpt(self, recording: int, start: int, stop: int) -> Record:
        """Read steps of a recording (a place among `entries.recordings`) from its file.

        Raises MissingInputError or DataError where the file is no longer what it was.
        """
        known = self.entries.recordings[recording]
        file = self.entries.files[known.file]
        file.check()
        dataset = self.embedder.open(file.path)
        wanted, found = inner_name(file.path, known.name), dataset.recordings
        for row, name in enumerate(found.ids):
            if inner_name(file.path, name) == wanted and int(found.lengths[row]) == known.steps:
                return dataset.excerpt(row, start, stop)
        raise MissingInputError(f"{file.path}: {known.name} is not in it any more")

    @cached_property
    def map(self) -> tuple[Ints, npt.NDArray[np.float64]]:
        """Ids (n,) of at most 5,000 entries and their two principal coordinates (n, 2)."""
        ids = np.random.default_rng(_SEED).permutation(self.entries.ids)[:_MAP_POINTS]
        ids = np.sort(ids)
        return ids, embedding_map(self.ranker.shards.read(ids))

    def place_of(self, entry: int, start: float | None = None) -> Place:
        """Describe an entry, or another step of its recording."""
        ids, known = np.array([entry]), self.entries
        number = int(known.recording_of(ids)[0])
        recording = known.recordings[number]
        first = float(known.start_of(ids)[0]) if start is None else start
        rate = recording.rate_hz
        return Place(
            file=known.files[recording.file].path,
            recording=recording.name,
            start=first,
            start_s=None if rate is None else first / rate,
            length_s=None if rate is None else known.length_of(number) / rate,
            label=known.label_of(entry),
            group=recording.group,
            entry=entry,
        )

    def _matches(self, query: Query, hits: Sequence[Hit], k: int) -> tuple[Match, ...]:
        scores = [round(hit.score, 6) for hit in hits]
        following = [*scores[1:], None]
        return tuple(
            Match(
                rank, self.place_of(hit.entry), score,
                probability(self.manifest.calibration, score),
                None if after is None else round(score - after, 6), int(query.starts[hit.window]),
            )
            for rank, (hit, score, after) in enumerate(
                zip(hits[:k], scores, following, strict=False), 1
            )
        )  # fmt: skip

    def _identified(self, query: Query) -> Identification:
        found = align(self.ranker, query.cuts)
        facts = evidence(found, len(query.starts))
        learnt = self.manifest.recognition
        sure = confidence(learnt, facts)
        place, speed = None, 1.0
        if found.best:
            best = found.best[0]
            nearest = self._entry_at(best.recording, best.start)
            place, speed = self.place_of(nearest, max(0.0, best.start)), round(best.speed, 4)
            if self.manifest.settings.window is None:  # where in a whole recording is not known
                place = replace(place, start=None, start_s=None)
        known = None if learnt is None or sure is None else sure >= learnt["threshold"]
        rounded = None if sure is None else round(sure, 4)
        return Identification(
            query.name, known, rounded, place, round(facts[0], 6), round(facts[1], 6), speed
        )

    def _entry_at(self, recording: int, start: float) -> int:
        ids = self.entries.ids_of(self.entries.recording == recording)
        return int(ids[np.abs(self.entries.start_of(ids) - start).argmin()])

    def _with_labels(self, labels: Sequence[str]) -> Bools:
        known = {str(text) for text in self.entries.label_texts}
        for label in labels:
            if label not in known:
                raise UsageError(f"no entry has label {label!r}.{did_you_mean(label, known)}")
        return self.entries.with_label(labels)

    def _allowed(self, chosen: Bools | None, digest: str | None) -> Bools | None:
        """Return which ids may be found: of chosen stretches and not of a file's content."""
        known = self.entries
        if chosen is None and digest is None:
            return None
        keep = np.ones(len(known.first), dtype=bool) if chosen is None else chosen.copy()
        if digest is not None:
            other = np.array([file.sha256 != digest for file in known.files])
            keep &= other[known.file_of[known.recording]]
        allowed = np.zeros(int(known.first[-1] + known.count[-1]), dtype=bool)
        allowed[known.ids_of(keep)] = True
        return allowed


def open_parts(folder: Path, manifest: Manifest) -> tuple[Entries, Shards]:
    """Read the catalogue of an index and open its vectors."""
    catalogue = Catalogue(folder / CATALOGUE)
    try:
        settings = manifest.settings
        entries = Entries.load(catalogue, settings.window, settings.hop)
        return entries, Shards(folder / VECTORS, catalogue.shards())
    finally:
        catalogue.close()


def query_hop(window: int | None, hop: int | None) -> int | None:
    """Return the hop of the windows that a query is aligned by, finer than that of the index."""
    if window is None or hop is None:
        return None
    return max(1, min(hop // 4, window // 8))

"""Index data with a run, and open what was made."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from seqcl.data.dataset import Dataset
from seqcl.data.source import Skipped
from seqcl.errors import ArtefactError, MissingInputError, SeqclError, UsageError
from seqcl.files import locked, sweep
from seqcl.retrieval.building import add_pieces, compact, refresh_neighbours, sweep_vectors
from seqcl.retrieval.calibration import calibrate
from seqcl.retrieval.catalogue import Catalogue
from seqcl.retrieval.census import are_repeated, census
from seqcl.retrieval.changes import Changes, find_changes, note_changes
from seqcl.retrieval.folder import CATALOGUE, VECTORS, Manifest
from seqcl.retrieval.neighbours import Quantise, check_quantise, need_faiss
from seqcl.retrieval.qdrant import QdrantNeighbours, collection_name, connect, upload
from seqcl.retrieval.ranking import Ranker
from seqcl.retrieval.recognition import learn_recognition
from seqcl.retrieval.searcher import Searcher, open_parts
from seqcl.retrieval.shards import Precision, Shards
from seqcl.run.embedder import RunEmbedder
from seqcl.run.embedding import open_for
from seqcl.run.folder import Run, load
from seqcl.run.index_settings import lasting, merged, refuse_other_data, settings_of

__all__ = ["ClipIndex", "IndexResult", "index_sources"]

_RUN = "run"
_RUN_FILES = ("preset.yaml", "manifest.json", "model.safetensors")
_FASTEST = 0.2
_ENOUGH, _GROWN, _SAMPLED = 0.5, 2, 100
"""Part of the index's recordings that must be at hand to learn to tell strangers from them alone,
growth after which that is learnt again from others, and about how many files of these."""


@dataclass(frozen=True)
class IndexResult:
    """What was done to an index."""

    folder: Path
    entries: int
    changes: Changes
    neighbours: str
    """What was done to the faiss part."""
    manifest: Manifest
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]

    @property
    def summary(self) -> str:
        """How many files were new, changed and so on."""
        changes = self.changes
        moved = {old for old, _ in changes.moved}
        counts = {
            "added": changes.added,
            "changed": changes.changed,
            "resumed": changes.resumed,
            "unchanged": changes.unchanged - len(changes.moved),
            "described anew": sum(old not in moved for old, _ in changes.redescribed),
            "moved": len(changes.moved),
            "dropped": len(changes.dropped),
            "not in --data and kept": len(changes.kept),
        }
        return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)

    @property
    def structure(self) -> str:
        """Kind of the faiss part, what was done to it, and how much it finds."""
        facts = self.manifest.neighbours
        assert facts is not None
        kind = "flat" if facts.lists <= 1 else f"{facts.nprobe} of {facts.lists:,} lists a search"
        kind += "" if facts.quantise == "none" else f", {facts.quantise}"
        recall = "" if facts.recall is None else f", recall at 10 {facts.recall:.3f}"
        return f"{kind}{recall}; {self.neighbours}"


class ClipIndex(Searcher):
    """An index with the run that it was made with, of which it keeps a copy.

    ``ClipIndex.open("clips.index").search("query.wav", k=5)``
    """

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        device: str = "auto",
        cpu_threads: int | None = None,
        qdrant: str | None = None,
    ) -> ClipIndex:
        """Open an index; raises MissingInputError or ArtefactError.

        With `qdrant`, a server's address or a folder, neighbours are found there, where
        `index_sources` put the vectors, and not by faiss.
        """
        folder = Path(path)
        need_faiss(cpu_threads)
        settings = Manifest.of_complete(folder).settings
        run = _own_run(folder)
        embedder = RunEmbedder(run, settings.overrides, device, cpu_threads=cpu_threads)
        index = cls(folder, embedder)
        if qdrant is not None:
            client, name = connect(qdrant), _collection(folder, index.manifest)
            near = QdrantNeighbours(client, name, len(index))
            index.ranker = replace(index.ranker, neighbours=near)
        return index


def _own_run(folder: Path) -> Run:
    """Open the copy of the run that an index keeps."""
    try:
        return load(folder / _RUN)
    except (ArtefactError, MissingInputError):
        raise ArtefactError(
            f"{folder / _RUN}: its copy of the run is gone or damaged; repeat 'seqcl index', which "
            "copies it again"
        ) from None


def index_sources(
    run: Run,
    sources: Sequence[str],
    out: Path,
    *,
    overrides: Sequence[str] = (),
    precision: Precision | None = None,
    quantise: Quantise | None = None,
    speed: float | None = None,
    prune: bool = False,
    rehash: bool = False,
    device: str = "auto",
    batch_size: int = 256,
    cpu_threads: int | None = None,
    qdrant: str | None = None,
    on_piece: Callable[[int, int], None] | None = None,
) -> IndexResult:
    """Make an index of `sources` at `out`, or bring it up to date with them.

    What is already in it, by content, is not embedded again. Settings that are left out are those
    that the index was made with.

    Args:
        run: the run to embed with.
        sources: as for `open_dataset`.
        out: folder of the index.
        overrides: changes of the run's ``data:`` section, such as the window.
        precision: of the stored vectors; None = float32.
        quantise: of the faiss part; None = none.
        speed: share, at most 0.2, by which a query to identify may be faster or slower than what
            it was taken from: `identify` then tries it at each hundredth. None = 0.
        prune: drop files that `sources` do not hold.
        rehash: read every file, whatever its size and time say.
        device, batch_size, cpu_threads: as for `embed_sources`.
        qdrant: address of a Qdrant server, or a folder for its client's local mode, that gets the
            vectors too.
        on_piece: called with (entries done, entries to embed) after each commit.

    Raises:
        UsageError: faiss, or Qdrant's client, is missing; the index was made with another
            run or other settings; `speed` is out of its range.
        ArtefactError: the index is damaged.
        LockedError: another process is writing it.
    """
    if speed is not None and not 0 <= speed <= _FASTEST:
        raise UsageError(f"speed is {speed:g}; give a share from 0 to {_FASTEST:g}")
    need_faiss(cpu_threads)
    client = None if qdrant is None else connect(qdrant, make=True)
    _check_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    with locked(out, "index"):
        before = Manifest.read(out)
        kept = () if before is None else before.settings.overrides
        asked = merged(kept, overrides)
        embedder = RunEmbedder(run, lasting(asked), device, batch_size, cpu_threads)
        dataset = open_for(run, sources, asked)
        settings = settings_of(embedder, before, precision, quantise, speed)
        if before is not None:
            before.refuse_other(out, settings)
            refuse_other_data(out, run, kept, asked)
        manifest = replace(before or Manifest(settings), settings=settings)
        result = _update(out, embedder, dataset, manifest, prune, rehash, on_piece)
        if client is not None:
            result = replace(result, manifest=_upload(client, out, before, result.manifest))
            client.close()
        return result


def _upload(client: Any, out: Path, before: Manifest | None, manifest: Manifest) -> Manifest:
    """Write the vectors of an index to Qdrant, and drop those of the state uploaded before."""
    name, stale = _collection(out, manifest), manifest.collection
    if stale is None and before is not None and before.files:  # an index that does not tell
        stale = _collection(out, before)
    upload(client, name, *open_parts(out, manifest))
    if stale not in (None, name) and client.collection_exists(stale):
        client.delete_collection(stale)
    manifest = replace(manifest, collection=name)
    manifest.write(out)
    return manifest


def _collection(folder: Path, manifest: Manifest) -> str:
    assert manifest.files is not None
    return collection_name(folder, manifest.files[CATALOGUE])


def _update(
    out: Path,
    embedder: RunEmbedder,
    dataset: Dataset,
    manifest: Manifest,
    prune: bool,
    rehash: bool,
    on_piece: Callable[[int, int], None] | None,
) -> IndexResult:
    """Add, drop and describe; the index is complete again once its manifest is written."""
    if manifest.is_complete:
        manifest.check(out / CATALOGUE)
    sweep(out)
    (out / VECTORS).mkdir(exist_ok=True)
    catalogue = Catalogue(out / CATALOGUE, writable=True)
    try:
        catalogue.check()
        Shards(out / VECTORS, catalogue.shards()).check()
        repeated = are_repeated(dataset)
        found = census(dataset, repeated)
        changes = find_changes(catalogue, found, rehash=rehash, prune=prune)
        kept = sum(file.done for file in changes.kept)
        check_quantise(manifest.settings.quantise, sum(map(len, found)) + kept)
        _copy_run(embedder.run, out / _RUN)
        replace(manifest, is_complete=False).write(out)
        sweep_vectors(out, catalogue)
        note_changes(catalogue, changes, manifest.settings.hop)
        add_pieces(out, catalogue, dataset, changes, manifest, embedder.embed, on_piece)
        entries, shards = open_parts(out, manifest)
        if not len(entries):
            raise UsageError(f"{out}: nothing is left in the index; give data that it shall hold")
        if compact(out, catalogue, entries, manifest):
            entries, shards = open_parts(out, manifest)
    finally:
        catalogue.close()
    near, done = refresh_neighbours(out, entries, shards, manifest)
    manifest = replace(manifest, neighbours=near.facts, entries=len(entries))
    new = changes.pending or changes.redescribed or changes.dropped
    if not manifest.is_complete or new:
        manifest = _learnt(manifest, Ranker(entries, shards, near), embedder, dataset)
    manifest = manifest.noted(out)
    manifest.write(out)
    notes = (*dataset.notes, *_told(int(repeated.sum()), changes, prune))
    return IndexResult(out, len(entries), changes, done, manifest, dataset.skipped, notes)


def _told(repeated: int, changes: Changes, prune: bool) -> Iterator[str]:
    """Yield what a user should know of the files."""
    if repeated:
        yield f"{repeated:,} recordings were given more than once, or by a link too: taken once"
    if changes.dropped and not prune:
        yield (
            f"{len(changes.dropped):,} files whose embedding was interrupted are not in --data "
            f"and were dropped, first {changes.dropped[0].path}; give them again"
        )


def _learnt(
    manifest: Manifest, ranker: Ranker, embedder: RunEmbedder, dataset: Dataset
) -> Manifest:
    """Measure what scores and alignments mean in the index as it is now.

    To tell strangers is learnt from `dataset` where that is much of the index; else from a sample
    of the index's own files, and again only once it has grown to `_GROWN` times its size then.
    """
    found = replace(manifest, calibration=calibrate(ranker))
    size, known = len(ranker.entries.recordings), manifest.recognition
    if len(dataset.recordings.lengths) >= _ENOUGH * size:
        known = None  # what was learnt from other recordings counts no more
    else:
        if known is not None and size < _GROWN * known.get("recordings", size):
            return found
        dataset = _sample(ranker, embedder) or dataset
    samples = embedder.changed(ranker, dataset, manifest.settings.speed)
    return replace(found, recognition=learn_recognition(ranker, samples) or known)


def _sample(ranker: Ranker, embedder: RunEmbedder) -> Dataset | None:
    """Open some of the index's files where they are still; None where none can be read."""
    paths = [file.path for file in ranker.entries.files if Path(file.path).is_file()]
    chosen = paths[:: max(1, len(paths) // _SAMPLED)]
    try:
        return open_for(embedder.run, chosen, embedder.overrides) if chosen else None
    except SeqclError:
        return None


def _check_folder(out: Path) -> None:
    """Refuse a folder that holds other things than an index."""
    if out.is_dir() and any(out.iterdir()) and Manifest.read(out) is None:
        known = {"lock", VECTORS, _RUN}
        names = {path.name for path in out.iterdir() if not path.name.startswith(CATALOGUE)}
        if names - known:
            raise UsageError(f"--out {out}: holds other files and no index; name a new folder")
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out}: is a file; an index is a folder")


def _copy_run(run: Run, to: Path) -> None:
    """Copy what embedding needs, so that the index works wherever it is moved to."""
    if run.path.resolve() == to.resolve():
        return
    to.mkdir(exist_ok=True)
    for name in _RUN_FILES:
        shutil.copyfile(run.path / name, to / name)

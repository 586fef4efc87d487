"""Bring the vectors and the faiss part of an index up to date, each step durable when it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from seqcl.data.dataset import Dataset
from seqcl.errors import ArtefactError
from seqcl.retrieval.catalogue import Catalogue, Part
from seqcl.retrieval.changes import Changes
from seqcl.retrieval.entries import Entries
from seqcl.retrieval.folder import NEIGHBOURS, VECTORS, Manifest
from seqcl.retrieval.neighbours import Neighbours, Quantise, sample_size, top
from seqcl.retrieval.shards import Floats, Ints, Shards, unit_vectors, write_shard

__all__ = [
    "Embed",
    "add_pieces",
    "compact",
    "make_neighbours",
    "refresh_neighbours",
    "sweep_vectors",
]

Embed = Callable[[Dataset], Floats]
"""Embeds the records of a dataset: (N, E)."""

PIECE = 4_096
"""Entries that are embedded and committed together: what a killed build may lose."""
_SHARD, _MOST_SHARDS, _FEWEST_DEAD = 1 << 16, 512, 10_000
_TARGET, _TUNING, _NEAREST, _SEED = 0.97, 256, 10, 0


def add_pieces(
    folder: Path,
    catalogue: Catalogue,
    dataset: Dataset,
    changes: Changes,
    manifest: Manifest,
    embed: Embed,
    on_piece: Callable[[int, int], None] | None = None,
) -> None:
    """Embed what is pending; each piece is in the index once its commit returns.

    `on_piece` is called with (entries done, entries pending).
    """
    total = sum(len(file) - begin for file, _, begin in changes.pending)
    done = 0
    for parts in _pieces(changes):
        rows = np.concatenate([p.file.rows[p.begin : p.begin + p.count] for p in parts])
        piece = dataset.subset(rows)
        vectors = unit_vectors(embed(piece), piece.ids)
        first = len(Shards(folder / VECTORS, catalogue.shards()))
        shard = write_shard(folder / VECTORS, first, vectors, manifest.settings.precision)
        catalogue.add(shard, parts, manifest.settings.hop)
        done += len(rows)
        if on_piece is not None:
            on_piece(done, total)


def _pieces(changes: Changes) -> Iterator[list[Part]]:
    """Yield parts of files, `PIECE` rows together."""
    parts: list[Part] = []
    room = PIECE
    for file, stamp, begin in changes.pending:
        while begin < len(file):
            count = min(room, len(file) - begin)
            parts.append(Part(file, stamp, begin, count))
            begin, room = begin + count, room - count
            if not room:
                yield parts
                parts, room = [], PIECE
    if parts:
        yield parts


def sweep_vectors(folder: Path, catalogue: Catalogue) -> None:
    """Remove files of vectors that no commit names: a killed build left them."""
    named = {shard.name for shard in catalogue.shards()}
    for path in (folder / VECTORS).iterdir():
        if path.name not in named:
            path.unlink()


def compact(folder: Path, catalogue: Catalogue, entries: Entries, manifest: Manifest) -> bool:
    """Write the vectors again without those of dropped entries, where that is worth it.

    Entries get new ids, so the faiss part goes first. Returns whether it was done.
    """
    shards = Shards(folder / VECTORS, catalogue.shards())
    dead = len(shards) - len(entries)
    worth = dead > max(_FEWEST_DEAD, len(entries)) or len(shards.shards) > _MOST_SHARDS
    if not worth:
        return False
    (folder / NEIGHBOURS).unlink(missing_ok=True)
    ids = entries.ids
    fresh = [
        write_shard(
            folder / VECTORS, first, shards.read(ids[first : first + _SHARD]),
            manifest.settings.precision,
        )
        for first in range(0, len(ids), _SHARD)
    ]  # fmt: skip
    starts = np.searchsorted(ids, entries.first)
    moved = list(zip(entries.first.tolist(), starts.tolist(), strict=True))
    catalogue.replace_vectors(fresh, moved)
    sweep_vectors(folder, catalogue)
    return True


def refresh_neighbours(
    folder: Path, entries: Entries, shards: Shards, manifest: Manifest
) -> tuple[Neighbours, str]:
    """Make the faiss part hold exactly the entries; returns it and what was done.

    Entries are added and removed without another training, unless the index has outgrown it, is
    to be quantised otherwise, or the file is not there or not whole: then it is made from the
    stored vectors.
    """
    found = _kept(folder, manifest)
    if manifest.settings.quantise == "stored":
        (folder / NEIGHBOURS).unlink(missing_ok=True)
        return make_neighbours(entries, shards, "stored"), "the stored vectors"
    if found is None or found.outgrown(len(entries)):
        found = make_neighbours(entries, shards, manifest.settings.quantise)
        done = "made"
    else:
        inside = found.ids()
        stale = inside[~entries.are_live(inside)]
        fresh = np.setdiff1d(entries.ids, inside)
        if len(stale):
            found.remove(stale)
        for first in range(0, len(fresh), _SHARD):
            ids = fresh[first : first + _SHARD]
            found.add(ids, shards.read(ids))
        done = f"{len(fresh)} added, {len(stale)} removed"
    found.write(folder / NEIGHBOURS)
    return found, done


def _kept(folder: Path, manifest: Manifest) -> Neighbours | None:
    """Return the faiss part as it is; None where it has to be made again."""
    facts = manifest.neighbours
    if facts is None or facts.quantise != manifest.settings.quantise or facts.quantise == "stored":
        return None
    try:
        manifest.check(folder / NEIGHBOURS)
        return Neighbours.read(folder / NEIGHBOURS, facts)
    except ArtefactError:
        return None


def make_neighbours(entries: Entries, shards: Shards, quantise: Quantise) -> Neighbours:
    """Train on a sample, add everything, and choose how many lists to look in."""
    draw = np.random.default_rng(_SEED)
    ids = entries.ids
    sample = np.sort(draw.permutation(ids)[: sample_size(len(ids))])
    found = Neighbours.train(shards.read(sample), len(ids), quantise)
    for names, vectors in _live(entries, shards):
        found.add(names, vectors)
    if not found.is_exact:
        chosen = np.sort(draw.permutation(ids)[:_TUNING])
        queries = shards.read(chosen)
        truth = top(queries, _live(entries, shards), min(_NEAREST + 1, len(ids)))
        found.tune(queries, truth, _TARGET)
    return found


def _live(entries: Entries, shards: Shards) -> Iterator[tuple[Ints, Floats]]:
    """Yield (ids, vectors) of all entries, block by block."""
    for first, vectors in shards.blocks():
        ids = np.arange(first, first + len(vectors))
        live = entries.are_live(ids)
        yield ids[live], vectors if live.all() else vectors[live]

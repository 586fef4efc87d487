"""Neighbours: the faiss index of unit vectors by entry id, flat or inverted, whole or quantised."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from seqcl.errors import ArtefactError, UsageError
from seqcl.files import atomic_write

__all__ = ["FLAT_LIMIT", "Neighbours", "NeighboursFacts", "Quantise", "need_faiss", "top"]

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Quantise = Literal["none", "sq8", "pq", "stored"]
"""How the faiss part holds vectors; `stored`: there is no file of it, and opening an index makes it
from the stored vectors."""

FLAT_LIMIT = 200_000
"""Entries above which lists are searched instead of everything."""
_OUTGROWN = 4
"""A trained part is trained again once there are so many times the entries that it was made for."""
_PER_LIST, _FEWEST_PQ = 40, 256
_NPROBES = (4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True, slots=True)
class NeighboursFacts:
    """What a manifest says of the faiss part."""

    lists: int
    """Lists of an inverted index; 0 = flat, every entry is looked at."""
    quantise: Quantise
    made_for: int
    """Entries when it was trained or made."""
    nprobe: int = 1
    recall: float | None = None
    """Recall at 10 against exact search, measured when it was made; None = it is exact."""


def need_faiss(cpu_threads: int | None = None) -> Any:
    """Import faiss, to compute with so many threads; UsageError says how to get it."""
    try:
        import faiss
    except ImportError:
        raise UsageError(
            "an index needs faiss, which is not installed: pip install 'seqcl[search]'"
        ) from None
    if cpu_threads is not None:
        faiss.omp_set_num_threads(cpu_threads)
    return faiss


class Neighbours:
    """Finds the entries whose vectors have the highest inner product with a query's."""

    def __init__(self, index: Any, facts: NeighboursFacts) -> None:
        self.index = index
        self.facts = facts

    @classmethod
    def train(cls, sample: Floats, total: int, quantise: Quantise) -> Neighbours:
        """Make an empty one for about `total` entries, trained on `sample` (n, E)."""
        faiss = need_faiss()
        dim, metric = sample.shape[1], faiss.METRIC_INNER_PRODUCT
        check_quantise(quantise, total)
        bits, coarse = faiss.ScalarQuantizer.QT_8bit, faiss.IndexFlatIP(dim)
        lists = list_count(total) if total > FLAT_LIMIT else int(quantise == "pq")
        if quantise == "pq":  # one list where few: faiss cannot leave entries out of a flat one
            index = faiss.IndexIVFPQ(coarse, dim, lists, _pq_parts(dim), 8, metric)
            index.pq.cp.min_points_per_centroid = 1
        elif lists and quantise == "sq8":
            index = faiss.IndexIVFScalarQuantizer(coarse, dim, lists, bits, metric)
        elif lists:
            index = faiss.IndexIVFFlat(coarse, dim, lists, metric)
        elif quantise == "sq8":
            index = faiss.IndexIDMap(faiss.IndexScalarQuantizer(dim, bits, metric))
        else:
            index = faiss.IndexIDMap(faiss.IndexFlatIP(dim))
        if lists:
            index.cp.spherical = True
            index.cp.min_points_per_centroid = 1
        index.train(sample)
        return cls(index, NeighboursFacts(lists, quantise, total))

    @property
    def is_exact(self) -> bool:
        """Whether its scores and ranks are those of the vectors that were added."""
        return self.facts.lists == 0 and self.facts.quantise in ("none", "stored")

    def __len__(self) -> int:
        return int(self.index.ntotal)

    def outgrown(self, total: int) -> bool:
        """Return whether `total` entries deserve another kind or another training."""
        if self.facts.lists <= 1 and total > FLAT_LIMIT:
            return True
        return not self.is_exact and total > _OUTGROWN * self.facts.made_for

    def ids(self) -> Ints:
        """Return the ids of all entries in it."""
        faiss = need_faiss()
        if self.facts.lists == 0:
            return np.array(faiss.vector_to_array(self.index.id_map), dtype=np.int64)
        lists = self.index.invlists
        parts = [
            faiss.rev_swig_ptr(lists.get_ids(number), lists.list_size(number)).copy()
            for number in range(lists.nlist)
            if lists.list_size(number)
        ]
        return np.concatenate(parts).astype(np.int64) if parts else np.empty(0, np.int64)

    def add(self, ids: Ints, vectors: Floats) -> None:
        """Add entries; nothing is trained again."""
        self.index.add_with_ids(np.ascontiguousarray(vectors), np.ascontiguousarray(ids))

    def remove(self, ids: Ints) -> None:
        """Take entries out."""
        self.index.remove_ids(np.ascontiguousarray(ids))

    def search(self, queries: Floats, k: int, allowed: Bools | None = None) -> tuple[Floats, Ints]:
        """Return scores and ids (q, k), best first; id -1 where there are no more.

        `allowed` (n,) bool says which ids may be found; those beyond it may not. Where it allows
        few, all lists are looked in; where a query finds too few, more of them.
        """
        chosen: dict[str, Any] = {}
        lists, nprobe, count = self.facts.lists, self.facts.nprobe, len(self)
        if allowed is not None:
            bits = np.packbits(allowed, bitorder="little")
            chosen["sel"], count = need_faiss().IDSelectorBitmap(bits), int(allowed.sum())
            spread = -(-nprobe * len(self) // max(1, count))  # the nearest lie so much farther off
            nprobe = lists if count <= FLAT_LIMIT else min(lists, spread)
        scores, ids = self._look(queries, k, nprobe, chosen)
        while nprobe < lists and (short := ids[:, min(k, count) - 1] < 0).any():
            nprobe = min(lists, 4 * nprobe)
            scores[short], ids[short] = self._look(queries[short], k, nprobe, chosen)
        return scores, ids

    def _look(
        self, queries: Floats, k: int, nprobe: int, chosen: dict[str, Any]
    ) -> tuple[Floats, Ints]:
        """Search so many lists, or everything where there are none."""
        faiss = need_faiss()
        params = faiss.SearchParameters(**chosen) if chosen else None
        if self.facts.lists:
            params = faiss.SearchParametersIVF(nprobe=nprobe, **chosen)
        scores, ids = self.index.search(np.ascontiguousarray(queries), k, params=params)
        return scores, ids.astype(np.int64)

    def tune(self, queries: Floats, truth: Ints, target: float) -> None:
        """Choose the fewest lists to look in that find `target` of the true neighbours.

        `queries` (q, E) are entries themselves; `truth` (q, k + 1) their exact neighbours, of
        which each one's own is the first and does not count.
        """
        recall = self._recall(queries, truth)
        if self.facts.lists > 1:
            for nprobe in _NPROBES:
                self.facts = replace(self.facts, nprobe=nprobe)
                recall = self._recall(queries, truth)
                if recall >= target:
                    break
        self.facts = replace(self.facts, recall=round(recall, 4))

    def _recall(self, queries: Floats, truth: Ints) -> float:
        """Return the part of the true neighbours among the candidates that are scored again."""
        k = truth.shape[1]
        found = self.search(queries, candidates_of(k))[1]
        rows = zip(truth[:, 1:].tolist(), found.tolist(), strict=True)
        return float(np.mean([len(set(true) & set(near)) / (k - 1) for true, near in rows]))

    def write(self, path: Path) -> None:
        """Write it, whole or not at all."""
        faiss = need_faiss()
        atomic_write(path, faiss.serialize_index(self.index).tobytes())

    @classmethod
    def read(cls, path: Path, facts: NeighboursFacts) -> Neighbours:
        """Read what `write` wrote, whose sha256 was checked."""
        faiss = need_faiss()
        try:
            return cls(faiss.deserialize_index(np.fromfile(path, dtype=np.uint8)), facts)
        except RuntimeError as error:
            raise ArtefactError(
                f"{path}: faiss cannot read it ({str(error).splitlines()[-1]}); delete it and "
                "repeat 'seqcl index', which makes it again from the stored vectors"
            ) from None


def check_quantise(quantise: Quantise, total: int) -> None:
    """Raise UsageError where so many entries are too many or too few for it."""
    if quantise == "stored" and total > FLAT_LIMIT:
        raise UsageError(
            f"--quantise stored: searches every entry, {FLAT_LIMIT:,} at most, and there are "
            f"{total:,}; use sq8, pq or none"
        )
    if quantise == "pq" and total < _FEWEST_PQ:
        raise UsageError(
            f"--quantise pq: learns from at least {_FEWEST_PQ} entries and there are {total}; "
            "use sq8 or none"
        )


def candidates_of(k: int) -> int:
    """Return how many are taken from a quantised index, to be scored again by their vectors."""
    return max(64, 4 * k)


def list_count(total: int) -> int:
    """Return the lists for `total` entries: the power of two next to twice the root."""
    return int(2 ** round(np.log2(2 * total**0.5)))


def sample_size(total: int) -> int:
    """Return how many entries to train on."""
    return _PER_LIST * list_count(total) if total > FLAT_LIMIT else 50_000


def top(queries: Floats, blocks: Iterable[tuple[Ints, Floats]], k: int) -> Ints:
    """Return the ids (q, k) of the exact neighbours, over blocks of (ids, vectors)."""
    faiss = need_faiss()
    scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
    ids = np.full((len(queries), k), -1, dtype=np.int64)
    for names, vectors in blocks:
        near, places = faiss.knn(queries, vectors, min(k, len(vectors)), faiss.METRIC_INNER_PRODUCT)
        scores = np.concatenate((scores, near), axis=1)
        ids = np.concatenate((ids, names[places]), axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        scores = np.take_along_axis(scores, order, axis=1)
        ids = np.take_along_axis(ids, order, axis=1)
    return ids


def _pq_parts(dim: int) -> int:
    """Return the bytes of a product code: the largest divisor of `dim` up to a quarter of it."""
    return max(part for part in range(1, max(1, dim // 4) + 1) if dim % part == 0)

"""Speed and recall of an index of a million vectors, and what a kill and additions cost.

    python benchmarks/search.py --out STEM [--quick]

The vectors are made: 20,000 centres drawn from a normal distribution of 32 dimensions, turned into
128 by a random map; each vector is a centre plus noise of half its spread in those 32 dimensions
and of a tenth in all 128; unit length, seed 0. Queries are drawn the same way and are in no index.
Exact neighbours come from comparing with everything. All times are CPU times of one thread, queries
one at a time.

A build is killed with SIGKILL after half of its entries and repeated; then 1,000 entries are added
to 100,000 and to 300,000. Each index is made by the code of `seqcl index`, with vectors in place of
a run. A row that STEM.json has is not measured again.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from measuring import table

from seqcl.data.dataset import Dataset, open_dataset
from seqcl.data.options import DataOptions
from seqcl.files import atomic_write
from seqcl.retrieval import building
from seqcl.retrieval.building import add_pieces, refresh_neighbours, sweep_vectors
from seqcl.retrieval.catalogue import Catalogue
from seqcl.retrieval.census import census
from seqcl.retrieval.changes import find_changes
from seqcl.retrieval.folder import CATALOGUE, NEIGHBOURS, VECTORS, IndexSettings, Manifest
from seqcl.retrieval.neighbours import Neighbours, Quantise, need_faiss, top
from seqcl.retrieval.ranking import Ranker
from seqcl.retrieval.searcher import open_parts
from seqcl.retrieval.shards import unit_vectors

DIM, INNER, CENTRES = 128, 32, 20_000
FILES, K = 20, 10
Flat = dict[str, Any]


def made(count: int, seed: int) -> np.ndarray:
    """Return unit vectors of the clustered generator, (count, 128)."""
    fixed, draw = np.random.default_rng(0), np.random.default_rng([1, seed])
    centres = fixed.normal(size=(CENTRES, INNER)).astype(np.float32)
    spread = (fixed.normal(size=(INNER, DIM)) / INNER**0.5).astype(np.float32)
    inner = centres[draw.integers(0, CENTRES, count)]
    inner = inner + 0.5 * draw.standard_normal((count, INNER), np.float32)
    values = inner @ spread + 0.1 * draw.standard_normal((count, DIM), np.float32)
    return unit_vectors(values, ["made"] * count)


def main() -> None:
    """Measure what is missing, then write STEM.json and STEM.md."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="stem of the files to write")
    parser.add_argument("--quick", action="store_true", help="a hundredth of the entries")
    parser.add_argument("--build", nargs=4, metavar="X", help=argparse.SUPPRESS)
    options = parser.parse_args()
    need_faiss().omp_set_num_threads(1)
    if options.build:
        folder, source, quantise, die = options.build
        update(Path(folder), Path(source), quantise, die_after=int(die) or None)
        return
    path = options.out.with_suffix(".json")
    records: list[Flat] = json.loads(path.read_text()) if path.is_file() else []
    scale = 100 if options.quick else 1
    rows: dict[str, Callable[[], Flat]] = {
        "sq8": lambda: million(1_000_000 // scale, "sq8"),
        "exact (control)": lambda: exact(1_000_000 // scale),
        "1,000 added to 100,000": lambda: added(100_000 // scale, 1_000 // scale),
        "killed and resumed": lambda: killed(max(20_000, 200_000 // scale)),
        "none": lambda: million(1_000_000 // scale, "none"),
        "1,000 added to 300,000": lambda: added(300_000 // scale, 1_000 // scale),
        "pq": lambda: million(1_000_000 // scale, "pq"),
    }
    for system, measure in rows.items():
        if all(record["system"] != system for record in records):
            records.append({"set": "made", "system": system, "seed": 0, **measure()})
            atomic_write(path, json.dumps(records, indent=0) + "\n")
            print(system, records[-1], flush=True)
    atomic_write(options.out.with_suffix(".md"), summary(records))
    print(summary(records))


def update(
    folder: Path, source: Path, quantise: Quantise, die_after: int | None = None
) -> tuple[Ranker, Flat]:
    """Bring an index of made vectors up to date as `seqcl index` does; returns seconds by step."""
    (folder / VECTORS).mkdir(parents=True, exist_ok=True)
    manifest = Manifest.read(folder) or Manifest(IndexSettings(run="made", quantise=quantise))
    catalogue = Catalogue(folder / CATALOGUE, writable=True)
    sweep_vectors(folder, catalogue)
    dataset = open_dataset([str(source)], DataOptions())
    changes = find_changes(catalogue.files(), census(dataset))

    def on_piece(done: int, total: int) -> None:
        if die_after is not None and done >= die_after:
            os.kill(os.getpid(), signal.SIGKILL)

    began = time.process_time()
    add_pieces(folder, catalogue, dataset, changes, manifest, values_of, on_piece)
    catalogue.close()
    stored = time.process_time()
    entries, shards = open_parts(folder, manifest)
    near, done = refresh_neighbours(folder, entries, shards, manifest)
    finished = time.process_time()
    facts = replace(manifest, neighbours=near.facts, entries=len(entries)).noted(folder)
    facts.write(folder)
    seconds = {"store_s": stored - began, "structure_s": finished - stored}
    return Ranker(entries, shards, near), {**seconds, "done": done}


def values_of(dataset: Dataset) -> np.ndarray:
    """Return the records themselves: (n, 128)."""
    return dataset.gather(np.arange(len(dataset))).values[:, 0]


def write_vectors(folder: Path, count: int) -> None:
    """Write `count` made vectors as records of 20 files."""
    folder.mkdir(parents=True, exist_ok=True)
    each = -(-count // FILES)
    for number in range(FILES):
        np.savez(folder / f"{number:02d}.npz", X=made(min(each, count), number)[:, None])


def million(count: int, quantise: Quantise) -> Flat:
    """Build an index and measure size, speed and recall of its search, scored again by vectors."""
    with tempfile.TemporaryDirectory() as work:
        folder, source = Path(work) / "index", Path(work) / "source"
        write_vectors(source, count)
        ranker, seconds = update(folder, source, quantise)
        queries = made(500, FILES)
        blocks = ((np.arange(first, first + len(b)), b) for first, b in ranker.shards.blocks())
        truth = top(queries, blocks, K)
        for query in queries[:50]:  # map the vectors' pages
            ranker.rank(query[None], K, distinct=False)
        spent, found = [], []
        for query in queries:
            began = time.process_time()
            hits = ranker.rank(query[None], K, distinct=False)
            spent.append(time.process_time() - began)
            found.append({hit.entry for hit in hits})
        recall = np.mean([len(set(t) & f) / K for t, f in zip(truth.tolist(), found, strict=True)])
        facts = ranker.neighbours.facts
        return {
            "entries": len(ranker.entries),
            "query_ms": round(1e3 * float(np.median(spent)), 3),
            "query_p99_ms": round(1e3 * float(np.quantile(spent, 0.99)), 3),
            "recall_at_10": round(float(recall), 4),
            "lists": facts.lists,
            "looked_in": facts.nprobe,
            "structure_mb": round((folder / NEIGHBOURS).stat().st_size / 1e6, 1),
            "build_cpu_s": round(seconds["store_s"] + seconds["structure_s"], 1),
        }


def exact(count: int) -> Flat:
    """Measure comparing with everything, the control."""
    index = Neighbours(need_faiss().IndexFlatIP(DIM), None)  # type: ignore[arg-type]
    for number in range(FILES):
        index.index.add(made(-(-count // FILES), number))
    queries, spent = made(30, FILES), []
    for query in queries:
        began = time.process_time()
        index.index.search(query[None], K)
        spent.append(time.process_time() - began)
    return {
        "entries": count,
        "query_ms": round(1e3 * float(np.median(spent)), 3),
        "query_p99_ms": round(1e3 * float(np.quantile(spent, 0.99)), 3),
        "recall_at_10": 1.0,
        "lists": 0,
        "looked_in": 0,
        "structure_mb": round(4e-6 * count * DIM, 1),
        "build_cpu_s": 0.0,
    }


def killed(count: int) -> Flat:
    """Kill a build after half of its pieces, repeat it, compare with one that was not killed."""
    with tempfile.TemporaryDirectory() as work:
        source = Path(work) / "source"
        write_vectors(source, count)
        half = count // 2
        argv = [sys.executable, __file__, "--out", "unused", "--build"]
        where = str(Path(work) / "killed")
        ended = subprocess.run([*argv, where, str(source), "sq8", str(half)], check=False)
        assert ended.returncode == -signal.SIGKILL
        catalogue = Catalogue(Path(where) / CATALOGUE)
        survived = sum(file.done for file in catalogue.files().values())
        catalogue.close()
        ranker, _ = update(Path(where), source, "sq8")
        other, _ = update(Path(work) / "whole", source, "sq8")
        ids = other.entries.ids
        same = np.array_equal(ranker.shards.read(ids), other.shards.read(ids))
        assert same
        assert np.array_equal(ranker.entries.ids, ids)
        return {"entries": count, "committed_when_killed": survived, "equal_after": same,
                "piece": building.PIECE}  # fmt: skip


def added(count: int, more: int) -> Flat:
    """Measure adding to an index against making it."""
    with tempfile.TemporaryDirectory() as work:
        folder, source = Path(work) / "index", Path(work) / "source"
        write_vectors(source, count)
        _, making = update(folder, source, "none")
        np.savez(source / "more.npz", X=made(more, FILES + 1)[:, None])
        _, adding = update(folder, source, "none")
        assert adding["done"] == f"{more} added, 0 removed"
        return {
            "entries": count + more,
            "build_cpu_s": round(making["store_s"] + making["structure_s"], 2),
            "add_cpu_s": round(adding["store_s"] + adding["structure_s"], 2),
        }


def summary(records: list[Flat]) -> str:
    """Return the tables."""
    named = {record["system"]: record for record in records}
    heads = (
        "quantise", "entries", "query_ms", "query_p99_ms", "recall_at_10", "lists", "looked_in",
        "structure_mb", "build_cpu_s",
    )  # fmt: skip
    speed = [
        {"quantise": r["system"], **{h: r.get(h, "–") for h in heads[1:]}}
        for r in records
        if "query_ms" in r
    ]
    more = [
        {h: r[h] for h in ("system", "build_cpu_s", "add_cpu_s")}
        for r in records
        if "add_cpu_s" in r
    ]
    lines = ["# Search: speed and recall of made vectors of 128 dimensions, one thread", "",
             table(speed)]  # fmt: skip
    if more:
        lines += ["", table(more)]
    if (kill := named.get("killed and resumed")) is not None:
        lines += [
            "",
            f"A build of {kill['entries']:,} entries was killed after "
            f"{kill['committed_when_killed']:,}, in pieces of {kill['piece']:,}; repeated, its "
            f"vectors were those of a build that was not: {kill['equal_after']}.",
        ]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()

"""Which recording is a noisy clip from, and where in it: embeddings beside landmarks.

    python benchmarks/identify.py --data DIR --queries FOLDER --out STEM
        [--seeds 3] [--preset audio-fingerprint] [--set KEY=VALUE] [--systems seqcl,landmarks]
        [--conditions 0dB,-5dB] [--lengths 1,3] [--limit N] [--quick]

DIR/music has labels.csv (file, track, split); the tracks of split `db` are the index, those of
split `train` teach the encoder, so no query is of a track that it saw. The noise that it learns to
ignore is DIR/noise and DIR/esc10 but for its fold 5, which is left for the queries. FOLDER has
truth.csv (file, track, start_s, seconds, condition, stranger) and the queries it names; tracks of
which a query is a stranger are left out of the index. Rows: the trained run by `identify`'s own
code, in an index of `--precision int2 --quantise stored`; the same with `--speed 0.06`, "at any
speed"; its encoder before training, whose features are as many as the front end gives, in float32;
log-mel bands in time, in float32; landmarks. Bytes are those of all that a search reads.
`recall_at_10` is the share of an entry's 10 nearest, by the embeddings before they were stored,
that are so as they are stored.

A query is right where the first recording is its own; its place is right within 0.25 s. Strangers
are told by the equal error of each system's own evidence (the confidence of `identify`, whose
threshold comes from the index alone; the lead of the controls; votes), over the queries of each
condition and length. A finished row is kept.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from landmarks import RATE_HZ, Landmarks
from measuring import table

from seqcl.data.dataset import Dataset
from seqcl.files import atomic_write
from seqcl.retrieval.building import add_pieces, refresh_neighbours
from seqcl.retrieval.catalogue import Catalogue
from seqcl.retrieval.census import census
from seqcl.retrieval.changes import find_changes
from seqcl.retrieval.folder import CATALOGUE, VECTORS, IndexSettings, Manifest
from seqcl.retrieval.neighbours import top
from seqcl.retrieval.ranking import Ranker
from seqcl.retrieval.recognition import equal_error, learn_recognition
from seqcl.retrieval.searcher import Searcher, open_parts
from seqcl.retrieval.shards import Shards, unit_vectors
from seqcl.run import Run, Settings, load, pretrain
from seqcl.run.embedder import RunEmbedder
from seqcl.run.embedding import open_for

NEAR_S, LEFT_OUT = 0.25, "5"
"""Seconds within which a place is right, and the fold of noises that training does not hear."""
Flat = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """A query and its truth."""

    path: Path
    track: str
    start_s: float
    seconds: int
    condition: str
    stranger: bool


@dataclass(frozen=True)
class Told:
    """A system's answer: the track, where in it, and how sure it is."""

    track: str
    start_s: float
    evidence: float


Answer = Callable[[Path], Told]


class Untrained(RunEmbedder):
    """The same run before its first step."""

    @cached_property
    def begun(self) -> Run:
        """The run with the weights that training began with."""
        begun = replace(self.run)
        begun.__dict__["model"] = self.run.untrained()
        return begun

    def embed(self, dataset: Dataset) -> np.ndarray:
        """Embed with the weights that training began with."""
        return self.begun.embed(dataset, device="cpu")


class LogMel(RunEmbedder):
    """The run's front end alone: bands in eight parts of a window, less their mean in time."""

    def embed(self, dataset: Dataset) -> np.ndarray:
        """Return (N, 8 * bands)."""
        model, found = self.run.model, []
        for first in range(0, len(dataset), 64):
            raw = torch.from_numpy(
                dataset.gather(range(first, min(first + 64, len(dataset)))).values
            )
            batch = model.collate()([dataset.record(first)])
            bands = model.frontend(batch.with_values(raw, ids=torch.arange(len(raw)))).values
            parts = torch.nn.functional.adaptive_avg_pool1d(bands, 8)
            found.append((parts - parts.mean(dim=2, keepdim=True)).flatten(1))
        return torch.cat(found).numpy()


def main() -> None:
    """Run what is missing, then write STEM.json and STEM.md."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of music, noise, esc10")
    parser.add_argument("--queries", type=Path, required=True, help="folder of truth.csv")
    parser.add_argument("--out", type=Path, required=True, help="stem of the files to write")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--preset", default="audio-fingerprint")
    parser.add_argument(
        "--noise-view", default="views.strong.2.noise", help="option of the preset that adds noise"
    )
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    parser.add_argument("--conditions", help="of the queries to ask, comma-separated")
    parser.add_argument("--lengths", help="seconds of the queries to ask, comma-separated")
    parser.add_argument("--systems", help="rows to measure, comma-separated")
    parser.add_argument("--limit", type=int, help="at most so many known and unknown ones a cell")
    parser.add_argument("--quick", action="store_true", help="few steps and queries, one seed")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.quick:
        options.seeds, options.limit = 1, 4
        options.overrides.append("training.steps=4")
    path = options.out.with_suffix(".json")
    records: list[Flat] = json.loads(path.read_text()) if path.is_file() else []
    asked = list(read_truth(options.queries, options))
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as work:
            for system, make in systems(options, asked, seed, Path(work)):
                if any((r["system"], r["seed"]) == (system, seed) for r in records):
                    continue
                if options.systems and system not in options.systems.split(","):
                    continue
                answer, cost = make()
                records += [{**row, **cost} for row in judge(system, seed, asked, answer)]
                atomic_write(path, json.dumps(records, indent=0) + "\n")
                print(f"{system} seed {seed}", flush=True)
    atomic_write(options.out.with_suffix(".md"), summary(records))
    print(summary(records))


def read_truth(folder: Path, options: argparse.Namespace) -> Iterator[Asked]:
    """Yield the queries; where there is a limit, so many of each kind, evenly over the tracks."""
    cells: dict[tuple[str, ...], list[dict[str, str]]] = {}
    with (folder / "truth.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            cell = (row["condition"], row["seconds"], row["stranger"])
            wanted = zip(cell, (options.conditions, options.lengths), strict=False)
            if all(names is None or name in names.split(",") for name, names in wanted):
                cells.setdefault(cell, []).append(row)
    for rows in cells.values():
        count = min(len(rows), options.limit or len(rows))
        for place in np.linspace(0, len(rows) - 1, count).round().astype(int).tolist():
            row = rows[place]
            yield Asked(
                folder / row["file"], row["track"], float(row["start_s"]),
                int(row["seconds"]), row["condition"], row["stranger"] == "1",
            )  # fmt: skip


def systems(
    options: argparse.Namespace, asked: Sequence[Asked], seed: int, work: Path
) -> Iterator[tuple[str, Callable[[], tuple[Answer, Flat]]]]:
    """Yield each system's name and what makes it; the run is trained when it is first needed."""
    music = options.data / "music"
    with (music / "labels.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "db"]
    strangers = {query.track for query in asked if query.stranger}
    tracks = [row["track"] for row in rows if row["track"] not in strangers]
    files = [music / row["file"] for row in rows if row["track"] not in strangers]

    spent = {}

    def run() -> Run:
        if not (work / "run").is_dir():
            bank = f"{options.noise_view}.bank={gathered(options.data, work / 'bank')}"
            given = Settings(
                sources=[f"{music}:train"], overrides=[bank, *options.overrides], seed=seed,
                device="cpu", threads=1,
            )  # fmt: skip
            began = time.process_time()
            pretrain(options.preset, given, work / "run")
            spent["train_cpu_s"] = round(time.process_time() - began, 1)
        return load(work / "run")

    def embedded(kind: type[RunEmbedder], speed: float = 0.0) -> Callable[[], tuple[Answer, Flat]]:
        def make() -> tuple[Answer, Flat]:
            answer, cost = by_index(kind(run(), (), "cpu", 256, 1), tracks, files, work, speed)
            return answer, {**cost, **(spent if kind is RunEmbedder else {})}

        return make

    yield "seqcl", embedded(RunEmbedder)
    yield "seqcl at any speed", embedded(RunEmbedder, 0.06)
    yield "untrained encoder", embedded(Untrained)
    if seed == 0:
        yield "log-mel", embedded(LogMel)
        yield "landmarks", lambda: by_landmarks(tracks, files)


def gathered(data: Path, folder: Path) -> Path:
    """Copy the noises that training may hear into one folder."""
    folder.mkdir()
    with (data / "esc10" / "labels.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["fold"] != LEFT_OUT]
    noises = [path for path in (data / "noise").iterdir() if path.suffix == ".flac"]
    for path in [*noises, *(data / "esc10" / row["file"] for row in rows)]:
        shutil.copyfile(path, folder / path.name)
    return folder


def by_index(
    embedder: RunEmbedder, tracks: Sequence[str], files: Sequence[Path], work: Path, speed: float
) -> tuple[Answer, Flat]:
    """Index the tracks as `seqcl index` does and answer as `seqcl identify` does."""
    began = time.process_time()
    folder = work / f"{type(embedder).__name__}-{speed:g}"
    (folder / VECTORS).mkdir(parents=True)
    data, is_ours = embedder.run.preset.data, type(embedder) is RunEmbedder
    assert data.window is not None
    settings = IndexSettings(
        run="benchmark", window=data.window, hop=data.hop or data.window,
        precision="int2" if is_ours else "float32", quantise="stored",
        speed=speed,
    )  # fmt: skip
    dataset = open_for(embedder.run, [str(file) for file in files])
    catalogue, manifest = Catalogue(folder / CATALOGUE, writable=True), Manifest(settings)
    changes = find_changes({}, census(dataset))
    whole: list[np.ndarray] = []

    def embed(piece: Dataset) -> np.ndarray:
        whole.append(embedder.embed(piece))
        return whole[-1]

    add_pieces(folder, catalogue, dataset, changes, manifest, embed)
    catalogue.close()
    entries, shards = open_parts(folder, manifest)
    near, _ = refresh_neighbours(folder, entries, shards, manifest)
    learnt = None
    if is_ours:
        ranker = Ranker(entries, shards, near)
        learnt = learn_recognition(ranker, embedder.changed(ranker, dataset, speed))
    manifest = replace(manifest, neighbours=near.facts, recognition=learnt)
    manifest.noted(folder).write(folder)
    searcher = Searcher(folder, embedder)
    named = {str(file.resolve()): track for file, track in zip(files, tracks, strict=True)}
    seconds = sum(r.steps for r in entries.recordings) / RATE_HZ
    kept = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    recall = {"recall_at_10": recall_at_10(np.concatenate(whole), shards)} if is_ours else {}

    def answer(path: Path) -> Told:
        (found,) = searcher.identify(path)
        if found.place is None:
            return Told("", 0.0, -1.0)
        sure = found.lead if found.confidence is None else found.confidence
        return Told(named[found.place.file], found.place.start_s or 0.0, sure)

    return answer, {
        "bytes_per_s": round(kept / seconds, 1),
        "index_cpu_s": round(time.process_time() - began, 1),
        "threshold": None if learnt is None else learnt["threshold"],
        **recall,
    }


def recall_at_10(whole: np.ndarray, shards: Shards) -> float:
    """Return how many of an entry's 10 nearest by `whole` (n, E) are so as they are stored."""
    ids = np.arange(len(whole))
    vectors = unit_vectors(whole, [""] * len(whole))
    chosen = np.random.default_rng(0).permutation(ids)[:256]
    found = []
    for stored in (vectors, shards.read(ids)):
        near = top(stored[chosen], [(ids, stored)], 11)
        found.append([set(row) - {own} for row, own in zip(near.tolist(), chosen, strict=True)])
    pairs = zip(*found, strict=True)
    return round(float(np.mean([len(a & b) / len(a) for a, b in pairs])), 4)


def by_landmarks(tracks: Sequence[str], files: Sequence[Path]) -> tuple[Answer, Flat]:
    """Index the tracks by pairs of peaks."""
    began = time.process_time()
    sounds = [read(file) for file in files]
    marks = Landmarks(sounds)

    def answer(path: Path) -> Told:
        found = marks.find(read(path))
        return Told(tracks[found[0][0]], found[0][1], found[0][2]) if found else Told("", 0.0, 0.0)

    seconds = sum(map(len, sounds)) / RATE_HZ
    return answer, {
        "bytes_per_s": round(marks.bytes / seconds, 1),
        "index_cpu_s": round(time.process_time() - began, 1),
        "threshold": None,
    }


def read(path: Path) -> np.ndarray:
    """Return mono samples; raises ValueError where the rate is not 16 kHz."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    if rate != RATE_HZ:
        raise ValueError(f"{path}: has {rate} Hz; needed are {RATE_HZ}")
    return samples.mean(axis=1)


def judge(system: str, seed: int, asked: Sequence[Asked], answer: Answer) -> Iterator[Flat]:
    """Yield a flat record for each condition and length."""
    began = time.process_time()
    told = [answer(query.path) for query in asked]
    spent = (time.process_time() - began) / len(asked)
    for condition, seconds in dict.fromkeys((q.condition, q.seconds) for q in asked):
        pairs = [
            (q, t)
            for q, t in zip(asked, told, strict=True)
            if (q.condition, q.seconds) == (condition, seconds)
        ]
        known = [(q, t) for q, t in pairs if not q.stranger]
        right = [q.track == t.track for q, t in known]
        near = [
            hit and abs(q.start_s - t.start_s) <= NEAR_S
            for (q, t), hit in zip(known, right, strict=True)
        ]
        evidence = np.array([t.evidence for _, t in pairs])
        stranger = np.array([q.stranger for q, _ in pairs])
        error = equal_error(evidence, ~stranger)[1] if stranger.any() else float("nan")
        yield {
            "set": f"{condition}, {seconds} s", "system": system, "seed": seed,
            "queries": len(known), "top1": float(np.mean(right)), "place": float(np.mean(near)),
            "equal_error": error, "query_cpu_ms": round(1e3 * spent, 1),
        }  # fmt: skip


def shown(values: Sequence[float]) -> str:
    """Return the mean of some numbers, a dash where there is none."""
    return f"{float(np.mean(values)):.4g}" if values else "–"


def summary(records: Sequence[Flat]) -> str:
    """Return a table for each measure: a row a system, a column a condition, lengths in a cell."""
    names = list(dict.fromkeys(r["system"] for r in records))
    cells = list(dict.fromkeys(r["set"] for r in records))
    conditions = list(dict.fromkeys(cell.split(", ")[0] for cell in cells))
    lengths = list(dict.fromkeys(cell.split(", ")[1] for cell in cells))
    seeds = len({r["seed"] for r in records})
    lines = [f"# Identification: mean of {seeds} seeds, cells are {' / '.join(lengths)}", ""]
    for measure, title in (
        ("top1", "First recording right, %"), ("place", "Recording and place within 0.25 s, %"),
        ("equal_error", "Strangers: equal error, %"),
    ):  # fmt: skip
        rows = []
        for name in names:
            row = {"system": name}
            for condition in conditions:
                found = [
                    [r[measure] for r in records
                     if r["system"] == name and r["set"] == f"{condition}, {length}"]
                    for length in lengths
                ]  # fmt: skip
                row[condition] = " / ".join(f"{100 * np.mean(v):.0f}" if v else "–" for v in found)
            rows.append(row)
        lines += [f"## {title}", "", table(rows), ""]
    costs = [
        {"system": name, **{
            key: shown([r[key] for r in records if r["system"] == name and key in r])
            for key in ("bytes_per_s", "recall_at_10", "train_cpu_s", "index_cpu_s", "query_cpu_ms")
        }}
        for name in names
    ]  # fmt: skip
    return "\n".join([*lines, "## Cost", "", table(costs), ""])


if __name__ == "__main__":
    main()

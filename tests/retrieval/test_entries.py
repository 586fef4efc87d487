"""The catalogue in arrays says of every entry what the dataset said of its row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqcl.data.dataset import open_dataset
from seqcl.data.options import DataOptions
from seqcl.retrieval.ranking import Ranker

Update = Callable[..., Any]
WHOLE = DataOptions()
STEP_LABELS = DataOptions(window=8, hop=4, label="mode")


def labelled_by_step(folder: Path) -> Path:
    """Write one table whose label changes within the recording."""
    rng = np.random.default_rng(1)
    rows = [f"{value:.4f},m{step // 20 % 3}" for step, value in enumerate(rng.normal(size=90))]
    path = folder / "table.csv"
    path.write_text("\n".join(["x,mode", *rows]))
    return path


@pytest.mark.parametrize("options", [DataOptions(window=16, hop=5), DataOptions(window=9), WHOLE])
def test_entries_are_the_rows_of_the_dataset(update, clips: Path, options: DataOptions) -> None:
    compare(update, clips, options)


def test_labels_that_change_within_a_recording(update, tmp_path: Path) -> None:
    compare(update, labelled_by_step(tmp_path), STEP_LABELS)


def compare(update, source: Path, options: DataOptions) -> None:
    full = replace(options, hop=options.hop or options.window)
    entries = update(source, options=full)[0].entries
    dataset = open_dataset([str(source)], full)
    ids = entries.ids
    assert ids.tolist() == list(range(len(dataset)))
    spans = dataset.spans
    np.testing.assert_array_equal(entries.start_of(ids), spans.start)
    recording = entries.recording_of(ids)
    names = [entries.recordings[place].name for place in recording.tolist()]
    assert names == [dataset.recordings.ids[place] for place in spans.recording.tolist()]
    assert [entries.label_of(entry) for entry in ids.tolist()] == list(dataset.labels)
    lengths = [entries.length_of(place) for place in recording.tolist()]
    assert lengths == spans.length.tolist()
    groups = [entries.recordings[place].group for place in recording.tolist()]
    assert groups == list(dataset.groups)


def test_a_source_is_a_group_or_a_recording_of_its_own(ranker: Ranker) -> None:
    assert ranker.entries.source_of.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_ids_beyond_the_entries_are_not_live(ranker: Ranker) -> None:
    count = len(ranker.entries)
    assert ranker.entries.are_live(np.array([-1, 0, count - 1, count])).tolist() == [
        False,
        True,
        True,
        False,
    ]


def test_entries_are_chosen_by_label(ranker: Ranker) -> None:
    entries = ranker.entries
    found = entries.ids_of(entries.with_label(["b"]))
    wanted = [entry for entry in entries.ids.tolist() if entries.label_of(entry) == "b"]
    assert found.tolist() == wanted
    assert not entries.with_label(["c"]).any()

import json
import os

import pytest

from seqcl.errors import TrainingError
from seqcl.training.sinks import JsonlSink, TensorBoardSink


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_record_is_a_whole_line_as_soon_as_it_is_logged(tmp_path):
    sink = JsonlSink(tmp_path / "metrics.jsonl")
    sink.on_start(100, 0)
    sink.on_log({"step": 20, "loss": 1.5})
    assert lines(sink.path) == [{"step": 20, "loss": 1.5}]
    sink.on_log({"step": 40, "loss": 1.25})
    sink.on_end()
    assert [record["step"] for record in lines(sink.path)] == [20, 40]


def test_a_resumed_run_drops_later_records_and_a_torn_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 20}\n{"step": 40}\n{"step": 60}\n{"step": 80, "lo')
    JsonlSink(path).on_start(100, 40)
    assert path.read_text() == '{"step": 20}\n{"step": 40}\n'


def test_a_new_run_starts_with_an_empty_log(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 20}\n')
    JsonlSink(path).on_start(100, 0)
    assert path.read_text() == ""


def test_what_is_told_before_the_first_step_is_not_kept_twice(tmp_path):
    sink = JsonlSink(tmp_path / "metrics.jsonl")
    for _ in range(2):  # the second after a run that died before its first checkpoint
        sink.on_start(100, 0)
        sink.on_log({"step": 0, "rankme": 4.0})
    assert lines(sink.path) == [{"step": 0, "rankme": 4.0}]
    sink.on_start(100, 20)
    assert lines(sink.path) == [{"step": 0, "rankme": 4.0}]


def test_numbers_that_json_does_not_know_become_null(tmp_path):
    sink = JsonlSink(tmp_path / "metrics.jsonl")
    sink.on_start(1, 0)
    sink.on_log({"step": 1, "margin": float("inf")})
    assert lines(sink.path) == [{"step": 1, "margin": None}]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_a_training_error_that_names_the_file(tmp_path):
    path = tmp_path / "metrics.jsonl"
    sink = JsonlSink(path)
    path.symlink_to("/dev/full")
    with pytest.raises(TrainingError, match="metrics.jsonl: cannot be written .No space left"):
        sink.on_log({"step": 1})


def test_tensorboard_gets_every_number_of_a_record(tmp_path):
    reader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="needs the extra 'track'"
    )
    sink = TensorBoardSink(tmp_path)
    sink.on_start(10, 0)
    sink.on_log({"step": 5, "loss": 0.5, "lr": 0.25, "positive_cosines": [1, 0, 0, 3]})
    sink.on_note("a remark")
    sink.on_end()
    events = reader.EventAccumulator(str(tmp_path)).Reload()
    assert events.Scalars("loss")[0].step == 5
    assert events.Scalars("lr")[0].value == 0.25
    (histogram,) = events.Histograms("positive_cosines")
    assert histogram.step == 5
    value = histogram.histogram_value
    assert (value.min, value.max, value.num, value.sum) == (-1, 1, 4, 1.5)
    assert list(value.bucket_limit) == [-0.5, 0, 0.5, 1]
    assert list(value.bucket) == [1, 0, 0, 3]


def test_histograms_are_lists_in_the_log(tmp_path):
    sink = JsonlSink(tmp_path / "metrics.jsonl")
    sink.on_start(1, 0)
    sink.on_log({"step": 1, "positive_cosines": [0, 2]})
    assert lines(sink.path) == [{"step": 1, "positive_cosines": [0, 2]}]


def test_tensorboard_shows_what_precedes_the_first_step_once(tmp_path):
    reader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="needs the extra 'track'"
    )
    for _ in range(2):
        sink = TensorBoardSink(tmp_path)
        sink.on_start(10, 0)
        sink.on_log({"step": 0, "rankme": 4.0})
        sink.on_end()
    assert len(reader.EventAccumulator(str(tmp_path)).Reload().Scalars("rankme")) == 1

"""`seqcl detect`: files, thresholds that cannot be promised, and a stream with every trouble."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Seqcl, run_command

from seqcl.errors import ArtefactError, DataError, UsageError
from seqcl.run import load
from seqcl.run.detecting import RuleOptions
from seqcl.run.detection_picture import check_picture
from seqcl.run.streaming import stream_lines


def write(path: Path, rows: int, first: int = 0, shift: slice = slice(0, 0)) -> Path:
    rng = np.random.default_rng(first)
    time = np.arange(first, first + rows)
    values = np.sin(2 * np.pi * time / 20)[:, None] + 0.2 * rng.normal(size=(rows, 3))
    values[shift, 1] += 3.0
    stamps = np.datetime64("2024-01-01T00:00:00") + time * np.timedelta64(60, "s")
    lines = ["timestamp,flow,heat,speed"]
    lines += [f"{s},{a:.4f},{b:.4f},{c:.4f}" for s, (a, b, c) in zip(stamps, values, strict=True)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plant")
    write(folder / "train.csv", 1_600)
    done = run_command(
        ("pretrain", "sensor-anomaly", "--data", "train.csv", "--out", "run", "--threads", "1",
         "--set", "detector.scorers=[kernel_distance, forecast]"), folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "seqcl detect run --data SRC --out scores.csv" in done.stderr
    return folder


def test_an_incident_is_found_explained_and_timed(
    plant: Path, seqcl: Seqcl, tmp_path: Path
) -> None:
    data = write(tmp_path / "test.csv", 600, 5_000, slice(400, 420))
    done = seqcl("detect", plant / "run", "--data", data, "--out", "s.csv",
                 "--incidents", "i.jsonl", "--far", "40%", "--threads", "1")  # fmt: skip
    assert "as many normal rows give" in done.stderr
    assert "cannot promise" not in done.stderr
    rows = list(csv.DictReader((tmp_path / "s.csv").open()))
    assert len(rows) == 600
    assert rows[410]["alarm"] == "1"
    assert float(rows[410]["p_value"]) < 0.2
    incidents = [json.loads(line) for line in (tmp_path / "i.jsonl").read_text().splitlines()]
    worst = max(incidents, key=lambda one: one["score"])
    assert worst["start"] <= 419
    assert worst["end"] >= 400
    assert worst["channels"][0]["name"] == "heat"
    assert worst["peak_time"].startswith("2024-01-04T")
    assert worst["nearest_normal"]["id"] == "train.csv"


def test_a_short_recording_of_a_fleet_is_skipped_and_shifts_no_name(
    seqcl: Seqcl, tmp_path: Path
) -> None:
    write(tmp_path / "a_short.csv", 30)
    write(tmp_path / "b_long.csv", 900)
    done = seqcl("pretrain", "sensor-anomaly", "--data", "*.csv", "--out", "run",
                 "--threads", "1", "--set", "detector.scorers=[mean_shift]", code=3)  # fmt: skip
    assert "skipped: a_short.csv: its 30 rows are too few for a window of" in done.stderr
    for how in ((), ("--causal",)):
        done = seqcl("detect", "run", "--data", "a_short.csv", *how, "--threads", "1", code=4)
        assert "a_short.csv: 30 rows are too few for this detector" in done.stderr
    write(tmp_path / "one_row.csv", 1)  # which has no rows a day
    done = seqcl("detect", "run", "--data", "one_row.csv", "--data", "b_long.csv",
                 "--far", "1/day", "--adaptive", "--threads", "1", code=3)  # fmt: skip
    assert "skipped: one_row.csv: 1 rows are too few for this detector" in done.stderr
    test = write(tmp_path / "test.csv", 400, 5_000, slice(200, 220))
    seqcl("detect", "run", "--data", test, "--incidents", "i.jsonl", "--threads", "1")
    incidents = [json.loads(line) for line in (tmp_path / "i.jsonl").read_text().splitlines()]
    assert {one["nearest_normal"]["id"] for one in incidents} == {"b_long.csv"}


def test_a_rate_that_cannot_be_promised_is_refused(
    plant: Path, seqcl: Seqcl, tmp_path: Path
) -> None:
    data = write(tmp_path / "test.csv", 100, 5_000)
    done = seqcl("detect", plant / "run", "--data", data, "--far", "0.01%", code=2)
    assert "cannot promise" in done.stderr
    done = seqcl("detect", plant / "run", "--data", data, "--far", "often", code=2)
    assert "false-alarm rate 'often'" in done.stderr


def test_a_threshold_follows_the_scores_of_a_file_as_of_a_stream(
    plant: Path, seqcl: Seqcl, tmp_path: Path
) -> None:
    data = write(tmp_path / "test.csv", 600, 5_000, slice(400, 420))
    for far, words in (
        ("0.5%", "of them reach a threshold that follows the scores, asked for are 0.50%"),
        ("3/day", "asked for are 1.2, by a threshold that follows the scores"),
    ):
        done = seqcl("detect", plant / "run", "--data", data, "--far", far, "--adaptive",
                     "--causal", "--out", "s.csv", "--picture", "s.png", "--report", "s.html",
                     "--threads", "1")  # fmt: skip
        assert words in done.stderr
        rows = list(csv.DictReader((tmp_path / "s.csv").open()))
        lines = [
            line
            for line in streamed(plant, data.read_text(), None, far=far, adaptive=True)
            if "score" in line and "event" not in line
        ]
        known = [place for place, row in enumerate(rows) if row["score"]]
        found = [float(rows[place]["threshold"]) for place in known]
        np.testing.assert_allclose(
            found, [lines[place]["threshold"] for place in known], rtol=1e-3, atol=2e-3
        )
        assert len(set(found)) > 100
    assert "threshold" not in streamed(plant, data.read_text(), None)[-1]
    head, *body = data.read_text().splitlines(keepends=True)
    halves = head + "".join(body[:300]), head + "".join(body[300:])
    state = tmp_path / "state.json"
    for far, told in (("3/day", False), ("1/day", True), (None, True)):
        state.unlink(missing_ok=True)
        first = streamed(plant, halves[0], state, far="3/day", adaptive=True)
        rules = {"adaptive": True, "far": far} if far else {}
        second = streamed(plant, halves[1], state, **rules)
        notes = [line["text"] for line in second if line.get("event") == "note"]
        assert any("the threshold begins anew" in text for text in notes) == told
        if far == "3/day":
            again = [line for line in (*first, *second) if "threshold" in line]
            assert [line["threshold"] for line in again] == [line["threshold"] for line in lines]


def streamed(plant: Path, text: str, state: Path | None, **rules: Any) -> list[dict[str, Any]]:
    """Return the lines that the stream wrote for `text`."""
    out = io.StringIO()
    options = RuleOptions(**rules)
    summary = stream_lines(
        load(plant / "run"), io.BytesIO(text.encode()), out, options, state=state
    )
    assert "latency" in summary
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_stream_with_every_trouble_goes_on_and_scores_as_a_file(
    plant: Path, seqcl: Seqcl, tmp_path: Path
) -> None:
    data = write(tmp_path / "test.csv", 300, 5_000, slice(230, 250))
    seqcl("detect", plant / "run", "--data", data, "--causal", "--out", "s.csv", "--threads", "1")
    wanted = [row["score"] for row in csv.DictReader((tmp_path / "s.csv").open())]
    lines = data.read_text().splitlines()
    wrong = [lines[99], lines[50], "2024-01-04T23:59:00,1.0", f"{lines[100][:19]},n/a,1,1"]
    first = "\n".join([*lines[:100], *wrong, *lines[100:150], ""])
    found = streamed(plant, first, tmp_path / "state.json")
    rest = "\n".join([lines[0], *lines[150:300], lines[300][:12]])
    found += streamed(plant, rest, tmp_path / "state.json")
    reasons = [one["reason"] for one in found if one.get("event") == "left_out"]
    assert reasons == [
        "its time stamp is that of the last row", "it is late", "it has 2 fields and the header 4",
        "could not convert string to float: 'n/a'", "the stream ended within it",
    ]  # fmt: skip
    rows = [one for one in found if "event" not in one]
    assert [one["row"] for one in rows] == list(range(299))
    for one, text in zip(rows, wanted, strict=False):
        assert (one["score"] is None) == (text == "")
        assert text == "" or abs(one["score"] - float(text)) < 2e-3
    opened = [one for one in found if one.get("event") == "incident_opened"]
    assert any(one["channels"][0]["name"] == "heat" for one in opened)


def test_a_gap_in_time_is_an_event_and_a_foreign_state_is_refused(
    plant: Path, tmp_path: Path
) -> None:
    lines = write(tmp_path / "test.csv", 40, 5_000).read_text().splitlines()
    found = streamed(plant, "\n".join([*lines[:10], *lines[20:], ""]), tmp_path / "state.json")
    assert [one["seconds"] for one in found if one.get("event") == "gap"] == [660.0]
    for text in ("{", '{"run": {}}'):
        (tmp_path / "state.json").write_text(text)
        with pytest.raises(ArtefactError, match="start without it"):
            streamed(plant, "\n".join(lines), tmp_path / "state.json")
    with pytest.raises(DataError, match="standard input: is empty"):
        streamed(plant, "", None)
    with pytest.raises(DataError, match="heat"):
        streamed(plant, "timestamp,flow,speed\n", None)


def test_lines_from_the_middle_of_a_file_are_taken_in_the_order_of_training(
    plant: Path, tmp_path: Path
) -> None:
    lines = write(tmp_path / "test.csv", 40, 5_000).read_text().splitlines()
    found = streamed(plant, "\n".join([*lines[11:], ""]), None)
    assert found[0]["text"].endswith("are taken to be timestamp, flow, heat, speed")
    assert [one["row"] for one in found if "event" not in one] == list(range(30))
    with pytest.raises(DataError, match="is no header, and has 5 columns"):
        streamed(plant, "\n".join(f"{line},1" for line in lines[11:]), None)


def test_an_endless_line_is_no_row_and_is_not_kept(plant: Path, tmp_path: Path) -> None:
    lines = write(tmp_path / "test.csv", 20, 5_000).read_text().splitlines()
    text = "\n".join([*lines[:11], "9" * (5 << 20), *lines[11:], ""])
    found = streamed(plant, text, None)
    assert [one["reason"] for one in found if one.get("event") == "left_out"] == [
        "it is no row (field larger than field limit (131072))"
    ]
    assert len([one for one in found if "event" not in one]) == 20


def test_sigterm_ends_a_stream_with_its_state(plant: Path, tmp_path: Path) -> None:
    text = write(tmp_path / "test.csv", 5, 5_000).read_text()
    process = subprocess.Popen(
        [sys.executable, "-m", "seqcl", "detect", plant / "run", "--data", "-", "--stream",
         "--state", tmp_path / "state.json"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(text)
    process.stdin.flush()
    for _ in range(5):
        process.stdout.readline()
    process.terminate()
    _, told = process.communicate()
    assert "5 rows, 0 incidents" in told
    assert json.loads((tmp_path / "state.json").read_text())["live"]["rows"] == 5


def test_the_command_streams_from_standard_input(plant: Path, tmp_path: Path) -> None:
    text = write(tmp_path / "test.csv", 30, 5_000).read_text()
    done = subprocess.run(
        [sys.executable, "-m", "seqcl", "detect", plant / "run", "--data", "-", "--stream"],
        input=text, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert len(done.stdout.splitlines()) == 30
    assert "30 rows, 0 incidents, 0 left out" in done.stderr


def test_stream_and_standard_input_go_together(plant: Path, seqcl: Seqcl) -> None:
    done = seqcl("detect", plant / "run", "--data", "-", code=2)
    assert "--stream reads --data -" in done.stderr
    for option in ("--incidents", "--report", "--picture"):
        done = seqcl("detect", plant / "run", "--data", "-", "--stream", option, "x.html", code=2)
        assert f"{option} does not go with --stream" in done.stderr
    done = seqcl("detect", plant / "run", "--data", "-", "--stream", "--out", "no/x", code=2)
    assert "there is no folder no" in done.stderr


def test_data_that_do_not_fit_the_run_are_refused(
    plant: Path, seqcl: Seqcl, tmp_path: Path
) -> None:
    slow = write(tmp_path / "slow.csv", 100)
    lines = slow.read_text().splitlines()
    slow.write_text("\n".join([lines[0], *lines[1::3]]) + "\n")
    done = seqcl("detect", plant / "run", "--data", slow, code=4)
    assert "resample the data" in done.stderr
    fewer = tmp_path / "fewer.csv"
    fewer.write_text("\n".join(line.rsplit(",", 1)[0] for line in lines) + "\n")
    done = seqcl("detect", plant / "run", "--data", fewer, code=4)
    assert "missing channels: speed" in done.stderr


def test_an_encoder_is_no_detector_and_a_detector_no_encoder(plant: Path, seqcl: Seqcl) -> None:
    done = seqcl("embed", plant / "run", "--data", plant / "train.csv", "--out", "e.npz", code=2)
    assert "is a detector and holds no encoder" in done.stderr
    done = seqcl("predict", plant / "run", "--data", plant / "train.csv", "--out", "p.csv", code=2)
    assert "is a detector and holds no encoder" in done.stderr
    done = seqcl("finetune", plant / "run", "--data", plant / "train.csv", "--out", "r", code=2)
    assert "is a detector and holds no encoder" in done.stderr
    done = seqcl("pretrain", "sensor-anomaly", "--data", plant / "train.csv", "--out", "r",
                 "--set", "encoder=tcn", code=2)  # fmt: skip
    assert "encoder: has no effect beside a detector" in done.stderr
    done = seqcl("pretrain", "sensor-anomaly", "--data", plant / "train.csv", "--out", "r",
                 "--device", "cuda", "--max-minutes", "1", code=2)  # fmt: skip
    assert "--device cuda, --max-minutes: no meaning for a detector" in done.stderr


def test_a_detector_learns_again_from_what_an_earlier_one_finds_usual(
    plant: Path, seqcl: Seqcl, tmp_path: Path
) -> None:
    recent = write(tmp_path / "recent.csv", 2_000, 9_000, slice(700, 760))
    shown = ("--threads", "1", "--set", "detector.scorers=[kernel_distance, mean_shift]")
    done = seqcl("pretrain", "sensor-anomaly", "--data", recent, "--init", plant / "run",
                 "--out", "again", *shown)  # fmt: skip
    found = re.search(r"([0-9,]+) of 2,000 rows are usual to --init", done.stderr)
    assert found is not None
    assert 1_000 < int(found[1].replace(",", "")) < 1_940
    windows = [
        re.search(r"window of (\d+) rows", (path / "manifest.json").read_text())
        for path in (plant / "run", tmp_path / "again")
    ]
    assert windows[0] is not None
    assert windows[1] is not None
    assert windows[0][1] == windows[1][1]
    manifest = json.loads((tmp_path / "again" / "manifest.json").read_text())
    assert len(manifest["init"]) == 64
    assert any(name.startswith("recent.csv from row ") for name in manifest["recordings"])
    test = write(tmp_path / "test.csv", 400, 5_000, slice(200, 220))
    seqcl("detect", "again", "--data", test, "--incidents", "i.jsonl", "--threads", "1")
    incidents = [json.loads(line) for line in (tmp_path / "i.jsonl").read_text().splitlines()]
    named = {one["nearest_normal"]["id"] for one in incidents if "event" not in one}
    assert named <= set(manifest["recordings"])
    short = write(tmp_path / "short.csv", 100)
    done = seqcl("pretrain", "sensor-anomaly", "--data", short, "--init", plant / "run",
                 "--out", "none", *shown, code=4)  # fmt: skip
    assert "finds no stretch usual that is long enough" in done.stderr


def test_labelled_rows_judge_the_detector_beside_plain_scores(
    plant: Path, seqcl: Seqcl, tmp_path: Path
) -> None:
    data = write(tmp_path / "test.csv", 400, 5_000, slice(200, 230))
    lines = data.read_text().splitlines()
    rows = [f"{line},{int(200 <= place < 230)}" for place, line in enumerate(lines[1:])]
    data.write_text("\n".join([f"{lines[0]},label", *rows]) + "\n")
    done = seqcl("evaluate", plant / "run", "--test", data, "--json", "-", "--threads", "1")
    ours, plain, chance = json.loads(done.stdout)
    assert [one["system"] for one in (ours, plain, chance)] == [
        "seqcl", "largest deviation", "random",
    ]  # fmt: skip
    assert ours["vus_pr"] > 0.7 > chance["vus_pr"]
    assert ours["event_recall"] == 1.0
    assert plain["event_recall"] is None
    assert (ours["point_adjusted_f1"], ours["vus_pr_low"]) == (None, None)
    done = seqcl("evaluate", plant / "run", "--test", data, "--point-adjusted", "--threads", "1")
    assert "adjusted F1" in done.stdout
    assert "VUS pr from" not in done.stdout
    seqcl("evaluate", plant / "run", "--test", data, "--centre", "group", code=2)
    done = seqcl("evaluate", plant / "run", "--test", data, "--task", "knn", code=2)
    assert "RUN is a detector" in done.stderr
    done = seqcl("detect", plant / "run", "--data", data, "--report", "r.html",
                 "--picture", "p.svg", "--threads", "1")  # fmt: skip
    page = (tmp_path / "r.html").read_text()
    assert "Incidents of test.csv" in page
    assert "heat (deviations from normal)" in page
    picture = (tmp_path / "p.svg").read_text()
    texts = re.findall("<text[^>]*>([^<]*)</text>", picture)
    assert {"test.csv", "score", "threshold", "incident", "labelled", "heat"} <= set(texts)
    assert any(re.fullmatch(r"\d+% of the incidents' scores", text) for text in texts)
    done = seqcl("detect", plant / "run", "--data", data, "--picture", "p.jpg", code=2)
    assert "--picture p.jpg: unknown suffix '.jpg'. Known: .png, .svg" in done.stderr
    for label, cure in ((",label", "give others"), ("", "set data.label to the column")):
        zeros = [f"{line},0" if label else line for line in lines[1:]]
        data.write_text("\n".join([f"{lines[0]}{label}", *zeros]) + "\n")
        done = seqcl("evaluate", plant / "run", "--test", data, "--threads", "1", code=4)
        assert f"no row is labelled anomalous (1); {cure}" in done.stderr


def test_a_picture_without_matplotlib_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("seqcl.run.detection_picture.find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"pip install 'seqcl\[picture\]'"):
        check_picture(Path("a.png"))
    check_picture(None)


def logged(path: Path, data: Path) -> list[str]:
    """Write the rows of `data` as an irregular logger would: some late, some twice, some never."""
    head, *rows = data.read_text().splitlines()
    rng = np.random.default_rng(0)
    shifts = rng.integers(0, 60, len(rows))
    lines = []
    for row, shift in zip(rows, shifts, strict=True):
        if rng.random() > 0.1:
            line = f"{row[:17]}{shift:02}{row[19:]}"
            lines += [line, line] if shift % 5 == 0 else [line]
    path.write_text("\n".join([head, *lines]) + "\n")
    return [head, *lines]


def test_an_irregular_logger_is_watched_on_the_grid_of_training_in_files_and_live(
    plant: Path, seqcl: Seqcl, tmp_path: Path
) -> None:
    logged(tmp_path / "train.csv", plant / "train.csv")
    done = seqcl("pretrain", "sensor-anomaly", "--data", "train.csv", "--out", "run",
                 "--set", "data.every=1min", "--threads", "1",
                 "--set", "detector.scorers=[mean_shift, forecast]")  # fmt: skip
    assert "rows became 1,600 intervals of 60s (data.every), " in done.stderr
    lines = logged(tmp_path / "test.csv", write(tmp_path / "raw.csv", 300, 5_000, slice(230, 250)))
    done = seqcl("detect", "run", "--data", "test.csv", "--causal", "--out", "s.csv")
    assert "intervals of 60s (data.every)" in done.stderr
    wanted = list(csv.DictReader((tmp_path / "s.csv").open()))
    assert len(wanted) > 295
    wrong = [lines[90], f"{lines[100][:19]},n/a,1,1"]  # of an interval that is closed; no number
    pieces = [[*lines[:100], *wrong, *lines[100:151]], lines[151:]]
    found, told = [], []
    for piece in pieces:
        out, state = io.StringIO(), tmp_path / "state.json"
        text = "\n".join([lines[0]] * (piece[0] != lines[0]) + piece) + "\n"
        told.append(stream_lines(
            load(tmp_path / "run"), io.BytesIO(text.encode()), out, RuleOptions(), state=state
        ))  # fmt: skip
        found += [json.loads(line) for line in out.getvalue().splitlines()]
    assert [one["reason"] for one in found if one.get("event") == "left_out"] == [
        "it is late", "could not convert string to float: 'n/a'",
    ]  # fmt: skip
    assert any(one.get("event") == "gap" and one["seconds"] >= 120 for one in found)
    rows = [one for one in found if "event" not in one]
    assert len(rows) == len(wanted) - 1  # the last interval is open, and kept in the state
    for one, row in zip(rows, wanted, strict=False):
        assert (one["row"], one["time"]) == (int(row["row"]), row["time"])
        assert (one["score"] is None) == (row["score"] == "")
        assert row["score"] == "" or abs(one["score"] - float(row["score"])) < 2e-3
    assert re.match(r"\d+ rows in \d+ intervals of 60s \(\d+ empty\), ", told[0])
    out = io.StringIO()
    text = "\n".join(lines) + "\n"
    stream_lines(load(tmp_path / "run"), io.BytesIO(text.encode()), out, RuleOptions())
    rows = [one for one in map(json.loads, out.getvalue().splitlines()) if "event" not in one]
    assert len(rows) == len(wanted)  # without a state the last interval is closed too
    with pytest.raises(UsageError, match="trained on rows every 60s"):
        stream_lines(
            load(tmp_path / "run"), io.BytesIO(text.encode()), out, RuleOptions(),
            state=tmp_path / "state.json", overrides=["data.every=2min"],
        )  # fmt: skip
    with pytest.raises(UsageError, match="rows in long form .* are not read live"):
        stream_lines(
            load(tmp_path / "run"), io.BytesIO(text.encode()), out, RuleOptions(),
            overrides=["data.sensor=tag"],
        )  # fmt: skip
    with pytest.raises(DataError, match="standard input: has no time stamps, which data.every"):
        stream_lines(load(tmp_path / "run"), io.BytesIO(b"flow,heat,speed\n"), out, RuleOptions())

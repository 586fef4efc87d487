"""`seqcl detect`: anomalies of sensors, in files and on a live stream."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich_click as click

from seqcl.cli import options
from seqcl.cli.progress import note, note_skipped

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("detect")
@options.run_folder
@options.data("data", text="Recordings: file, folder, glob or scheme:name; - with --stream: stdin.")
@click.option(
    "--out",
    metavar="FILE",
    type=_FILE,
    help="CSV to write, a line a row; of a stream JSON lines, appended.",
)
@click.option(
    "--incidents", metavar="FILE", type=_FILE, help="JSON lines to write, one an incident."
)
@click.option(
    "--report", metavar="FILE.html", type=_FILE, help="Write scores and incidents as a page."
)
@click.option(
    "--picture", metavar="FILE.png|.svg", type=_FILE,
    help="Draw scores, thresholds, incidents and the channels they are in.",
)  # fmt: skip
@click.option(
    "--far",
    metavar="RATE",
    help="False-alarm rate to keep: 0.5% of the rows, or 1/day (hour, week); refused where the "
    "calibration data cannot promise it. [default: 0.5%, promised or not]",
)
@click.option(
    "--adaptive", is_flag=True,
    help="Let the threshold follow the scores: in the long run alarms come at the rate of --far at "
    "most, though the plant drifts and whatever the calibration data can promise.",
)  # fmt: skip
@click.option(
    "--min-length", type=click.IntRange(min=1), default=1, show_default=True,
    help="Rows of the shortest incident.",
)  # fmt: skip
@click.option(
    "--merge-gap", type=click.IntRange(min=0),
    help="Rows that an incident may pause for. [default: as the calibration data cluster]",
)  # fmt: skip
@click.option(
    "--cool-down", type=click.IntRange(min=0), default=0, show_default=True,
    help="Rows after an incident in which no other begins.",
)  # fmt: skip
@click.option("--causal", is_flag=True, help="See nothing after a row, as a stream does.")
@click.option("--stream", is_flag=True, help="Read CSV rows as they come, write a line for each.")
@click.option("--state", metavar="FILE", type=_FILE, help="With --stream: where to go on from.")
@options.data_overrides
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads. [default: all cores]")
def command(run: Path, data_sources: tuple[str, ...], **given: Any) -> int:
    """Score recordings with RUN, a run of `seqcl pretrain sensor-anomaly`, and find incidents.

    Live: tail -F file.csv | seqcl detect RUN --data - --stream
    """
    from seqcl.run import load
    from seqcl.run.detecting import RuleOptions

    rules = RuleOptions(
        far=given["far"], min_length=given["min_length"],
        merge_gap=given["merge_gap"], cool_down=given["cool_down"], adaptive=given["adaptive"],
    )  # fmt: skip
    if given["stream"] != (data_sources == ("-",)):
        raise click.UsageError("--stream reads --data - (standard input), and only it does")
    if given["stream"]:
        return _stream(load(run), rules, given)
    if given["state"] is not None:
        raise click.UsageError("--state belongs to --stream")
    return _files(load(run), data_sources, rules, given)


def _files(run: Any, sources: tuple[str, ...], rules: Any, given: dict[str, Any]) -> int:
    from seqcl.run.detecting import detect_sources, write_incidents, write_scores
    from seqcl.run.detection_picture import check_picture, picture_detection
    from seqcl.run.embedding import check_output

    check_output("--out", given["out"])
    check_output("--incidents", given["incidents"])
    check_output("--report", given["report"], (".html",))
    check_picture(given["picture"])
    detector, dataset, results = detect_sources(
        run, sources, rules, overrides=given["overrides"],
        causal=given["causal"], cpu_threads=given["threads"],
    )  # fmt: skip
    found = list(results)
    if given["out"] is not None:
        write_scores(found, given["out"])
    if given["incidents"] is not None:
        write_incidents(found, run, given["incidents"])
    if given["report"] is not None:
        from seqcl.run.detection_report import report_detection

        report_detection(run, detector, found, given["report"])
    if given["picture"] is not None:
        left_out = picture_detection(run, detector, found, given["picture"])
        if left_out is not None:
            note(f"note: {left_out}")
    for text in dataset.notes:
        note(f"note: {text}")
    for one in found:
        for line in _told(one, run):
            note(line)
    return note_skipped(dataset.skipped)


def _told(one: Any, run: Any) -> list[str]:
    """Say what was found in a recording: expected and found, then the highest incidents."""
    from seqcl.run.detecting import incident_line

    group = "" if one.series.group is None else f" ({one.series.group})"
    lines = [f"{one.series.id}{group}: {one.summary}"]
    ranked = sorted(zip(one.incidents, one.explanations, strict=True), key=lambda x: -x[0].score)
    for incident, explanation in ranked[:5]:
        line = incident_line(one.name, incident, explanation, run, one.when)
        where = line.get("peak_time", f"row {incident.peak}")
        top = ", ".join(f"{c['name']} {c['share']:.0%}" for c in line["channels"][:3])
        rows_text = f"rows {incident.start} to {incident.end}, peak {where}"
        lines.append(f"  {rows_text}, p {incident.p_value:.1e}: {top}")
    for fault in [fault for fault in one.faults if fault.phase == "begins"][:5]:
        lines.append(f"  row {fault.row}: {run.channels[fault.channel]} is {fault.kind}")
    if len(ranked) > 5:
        lines.append(f"  and {len(ranked) - 5} lower ones")
    begun = [drift.row for drift in one.drift if drift.phase == "begins"]
    if begun:
        lines.append(
            f"  drift: the scores up to row {begun[0]} are not spread as in training"
            + (f" (drift begins {len(begun)} times)" if len(begun) > 1 else "")
            + ("" if one.rules.following else "; thresholds may no longer hold: see --adaptive")
        )
    return lines


def _stream(run: Any, rules: Any, given: dict[str, Any]) -> int:
    import sys

    from seqcl.run.embedding import check_output
    from seqcl.run.streaming import stream_lines

    for name in ("incidents", "report", "picture"):
        if given[name] is not None:
            raise click.UsageError(
                f"--{name} does not go with --stream, whose incidents are among its lines (--out); "
                "leave it out"
            )
    check_output("--out", given["out"])
    out = sys.stdout if given["out"] is None else given["out"].open("a", encoding="utf-8")
    try:
        summary = stream_lines(
            run, sys.stdin.buffer, out, rules,
            state=given["state"], overrides=given["overrides"], cpu_threads=given["threads"],
        )  # fmt: skip
    finally:
        if out is not sys.stdout:
            out.close()
    note(summary)
    return 0

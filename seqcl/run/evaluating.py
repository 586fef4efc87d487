"""Evaluate a run: its embeddings, its untrained control and plain baselines, on equal terms."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from seqcl.batch import Embeddings
from seqcl.data.dataset import Dataset
from seqcl.data.source import Skipped
from seqcl.embeddings.centring import centre_groups
from seqcl.errors import DataError, UsageError, did_you_mean
from seqcl.evaluation.base import Difference, Evaluator, Row, paired_difference
from seqcl.evaluation.labels import LabelBudget, evaluate_budget
from seqcl.modalities.base import Baseline, NotApplicable
from seqcl.model import Model
from seqcl.registry import Spec, registry
from seqcl.run.build import pick_device, threads
from seqcl.run.embedding import open_for
from seqcl.run.folder import Run
from seqcl.training.embed import embed

__all__ = ["Evaluation", "evaluate"]

TRAINED, UNTRAINED = "seqcl", "untrained encoder"


@dataclass(frozen=True)
class Evaluation:
    """Rows of every system and task, and the trained encoder's gain over its untrained self."""

    rows: tuple[Row, ...]
    gain: Mapping[str, Difference]
    """By task: trained minus untrained in the task's first metric, with its 95 % interval."""
    embeddings: Embeddings
    """Of the test records, by the trained encoder."""
    test: Dataset
    notes: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    """Files and records of both splits that were passed over."""


def evaluate(
    run: Run,
    train: Sequence[str],
    test: Sequence[str],
    *,
    tasks: Sequence[str] = (),
    labels: LabelBudget | None = None,
    controls: bool = True,
    centre: Literal["group"] | None = None,
    overrides: Sequence[str] = (),
    device: str = "auto",
    batch_size: int = 256,
    cpu_threads: int | None = None,
    on_system: Callable[[str], None] | None = None,
) -> Evaluation:
    """Run the tasks on the test records, with the train records as reference.

    Every number of the test split is computed once, with choices made on the train split alone.
    With `centre` the embeddings of every system, and of each split by itself, are less the mean of
    their group (`centre_groups`).
    """
    specs = _task_specs(run, tasks)
    with threads(cpu_threads):
        reference = open_for(run, train, overrides) if train else None
        held_out = open_for(run, test, overrides)
        rows: list[Row] = []
        kept: Embeddings | None = None
        for system, made in _systems(run, reference, held_out, device, batch_size, controls):
            if on_system is not None:
                on_system(system)
            if centre is not None:
                made = _centred(made)
            rows.extend(_rows(system, made, specs, labels))
            if system == TRAINED and not isinstance(made, str):
                kept = made[1]
    assert kept is not None
    _refuse_nothing(rows)
    return Evaluation(
        tuple(rows), _gains(rows), kept, held_out, _notes(reference, held_out),
        (reference.skipped if reference else ()) + held_out.skipped,
    )  # fmt: skip


def _notes(reference: Dataset | None, test: Dataset) -> tuple[str, ...]:
    if reference is None:
        return test.notes
    notes = (*reference.notes, *test.notes)
    if reference.fingerprint == test.fingerprint:
        told = "--train and --test are the same records: the scores say what was memorised"
        notes = (told, *notes)
    return tuple(dict.fromkeys(notes))


def _refuse_nothing(rows: Sequence[Row]) -> None:
    """Raise DataError where no task gave a result."""
    reasons = dict.fromkeys(row.reason for row in rows if row.system == TRAINED)
    if None not in reasons:
        raise DataError("; ".join(str(reason) for reason in reasons))


Made = tuple[Embeddings | None, Embeddings, tuple[str, ...] | None] | str


def _systems(
    run: Run,
    reference: Dataset | None,
    test: Dataset,
    device: str,
    batch_size: int,
    controls: bool,
) -> Iterator[tuple[str, Made]]:
    """Yield (system, (reference, test, tasks it can do)) or (system, why there is none)."""
    yield TRAINED, _embedded(run.model, reference, test, device, batch_size)
    if not controls:
        return
    yield UNTRAINED, _embedded(run.untrained(), reference, test, device, batch_size)
    for name in run.preset.modality.baselines:
        baseline: Baseline = registry("baselines")[name]()
        if reference is None:
            yield name, "needs --train"
            continue
        try:
            made = baseline(reference, test, run.seed)
        except NotApplicable as reason:
            yield name, str(reason)
            continue
        yield name, (*made, baseline.evaluators)


def _embedded(
    model: Model, reference: Dataset | None, test: Dataset, device: str, batch_size: int
) -> Made:
    target = pick_device(device)
    model = model.to(target).eval()
    first = None
    if reference is not None:
        first = embed(model, reference, device=target, batch_size=batch_size)
    return first, embed(model, test, device=target, batch_size=batch_size), None


def _centred(made: Made) -> Made:
    if isinstance(made, str):
        return made
    reference, test, able = made
    return None if reference is None else centre_groups(reference), centre_groups(test), able


def _rows(
    system: str, made: Made, specs: Sequence[Spec[Evaluator]], labels: LabelBudget | None
) -> Iterator[Row]:
    for spec in specs:
        if isinstance(made, str):
            yield Row(system, None, made, spec.name)
            continue
        reference, test, able = made
        if able is not None and spec.name not in able:
            continue
        evaluator = spec.build()
        try:
            if labels is not None and reference is not None:
                report = evaluate_budget(evaluator, test, reference, labels)
            else:
                report = evaluator(test, reference)
        except DataError as reason:
            yield Row(system, None, str(reason), spec.name)
            continue
        yield Row(system, report, None, spec.name)


def _gains(rows: Sequence[Row]) -> dict[str, Difference]:
    reports = {(row.system, row.task): row.report for row in rows}
    gains = {}
    for (system, task), report in reports.items():
        control = reports.get((UNTRAINED, task))
        if system == TRAINED and report is not None and control is not None:
            difference = paired_difference(report, control)
            if difference is not None:
                gains[task] = difference
    return gains


def _task_specs(run: Run, tasks: Sequence[str]) -> tuple[Spec[Evaluator], ...]:
    if not tasks:
        return run.preset.evaluation.tasks
    known = registry("evaluators")
    for task in tasks:
        if task not in known:
            raise UsageError(f"--task {task}: unknown task.{did_you_mean(task, known)}")
    configured = {spec.name: spec for spec in run.preset.evaluation.tasks}
    return tuple(configured.get(task, Spec("evaluators", task)) for task in tasks)

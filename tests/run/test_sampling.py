"""Samplers in a run: whose choice it is, and what is told before the first step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from seqcl.config.preset import load_preset
from seqcl.data.dataset import Dataset, dataset_from_arrays, open_dataset
from seqcl.data.options import DataOptions
from seqcl.data.samplers import GroupedSampler, PairSampler, PkSampler, ShuffleSampler
from seqcl.errors import DataError, PresetError, SeqclError
from seqcl.losses.nt_xent import nt_xent
from seqcl.methods.base import known_of
from seqcl.run.fitting import Parts, assemble, fit
from seqcl.run.sampling import choose_sampler
from seqcl.training.estimate import estimate
from seqcl.training.options import TrainingOptions

SMALL = ("encoder.widths=[8]", "training.steps=2")


def dataset(size: int = 24, **known: object) -> Dataset:
    X = np.random.default_rng(0).standard_normal((size, 1, 20))
    return dataset_from_arrays(X, **known)  # type: ignore[arg-type]


def parts(data: Dataset, *overrides: str) -> Parts:
    preset = load_preset("series", (*SMALL, *overrides))
    return assemble(preset, data, seed=0, device=torch.device("cpu"))


def sampler_of(made: Parts) -> object:
    return choose_sampler(made.preset.training, made.method).build(made.dataset)


def labels(size: int = 24, classes: int = 3) -> list[int]:
    return [row % classes for row in range(size)]


def test_without_a_wish_records_are_shuffled() -> None:
    made = parts(dataset(y=labels()), "training.batch_size=8")
    assert made.preset.training.sampler is None
    assert isinstance(sampler_of(made), ShuffleSampler)


@pytest.mark.parametrize(
    ("method", "known", "kind"),
    [
        ("supcon", {"y": labels()}, PkSampler),
        ("semi_supervised", {"y": labels(12) + [None] * 12}, PkSampler),
        ("pair_supervised", {"pairs": [str(row // 2) for row in range(24)]}, PairSampler),
    ],
)
def test_a_method_gets_the_sampler_it_asks_for_and_trains(
    method: str, known: dict[str, object], kind: type
) -> None:
    made = parts(dataset(**known), f"method={method}", "training.batch_size=8")
    assert isinstance(sampler_of(made), kind)
    result = fit(made)
    assert result is not None
    assert result.steps == 2
    assert np.isfinite(result.metrics["loss"])


def test_the_preset_overrules_the_method() -> None:
    made = parts(
        dataset(y=labels(), groups=[row // 4 for row in range(24)]),
        "method=supcon", "training.batch_size=8", "training.sampler=grouped",
        "training.sampler.positives=across", "training.sampler.records=2",
    )  # fmt: skip
    assert isinstance(sampler_of(made), GroupedSampler)


def test_a_run_without_method_has_a_sampler_too() -> None:
    assert choose_sampler(TrainingOptions(), None).name == "shuffle"


def test_a_dry_run_measures_with_the_sampler_of_the_method() -> None:
    made = parts(dataset(y=labels()), "method=supcon", "training.batch_size=8", "training.chunk=4")
    assert made.method is not None
    found = estimate(
        made.method, made.views, made.model.frontend, made.loader(), made.preset.training, seed=0
    )
    assert found.batch[0] == 8


def told(data: Dataset, *overrides: str, kind: type[SeqclError] = PresetError) -> str:
    with pytest.raises(kind) as caught:
        parts(data, *overrides)
    return str(caught.value)


def lacking(*overrides: str) -> str:
    return told(dataset(), *overrides, kind=DataError)


def test_missing_labels_groups_and_pairs_are_told_with_the_option() -> None:
    loss = "method.loss={nt_xent: {exclude: [group]}}"
    assert lacking("method=supcon") == (
        "method SupCon needs labels; set data.label or use labelled data (y of fit)"
    )
    assert lacking(loss) == (
        "method SimCLR: its loss NTXent with exclude=[group] needs groups; set data.group (groups "
        "of fit)"
    )
    terms = "[nt_xent, {margin: {positives: label}}]"
    both = f"method.loss={{weighted: {{terms: {terms}, weights: [1.0, 1.0]}}}}"
    assert lacking(both) == (
        "method SimCLR: its loss Weighted with term Margin with positives=label needs labels; set "
        "data.label or use labelled data (y of fit)"
    )
    assert lacking("method=pair_supervised") == (
        "method PairSupervised needs marked pairs; set data.pair"
    )


def test_supcon_refuses_a_loss_that_would_ignore_the_labels() -> None:
    data = dataset(y=labels())
    assert told(data, "method=supcon", "method.loss=triplet") == (
        "method: loss=triplet: labels do not tell its positives, and SupCon learns from nothing "
        "else; set its positives=label, or use the method simclr"
    )
    excluding = "method.loss={nt_xent: {exclude: [label]}}"
    assert "use supcon, or triplet or margin with positives=label, or" in told(
        data, "method=supcon", excluding
    )
    size = "training.batch_size=8"
    parts(data, "method=supcon", "method.loss={triplet: {positives: label}}", size)


def test_batches_that_cut_sets_are_told() -> None:
    text = told(dataset(y=labels()), "method=supcon", "training.batch_size=10")
    assert text.startswith("sampler pk makes sets of 4 records; batches of 10 cut them: set train")


def test_parts_of_a_batch_that_cut_sets_are_told() -> None:
    pairs = dataset(pairs=[str(row // 2) for row in range(24)])
    parted = ("training.batch_size=12", "training.accumulate=4")
    found = told(pairs, "method=pair_supervised", *parted)
    assert "batches of 3 cut pairs" in found
    assert "training.accumulate=4" in found
    sets = "training.sampler={pk: {classes: 3, records: 4}}"
    assert "batches of 3 cut them" in told(dataset(y=labels()), "method=supcon", sets, *parted)
    apart = "training.sampler={grouped: {positives: none}}"
    groups = dataset(groups=[str(row % 10) for row in range(24)])
    fit(parts(groups, apart, "training.batch_size=12", "training.accumulate=2"))


def test_a_set_that_is_smaller_than_the_batch_only_is_no_fault() -> None:
    made = parts(dataset(y=labels()), "method=supcon", "training.batch_size=100")
    assert made.loader().batch_size == 24


def test_few_records_of_a_class_train_and_more_than_there_are_is_told_in_true_numbers() -> None:
    few = dataset(6, y=labels(6))
    assert parts(few, "method=supcon").loader().batch_size == 12
    many = ("method=supcon", "training.sampler.pk.records=100", "training.batch_size=300")
    text = told(dataset(y=labels()), "training.sampler=pk", *many)
    assert "records=100, and the largest class has 8" in text


def test_a_sampler_that_never_brings_a_class_together_is_told() -> None:
    lonely = dataset(y=list(range(24)))
    text = told(lonely, "method=supcon", "training.sampler=shuffle", "training.batch_size=8")
    assert text == (
        "training: in the first 3 batches of 8 records no two have one label (sampler pk brings "
        "them together), and SupCon has nothing to learn from that; use another training.sampler "
        "or a larger batch"
    )


def recorded(tmp_path: Path, *values: str, **options: object) -> Dataset:
    """Write rows `time,x,group` and open them in windows of 16 every 4."""
    header = "time,x,subject\n"
    for number, group in enumerate(values):
        x = np.random.default_rng(number).standard_normal(48)
        rows = "\n".join(f"{step},{value:.3f},{group}" for step, value in enumerate(x))
        (tmp_path / f"{number}.csv").write_text(header + rows)
    data = DataOptions(columns=("x",), window=16, hop=4, **options)  # type: ignore[arg-type]
    return open_dataset([str(tmp_path)], data)


def test_windows_of_one_recording_are_excluded_by_time_without_a_group(tmp_path: Path) -> None:
    one = recorded(tmp_path, "a")
    assert set(one.groups) == {None}
    result = fit(parts(one, "method.loss={nt_xent: {exclude_steps: 12}}"))
    assert result is not None
    assert np.isfinite(result.metrics["loss"])
    assert "all of a batch have one group" in told(one, "method.loss={nt_xent: {exclude: [group]}}")


def test_starts_are_compared_within_a_recording_and_not_within_a_subject(tmp_path: Path) -> None:
    """Two recordings of one subject: windows of equal start lie in different ones."""
    two = recorded(tmp_path, "a", "a", group="subject")
    assert set(two.groups) == {"a"}
    made = parts(two, "method.loss={nt_xent: {exclude_steps: 8}}")
    batch = next(made.loader().batches())
    assert made.method is not None
    known = known_of(batch, made.method.loss)
    assert known.recordings is not None
    assert known.start is not None
    exclusion = made.method.loss.exclusion(known)
    a, b = torch.randn(2, len(batch), 4, generator=torch.Generator().manual_seed(0))
    near = (known.start[:, None] - known.start).abs() < 8
    apart = known.recordings[:, None] != known.recordings
    assert (near & apart).any()
    hidden = near & ~apart
    expected = []
    rows = torch.nn.functional.normalize(torch.cat([a, b]))
    scores = rows @ rows.T / 0.5
    for i in range(2 * len(batch)):
        other = (i + len(batch)) % (2 * len(batch))
        keep = ~hidden.repeat(2, 2)[i]
        keep[other], keep[i] = True, False
        expected.append(scores[i][keep].logsumexp(0) - scores[i, other])
    found = nt_xent(a, b, 0.5, exclusion=exclusion)
    torch.testing.assert_close(found, torch.stack(expected).mean())


def test_whole_records_cannot_be_excluded_by_time() -> None:
    assert lacking("method.loss={nt_xent: {exclude_steps: 3}}") == (
        "method SimCLR: its loss NTXent with exclude_steps needs windows of recordings; set "
        "data.window"
    )


def test_labels_of_which_no_two_are_equal_may_be_excluded() -> None:
    loss = "method.loss={nt_xent: {exclude: [label]}}"
    made = parts(dataset(y=list(range(24))), loss, "training.batch_size=8")
    assert made.loader().steps_per_epoch == 3


def test_batches_of_one_class_or_group_are_told() -> None:
    ordered = dataset(y=[row // 12 for row in range(24)], groups=[row // 12 for row in range(24)])
    order = ("training.sampler=sequential", "training.batch_size=6")
    assert "all of a batch have one label" in told(ordered, "method=supcon", *order)
    loss = "method.loss={nt_xent: {exclude: [group]}}"
    assert "all of a batch have one group" in told(ordered, loss, *order)


def test_what_is_contrasted_at_once_counts_not_the_batch() -> None:
    ordered = dataset(y=[row // 12 for row in range(24)])
    order = ("method=supcon", "training.sampler=sequential", "training.batch_size=24")
    parts(ordered, *order)
    assert "batches of 12 records all of a batch" in told(ordered, *order, "training.accumulate=2")


def test_pairs_that_are_never_whole_are_told() -> None:
    marks = dataset(pairs=[str(row % 12) for row in range(24)])
    order = ("training.sampler=sequential", "training.batch_size=4")
    text = told(marks, "method=pair_supervised", *order)
    assert "no pair is whole (sampler pairs keeps them together)" in text


def test_a_sampler_that_the_data_do_not_suit_says_so_itself() -> None:
    some = dataset(y=[*labels(20), None, None, None, None])
    with pytest.raises(DataError, match="sampler pk: 4 of 24 records have no label, first #20"):
        parts(some, "method=supcon")


def test_a_temperature_for_a_loss_without_one_is_a_fault_of_the_preset() -> None:
    text = told(dataset(), "method.loss=triplet", "method.temperature=learnt")
    assert text.startswith("method: temperature=learnt: Triplet has no temperature; leave the")


def test_the_choice_stands_in_the_resolved_preset() -> None:
    preset = load_preset("series", ["training.sampler=pk"])
    assert preset.tree()["training"]["sampler"] == {
        "pk": {"classes": None, "records": 4, "others": 0}
    }
    unset = replace(preset.training, sampler=None)
    assert unset.sampler is None

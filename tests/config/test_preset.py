"""Presets: faults all at once, extends, --set, and a resolved form that reads back the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from seqcl.config.edit import parse_set
from seqcl.config.preset import load_preset, preset_names, resolve_preset
from seqcl.config.yaml import parse_yaml
from seqcl.errors import PresetError, UsageError

MINIMAL = {"modality": "sequence", "method": "simclr", "views": "independent", "encoder": "tcn"}


def faults(**changes: object) -> list[str]:
    with pytest.raises(PresetError) as caught:
        resolve_preset({**MINIMAL, **changes}, "p.yaml")
    return list(caught.value.faults)


@pytest.mark.parametrize("name", preset_names())
def test_every_shipped_preset_is_sound_and_its_resolved_form_reads_back(name: str) -> None:
    preset = load_preset(name)
    again = resolve_preset(parse_yaml(preset.yaml(), name), name)
    assert again.tree() == preset.tree()


def test_five_planted_mistakes_are_told_at_once() -> None:
    told = faults(
        method={"simclr": {"heads": "mlp", "loss": {"nt_xent": {"temperature": 0}}}},
        encoder={"tcn": {"width": "64"}},
        training={"lr": float("nan")},
        trainig={},
    )
    text = "\n".join(told)
    assert len(told) == 5
    assert (
        "p.yaml: method(simclr).heads: unknown option. Did you mean 'head'? "
        "Known: head, loss, temperature" in told
    )
    assert "method(simclr).loss(nt_xent).temperature: input should be greater than 0" in text
    assert "encoder(tcn).width: input should be a valid integer, got '64'" in text
    assert "training.lr: input should be a finite number" in text
    assert "preset.trainig: unknown option. Did you mean 'training'?" in text


def test_an_option_in_the_wrong_place_is_told_where_it_belongs() -> None:
    (told,) = faults(method={"simclr": {"lr": 0.1}})
    assert "method(simclr).lr: unknown option here. It belongs to training.lr" in told


def test_true_is_no_number_and_a_text_is_no_integer() -> None:
    assert "valid number" in faults(training={"lr": True})[0]
    assert "valid integer" in faults(training={"batch_size": "3"})[0]


def test_an_unknown_component_says_what_was_meant() -> None:
    (told,) = faults(encoder="tnc")
    assert "encoder: encoders: unknown name 'tnc'. Did you mean 'tcn'?" in told


def test_a_range_the_wrong_way_round_is_a_fault_of_the_preset() -> None:
    views = {"independent": {"before": [{"crop": {"fraction": [0.9, 0.5]}}]}}
    (told,) = faults(views=views)
    assert "views(independent).before[0](crop)" in told


def test_a_node_with_two_names_is_refused() -> None:
    (told,) = faults(encoder={"tcn": {}, "rnn": {}})
    assert "needs one name" in told


def test_set_expands_short_forms_and_reaches_into_lists() -> None:
    preset = load_preset(
        "series",
        ["method.loss.temperature=0.3", "views.before[0].fraction=[0.5, 1.0]", "encoder=rnn"],
    )
    assert preset.method is not None
    assert preset.method.options["loss"].options["temperature"] == 0.3
    assert preset.views.options["before"][0].options["fraction"] == (0.5, 1.0)
    assert preset.encoder.name == "rnn"


@pytest.mark.parametrize(
    "text",
    [
        "method.loss.margin=0.5",
        "method.loss.margin.margin=0.5",
        "method.loss.margin={metric: cosine, margin: 0.5}",
    ],
)
def test_set_reaches_an_option_that_has_the_name_of_its_component(text: str) -> None:
    preset = load_preset("series-margin", [text])
    assert preset.method is not None
    loss = preset.method.options["loss"]
    assert (loss.name, loss.options["margin"]) == ("margin", 0.5)
    assert loss.options["metric"] == "cosine"


def test_a_plain_value_for_a_component_is_refused_where_no_option_has_its_name() -> None:
    with pytest.raises(PresetError, match=r"method\(supcon\).loss\(supcon\): takes options; write"):
        load_preset("series-supcon", ["method.loss.supcon=0.5"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training.lr.x=1", "--set training.lr: is a plain value"),
        ("trainig.lr=1", "unknown section. Did you mean 'training'?"),
        ("lr", "needs the form section.option=value"),
        ("views.before[99].p=1", "needs an index from 0"),
        ("method.temprature=1", "unknown option"),
        ("training.lr=[1", "not valid YAML"),
    ],
)
def test_a_wrong_set_is_told(text: str, message: str) -> None:
    with pytest.raises(PresetError) as caught:
        load_preset("series", [text])
    assert message in str(caught.value)


def test_set_values_are_yaml() -> None:
    assert parse_set("a.b=1e-3") == (["a", "b"], 1e-3)
    assert parse_set("a.b[2].c=[1, x]") == (["a", "b", 2, "c"], [1, "x"])


def test_method_none_trains_nothing() -> None:
    assert load_preset("series", ["method=none"]).method is None


def test_extends_changes_options_and_replaces_other_components(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(
        "modality: sequence\nviews: independent\nmethod: simclr\n"
        "encoder: {tcn: {width: 16, depth: 2}}\ntraining: {lr: 0.5, steps: 7}\n"
    )
    (tmp_path / "child.yaml").write_text(
        "extends: base.yaml\nencoder: {tcn: {depth: 3}}\ntraining: {lr: 0.1}\n"
    )
    (tmp_path / "other.yaml").write_text("extends: child.yaml\nencoder: rnn\n")
    child = load_preset(str(tmp_path / "child.yaml"))
    assert (child.encoder.options["width"], child.encoder.options["depth"]) == (16, 3)
    assert (child.training.lr, child.training.steps) == (0.1, 7)
    assert load_preset(str(tmp_path / "other.yaml")).encoder.name == "rnn"


def test_extends_in_a_circle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("extends: b.yaml\n")
    (tmp_path / "b.yaml").write_text("extends: a.yaml\n")
    with pytest.raises(PresetError, match="goes in a circle"):
        load_preset(str(tmp_path / "a.yaml"))


def test_an_unknown_preset_says_what_was_meant() -> None:
    with pytest.raises(UsageError, match="Did you mean 'series'"):
        load_preset("serie")


def test_options_of_data_that_a_detector_does_not_read_are_refused() -> None:
    mine = {"window": 64, "missing": "hold", "scaler": "none", "max_steps": 100, "columns": ["a"]}
    with pytest.raises(PresetError) as caught:
        resolve_preset({"modality": "sequence", "detector": "ensemble", "data": mine}, "p.yaml")
    told = "\n".join(caught.value.faults)
    assert "data.window: has no effect beside a detector; set detector.window" in told
    assert len(caught.value.faults) == 4

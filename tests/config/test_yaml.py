"""Preset files that are broken or hostile: one line that says where."""

from __future__ import annotations

from pathlib import Path

import pytest

from seqcl.config.yaml import dump_yaml, parse_yaml, read_yaml
from seqcl.errors import MissingInputError, PresetError


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", "x.yaml:2: key 'a' stands twice"),
        ("a: &bomb [1]\nb: *bomb", "x.yaml:2: aliases are not allowed"),
        ("[" * 1_000, "nested deeper than 20"),
        ("a:\n\t- b", "x.yaml:2: .*indent with spaces, not tabs"),
        ("a: [1", "x.yaml:1: not valid YAML"),
        ("a: \x00", "not valid YAML"),
        ("a: !!python/object:os.system {}", "not valid YAML"),
    ],
)
def test_a_broken_document_is_told_with_its_line(text: str, message: str) -> None:
    with pytest.raises(PresetError, match=message) as caught:
        parse_yaml(text, "x.yaml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbfmodality: sequence", "byte order mark"),
        (b"modality: \xff", ":1: not UTF-8"),
        (b"- a", "holds a list"),
        (b"x" * 1_000_001, "1,000,001 bytes"),
    ],
)
def test_a_broken_file_is_told_with_its_name(tmp_path: Path, raw: bytes, message: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_bytes(raw)
    with pytest.raises(PresetError, match=message):
        read_yaml(path)


def test_a_missing_file_is_missing_input(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="No such file"):
        read_yaml(tmp_path / "none.yaml")


def test_yaml_1_2_reads_numbers_and_no_as_people_mean_them() -> None:
    assert parse_yaml("a: 1e-3\nb: no\nc: 010", "x") == {"a": 1e-3, "b": "no", "c": 10}


def test_what_is_dumped_is_read_back_in_order() -> None:
    tree = {"b": 1, "a": {"x": [1, 2.5, "s"], "y": None}, "list": [{"jitter": {"p": 0.1}}, "flip"]}
    assert list(parse_yaml(dump_yaml(tree), "x").items()) == list(tree.items())

"""YAML 1.2 for presets: safe, bounded, with the line of every fault."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent

from seqcl.errors import MissingInputError, PresetError

__all__ = ["dump_yaml", "parse_yaml", "read_yaml"]

_MAX_BYTES = 1_000_000
_MAX_DEPTH = 20


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a preset file; raises PresetError with the place of the fault."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise MissingInputError(
            f"{path}: {error.strerror or error}; give an existing file"
        ) from None
    if len(raw) > _MAX_BYTES:
        raise PresetError(f"{path}: {len(raw):,} bytes; a preset has at most {_MAX_BYTES:,}")
    if raw.startswith(b"\xef\xbb\xbf"):
        raise PresetError(f"{path}:1: begins with a byte order mark; save it as plain UTF-8")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise PresetError(f"{path}:{line}: not UTF-8; save the file as UTF-8") from None
    tree = parse_yaml(text, str(path))
    if tree is None:
        raise PresetError(f"{path}: is empty; a preset needs at least 'modality' or 'extends'")
    if not isinstance(tree, dict):
        raise PresetError(f"{path}: holds {_kind(tree)}; a preset is a mapping of sections")
    return tree


def parse_yaml(text: str, where: str) -> Any:
    """Parse one YAML document; `where` begins each message."""
    try:
        _check_structure(text, where)
        return YAML(typ="safe", pure=True).load(text)
    except DuplicateKeyError as error:
        place = error.problem_mark
        key = str(error.problem).split('"')[1] if '"' in str(error.problem) else "?"
        raise PresetError(f"{where}:{place.line + 1}: key {key!r} stands twice; keep one") from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = "" if mark is None else f":{mark.line + 1}"
        problem = str(error.problem or error.context)
        hint = "; indent with spaces, not tabs" if "\\t" in problem else ""
        raise PresetError(f"{where}{line}: not valid YAML: {problem}{hint}") from None
    except (YAMLError, ValueError) as error:
        problem = str(error).splitlines()[0]
        raise PresetError(f"{where}: not valid YAML: {problem}") from None


def dump_yaml(tree: Any) -> str:
    """Write `tree` as YAML, keys in their order, short lists on one line."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = None
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = 100
    stream = io.StringIO()
    yaml.dump(tree, stream)
    return stream.getvalue()


def _check_structure(text: str, where: str) -> None:
    """Refuse aliases (they can grow without bound) and absurd nesting, before building anything."""
    depth = 0
    for event in YAML(typ="safe", pure=True).parse(text):
        line = event.start_mark.line + 1
        if isinstance(event, AliasEvent):
            raise PresetError(f"{where}:{line}: aliases are not allowed; use 'extends:' to share")
        if isinstance(event, CollectionStartEvent):
            depth += 1
            if depth > _MAX_DEPTH:
                raise PresetError(f"{where}:{line}: nested deeper than {_MAX_DEPTH} levels")
        elif isinstance(event, CollectionEndEvent):
            depth -= 1


def _kind(tree: Any) -> str:
    return {list: "a list", str: "a text", int: "a number", float: "a number"}.get(
        type(tree), type(tree).__name__
    )

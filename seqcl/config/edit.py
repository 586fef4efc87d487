"""Change a raw preset tree: `extends:` merges two, `--set a.b=c` changes one option."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from seqcl.config.resolve import split_component, tree_of
from seqcl.config.schema import Option, options_of
from seqcl.config.yaml import parse_yaml
from seqcl.errors import PresetError, SeqclError
from seqcl.registry import registry

__all__ = ["Shape", "merge", "parse_set", "set_option"]

Shape = str | Callable[..., Any] | None
"""What a node is: a component of a kind (text), the options of a class, or a plain value."""

Keys = list[str | int]


def parse_set(text: str) -> tuple[Keys, Any]:
    """Parse ``method.temperature=0.2`` or ``views.after[0].sigma=0.1``; the value is YAML."""
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        raise PresetError(f"--set {text}: needs the form section.option=value")
    keys: Keys = []
    for part in path.strip().split("."):
        match = re.fullmatch(r"([^\[\]]+)((?:\[\d+\])*)", part)
        if match is None:
            raise PresetError(f"--set {text}: {part!r} is not an option name or name[index]")
        keys.append(int(match[1]) if match[1].isdigit() else match[1])
        keys.extend(int(index) for index in re.findall(r"\d+", match[2]))
    return keys, parse_yaml(value, f"--set {text}")


def merge(base: Any, over: Any, shape: Shape) -> Any:
    """Return `base` changed by `over`; a component of another name replaces the base's whole."""
    if isinstance(shape, str):
        below, above = split_component(base), split_component(over)
        if below is None or above is None or below[0] != above[0]:
            return over
        component = _component(shape, above[0])
        return over if component is None else {above[0]: merge(below[1], above[1], component)}
    if shape is None or not isinstance(base, Mapping) or not isinstance(over, Mapping):
        return over
    merged = dict(base)
    for name, value in over.items():
        child = _child(shape, name)
        inner = child.component if child is not None and not child.many else None
        merged[name] = merge(base[name], value, inner) if name in base else value
    return merged


def set_option(raw: Any, shape: Shape, keys: Keys, value: Any, where: str) -> Any:
    """Return `raw` with the option at `keys` set; raises PresetError below a plain value."""
    if not keys:
        return value
    if isinstance(shape, str):
        return _set_in_component(raw, shape, keys, value, where)
    if isinstance(raw, list | tuple):
        return _set_in_list(list(raw), shape, keys, value, where)
    if shape is None:
        raise PresetError(f"--set {where}: is a plain value ({raw!r}); nothing stands below it")
    return _set_in_options(raw, shape, keys, value, where)


def _set_in_component(raw: Any, kind: str, keys: Keys, value: Any, where: str) -> Any:
    pair = split_component(raw)
    if pair is None:
        raise PresetError(f"--set {where}: is not set yet; name the component first ({where}=NAME)")
    name, options = pair
    component = _component(kind, name)
    itself = keys == [name] and not isinstance(value, Mapping)
    if component is None or (itself and name not in options_of(component)):
        raise PresetError(f"--set {where}({name}): takes options; write {where}={name}")
    # A plain value under a name that is the component's and an option's is the option's.
    rest = keys[1:] if keys[0] == name and not itself else keys
    return {name: set_option(options, component, rest, value, f"{where}({name})")}


def _set_in_list(raw: list[Any], shape: Shape, keys: Keys, value: Any, where: str) -> list[Any]:
    index = keys[0]
    if not isinstance(index, int) or index >= len(raw):
        last = len(raw) - 1
        raise PresetError(f"--set {where}: a list; needs an index from 0 to {last}, got {index!r}")
    raw[index] = set_option(raw[index], shape, keys[1:], value, f"{where}[{index}]")
    return raw


def _set_in_options(raw: Any, shape: Any, keys: Keys, value: Any, where: str) -> dict[str, Any]:
    options = dict(raw) if isinstance(raw, Mapping) else {}
    name = str(keys[0])
    option = _child(shape, name)
    if option is None:  # kept, so that resolving tells it with did-you-mean
        return {**options, name: value}
    current = options.get(name, None if option.required else tree_of(option.default))
    place = f"{where}.{name}"
    if option.many and len(keys) > 1:
        items = list(current) if isinstance(current, list | tuple) else []
        options[name] = _set_in_list(items, option.component, keys[1:], value, place)
    else:
        options[name] = set_option(current, option.component, keys[1:], value, place)
    return options


def _component(kind: str, name: str) -> Callable[..., Any] | None:
    """Return a component, or None where it cannot be had: resolving tells that fault."""
    try:
        component: Callable[..., Any] = registry(kind)[name]
    except SeqclError:
        return None
    return component


def _child(shape: Any, name: str) -> Option | None:
    return options_of(shape).get(name)

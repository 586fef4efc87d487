"""From a raw tree to checked components: every fault at once, with what was meant.

A *component node* is ``name`` or ``{name: {option: value}}``; an *options node* is the mapping of
a constructor's options. Both are walked by the signatures of the classes that they name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from seqcl.config.schema import Option, options_of, type_name, validate_scalars
from seqcl.errors import SeqclError, did_you_mean
from seqcl.registry import Spec, registry

__all__ = ["Faults", "resolve_component", "resolve_options", "tree_of"]


class Faults:
    """Faults found so far, and every option seen, to tell where a misplaced one belongs."""

    def __init__(self) -> None:
        self._told: list[Callable[[], str]] = []
        self._known: dict[str, list[str]] = {}

    def add(self, where: str, message: str) -> None:
        """Record one fault."""
        self._told.append(lambda: f"{where}: {message}")

    def unknown(self, where: str, name: str, known: Mapping[str, Any]) -> None:
        """Record an unknown option; where it belongs is looked up once all nodes are seen."""

        def tell() -> str:
            homes = [home for home in self._known.get(name, []) if home != where]
            if homes:
                return f"{where}.{name}: unknown option here. It belongs to {homes[0]}.{name}"
            return f"{where}.{name}: unknown option.{did_you_mean(name, known)}"

        self._told.append(tell)

    def saw(self, where: str, known: Mapping[str, Any]) -> None:
        """Remember that the node at `where` has these options."""
        for name in known:
            self._known.setdefault(name, []).append(where)

    def messages(self) -> list[str]:
        """Return all faults, one line each."""
        return [tell() for tell in self._told]


def split_component(raw: Any) -> tuple[str, Any] | None:
    """Return (name, options) of a component node, or None where it is none."""
    if isinstance(raw, str):
        return raw, {}
    if isinstance(raw, Mapping) and len(raw) == 1:
        ((name, options),) = raw.items()
        return str(name), {} if options is None else options
    return None


def resolve_component(kind: str, raw: Any, where: str, faults: Faults) -> Spec[Any] | None:
    """Check a component node; the Spec holds every option, given or default."""
    pair = split_component(raw)
    if pair is None:
        names = ", ".join(registry(kind))
        faults.add(
            where, f"needs one name, or one name with its options; got {raw!r}. Known: {names}"
        )
        return None
    name, options = pair
    try:
        component = registry(kind)[name]
    except SeqclError as error:
        faults.add(where, str(error))
        return None
    checked = resolve_options(component, options, f"{where}({name})", faults)
    return None if checked is None else Spec(kind, name, checked)


def resolve_options(
    component: Callable[..., Any], raw: Any, where: str, faults: Faults
) -> dict[str, Any] | None:
    """Check an options node; returns every option, or None where there are faults."""
    known = options_of(component)
    faults.saw(where, known)
    if not isinstance(raw, Mapping):
        faults.add(where, f"needs a mapping of options, got {raw!r}")
        return None
    before = len(faults.messages())
    for name in raw:
        if name not in known:
            faults.unknown(where, str(name), known)
    given = {name: raw[name] for name in raw if name in known}
    plain = {name: value for name, value in given.items() if known[name].component is None}
    checked, wrong = validate_scalars(component, plain)
    for place, message in wrong:
        faults.add(f"{where}.{place}", _with_type(message, known.get(place.split(".")[0])))
    for name, option in known.items():
        if option.component is not None:
            raw_child = given[name] if name in given else tree_of(option.default)
            checked[name] = _resolve_child(option, raw_child, f"{where}.{name}", faults)
        elif name not in given and not option.required:
            checked[name] = option.default
    if len(faults.messages()) > before:
        return None
    return _checked_by_constructor(component, checked, where, faults)


def _with_type(message: str, option: Option | None) -> str:
    return message if option is None else f"{message} (needs {type_name(option.annotation)})"


def _resolve_child(option: Option, raw: Any, where: str, faults: Faults) -> Any:
    kind = option.component
    assert kind is not None
    if raw is None and option.optional:
        return None
    if not option.many:
        return resolve_component(kind, raw, where, faults)
    if not isinstance(raw, list | tuple):
        faults.add(where, f"needs a list of {kind}, got {raw!r}")
        return ()
    return tuple(
        resolve_component(kind, item, f"{where}[{index}]", faults) for index, item in enumerate(raw)
    )


def _checked_by_constructor(
    component: Callable[..., Any], options: dict[str, Any], where: str, faults: Faults
) -> dict[str, Any] | None:
    """Let objects that are made of options alone check what types cannot: low <= high."""
    parameters = inspect.signature(component).parameters.values()
    if any(parameter.kind is not inspect.Parameter.KEYWORD_ONLY for parameter in parameters):
        return options
    try:
        component(**options)
    except (ValueError, TypeError) as error:
        faults.add(where, str(error))
        return None
    return options


def tree_of(value: Any) -> Any:
    """Return the raw tree of Specs and plain values, as a preset file would write it."""
    if isinstance(value, Spec):
        if not value.options:
            return value.name
        return {value.name: {name: tree_of(item) for name, item in value.options.items()}}
    if isinstance(value, list | tuple):
        return [tree_of(item) for item in value]
    if isinstance(value, Mapping):
        return {name: tree_of(item) for name, item in value.items()}
    return value

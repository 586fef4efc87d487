"""A component's schema is its constructor: keyword-only parameters are its options."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from seqcl.registry import Spec

__all__ = ["Option", "json_schema", "options_of", "type_name", "validate_scalars"]

REQUIRED = inspect.Parameter.empty


@dataclass(frozen=True)
class Option:
    """One keyword-only parameter of a component."""

    name: str
    annotation: Any
    default: Any
    component: str | None
    """The kind of component this option takes, where it takes one (or a list of them)."""
    many: bool = False
    optional: bool = False

    @property
    def required(self) -> bool:
        """Whether a preset must set it."""
        return self.default is REQUIRED


@cache
def options_of(component: Callable[..., Any]) -> Mapping[str, Option]:
    """Return the options of a class by name, from the signature of its constructor."""
    if dataclasses.is_dataclass(component):
        hints = get_type_hints(component, include_extras=True)
    else:
        hints = get_type_hints(component.__init__, include_extras=True)
    defaults = _dataclass_defaults(component)
    return {
        name: _option(name, hints[name], defaults.get(name, parameter.default))
        for name, parameter in inspect.signature(component).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }


def _dataclass_defaults(component: Any) -> dict[str, Any]:
    if not dataclasses.is_dataclass(component):
        return {}
    return {
        item.name: item.default_factory()
        for item in dataclasses.fields(component)
        if item.default_factory is not dataclasses.MISSING
    }


def _option(name: str, annotation: Any, default: Any) -> Option:
    parts = _parts(annotation)
    many = any(get_origin(part) is tuple for part in parts)
    inner = [arg for part in parts for arg in (get_args(part) if get_origin(part) is tuple else [])]
    kinds = [get_args(part)[0].kind for part in (*parts, *inner) if get_origin(part) is Spec]
    kind = kinds[0] if kinds else None
    return Option(name, annotation, default, kind, many and kind is not None, type(None) in parts)


def _parts(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, types.UnionType):
        return get_args(annotation)
    return (annotation,)


@cache
def _model(component: Callable[..., Any]) -> type[BaseModel]:
    """Build the pydantic model of the options that are not components."""
    fields: dict[str, Any] = {
        name: (option.annotation, option.default if not option.required else ...)
        for name, option in options_of(component).items()
        if option.component is None
    }
    config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
    return create_model(f"{component.__name__}Options", __config__=config, **fields)


def validate_scalars(
    component: Callable[..., Any], options: Mapping[str, Any]
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Check options that are not components; return (checked values given, faults).

    A fault is (option path, what is wrong with the value found there).
    """
    raw = {name: _tuples(value) for name, value in options.items()}
    try:
        model = _model(component).model_validate(raw)
    except ValidationError as error:
        return {}, [_fault(item) for item in error.errors()]
    return {name: getattr(model, name) for name in raw}, []


def _fault(item: Mapping[str, Any]) -> tuple[str, str]:
    place = ".".join(str(part) for part in item["loc"] if not _is_type_tag(part))
    if item["type"] == "missing":
        return place, "is required"
    message = item["msg"][0].lower() + item["msg"][1:]
    return place, f"{message}, got {item['input']!r}"


def _is_type_tag(part: Any) -> bool:
    """Pydantic puts the member of a union that it tried into the location; users need not know."""
    return isinstance(part, str) and (
        "[" in part or part in {"int", "float", "str", "bool", "none", "tuple"}
    )


def _tuples(value: Any) -> Any:
    """Turn lists from YAML into tuples, which strict validation wants."""
    if isinstance(value, list | tuple):
        return tuple(_tuples(item) for item in value)
    return value


def json_schema(component: Callable[..., Any]) -> dict[str, Any]:
    """Return the JSON schema of the options of one class."""
    schema = _model(component).model_json_schema(mode="validation")
    properties: dict[str, Any] = schema.setdefault("properties", {})
    for option in options_of(component).values():
        if option.component is None:
            continue
        node = {"$ref": f"#/$defs/{option.component}"}
        properties[option.name] = {"type": "array", "items": node} if option.many else node
    schema["description"] = inspect.getdoc(component) or ""
    return schema


def type_name(annotation: Any) -> str:
    """Return a short human form of an annotation: ``float > 0``, ``int | None``."""
    if get_origin(annotation) is Annotated:
        base, *bounds = get_args(annotation)
        return " ".join([type_name(base), *filter(None, map(_bound, bounds))])
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        return " | ".join(type_name(part) for part in get_args(annotation))
    if origin is typing.Literal:
        return " | ".join(str(value) for value in get_args(annotation))
    if origin is Spec:
        return str(get_args(annotation)[0].__name__)
    if origin is tuple:
        inner = [type_name(part) for part in get_args(annotation) if part is not Ellipsis]
        return f"[{', '.join(inner)}{', …' if Ellipsis in get_args(annotation) else ''}]"
    return "null" if annotation is type(None) else getattr(annotation, "__name__", str(annotation))


def _bound(bound: Any) -> str:
    signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
    shown = [f"{sign} {getattr(bound, key)}" for key, sign in signs.items() if hasattr(bound, key)]
    return " ".join(shown)

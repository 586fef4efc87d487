"""What a name stands for, in words and as JSON schema."""

from __future__ import annotations

import inspect
from importlib import resources
from typing import Any

from seqcl.config.preset import SECTIONS, preset_names
from seqcl.config.resolve import tree_of
from seqcl.config.schema import json_schema, options_of, type_name
from seqcl.errors import UsageError, did_you_mean
from seqcl.finetuning.options import FinetuneOptions
from seqcl.registry import REGISTRIES, registry

__all__ = ["describe", "preset_schema"]


def describe(name: str) -> str:
    """Return the text of `seqcl describe NAME`; ``kind.name`` tells two of one name apart."""
    found = _find(name)
    section = FinetuneOptions if name == "finetune" else SECTIONS.get(name)
    if not found and callable(section):
        belongs = (
            "finetune.KEY of seqcl finetune --set"
            if name == "finetune"
            else (f"the {name}: section of a preset")
        )
        return "\n".join([belongs, "", *_options(section)])
    if not found and name in preset_names():
        return (resources.files("seqcl.presets") / f"{name}.yaml").read_text()
    if not found:
        known = {*preset_names(), *(item for table in REGISTRIES.values() for item in table)}
        close = did_you_mean(name, known).partition(" Known:")[0]
        raise UsageError(f"nothing is called {name!r}.{close} See 'seqcl list'")
    return "\n\n".join(_describe_one(kind, item) for kind, item in found)


def _find(name: str) -> list[tuple[str, str]]:
    kind, dot, item = name.partition(".")
    if dot and kind in REGISTRIES:
        return [(kind, item)] if item in registry(kind) else []
    return [(kind, name) for kind in REGISTRIES if name in registry(kind)]


def _describe_one(kind: str, name: str) -> str:
    component = registry(kind)[name]
    lines = [f"{kind}.{name}  ({registry(kind).origin(name)})"]
    if not callable(component):
        return "\n".join([*lines, "", repr(component)])
    return "\n".join([*lines, "", inspect.getdoc(component) or "", "", *_options(component)])


def _options(component: Any) -> list[str]:
    options = options_of(component).values()
    lines = ["Options:" if options else "No options."]
    width = max((len(option.name) for option in options), default=0)
    for option in options:
        default = "required" if option.required else f"default {tree_of(option.default)}"
        lines.append(f"  {option.name:{width}}  {type_name(option.annotation)}, {default}")
    return lines


def preset_schema() -> dict[str, Any]:
    """Return the JSON schema of a preset file over every registered component."""
    definitions: dict[str, Any] = {}
    properties: dict[str, Any] = {"extends": {"type": "string"}}
    for section, shape in SECTIONS.items():
        if shape is None:
            properties[section] = {"enum": list(registry("modalities"))}
        elif isinstance(shape, str):
            properties[section] = {"$ref": f"#/$defs/{shape}"}
        else:
            properties[section] = _options_schema(shape, definitions)
    for kind in ("augmentations", "frontends", "views", "encoders", "poolings", "heads",
                 "embeddings", "losses", "temperatures", "methods", "samplers",
                 "evaluators"):  # fmt: skip
        definitions[kind] = _kind_schema(kind, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "seqcl preset",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "$defs": definitions,
    }


def _kind_schema(kind: str, definitions: dict[str, Any]) -> dict[str, Any]:
    names = list(registry(kind))
    choices: list[dict[str, Any]] = [{"enum": names + (["none"] if kind == "methods" else [])}]
    for name in names:
        options = _options_schema(registry(kind)[name], definitions)
        choices.append(
            {
                "type": "object",
                "additionalProperties": False,
                "required": [name],
                "properties": {name: options},
            }
        )
    return {"oneOf": choices}


def _options_schema(component: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    return _lifted(json_schema(component), definitions)


def _lifted(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Move a model's own definitions to the top, where its references point."""
    definitions.update(schema.pop("$defs", {}))
    return schema

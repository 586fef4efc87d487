"""A preset: what to read, how to make views, what to train and how to judge it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqcl.config.edit import Shape, merge, parse_set, set_option
from seqcl.config.resolve import Faults, resolve_component, resolve_options, tree_of
from seqcl.config.yaml import dump_yaml, read_yaml
from seqcl.data.options import DataOptions
from seqcl.embeddings.base import Embedding
from seqcl.encoders.base import Encoder
from seqcl.errors import PresetError, SeqclError, UsageError, did_you_mean
from seqcl.evaluation.base import Evaluator
from seqcl.methods.base import Method
from seqcl.modalities.base import Modality
from seqcl.registry import Spec, registry
from seqcl.training.options import TrainingOptions
from seqcl.views.base import Frontend, ViewGenerator

if TYPE_CHECKING:  # scipy would cost every command its import
    from seqcl.detection.detector import Detector

__all__ = [
    "EvaluationOptions",
    "Preset",
    "data_options",
    "load_preset",
    "preset_names",
    "resolve_preset",
    "specs_in",
]


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """The `evaluation:` section: which tasks `seqcl evaluate` runs unless told otherwise."""

    tasks: tuple[Spec[Evaluator], ...] = (Spec("evaluators", "linear"), Spec("evaluators", "knn"))

    def __post_init__(self) -> None:
        names = [spec.name for spec in self.tasks]
        if len(set(names)) < len(names):
            raise ValueError(f"tasks are {', '.join(names)}; each may stand once")


SECTIONS: dict[str, Shape] = {
    "modality": None,
    "data": DataOptions,
    "frontend": "frontends",
    "views": "views",
    "encoder": "encoders",
    "method": "methods",
    "embedding": "embeddings",
    "training": TrainingOptions,
    "evaluation": EvaluationOptions,
    "detector": "detectors",
}
_OPTIONAL = ("methods", "detectors")
"""Kinds of sections that may say `none`."""
_OF_DETECTOR = ("modality", "data", "detector")
"""Sections of a preset that makes a detector."""
_NOT_OF_DETECTOR = ("window", "hop", "max_steps", "missing", "scaler")
"""Options of `data` that a detector has its own ways for."""


@dataclass(frozen=True)
class Preset:
    """A checked preset: components by name with every option, given or default."""

    modality: Modality
    data: DataOptions
    frontend: Spec[Frontend]
    views: Spec[ViewGenerator]
    encoder: Spec[Encoder]
    method: Spec[Method] | None
    """None = `method: none`: the encoder is not trained by gradient."""
    embedding: Spec[Embedding]
    training: TrainingOptions
    evaluation: EvaluationOptions
    detector: Spec[Detector] | None = None
    """None = the run is an encoder; else it is a detector of anomalies, and no encoder."""

    def tree(self) -> dict[str, Any]:
        """Return the preset as a plain tree, every default written out."""
        shown: dict[str, Any] = {"modality": self.modality.name}
        for name, shape in SECTIONS.items():
            if name == "modality":
                continue
            value = getattr(self, name)
            if name == "detector" if self.detector is None else name not in _OF_DETECTOR:
                continue
            if callable(shape):
                shown[name] = {key: tree_of(getattr(value, key)) for key in _fields(value)}
            else:
                shown[name] = "none" if value is None else tree_of(value)
        return shown

    def yaml(self) -> str:
        """Return the preset as YAML."""
        return dump_yaml(self.tree())


def preset_names() -> tuple[str, ...]:
    """Return the names of the presets that ship with seqcl."""
    folder = resources.files("seqcl.presets")
    return tuple(sorted(item.name[:-5] for item in folder.iterdir() if item.name.endswith(".yaml")))


def load_preset(name: str, overrides: Sequence[str] = ()) -> Preset:
    """Load a preset by name or by file, apply ``section.option=value`` changes, and check it.

    Raises PresetError with every fault, one line each.
    """
    tree, where = _read(name, ())
    return resolve_preset(apply_overrides(tree, overrides), where)


def apply_overrides(tree: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return `tree` changed by ``--set`` texts; all their faults are told at once."""
    changed = _with_modality_defaults(tree)
    faults: list[str] = []
    for text in overrides:
        try:
            keys, value = parse_set(text)
            section = str(keys[0])
            if section not in SECTIONS:
                raise PresetError(
                    f"--set {text}: unknown section.{did_you_mean(section, SECTIONS)}"
                )
            shape = SECTIONS[section]
            current = changed.get(section, {} if callable(shape) else None)
            changed[section] = set_option(current, shape, keys[1:], value, section)
        except PresetError as error:
            faults.extend(error.faults)
    if faults:
        raise PresetError(faults)
    return changed


def resolve_preset(tree: Mapping[str, Any], where: str) -> Preset:
    """Check a raw tree; raises PresetError with every fault, each line beginning with `where`."""
    faults = Faults()
    for name in tree:
        if name not in SECTIONS:
            faults.unknown("preset", str(name), SECTIONS)
    if tree.get("detector") not in (None, "none"):
        for name in set(tree) & set(SECTIONS) - set(_OF_DETECTOR):
            faults.add(name, "has no effect beside a detector; drop it, or drop the detector")
        _check_data_of_detector(tree, faults)
        tree = {"views": "independent", **_encoder_defaults(tree), **tree}  # read by no detector
    tree = _with_modality_defaults(tree)
    parts: dict[str, Any] = {}
    for name, shape in SECTIONS.items():
        if isinstance(shape, str):
            parts[name] = _resolve_section(shape, tree.get(name), name, faults)
        elif shape is not None:
            checked = resolve_options(shape, tree.get(name) or {}, name, faults)
            parts[name] = None if checked is None else shape(**checked)
    parts["modality"] = _modality(tree.get("modality"), faults)
    _check_layouts(parts, faults)
    messages = faults.messages()
    if messages:
        raise PresetError([f"{where}: {message}" for message in messages])
    return Preset(**parts)


def _check_data_of_detector(tree: Mapping[str, Any], faults: Faults) -> None:
    """Add a fault for each option of `data` that a detector would not read."""
    usual = _with_modality_defaults({"modality": tree.get("modality")}).get("data") or {}
    data = tree.get("data")
    if not isinstance(data, Mapping):
        return
    for name in _NOT_OF_DETECTOR:
        default = usual.get(name, getattr(DataOptions, name, None))
        if data.get(name, default) != default:
            cure = "set detector.window" if name == "window" else "drop it"
            faults.add(f"data.{name}", f"has no effect beside a detector; {cure}")


def changed_data(tree: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return a `data:` section changed by ``--set data.KEY=VALUE`` texts, and by no other."""
    changed = dict(tree)
    for text in overrides:
        keys, value = parse_set(text)
        if keys[0] != "data":
            raise UsageError(f"--set {text}: only data.* can be set here")
        changed = set_option(changed, DataOptions, keys[1:], value, "data")
    return changed


def data_options(tree: Mapping[str, Any]) -> DataOptions:
    """Check a `data:` section alone; raises PresetError with every fault."""
    faults = Faults()
    checked = resolve_options(DataOptions, tree, "data", faults)
    if checked is None:
        raise PresetError(faults.messages())
    return DataOptions(**checked)


def _resolve_section(kind: str, raw: Any, name: str, faults: Faults) -> Spec[Any] | None:
    if kind in _OPTIONAL and raw in ("none", None):
        return None
    if raw is None:
        faults.add(name, f"is missing. Known: {', '.join(registry(kind))}")
        return None
    return resolve_component(kind, raw, name, faults)


def _modality(raw: Any, faults: Faults) -> Modality | None:
    try:
        found: Modality = registry("modalities")[str(raw)]
    except SeqclError as error:
        faults.add("modality", str(error))
        return None
    return found


def _check_layouts(parts: Mapping[str, Any], faults: Faults) -> None:
    """Add a fault for each component that does not take what the modality gives."""
    modality = parts["modality"]
    if modality is None:
        return
    for section in ("frontend", "views", "encoder", "embedding"):
        for spec in specs_in(parts[section]):
            found = registry(spec.kind)[spec.name]
            layouts = getattr(found, "layouts", (modality.layout,))
            if modality.layout not in layouts:
                table = registry(spec.kind)
                fit = [n for n in table if modality.layout in getattr(table[n], "layouts", ())]
                faults.add(
                    section,
                    f"{spec.name} is not made for modality {modality.name}. Those that are: "
                    f"{', '.join(fit)}",
                )


def specs_in(value: Any) -> Iterator[Spec[Any]]:
    """Yield a component and the components among its options."""
    if isinstance(value, Spec):
        yield value
        for option in value.options.values():
            yield from specs_in(option)
    elif isinstance(value, tuple):
        for item in value:
            yield from specs_in(item)


def _with_modality_defaults(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Fill sections that the preset leaves to its modality."""
    name = tree.get("modality")
    if not isinstance(name, str) or name not in registry("modalities"):
        return dict(tree)
    modality: Modality = registry("modalities")[name]
    plain = tree.get("detector") in (None, "none")
    filled = {**(_encoder_defaults(tree) if plain else {}), **tree}
    data = filled.get("data") or {}
    if isinstance(data, Mapping):
        filled["data"] = {
            "layout": modality.layout, "scaler": modality.scaler, **modality.data, **data
        }  # fmt: skip
    return filled


def _encoder_defaults(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sections of an encoder that a modality has defaults for."""
    table, name = registry("modalities"), tree.get("modality")
    if not isinstance(name, str) or name not in table:
        return {}
    modality: Modality = table[name]
    defaults = {
        "frontend": modality.frontend,
        "views": modality.views,
        "encoder": modality.encoder,
        "embedding": "identity",
    }
    return {key: value for key, value in defaults.items() if value}


def _read(name: str, seen: tuple[str, ...]) -> tuple[dict[str, Any], str]:
    path, where = _locate(name, seen)
    if str(path) in seen:
        raise PresetError(f"{where}: 'extends' goes in a circle: {' -> '.join((*seen, str(path)))}")
    tree = read_yaml(path)
    parent = tree.pop("extends", None)
    if parent is None:
        return tree, where
    if not isinstance(parent, str):
        raise PresetError(f"{where}: extends: needs one preset name or file, got {parent!r}")
    beside = path.parent / parent
    below, _ = _read(str(beside) if beside.is_file() else parent, (*seen, str(path)))
    merged = dict(below)
    for key, value in tree.items():
        shape = SECTIONS.get(key)
        merged[key] = merge(below[key], value, shape) if key in below else value
    return merged, where


def _locate(name: str, seen: tuple[str, ...]) -> tuple[Path, str]:
    if name.endswith((".yaml", ".yml")) or "/" in name:
        return Path(name), name
    if name in preset_names():
        return Path(str(resources.files("seqcl.presets") / f"{name}.yaml")), f"preset {name}"
    after = f"{seen[-1]}: extends: " if seen else ""
    raise UsageError(f"{after}unknown preset {name!r}.{did_you_mean(name, preset_names())}")


def _fields(value: Any) -> tuple[str, ...]:
    return tuple(type(value).__dataclass_fields__)

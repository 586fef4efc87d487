"""May this folder be written: a new run, the same run again, or neither."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from seqcl.config.preset import Preset, resolve_preset
from seqcl.config.yaml import read_yaml
from seqcl.errors import PresetError, SeqclError, UsageError
from seqcl.files import target_of
from seqcl.run.folder import read_manifest

__all__ = ["differences", "open_folder", "refuse_changes", "removed_if_refused"]

_BEGUN = {"lock", "preset.yaml", "initial.safetensors"}
"""What a run holds that was stopped before its manifest."""


def open_folder(out: Path, resume: bool) -> tuple[bool, tuple[str, ...]]:
    """Return whether there is a run to resume, and a note where resuming starts one.

    Raises UsageError where `out` holds something else, or a run and `resume` is not asked for.
    """
    try:
        held = {path.name for path in out.iterdir()} if out.exists() else set()
        held -= {name for name in held if target_of(name) in {*_BEGUN, "manifest.json"}}
        out.mkdir(parents=True, exist_ok=True)
        (out / "lock").touch()
    except OSError as error:
        raise UsageError(f"--out {out}: cannot be written ({error.strerror})") from None
    if "manifest.json" not in held:
        if not held <= _BEGUN:
            raise UsageError(f"--out {out}: exists and holds other files; choose another folder")
        return False, (f"--resume: {out} holds no run yet; starting one",) if resume else ()
    if not resume:
        raise UsageError(f"--out {out}: exists already; choose another folder, or --resume it")
    if read_manifest(out).get("train", {}).get("stopped") == "done":
        raise UsageError(f"--resume {out}: the run is finished; nothing is left to train")
    return True, ()


@contextmanager
def removed_if_refused(out: Path) -> Iterator[None]:
    """Remove a folder in which nothing but its lock was written when an error ended the block."""
    try:
        yield
    except SeqclError:
        if {path.name for path in out.iterdir()} <= {"lock"}:
            (out / "lock").unlink(missing_ok=True)
            out.rmdir()
        raise


def refuse_changes(out: Path, preset: Preset, facts: dict[str, Any]) -> None:
    """Compare with the run in `out`; raises PresetError with each difference."""
    before = read_manifest(out)
    changes = [
        f"{name} was {before[name]!r}, now {facts[name]!r}"
        for name in ("seed", "channels", "init")
        if before[name] != facts[name]
    ]
    if before["data"]["fingerprint"] != facts["data"]["fingerprint"]:
        changes.append("the training data is not the same")
    changes += differences(_tree(out / "preset.yaml"), preset.tree())
    changes += differences(before.get("view_files"), facts.get("view_files"), "view_files")
    changes += differences(before.get("finetune"), facts.get("finetune"), "finetune")
    if changes:
        lead = f"--resume {out}: "
        advice = (
            f"repeat the options of the first call; where the preset itself has changed since, "
            f"resume with {out / 'preset.yaml'} in its place; or use another --out"
        )
        raise PresetError([lead + text for text in (*changes, advice)])


def _tree(path: Path) -> Mapping[str, Any]:
    """Return a run's preset, options that are newer than it at their defaults."""
    tree = read_yaml(path)
    try:
        return resolve_preset(tree, str(path)).tree()
    except PresetError:  # an option that there is no more: told as a difference
        return tree


def differences(before: Any, now: Any, where: str = "") -> list[str]:
    """Return where two trees differ, one line each."""
    if isinstance(before, dict) and isinstance(now, dict):
        return [
            line
            for key in dict.fromkeys([*before, *now])
            for line in differences(before.get(key), now.get(key), f"{where}.{key}".lstrip("."))
        ]
    return [] if before == now else [f"{where} was {before!r}, now {now!r}"]

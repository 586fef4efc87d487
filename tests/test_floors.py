"""Imports go down, heavy libraries stay where they belong."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "seqcl"
FLOORS = {
    "errors": 0, "registry": 0, "files": 0,
    "batch": 1, "rng": 1, "distributed": 1, "losses": 1, "metrics": 1, "weights": 1,
    "views": 2, "encoders": 2, "heads": 2, "embeddings": 2, "data": 2,
    "methods": 3, "modalities": 3, "model": 3,
    "training": 4, "evaluation": 4,
    "finetuning": 5, "detection": 5, "retrieval": 5,
    "config": 6, "run": 6, "report": 6,
    "estimator": 7, "anomaly_detector": 7, "hear": 7, "ray_data": 7,
    "cli": 8, "__init__": 8, "__main__": 8,
}  # fmt: skip
HOMES = {
    "click": {"cli"}, "rich_click": {"cli"}, "rich": {"cli"},
    "sklearn": {"evaluation", "estimator", "anomaly_detector", "detection", "modalities"},
    "PIL": {"modalities", "report"},
    "h5py": {"data"},
    "scipy": {"detection"},
    "soundfile": {"modalities"}, "soxr": {"modalities"}, "librosa": set(), "torchaudio": set(),
    "aeon": {"modalities", "run"},
    "tensorboard": {"training"}, "matplotlib": {"report"}, "ray": set(),
    "faiss": {"retrieval"}, "qdrant_client": {"retrieval"}, "uvicorn": {"retrieval"},
    "triton": {"losses"},
    "fastapi": {"retrieval"}, "starlette": {"retrieval"},
    "onnx": {"run"}, "onnxruntime": {"run"}, "onnxscript": {"run"},
}  # fmt: skip
KERNELS = {"triton_kernels", "triton_lse"}
"""The files of triton; no other imports them."""
TRAINING_ONLY = {"torch", "numpy", "pydantic", "annotated_types", "safetensors", "seqcl"}


def files() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def part(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path, *, top_level: bool = False) -> set[str]:
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level else list(ast.walk(tree))
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
            if node.module == "seqcl":
                found.update(f"seqcl.{alias.name}" for alias in node.names)
    return found


def test_every_part_of_the_package_has_a_floor() -> None:
    assert {part(path) for path in files()} - {"presets"} <= set(FLOORS)


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path: Path) -> None:
    here = FLOORS[part(path)]
    for name in imports(path):
        if name.startswith("seqcl."):
            there = name.split(".")[1]
            assert FLOORS[there] <= here, f"{path.name} (floor {here}) imports {name}"
            assert not (part(path) == "training" and there == "evaluation")


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_library_is_imported_only_where_it_lives(path: Path) -> None:
    for name in imports(path):
        top = name.split(".")[0]
        assert part(path) in HOMES.get(top, {part(path)}), f"{path}: imports {name}"


@pytest.mark.parametrize(
    "path", [p for p in files() if part(p) in {"losses", "methods", "training"}], ids=str
)
def test_losses_methods_and_training_need_only_torch_numpy_and_pydantic(path: Path) -> None:
    import sys

    tops = {name.split(".")[0] for name in imports(path, top_level=True)} - set(
        sys.stdlib_module_names
    )
    assert tops - {"__future__"} <= TRAINING_ONLY | ({"triton"} if path.stem in KERNELS else set())
    if path.stem not in KERNELS:
        assert not imports(path) & {f"seqcl.losses.{name}" for name in KERNELS}


@pytest.mark.parametrize("path", [p for p in files() if part(p) == "cli"], ids=str)
def test_the_command_line_imports_only_click_rich_and_the_standard_library(path: Path) -> None:
    import sys

    allowed = {"seqcl", "rich", "rich_click", "click", *sys.stdlib_module_names}
    names = imports(path, top_level=True)
    assert {name.split(".")[0] for name in names} <= allowed
    own = {name for name in names if name.startswith("seqcl.")}
    assert all(name.split(".")[1] in {"cli", "errors", "registry"} for name in own), own


def test_no_two_packages_import_each_other() -> None:
    edges = {
        (part(path), name.split(".")[1])
        for path in files()
        for name in imports(path)
        if name.startswith("seqcl.") and name.split(".")[1] != part(path)
    }
    circles = {(a, b) for a, b in edges if (b, a) in edges}
    assert not circles

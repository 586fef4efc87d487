"""The registry: names, origins, plugins of third parties, and what goes wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from seqcl.errors import SeqclError, UsageError
from seqcl.registry import REGISTRIES, Registry, Spec, registry

PLUGIN = '''
"""A loss from another package."""

from dataclasses import dataclass

import torch
from seqcl.losses.base import Known, PairLoss


@dataclass(frozen=True, kw_only=True)
class PullTogether(PairLoss):
    weight: float = 1.0

    def __call__(
        self, a: torch.Tensor, b: torch.Tensor, known: Known | None = None
    ) -> torch.Tensor:
        return self.weight * (a - b).square().mean()
'''


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, table in REGISTRIES.items() for name in table]
)
def test_every_registered_name_resolves(kind: str, name: str) -> None:
    assert registry(kind)[name] is not None


def test_an_unknown_name_says_what_was_meant() -> None:
    with pytest.raises(UsageError, match=r"unknown name 'tnc'\. Did you mean 'tcn'\?"):
        registry("encoders")["tnc"]


def test_an_unknown_kind_says_what_was_meant() -> None:
    with pytest.raises(UsageError, match="Did you mean 'encoders'"):
        registry("encoder")


def test_listing_imports_nothing() -> None:
    code = (
        "import sys; from seqcl.registry import REGISTRIES; "
        "[list(t) for t in REGISTRIES.values()]; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_spec_builds_with_positional_arguments_and_options() -> None:
    head = Spec("heads", "linear", {"out_dim": 7}).build(5)
    assert (head.in_dim, head.out_dim) == (5, 7)


def test_a_decorated_class_is_found_and_cannot_take_a_known_name() -> None:
    table = Registry("losses", {"nt_xent": "seqcl.losses.nt_xent:NTXent"})

    @table.register("mine")
    class Mine:
        pass

    assert table["mine"] is Mine
    assert "mine" in table
    with pytest.raises(SeqclError, match="'nt_xent' exists already"):
        table.register("nt_xent")(Mine)


def test_a_plugin_with_a_built_in_name_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("nt_xent", "other.loss:Loss", "seqcl.losses")
    monkeypatch.setattr("seqcl.registry.entry_points", lambda group: [point])
    table = Registry("losses", {"nt_xent": "seqcl.losses.nt_xent:NTXent"})
    with pytest.raises(SeqclError, match="'other.loss:Loss' registers losses 'nt_xent'"):
        list(table)


def test_a_broken_plugin_fails_when_it_is_used_and_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    point = EntryPoint("broken", "not_there.loss:Loss", "seqcl.losses")
    monkeypatch.setattr("seqcl.registry.entry_points", lambda group: [point])
    table = Registry("losses", {})
    assert list(table) == ["broken"]
    with pytest.raises(SeqclError, match=r"'broken': plugin .*not_there\.loss:Loss"):
        table["broken"]


def test_an_installed_third_party_package_is_listed_described_and_run(tmp_path: Path) -> None:
    """Install a package with one loss for real, then train with it from the command line."""
    source = tmp_path / "plugin"
    source.mkdir()
    (source / "seqcl_pull.py").write_text(PLUGIN)
    (source / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "seqcl-pull"\nversion = "1.0"\n'
        '[project.entry-points."seqcl.losses"]\npull = "seqcl_pull:PullTogether"\n'
        '[tool.setuptools]\npy-modules = ["seqcl_pull"]\n'
    )
    site = tmp_path / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation",
         "--target", str(site), str(source)],
        check=True,
    )  # fmt: skip
    env = {**os.environ, "PYTHONPATH": str(site)}

    def seqcl(*arguments: str) -> str:
        command = [sys.executable, "-m", "seqcl", *arguments]
        return subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout

    assert "pull" in seqcl("list", "losses").split()
    assert "plugin seqcl-pull" in seqcl("describe", "pull")
    seqcl(
        "pretrain", "series", "--data", "aeon:BasicMotions:train", "--out", str(tmp_path / "run"),
        "--set", "method.loss=pull", "--set", "training.steps=2", "--set", "training.batch_size=8",
    )  # fmt: skip
    assert "pull: {weight: 1.0}" in (tmp_path / "run" / "preset.yaml").read_text()

"""Claims of the literature, made again: head, views, loss, batch size and temperature of SimCLR.

    python benchmarks/ablations.py --data FOLDER --out STEM [--sets A,B] [--methods P,Q] [--seeds 3]

Every row is the preset `series` with one thing changed, trained for 400 steps; rows of another
batch size see as many records in more or fewer steps. `--methods` names rows. The rest is as in
methods.py; a set should have at least 128 training records.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
from methods import TASKS, Flat, Row, interval_of, means_of, parse, run
from scipy.stats import wilcoxon
from series import TRAINED, UNTRAINED

from seqcl.config import load_preset
from seqcl.files import atomic_write

STEPS, BATCH = 400, 64
DEFAULT = "default"
AUGMENTATIONS = tuple(spec.name for spec in load_preset("series").views.options["before"])


def _without(*dropped: str) -> str:
    """Return the change that leaves some of the default's augmentations out."""
    kept = load_preset("series").views.options["before"]
    listed = (
        f"{{{spec.name}: {{{', '.join(f'{k}: {_yaml(v)}' for k, v in spec.options.items())}}}}}"
        for spec in kept
        if spec.name not in dropped
    )
    return f"views.independent.before=[{', '.join(listed)}]"


def _yaml(value: object) -> str:
    return str(list(value)) if isinstance(value, tuple) else str(value)


def _batch(records: int) -> tuple[str, ...]:
    return f"training.batch_size={records}", f"training.steps={STEPS * BATCH // records}"


CLAIMS: dict[str, dict[str, tuple[str, ...]]] = {
    "Head: identity < linear < MLP": {
        "identity head": ("method.simclr.head=identity",),
        "linear head": ("method.simclr.head=linear",),
    },
    "Views: composed > single": {
        f"{name} alone": (_without(*(other for other in AUGMENTATIONS if other != name)),)
        for name in AUGMENTATIONS
    },
    "Loss: NT-Xent > logistic, margin": {
        "logistic (sigmoid)": ("method.simclr.loss={sigmoid: {temperature: 0.2}}",),
        "cosine margin": ("method.simclr.loss={margin: {metric: cosine, positives: view}}",),
        "semi-hard triplet": (
            "method.simclr.loss={triplet: {mining: semi_hard, positives: view}}",
        ),
    },
    "Batch size: larger is better": {f"{n} records": _batch(n) for n in (16, 128)},
    "Temperature: an optimum between": {
        f"temperature {t:g}": (f"method.simclr.loss.nt_xent.temperature={t:g}",)
        for t in (0.05, 0.1, 0.5, 1.0)
    },
}
ROWS: dict[str, Row] = {
    name: ("series", (f"training.steps={STEPS}", *changes))
    for name, changes in chain(
        [(DEFAULT, ())], *(claim.items() for claim in CLAIMS.values())
    )
}  # fmt: skip


def main() -> None:
    """Run what is missing, then write STEM.json and STEM.md."""
    options = parse(__doc__, ROWS)
    text = summarise(run(options))
    atomic_write(options.out.with_suffix(".md"), text)
    print(text)


def summarise(records: Sequence[Flat]) -> str:
    """Return a table for each claim as Markdown: every row beside the default."""
    names = list(dict.fromkeys(r["set"] for r in records))
    seeds = len({r["seed"] for r in records})
    lines = [f"# Ablations of the preset `series`: {len(names)} sets, {seeds} seeds", "",
             f"Sets: {', '.join(names)}. Means of test accuracy; in brackets the difference to the "
             "default, its 95 % interval (bootstrap over sets of their means over seeds) and "
             "Wilcoxon's p over sets and seeds.", ""]  # fmt: skip
    header = f"| row | {' | '.join(TASKS)} |\n|---|{'---|' * len(TASKS)}"
    for claim, rows in CLAIMS.items():
        lines += [f"## {claim}", "", header, _row(records, DEFAULT, UNTRAINED)]
        lines += [_row(records, name, TRAINED) for name in (DEFAULT, *rows)]
        lines.append("")
    return "\n".join(lines)


def _row(records: Sequence[Flat], name: str, system: str) -> str:
    own = [r for r in records if (r["preset"], r["system"]) == (name, system)]
    base = [r for r in records if (r["preset"], r["system"]) == (DEFAULT, TRAINED)]
    cells = [_cell(own, base, key, plain=(name, system) == (DEFAULT, TRAINED)) for key in
             TASKS.values()]  # fmt: skip
    return f"| {UNTRAINED if system == UNTRAINED else name} | {' | '.join(cells)} |"


def _cell(own: Sequence[Flat], base: Sequence[Flat], key: str, plain: bool) -> str:
    if not own:
        return "–"
    values, others = means_of(own, key), means_of(base, key)
    shared = [name for name in values if name in others]
    gaps = np.array([values[name] - others[name] for name in shared])
    mean = np.mean([values[name] for name in shared])
    if plain:
        return f"**{mean:.3f}**"
    low, high = interval_of(gaps)
    by_run = {(r["set"], r["seed"]): r[key] for r in base}
    single = [r[key] - by_run[r["set"], r["seed"]] for r in own if (r["set"], r["seed"]) in by_run]
    p = wilcoxon(single).pvalue if np.any(single) else 1.0
    return f"{mean:.3f} ({gaps.mean():+.3f}, {low:+.3f} to {high:+.3f}, p = {p:.2g})"


if __name__ == "__main__":
    main()

"""One injection per record, of a kind that is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from seqcl.batch import Batch
from seqcl.registry import Spec
from seqcl.rng import Rng
from seqcl.views.base import Augmentation, Params, ValueAugmentation
from seqcl.views.injection import Injection

__all__ = ["Inject"]

_KINDS = (
    "spike", "level_shift", "drift", "flat_line",
    "splice", "noise_burst", "channel_dropout", "local_warp",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Inject(ValueAugmentation):
    """Put one anomaly of a random kind into each record (as CARLA, arXiv 2308.09296).

    Its parameters say where, as those of a single injection do (`injected`), and by `kind` (B,)
    which of `kinds` it was.
    """

    kinds: tuple[Spec[Augmentation], ...] = tuple(Spec("augmentations", kind) for kind in _KINDS)
    """Injections to choose from, each equally often; their own `p` is not used."""

    def __post_init__(self) -> None:
        if not self.kinds:
            raise ValueError("Inject: kinds is empty; name at least one injection")
        for spec, kind in zip(self.kinds, self._built, strict=True):
            if not isinstance(kind, Injection):
                raise ValueError(
                    f"Inject: {spec.name!r} is no injection; choose from {', '.join(_KINDS)}"
                )

    @cached_property
    def _built(self) -> tuple[Injection, ...]:
        return tuple(spec.build() for spec in self.kinds)  # type: ignore[misc]

    def draw(self, batch: Batch, rng: Rng) -> Params:
        """Draw `kind` (B,) and the parameters of every kind, each from its own stream."""
        draws = rng.uniform(len(batch), 0.0, 1.0) * len(self._built)
        kind = draws.long().clamp(max=len(self._built) - 1)
        parts = [one.draw(batch, rng.fork(place)) for place, one in enumerate(self._built)]
        where = {
            name: _pick([part[name] for part in parts], kind)
            for name in ("start", "stop", "channels")
        }
        return {"kind": kind, "parts": parts, "steps": batch.values.shape[2], **where}

    def change(self, batch: Batch, params: Params) -> Tensor:
        """Apply each kind and take each record from its own."""
        kinds = zip(self._built, params["parts"], strict=True)
        return _pick([one.change(batch, part) for one, part in kinds], params["kind"])


def _pick(choices: list[Tensor], kind: Tensor) -> Tensor:
    """Return (B, ...), row i from ``choices[kind[i]]``."""
    rows = torch.arange(len(kind), device=kind.device)
    return torch.stack(choices)[kind, rows]

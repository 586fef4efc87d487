"""Method: the training-only state around an encoder, and its four moments.

The loop calls ``encode``, ``objective`` (together ``forward``), ``after_backward`` and
``after_step`` and never asks which method runs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor, nn

from seqcl.batch import Batch, Encoded
from seqcl.data.samplers import Sampler
from seqcl.encoders.base import Encoder
from seqcl.losses.base import Known, PairLoss
from seqcl.registry import Spec

__all__ = ["NEEDS", "Loss", "Method", "Progress", "encode_views", "known_of"]

NEEDS = frozenset(
    {
        "labels",
        "groups",
        "pairs",
        "recordings",
        "local",
        "overlap",
        "two_views",
        "paired",
        "time_frequency",
        "whole",
    }
)
"""What a method may ask of its batches, views and encoders."""


@dataclass(frozen=True, slots=True)
class Loss:
    """The scalar to minimise, its named parts for the log, and tensors for `after_step`."""

    total: Tensor
    parts: Mapping[str, Tensor] = field(default_factory=dict)
    carry: Mapping[str, Tensor] = field(default_factory=dict)

    def detached(self) -> Loss:
        """Return the same values without the graph, which holds on to activations."""
        return Loss(
            self.total.detach(),
            {name: part.detach() for name, part in self.parts.items()},
            {name: kept.detach() for name, kept in self.carry.items()},
        )


@dataclass(frozen=True, slots=True)
class Progress:
    """Where training stands: optimizer steps done, and how many there will be."""

    step: int
    total_steps: int

    @property
    def fraction(self) -> float:
        """Part of training that is done, 0 to 1."""
        return self.step / max(1, self.total_steps)


class Method(nn.Module, ABC):
    """A contrastive method around one encoder, or two for paired modalities.

    A subclass takes its options by keyword after `encoders` and writes `objective`; one that
    keeps a target network, queue or prototypes holds them as parameters and persistent buffers
    and changes them in `after_step`.
    """

    kind: ClassVar[str] = "methods"
    needs: frozenset[str] = frozenset({"two_views"})
    """Of `NEEDS`; a method whose loss asks for more adds it to its own."""
    together: frozenset[str] = frozenset()
    """Of labels and pairs in `needs`, those that tell positives: batches must hold two records
    that share one."""
    takes: frozenset[str] = frozenset()
    """Of `NEEDS`, what it makes use of where the data have it, and does without where not."""
    most_views: int | None = None
    """Views beyond which there is none that it would look at; None = it takes any number."""
    min_batch: int = 2
    """Records below which there is nothing to learn."""
    steady: bool = True
    """Whether losses of the first and of later steps compare; not where a queue fills meanwhile."""
    gathers: bool = True
    """Whether the loss sees the records of all processes, or those of its own alone."""
    sampler: Spec[Sampler] | None = None
    """What orders the records where ``training.sampler`` does not say; None = shuffled."""

    def __init__(self, encoders: Mapping[str, Encoder]) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict(encoders)

    @property
    def encoder(self) -> Encoder:
        """The only encoder of a method that is not paired."""
        (encoder,) = self.encoders.values()
        assert isinstance(encoder, Encoder)
        return encoder

    @property
    def name(self) -> str:
        """What messages call it."""
        return type(self.members[0]).__name__

    @property
    def members(self) -> tuple[Method, ...]:
        """Methods that learn apart, all alike: itself, where it is one."""
        return (self,)

    @property
    def projector(self) -> nn.Module | None:
        """What turns the encoder's output into what the loss compares; None = nothing does."""
        return getattr(self, "head", None)

    def encode(self, views: tuple[Batch, ...]) -> tuple[Encoded, ...]:
        """Encode each view; views of equal shape share one call."""
        return encode_views(self.encoder, views, local="local" in self.needs)

    @abstractmethod
    def objective(self, encoded: tuple[Encoded, ...]) -> Loss:
        """Return the loss of encoded views; changes no state."""

    def check(self, views: tuple[Batch, ...]) -> None:
        """Raise ValueError with too few views or records, or with views that it would ignore."""
        name = self.name
        if self.most_views is not None and len(views) > self.most_views:
            raise ValueError(f"{name}: {len(views)} views; it takes at most {self.most_views}")
        if "two_views" in self.needs and len(views) < 2:
            raise ValueError(f"{name}: {len(views)} view; at least 2 are needed")
        if len(views[0]) < self.min_batch:
            raise ValueError(
                f"{name}: a batch of {len(views[0])} records; at least {self.min_batch} are needed"
            )

    def forward(self, views: tuple[Batch, ...]) -> Loss:
        """Encode and take the loss; raises ValueError with too few views or records."""
        self.check(views)
        return self.objective(self.encode(views))

    @property
    def finished(self) -> bool:
        """Whether there is nothing more to learn before the last step; read after each step."""
        return False

    def rate_factors(self) -> Mapping[str, float]:
        """Return learning rates over the common one, by parameter name; not named = 1."""
        return {}

    def after_backward(self, progress: Progress) -> None:
        """Change gradients before clipping (SwAV freezes its prototypes early)."""

    def after_step(self, progress: Progress, loss: Loss) -> None:
        """Change state after the optimizer (target network, queue from ``loss.carry``)."""


def known_of(view: Batch, loss: PairLoss, temperature: Tensor | None = None) -> Known:
    """Return what `loss` may know of the records of a view: no label unless it asks for labels."""
    labels = view.labels if "labels" in loss.needs else None
    records = view.ids if view.repeated else None
    return Known(labels, view.groups, view.start, temperature, view.recordings, records)


def encode_views(encoder: Encoder, views: tuple[Batch, ...], local: bool) -> tuple[Encoded, ...]:
    """Encode views with as few calls as there are different shapes."""
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for index, view in enumerate(views):
        by_shape.setdefault(tuple(view.values.shape), []).append(index)
    out: dict[int, Encoded] = {}
    for indices in by_shape.values():
        whole = encoder(Batch.cat(tuple(views[i] for i in indices)), local=local)
        size = len(views[indices[0]])
        for place, index in enumerate(indices):
            rows = slice(place * size, (place + 1) * size)
            out[index] = Encoded(
                whole.pooled[rows],
                None if whole.local is None else whole.local[rows],
                None if whole.mask is None else whole.mask[rows],
                views[index],
            )
    return tuple(out[index] for index in range(len(views)))

"""One method a member of an ensemble, on the same views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from seqcl.batch import Batch, Encoded
from seqcl.heads.each import HeadEach
from seqcl.methods.base import Loss, Method, Progress

__all__ = ["Several"]


class Several(Method):
    """Train each of several encoders by a method of its own; the loss is the mean of theirs.

    Each learns by the gradient of its own loss, clipped by itself, and none flows from one to
    another. The loop sees one method: a checkpoint holds all, and `encode` gives the features of
    all, so that gradient caching works as for one.

    Args:
        methods: of one kind and with the same options, each around its encoder.
    """

    def __init__(self, methods: Sequence[Method]) -> None:
        nn.Module.__init__(self)
        self.each = nn.ModuleList(methods)
        encoders = {str(number): one.encoder for number, one in enumerate(methods)}
        object.__setattr__(self, "encoders", nn.ModuleDict(encoders))  # registered in `each`
        for name in _ALIKE:
            setattr(self, name, getattr(methods[0], name))

    @property
    def members(self) -> tuple[Method, ...]:
        """The methods."""
        return tuple(one for one in self.each if isinstance(one, Method))

    @property
    def projector(self) -> nn.Module | None:
        """The heads of all; None where they have none."""
        heads = [one.projector for one in self.members]
        made = [head for head in heads if head is not None]
        return HeadEach(made, [one.encoder.out_dim for one in self.members]) if made else None

    def check(self, views: tuple[Batch, ...]) -> None:
        """Raise ValueError as each of them would."""
        self.members[0].check(views)

    def encode(self, views: tuple[Batch, ...]) -> tuple[Encoded, ...]:
        """Encode each view by all encoders, their features side by side."""
        found = zip(*[one.encode(views) for one in self.members], strict=True)
        return tuple(_beside(of_view) for of_view in found)

    def objective(self, encoded: tuple[Encoded, ...]) -> Loss:
        """Return the mean loss."""
        count = len(self.each)
        losses = [
            one.objective(tuple(_part(view, number, count) for view in encoded))
            for number, one in enumerate(self.members)
        ]
        parts = {name: _mean([loss.parts[name] for loss in losses]) for name in losses[0].parts}
        carry = {
            f"{number}.{name}": kept
            for number, loss in enumerate(losses)
            for name, kept in loss.carry.items()
        }
        return Loss(_mean([loss.total for loss in losses]), parts, carry)

    @property
    def finished(self) -> bool:
        """Whether none of them has more to learn."""
        return all(one.finished for one in self.members)

    def rate_factors(self) -> Mapping[str, float]:
        """Return learning rates over the common one, by parameter name."""
        return {
            f"each.{number}.{name}": factor
            for number, one in enumerate(self.members)
            for name, factor in one.rate_factors().items()
        }

    def after_backward(self, progress: Progress) -> None:
        """Make of a share of the mean's gradient that of each loss; let each change its own."""
        for one in self.members:
            for weight in one.parameters():
                if weight.grad is not None:
                    weight.grad.mul_(len(self.each))
            one.after_backward(progress)

    def after_step(self, progress: Progress, loss: Loss) -> None:
        """Let each change its state by what it carried."""
        for number, one in enumerate(self.members):
            own = f"{number}."
            carry = {k.removeprefix(own): v for k, v in loss.carry.items() if k.startswith(own)}
            one.after_step(progress, replace(loss, carry=carry))


_ALIKE = (
    "needs", "together", "takes", "most_views", "min_batch", "steady", "gathers", "sampler",
)  # fmt: skip
"""What members of one kind have in common."""


def _mean(values: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(values)).mean(0)


def _beside(found: tuple[Encoded, ...]) -> Encoded:
    """Join what the encoders give of a view."""
    first = found[0]
    local = [one.local for one in found if one.local is not None]
    pooled = torch.cat([one.pooled for one in found], dim=1)
    return replace(first, pooled=pooled, local=torch.cat(local, 1) if local else None)


def _part(encoded: Encoded, number: int, count: int) -> Encoded:
    """Return what one of `count` encoders gave."""

    def own(features: Tensor) -> Tensor:
        size = features.shape[1] // count
        return features[:, number * size : (number + 1) * size]

    local = None if encoded.local is None else own(encoded.local)
    return replace(encoded, pooled=own(encoded.pooled), local=local)

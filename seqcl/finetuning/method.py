"""Supervised: an encoder and a head learn from labels, first the head alone, then both."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from seqcl.batch import Batch, Encoded
from seqcl.finetuning.best import Best
from seqcl.finetuning.heldout import HeldOut
from seqcl.finetuning.options import FinetuneOptions
from seqcl.finetuning.rates import layer_rates
from seqcl.finetuning.readout import Readout
from seqcl.finetuning.targets import Targets
from seqcl.methods.base import Loss, Method, Progress
from seqcl.model import Model

__all__ = ["Supervised"]


class Supervised(Method):
    """Cross-entropy of classes or tags, or the square of a value, of each record's first view.

    Until `head_share` of the steps are done, the encoder is frozen: in eval mode, without
    gradient. Then each of its layers learns at its own rate. With held-out records, weights and
    running statistics are kept as they were at the lowest held-out loss, and training ends where
    that has not been lowered for `patience` looks.

    Args:
        model: its encoder is trained; its embedding stays.
        head: from embeddings to outputs.
        targets: what the outputs mean.
        table: targets of the label codes of a batch, see `Targets.table`.
        options: stages, rates, patience.
        held_out: what to look at; None = train to the last step.
        look_every: steps between two looks.
        on_look: called with (step, what was measured) after each look.
    """

    needs: frozenset[str] = frozenset()
    table: Tensor
    frozen: Tensor

    def __init__(
        self,
        model: Model,
        head: Readout,
        targets: Targets,
        table: Tensor,
        *,
        options: FinetuneOptions,
        held_out: HeldOut | None = None,
        look_every: int = 10,
        on_look: Callable[[int, Mapping[str, float]], None] | None = None,
    ) -> None:
        super().__init__({"main": model.encoder})
        self.min_batch = model.encoder.min_batch
        self.embedding, self.head = model.embedding, head
        self.targets, self.options = targets, options
        self.held_out, self.look_every, self.on_look = held_out, look_every, on_look
        self.register_buffer("table", table, persistent=False)
        self.always_frozen = options.freeze or not model.encoder.trainable
        is_frozen = self.always_frozen or options.head_share > 0
        self.register_buffer("frozen", torch.tensor(is_frozen))
        self.best = None if held_out is None else Best(self._learning(), options.patience)
        self._is_frozen = is_frozen
        self.register_load_state_dict_post_hook(_remember)  # type: ignore[no-untyped-call]

    @property
    def finished(self) -> bool:
        """Whether held-out records have waited long enough for a lower loss."""
        return self.best is not None and self.best.exhausted

    def rate_factors(self) -> Mapping[str, float]:
        """Return the rates of the encoder's layers over the head's."""
        rates = layer_rates(self.encoder, self.options.layer_decay)
        return {f"encoders.main.{name}": rate for name, rate in rates.items()}

    def encode(self, views: tuple[Batch, ...]) -> tuple[Encoded, ...]:
        """Encode the first view; without gradient where the encoder is frozen."""
        self.encoder.train(self.training and not self._is_frozen)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self._is_frozen):
            return super().encode(views[:1])

    def objective(self, encoded: tuple[Encoded, ...]) -> Loss:
        """Return the mean loss of the records' labels."""
        labels = encoded[0].view.labels
        assert labels is not None
        outputs = self.outputs(encoded[0])
        return Loss(self.targets.loss(outputs, self.table[labels]))

    def outputs(self, encoded: Encoded) -> Tensor:
        """Return the head's (B, K)."""
        outputs: Tensor = self.head(self.embedding(encoded.pooled.float()))
        return outputs

    def after_step(self, progress: Progress, loss: Loss) -> None:
        """Look at the held-out records where it is due, then end the head's own stage."""
        due = progress.step % self.look_every == 0 or progress.step == progress.total_steps
        if self.held_out is not None and self.best is not None and due:
            self._look(self.held_out, self.best, progress.step)
        if self._is_frozen and not self.always_frozen:
            self._is_frozen = progress.fraction < self.options.head_share
            self.frozen.fill_(self._is_frozen)

    def restore_best(self) -> None:
        """Put the weights of the lowest held-out loss back, where there are any."""
        if self.best is not None:
            self.best.restore(self._learning())

    @torch.no_grad()
    def measure(self, held_out: HeldOut) -> tuple[Tensor, dict[str, float]]:
        """Return the loss over held-out records and what people read, in eval mode."""
        was_training = self.training
        self.eval()
        batches = held_out.batches(self.table.device)
        outputs = torch.cat([self.outputs(self.encode((batch,))[0]) for batch in batches])
        self.train(was_training)
        targets = held_out.targets.to(outputs.device)
        loss = self.targets.loss(outputs, targets)
        measured = {"loss": float(loss), **self.targets.score(outputs, targets)}
        return loss, {f"validation_{name}": value for name, value in measured.items()}

    def _look(self, held_out: HeldOut, best: Best, step: int) -> None:
        loss, measured = self.measure(held_out)
        counts = self.always_frozen or not self._is_frozen
        best.see(self._learning(), loss, step, counts)
        if self.on_look is not None:
            self.on_look(step, measured)

    def _learning(self) -> dict[str, nn.Module]:
        return {"encoder": self.encoder, "head": self.head}


def _remember(method: Supervised, _keys: object) -> None:
    method._is_frozen = bool(method.frozen)

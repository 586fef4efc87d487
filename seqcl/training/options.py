"""TrainingOptions: the ``training:`` section of a preset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt

from seqcl.data.samplers import Sampler
from seqcl.registry import Spec

__all__ = ["TrainingOptions"]

_EPOCHS = 10
_STEPS = 400


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """How long and how a method is trained.

    Raises ValueError where two options contradict each other.
    """

    epochs: Annotated[int, Ge(1)] | None = None
    """Passes over the data; None with `steps` None = the default length, see `total_steps`."""
    steps: Annotated[int, Ge(1)] | None = None
    """Optimizer steps, instead of epochs."""
    batch_size: Annotated[int, Ge(1)] = 256
    """Records per optimizer step."""
    accumulate: Annotated[int, Ge(1)] = 1
    """Parts a batch is encoded in, one after another, to save memory. Each part takes its own
    loss, so a part's records are contrasted with each other only."""
    chunk: Annotated[int, Ge(1)] | None = None
    """Records that are encoded at once at most, to save memory at the price of encoding twice; the
    loss is that of the whole batch, or of each part where `accumulate` makes several. Batch norm in
    an encoder takes its statistics of a chunk. None = all at once."""
    sampler: Spec[Sampler] | None = None
    """Which records an epoch holds, in which order; None = what the method asks for, or every
    record once in random order."""
    workers: Annotated[int, Ge(0)] = 0
    """Processes that load batches; 0 = the training process itself."""
    optimizer: Literal["adamw", "sgd", "lars"] = "adamw"
    lr: Annotated[float, Gt(0)] = 1e-3
    """Largest learning rate, reached after the warm-up."""
    weight_decay: Annotated[float, Ge(0)] = 1e-2
    """Not applied to biases, normalisation and other vectors."""
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.9
    """Of sgd and lars."""
    warmup: Annotated[float, Ge(0), Lt(1)] = 0.05
    """Part of all steps over which the learning rate rises from 0."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """The learning rate after the warm-up: down to 0 along a half cosine, or constant."""
    clip_norm: Annotated[float, Gt(0)] | None = 1.0
    """Largest norm of the whole gradient; None = not clipped."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """What encoders and heads compute in; weights and losses stay float32."""
    compile: bool = False
    """Let torch.compile translate the encoders at the first step, which takes a minute or more and,
    on a CPU, a C++ compiler; for long runs where it measures faster."""
    log_every: Annotated[int, Ge(1)] = 20
    """Steps between records of metrics; only then are losses read from the device."""
    checkpoint_every: Annotated[int, Ge(1)] = 200
    """Steps between checkpoints."""
    diagnose_every: Annotated[int, Ge(0)] = 100
    """Steps between diagnostics: signs of collapse and, where the validation records have labels,
    how well they can be told; 0 = none."""

    def __post_init__(self) -> None:
        faults = []
        if self.epochs is not None and self.steps is not None:
            faults.append(f"epochs={self.epochs} and steps={self.steps} are both set; keep one")
        if self.batch_size % self.accumulate:
            faults.append(
                f"batch_size={self.batch_size} cannot be split into accumulate="
                f"{self.accumulate} equal parts; make it a multiple"
            )
        if faults:
            raise ValueError("; ".join(faults))

    def total_steps(self, steps_per_epoch: int) -> int:
        """Return the optimizer steps of the whole training.

        By default 10 epochs, and at least 400 steps: on small sets, of one to four batches an
        epoch, weights need a number of steps to move, whatever the number of epochs; large sets
        need to be seen several times. (1-NN within the training split after 0, 100, 200, 400, 800
        steps of 64 records: ECG200 .78 .80 .82 .84 .80, SyntheticControl .91 .98 .99 .98 .98.)
        """
        if self.steps is not None:
            return self.steps
        if self.epochs is not None:
            return self.epochs * steps_per_epoch
        return max(_STEPS, _EPOCHS * steps_per_epoch)

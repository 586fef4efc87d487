"""A head for classes, tags or values on an encoder, trained with labels."""

from seqcl.finetuning.method import Supervised
from seqcl.finetuning.options import FinetuneOptions
from seqcl.finetuning.predictions import Predictions, predict
from seqcl.finetuning.readout import Readout
from seqcl.finetuning.targets import Targets

__all__ = ["FinetuneOptions", "Predictions", "Readout", "Supervised", "Targets", "predict"]

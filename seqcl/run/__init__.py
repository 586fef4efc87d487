"""What the commands do, as functions that return results and print nothing."""

from seqcl.run.embedding import embed_sources, write_embeddings
from seqcl.run.evaluating import Evaluation, evaluate
from seqcl.run.finetuning import FinetuneResult, FinetuneSettings, finetune
from seqcl.run.folder import Run, load
from seqcl.run.pretraining import DryRun, PretrainResult, Settings, dry_run, pretrain

__all__ = [
    "DryRun",
    "Evaluation",
    "FinetuneResult",
    "FinetuneSettings",
    "PretrainResult",
    "Run",
    "Settings",
    "dry_run",
    "embed_sources",
    "evaluate",
    "finetune",
    "load",
    "pretrain",
    "write_embeddings",
]

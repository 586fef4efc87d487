"""What the commands do, as functions that return results and print nothing."""

from seqcl.run.embedding import embed_sources, write_embeddings
from seqcl.run.evaluating import Evaluation, evaluate
from seqcl.run.finetuning import FinetuneResult, FinetuneSettings, finetune
from seqcl.run.folder import Run, load
from seqcl.run.indexing import ClipIndex, IndexResult, index_sources
from seqcl.run.pretraining import DryRun, PretrainResult, Settings, dry_run, pretrain

__all__ = [
    "ClipIndex",
    "DryRun",
    "Evaluation",
    "FinetuneResult",
    "FinetuneSettings",
    "IndexResult",
    "PretrainResult",
    "Run",
    "Settings",
    "dry_run",
    "embed_sources",
    "evaluate",
    "finetune",
    "index_sources",
    "load",
    "pretrain",
    "write_embeddings",
]

"""Indexes of embeddings: search, identification, near-duplicates, and a page over them."""

from seqcl.retrieval.duplicates import DuplicateGroup
from seqcl.retrieval.matches import Identification, Match, Place, SearchResult, as_json
from seqcl.retrieval.searcher import Searcher

__all__ = [
    "DuplicateGroup",
    "Identification",
    "Match",
    "Place",
    "SearchResult",
    "Searcher",
    "as_json",
]

"""Metrics in plain numpy: what embeddings are worth, computed in float64."""

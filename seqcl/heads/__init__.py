"""Projection heads: what a loss is taken on, and thrown away afterwards."""

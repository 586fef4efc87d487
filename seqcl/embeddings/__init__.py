"""Closed-form steps that turn pooled features into the vectors that are kept."""

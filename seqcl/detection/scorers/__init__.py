"""Scorers: each sees one way in which a recording can go wrong."""

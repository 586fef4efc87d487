"""Losses: pure functions, option objects, and the tiled kernel that they share."""

"""Views: augmentations, front ends, and the generators that put them together."""

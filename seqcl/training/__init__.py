"""The loop, optimizers, checkpoints, diagnostics and sinks; embedding with a Model."""

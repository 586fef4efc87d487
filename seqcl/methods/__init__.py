"""Methods: the training-only state around an encoder, and the objective it is trained by."""

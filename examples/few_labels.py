"""Learn from unlabelled series in Python, then classify with five labels a class."""

import numpy as np
from aeon.datasets import load_classification
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from seqcl import ContrastiveEncoder

# Outlines of leaves as series; ships with aeon. X is (n, channels, steps).
X_train, y_train = load_classification("OSULeaf", split="train")
X_test, y_test = load_classification("OSULeaf", split="test")

# The encoder sees no label.
encoder = ContrastiveEncoder("series", overrides=("training.steps=60",), random_state=0)
encoder.fit(X_train)

# Five labelled series of each class are all that the classifier sees.
rng = np.random.default_rng(0)
few = np.concatenate(
    [rng.permutation(np.flatnonzero(y_train == name))[:5] for name in set(y_train)]
)
classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1_000))

embedded = classifier.fit(encoder.transform(X_train[few]), y_train[few])
plain = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1_000))
plain.fit(X_train[few].reshape(len(few), -1), y_train[few])

print(f"{len(few)} labels, {len(X_test)} test series")
print(f"raw values:  accuracy {plain.score(X_test.reshape(len(X_test), -1), y_test):.3f}")
print(f"embeddings:  accuracy {embedded.score(encoder.transform(X_test), y_test):.3f}")

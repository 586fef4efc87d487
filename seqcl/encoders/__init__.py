"""Encoders: series to one vector a record, and one a step where asked; pooling."""

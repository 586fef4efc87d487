"""Anomalies in recordings: calibrated scores, thresholds that are kept, incidents, drift."""

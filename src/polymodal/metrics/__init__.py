"""Scores of predictions, with intervals (numpy only)."""

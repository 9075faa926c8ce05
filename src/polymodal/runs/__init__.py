"""From tables to a run folder: fit, compare and the scikit-learn estimators."""

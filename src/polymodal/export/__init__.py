"""Export of trained models as graphs that other runtimes run."""

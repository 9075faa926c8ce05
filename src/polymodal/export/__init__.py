"""Export of trained models: their networks as graphs, and the bundles that hold them (torch)."""

"""Baselines beside the network, and how the predictions of all members are combined (numpy only)."""

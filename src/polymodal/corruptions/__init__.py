"""Noise of each modality at five severities, as it occurs in practice (numpy)."""

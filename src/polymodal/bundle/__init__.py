"""Bundles: exported models that ONNX Runtime runs without torch."""

"""Export of trained networks to graphs that run without their Python code."""

"""Smaller and faster models that answer nearly as well: students, pruning, fewer members, int8; which one to use."""

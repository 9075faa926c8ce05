"""Profiles of tables: what the cells of each column are like, as distributions that keep no text and no picture."""

"""What each column of a table holds, and what is to be predicted (numpy only)."""

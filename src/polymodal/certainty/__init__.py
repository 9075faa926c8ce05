"""How sure a prediction is: sets and intervals with a tested coverage, abstention, unusual rows (numpy)."""

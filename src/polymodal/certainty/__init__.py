"""How sure a prediction is: prediction sets and intervals with a tested coverage, abstention, scores of unusual rows (numpy)."""

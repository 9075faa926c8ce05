"""Which absent cells, and which labels, are worth getting next."""

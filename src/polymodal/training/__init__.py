"""One training run: the loop, its steps, losses, optimizer, augmentation and checkpoints (torch)."""

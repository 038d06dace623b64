"""Training: one loop, data, checkpoints, and one file for each method."""

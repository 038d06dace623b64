"""Losses, one file each: a function named like its file; all reduce by the mean over every element."""

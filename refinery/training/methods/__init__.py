"""Training methods, one file each; see `_method.py` for what a member defines."""

"""Feature transforms psi of self-regularization, one file each.

A member defines `build(channels: int, seed: int) -> nn.Module`, a fixed map without trained weights from (B, C, H, W)
in [-1, 1] to (B, C', H', W').
"""

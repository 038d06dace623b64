"""Looks taken from photos without any training: rivals of a refiner.

Each file has `transfer(images, real, generator) -> images`: images (N, C, h, w) in [-1, 1], each given the look of a
photo drawn from `real` (M, C, ...) in [-1, 1]; nothing in them moves. The result has the type of `images`.
"""

"""The two classes a discriminator tells apart, as the indices of its logits."""

REAL, REFINED = 0, 1

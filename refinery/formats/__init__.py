"""Dataset layouts, one file each: read samples, write the same layout back."""

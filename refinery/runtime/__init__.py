"""Running a refiner without torch: execution providers, and batches of equal shape."""

"""Contents of a job's input and output: which samples are what they were, whether what was delivered stands there."""

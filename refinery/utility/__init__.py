"""What refined images are worth to a model trained on them: students of every mix, tested on labelled photos."""

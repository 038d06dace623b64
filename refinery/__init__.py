"""Turn a labelled synthetic image dataset into one that looks real, with every label still true."""

__version__ = "0.1.0"

"""Turn a labelled synthetic image dataset into one that looks real, with every label still true."""

from refinery import telemetry as _telemetry

_telemetry.switch_off()  # before anything that reports is imported

__version__ = "0.1.0"

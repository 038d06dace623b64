"""Nobody is told that refinery runs: what the packages below would report is switched off before they are imported.

ONNX Runtime keeps a device id in the home folder and sends events about models to Microsoft; OpenVINO's package starts
a process that tells Google Analytics of an import. Child processes inherit the environment, and what imports refinery
there comes through here too.
"""

from __future__ import annotations

import os
import sys

SWITCHES = {"ORT_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}
"""ONNX Runtime reads the first one; the others are for what fsspec and plug-ins may bring."""


def switch_off() -> None:
    """Set the switches, whatever they were, and make OpenVINO's reporter a package that cannot be imported."""
    os.environ.update(SWITCHES)
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: not to be imported

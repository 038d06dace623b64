"""The command line. This file and `_start`, `_streams` and `_ending` are light: they stand before anything slow.

`main` prepares the process (streams, signals, threads) and only then imports the commands.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from refinery.cli import _ending, _start


def main() -> None:
    """Entry point of the `refinery` command."""
    _start.prepare()
    code = _run()
    if "torch.distributed" in sys.modules and os.environ.get("WORLD_SIZE", "") not in ("", "1"):
        # Under torchrun: a process that ends right behind its last exchange can be aborted while torch tidies up, and
        # torchrun would take the run for failed (1 time in 10 in a script of one exchange).
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _run() -> int:
    """Run the command that was typed, until nothing of what it printed is left unwritten; its exit code."""
    code = _ending.FAILED
    try:
        sys.modules[__name__].app(prog_name="refinery")
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if isinstance(getattr(ended.__context__, "__cause__", None), KeyboardInterrupt):  # before a command's handler
            _ending.complain(_ending.INTERRUPTED)
    except Exception as error:
        _ending.complain(_ending.sentence(error))
    try:
        sys.stdout.flush()
    except OSError as error:
        _ending.drop_stdout()
        if code == _ending.DONE and not _ending.nobody_reads(error):
            _ending.complain(_ending.unwritten(error))
            code = _ending.FAILED
    return code


def __getattr__(name: str) -> Any:
    """`app`, the Typer application, imported when it is asked for."""
    if name == "app":
        from refinery.cli.commands import app

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

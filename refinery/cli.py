"""The command line: parse -> config -> one call -> print -> exit code."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, TextIO, TypeVar

import typer

import refinery
from refinery.config import (
    ExportConfig,
    InspectConfig,
    RefineConfig,
    TrainConfig,
    build,
    check_tables,
    load_toml,
    parse_label_overrides,
)
from refinery.errors import RefineryError, UsageError
from refinery.registry import names
from refinery.report.terminal import TerminalObserver
from refinery.report.text import inspect_text, refine_text, train_text

DONE, FAILED, LABELS_FAILED, INTERRUPTED = 0, 1, 3, 130
_INTERRUPTED = "interrupted; run the same command again to go on (a training run: refinery train --resume RUN)"
ASK_AGAIN_S = 0.02
Config = TypeVar("Config")

app = typer.Typer(
    name="refinery",
    help="Make a labelled synthetic image dataset look real, with every label checked.",
    epilog="Exit codes: 0 done, labels hold; 1 could not do it; 2 usage; 3 done, but some samples failed their label "
    "check or could not be read; 130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="TOML file; an option given here wins over it.", show_default=False),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object on stdout.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
MaxDriftOption = Annotated[
    str | None,
    typer.Option(
        "--max-drift", help="How far a label may move: 1px, or iris_center=0.5px,gaze=2deg.", show_default="1px"
    ),
]
SeedOption = Annotated[
    int | None,
    typer.Option(
        "--seed", help="Draws what is drawn: noise, calibration, halves of the real images.", show_default="0"
    ),
]
FalseAlarmsOption = Annotated[
    float | None,
    typer.Option("--false-alarms", help="Share of unmoved labels called moved all the same.", show_default="0.01"),
]


@app.callback(invoke_without_command=True)
def main_options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Options of refinery itself."""
    if version:
        print(f"refinery {refinery.__version__}")
        raise typer.Exit


@app.command(
    short_help="Train a refiner on real photos and a synthetic dataset.",
    epilog="Example: refinery train --real ./real --synthetic ./synth",
)
def train(
    real: Annotated[
        str | None, typer.Option("--real", help="Folder or HDF5 file of real images, no labels needed.")
    ] = None,
    synthetic: Annotated[
        str | None,
        typer.Option("--synthetic", help="Folder, HDF5 or tar of rendered images; 'COMMAND |' or -: a tar stream."),
    ] = None,
    out: Annotated[str | None, typer.Option("--out", help="Run folder.", show_default="runs/METHOD-DATE-TIME")] = None,
    method: Annotated[str | None, typer.Option("--method", help="Training recipe.", show_default="simgan")] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Adversarial steps.", show_default="the method's")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option("--minutes", min=0, help="Stop after this long.", show_default="no limit")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", min=2, help="Images a step.", show_default="by image size")
    ] = None,
    crop: Annotated[
        int | None,
        typer.Option("--crop", min=8, help="Largest side of training crops, px.", show_default="64 on a CPU"),
    ] = None,
    device: Annotated[str | None, typer.Option("--device", help="auto, cpu or cuda.", show_default="auto")] = None,
    precision: Annotated[
        str | None, typer.Option("--precision", help="auto, fp32 or bf16.", show_default="auto")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Same seed, same weights (on one CPU).", show_default="0")
    ] = None,
    max_drift: MaxDriftOption = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", help="Run folder to go on with.", show_default=False)
    ] = None,
    config: ConfigOption = None,
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Train a refiner on real photos and a synthetic dataset, and export the best one."""
    options = {
        "real": real, "synthetic": synthetic, "out": out, "method": method, "steps": steps, "minutes": minutes,
        "batch_size": batch_size, "crop": crop, "device": device, "precision": precision, "seed": seed,
        "max_drift": max_drift,
    }  # fmt: skip
    with _command(debug) as observer:
        from refinery.jobs._resume import require_one_meaning
        from refinery.jobs.train import train as run

        if resume is not None:
            if config is None and real is None and synthetic is None:
                require_one_meaning(resume)
            config, options["out"] = config or resume / "config.toml", str(resume)
        tables = _tables(config)
        settings = build(TrainConfig, tables.get("train", {}), options, str(config))
        _require_typed(synthetic, settings.synthetic)
        overrides = parse_label_overrides(tables.get("labels", {}))
        result = run(settings, tables.get(settings.method, {}), resume is not None, observer, overrides)
        if not result:  # a process of a distributed run that is not its first
            return
        _print(result, json_output, observer, train_text)
        if result["stopped_by"] == "interrupt":
            raise typer.Exit(INTERRUPTED)


@app.command(
    short_help="Refine a synthetic dataset and check its labels.",
    epilog="Example: refinery refine ./synth --out ./refined",
)
def refine(
    source: Annotated[
        str | None,
        typer.Argument(metavar="SYNTH", help="Folder, HDF5 file or tar archives to refine; -: a stream; s3://..."),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option("--out", help="Folder for the refined dataset; -: a tar stream; s3://...", show_default=False),
    ] = None,
    report: Annotated[
        str | None,
        typer.Option("--report", help="With --out - or s3://...: folder for the manifest.", show_default=False),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="Run, artifact or refiner.onnx.", show_default="newest under ./runs")
    ] = None,
    provider: Annotated[
        str | None, typer.Option("--provider", help="auto, tensorrt, cuda, openvino or cpu.", show_default="auto")
    ] = None,
    precision: Annotated[
        str | None, typer.Option("--precision", help="auto, fp32, bf16 or fp16.", show_default="auto")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", min=1, help="Images an inference.", show_default="by size")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Threads beside the model.", show_default="cores, up to 8")
    ] = None,
    on_drift: Annotated[
        str | None,
        typer.Option("--on-drift", help="A label fails: soften, quarantine, keep or fail.", show_default="soften"),
    ] = None,
    max_drift: MaxDriftOption = None,
    false_alarms: FalseAlarmsOption = None,
    check: Annotated[
        bool | None, typer.Option("--check/--no-check", help="Check every label.", show_default="check")
    ] = None,
    variants: Annotated[
        int | None,
        typer.Option("--variants", min=1, help="Refined images a sample, each with other noise.", show_default="1"),
    ] = None,
    seed: SeedOption = None,
    shard: Annotated[
        str | None,
        typer.Option("--shard", help="One part of many: 3/16; auto, auto/16 in a batch job.", show_default="all"),
    ] = None,
    config: ConfigOption = None,
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Stream a synthetic dataset through a refiner: same files, same layout, same annotations, labels checked.

    Run the same command again after an interruption: it goes on where it stopped.
    """
    options = {
        "source": source, "out": out, "report": report, "model": model, "provider": provider, "precision": precision,
        "batch_size": batch_size, "workers": workers, "on_drift": on_drift, "max_drift": max_drift,
        "false_alarms": false_alarms, "check": check, "variants": variants, "seed": seed, "shard": shard,
    }  # fmt: skip
    with _command(debug) as observer:
        from refinery.jobs.refine import refine as run

        tables = _tables(config)
        settings = build(RefineConfig, tables.get("refine", {}), options, str(config))
        if not settings.source:
            raise UsageError("no input: refinery refine SYNTH --out REFINED")
        result = run(settings, observer, parse_label_overrides(tables.get("labels", {})))
        _print(result, json_output, observer, refine_text, sys.stderr if settings.out == "-" else sys.stdout)
        if result["rejected"] or result.get("not_carried") or result["verdicts"]["fail"]:
            raise typer.Exit(LABELS_FAILED)


@app.command(
    short_help="Write a run's refiner as ONNX.", epilog="Example: refinery export runs/NAME --out refiner.onnx"
)
def export(
    run_folder: Annotated[
        str | None, typer.Argument(metavar="RUN", help="Run folder or checkpoint.", show_default=False)
    ] = None,
    out: Annotated[
        str | None, typer.Option("--out", help="Folder, or a path that ends in .onnx.", show_default="RUN/artifact")
    ] = None,
    checkpoint: Annotated[str | None, typer.Option("--checkpoint", help="best or last.", show_default="best")] = None,
    tolerance: Annotated[
        float | None, typer.Option("--tolerance", min=0, help="Largest |ONNX - torch|.", show_default="0.001")
    ] = None,
    config: ConfigOption = None,
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Write a run's refiner as one ONNX file with free batch, height and width, and prove that it equals torch."""
    options = {"run": run_folder, "out": out, "checkpoint": checkpoint, "tolerance": tolerance}
    with _command(debug) as observer:
        from refinery.jobs.export import export as run

        settings = build(ExportConfig, _tables(config).get("export", {}), options, str(config))
        if not settings.run:
            raise UsageError("no run: refinery export RUN")
        _print(run(settings, observer), json_output, observer, lambda result: result["model"])


@app.command(
    short_help="Tell what a dataset, a run, an artifact or a refined dataset is worth.",
    epilog="Examples: refinery inspect ./refined --real ./real; refinery inspect ./synth ./refined-by-another-tool; "
    "refinery inspect ./refined --utility ./labelled-photos",
)
def inspect(
    path: Annotated[
        str | None,
        typer.Argument(metavar="PATH", help="Dataset, run, artifact or refined dataset.", show_default=False),
    ] = None,
    refined: Annotated[
        str | None,
        typer.Argument(metavar="REFINED", help="What a tool made of the dataset PATH: audits it.", show_default=False),
    ] = None,
    real: Annotated[str | None, typer.Option("--real", help="Real images to compare with.", show_default=False)] = None,
    synthetic: Annotated[
        str | None, typer.Option("--synthetic", help="Source of a refined dataset: audits its labels.")
    ] = None,
    utility: Annotated[
        str | None,
        typer.Option("--utility", help="Labelled real photos: how models do on them.", show_default=False),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option("--group", help="What photos of one subject or track share.", show_default="found by its name"),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", help="Run or artifact: its probe judges, its noise gives variants.", show_default="none"
        ),
    ] = None,
    max_drift: MaxDriftOption = None,
    false_alarms: FalseAlarmsOption = None,
    picture: Annotated[
        str | None, typer.Option("--picture", help="Where the PNG goes.", show_default="in the run or output")
    ] = None,
    html: Annotated[
        str | None, typer.Option("--html", help="Also write one self-contained HTML page.", show_default=False)
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=8, help="Images a side for realism.", show_default="500")
    ] = None,
    seed: SeedOption = None,
    config: ConfigOption = None,
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Tell what a dataset, a run, an artifact or a refined dataset is worth."""
    options = {
        "path": path, "refined": refined, "real": real, "synthetic": synthetic, "utility": utility, "group": group,
        "model": model, "max_drift": max_drift, "false_alarms": false_alarms, "picture": picture, "html": html,
        "limit": limit, "seed": seed,
    }  # fmt: skip
    with _command(debug) as observer:
        from refinery.jobs.inspect import inspect as run

        tables = _tables(config)
        settings = build(InspectConfig, tables.get("inspect", {}), options, str(config))
        if not settings.path:
            raise UsageError("nothing to look at: refinery inspect PATH")
        result = run(settings, observer, parse_label_overrides(tables.get("labels", {})))
        _print(result, json_output, observer, inspect_text)
        if (settings.synthetic or settings.refined) and "fail" in result.get("verdicts", {}).values():
            raise typer.Exit(LABELS_FAILED)


def main() -> None:
    """Entry point of the `refinery` command."""
    try:
        app(prog_name="refinery")
    except SystemExit as ended:
        if isinstance(
            getattr(ended.__context__, "__cause__", None), KeyboardInterrupt
        ):  # before a command's own handler
            _complain(_INTERRUPTED, debug=False)
        if int(os.environ.get("WORLD_SIZE", "1")) < 2:
            raise
        # Under torchrun: a process that ends right behind its last exchange can be aborted while torch tidies up, and
        # torchrun would take the run for failed (1 time in 10 in a script of one exchange).
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(ended.code if isinstance(ended.code, int) else int(ended.code is not None))


@contextmanager
def _command(debug: bool) -> Iterator[TerminalObserver]:
    """Errors as one line on stderr and the right exit code; Ctrl-C and SIGTERM as a request to stop."""
    observer = TerminalObserver()
    with _signals(observer):
        try:
            with observer:
                yield observer
        except RefineryError as error:
            _complain(str(error), debug)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            _complain(_INTERRUPTED, debug=False)
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(FAILED) from None
        except MemoryError:
            _complain("out of memory; try a smaller --batch-size, or memory_mb in the TOML", debug)
            raise typer.Exit(FAILED) from None
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            _complain(f"{where}{error.strerror or error}", debug)
            raise typer.Exit(FAILED) from None
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except Exception as error:
            _complain(
                f"{type(error).__name__}: {error}; this is a bug of refinery: please report it with --debug", debug
            )
            raise typer.Exit(FAILED) from None


@contextmanager
def _signals(observer: TerminalObserver) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM asks the job to stop; the job or a second one raises KeyboardInterrupt.

    Never in the middle of an import: it would be taken for a package that is not there, or leave the import lock held.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, frame: FrameType | None) -> None:
        if _is_importing(frame):
            later = threading.Timer(ASK_AGAIN_S, again, [number])
            later.daemon = True
            later.start()
            return
        first, observer.asked_to_stop = not observer.asked_to_stop, True
        if not (first and observer.stops_politely):
            raise KeyboardInterrupt
        observer.say("stopping after this step; press Ctrl-C again to stop at once")

    def again(number: int) -> None:
        if signal.getsignal(number) is not ask:
            return
        if hasattr(signal, "pthread_kill"):  # wakes the main thread from its sleep
            signal.pthread_kill(threading.main_thread().ident or 0, number)
        else:
            signal.raise_signal(number)

    for number in before:
        signal.signal(number, ask)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if "importlib._bootstrap" in frame.f_code.co_filename:
            return True
        frame = frame.f_back
    return False


def _complain(message: str, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    print("error: " + _printable(" ".join(message.split())), file=sys.stderr)


def _require_typed(option: str | None, synthetic: str) -> None:
    """Raise UsageError for a command that stands in a TOML: whoever wrote that must not be able to run one."""
    from refinery.training.simulator import is_command

    if option is None and is_command(synthetic):
        raise UsageError(
            f"[train] synthetic is a command, and commands are run from the command line only; read it, then give "
            f"--synthetic {synthetic!r}"
        )


def _tables(config: Path | None) -> Mapping[str, Any]:
    """The TOML's tables, all of them known."""
    if config is None:
        return {}
    tables = load_toml(config)
    check_tables(tables, ("train", "refine", "export", "inspect", "labels", *names("method")), str(config))
    return tables


def _print(
    result: dict[str, Any],
    as_json: bool,
    observer: TerminalObserver,
    text: Callable[[dict[str, Any]], str],
    to: TextIO | None = None,
) -> None:
    """The result on stdout, or elsewhere: one JSON object, or text for people."""
    observer.finish()
    print(json.dumps(result, default=_plain) if as_json else _printable(text(result)), file=to)
    (to or sys.stdout).flush()


def _printable(text: str) -> str:
    """Text whose names can be printed anywhere: what steers a terminal or is no character comes as an escape."""
    shown = "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)
    encoding = sys.stdout.encoding or "utf-8"
    return shown.encode(encoding, "backslashreplace").decode(encoding)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return value.item() if hasattr(value, "item") else str(value)

"""The four commands: parse -> config -> one call -> print -> exit code."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

import refinery
from refinery.cli._command import command
from refinery.cli._doubt import with_answer
from refinery.cli._ending import INTERRUPT_CODE, LABELS_FAILED
from refinery.cli._output import print_result
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
from refinery.errors import UsageError
from refinery.registry import names
from refinery.report.text import inspect_text, refine_text, train_text
from refinery.scratch import scratch

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
RequireOption = Annotated[
    str | None,
    typer.Option("--require", help="Labels that decide a sample's verdict: box,center.", show_default="all"),
]
SeedOption = Annotated[
    int | None,
    typer.Option(
        "--seed", help="Draws what is drawn: noise, calibration, halves of the real images.", show_default="0"
    ),
]
ImagesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--images", help="Glob of the images to refine, 'rgb*/**'; all others are carried.", show_default="found out"
    ),
]
MapsOption = Annotated[
    list[str] | None,
    typer.Option("--maps", help="Glob of images never to refine: 'depth*/**'.", show_default="found out"),
]
YesOption = Annotated[
    bool | None,
    typer.Option("--yes", help="In doubt about which images are pictures, take the likeliest.", show_default="ask"),
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
    preset: Annotated[
        str | None,
        typer.Option("--preset", help="paper: as the method's paper says.", show_default="none"),
    ] = None,
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
    images: ImagesOption = None,
    maps: MapsOption = None,
    yes: YesOption = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", help="Run folder to go on with.", show_default=False)
    ] = None,
    config: ConfigOption = None,
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Train a refiner on real photos and a synthetic dataset, and export the best one."""
    options = {
        "real": real, "synthetic": synthetic, "out": out, "method": method, "preset": preset,
        "steps": steps, "minutes": minutes, "batch_size": batch_size, "crop": crop, "device": device,
        "precision": precision, "seed": seed, "max_drift": max_drift,
        "images": images or None, "maps": maps or None, "yes": yes,
    }  # fmt: skip
    with command(debug) as observer:
        from refinery.jobs._preset import with_preset
        from refinery.jobs._resume import require_one_meaning
        from refinery.jobs.train import train as run

        if resume is not None:
            if config is None and real is None and synthetic is None:
                require_one_meaning(resume)
            config, options["out"] = config or resume / "config.toml", str(resume)
        tables = _tables(config)
        settings = build(TrainConfig, tables.get("train", {}), options, str(config))
        _require_typed(synthetic, settings.synthetic)
        if settings.preset:
            tables = with_preset(settings, tables, options)
            settings = build(TrainConfig, tables.get("train", {}), options, f"--preset {settings.preset}")
        overrides = parse_label_overrides(tables.get("labels", {}))
        with scratch(settings.out or "runs"):
            result = with_answer(
                lambda given: run(given, tables.get(given.method, {}), resume is not None, observer, overrides),
                settings,
                json_output,
                observer,
            )
        if not result:  # a process of a distributed run that is not its first
            return
        print_result(result, json_output, observer, train_text)
        if result["stopped_by"] == "interrupt":
            raise typer.Exit(INTERRUPT_CODE)


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
        int | None,
        typer.Option(
            "--workers", min=1, help="Threads beside the model; 1: no worker processes.", show_default="cores, up to 8"
        ),
    ] = None,
    on_drift: Annotated[
        str | None,
        typer.Option("--on-drift", help="A label fails: soften, quarantine, keep or fail.", show_default="soften"),
    ] = None,
    max_drift: MaxDriftOption = None,
    require: RequireOption = None,
    false_alarms: FalseAlarmsOption = None,
    check: Annotated[
        bool | None, typer.Option("--check/--no-check", help="Check every label.", show_default="check")
    ] = None,
    variants: Annotated[
        int | None,
        typer.Option("--variants", min=1, help="Refined images a sample, each with other noise.", show_default="1"),
    ] = None,
    seed: SeedOption = None,
    images: ImagesOption = None,
    maps: MapsOption = None,
    yes: YesOption = None,
    shard: Annotated[
        str | None,
        typer.Option("--shard", help="One part of many: 3/16; auto, auto/16 in a batch job.", show_default="all"),
    ] = None,
    strict: Annotated[
        bool | None,
        typer.Option(
            "--strict", help="Refuse an input that changed since the job began.", show_default="bring up to date"
        ),
    ] = None,
    verify: Annotated[
        bool | None,
        typer.Option("--verify", help="Hash files again instead of trusting size and time.", show_default="trust"),
    ] = None,
    exit_zero: Annotated[
        bool | None,
        typer.Option("--exit-zero", help="Exit 0, not 3, where samples failed or were rejected.", show_default="3"),
    ] = None,
    config: ConfigOption = None,
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Stream a synthetic dataset through a refiner: same files, same layout, same annotations, labels checked.

    Run the same command again after an interruption: it goes on where it stopped. After the input changed it brings the
    output up to date.
    """
    options = {
        "source": source, "out": out, "report": report, "model": model, "provider": provider, "precision": precision,
        "batch_size": batch_size, "workers": workers, "on_drift": on_drift, "max_drift": max_drift,
        "require": require,
        "false_alarms": false_alarms, "check": check, "variants": variants, "seed": seed, "shard": shard,
        "strict": strict, "verify": verify, "images": images or None, "maps": maps or None, "yes": yes,
        "exit_zero": exit_zero,
    }  # fmt: skip
    with command(debug) as observer:
        from refinery.jobs.refine import refine as run

        tables = _tables(config)
        settings = build(RefineConfig, tables.get("refine", {}), options, str(config))
        if not settings.source:
            raise UsageError("no input: refinery refine SYNTH --out REFINED")
        with scratch(settings.report or settings.out):
            overrides = parse_label_overrides(tables.get("labels", {}))
            result = with_answer(lambda given: run(given, observer, overrides), settings, json_output, observer)
        print_result(result, json_output, observer, refine_text, sys.stderr if settings.out == "-" else sys.stdout)
        if settings.exit_zero:
            return
        left = result["rejected"] or result.get("not_carried") or result.get("left_out")
        if left or result["verdicts"]["fail"]:
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
    student: Annotated[
        bool | None,
        typer.Option("--student/--no-student", help="Teach a fast network what this one does, and export that."),
    ] = None,
    synthetic: Annotated[
        str | None, typer.Option("--synthetic", help="Images for --student.", show_default="those of the run")
    ] = None,
    config: ConfigOption = None,
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Write a run's refiner as one ONNX file with free batch, height and width, and prove that it equals torch."""
    options = {"run": run_folder, "out": out, "checkpoint": checkpoint, "tolerance": tolerance}
    options |= {"student": student, "synthetic": synthetic}
    with command(debug) as observer:
        from refinery.jobs.export import export as run

        settings = build(ExportConfig, _tables(config).get("export", {}), options, str(config))
        if not settings.run:
            raise UsageError("no run: refinery export RUN")
        with scratch(settings.out or settings.run):
            result = run(settings, observer)
        print_result(result, json_output, observer, lambda result: result["model"])


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
    probe: Annotated[
        bool | None,
        typer.Option(
            "--probe/--no-probe",
            help="In an audit without a model: train a probe for classes and numbers.",
            show_default="train",
        ),
    ] = None,
    images: ImagesOption = None,
    maps: MapsOption = None,
    max_drift: MaxDriftOption = None,
    require: RequireOption = None,
    false_alarms: FalseAlarmsOption = None,
    picture: Annotated[
        str | None, typer.Option("--picture", help="Where the PNG goes.", show_default="in the run or output")
    ] = None,
    label_picture: Annotated[
        str | None,
        typer.Option(
            "--label-picture",
            help="Where a picture of a dataset's labels as they were read goes.",
            show_default="on a terminal NAME-labels.png here",
        ),
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
        "model": model, "probe": probe, "max_drift": max_drift, "require": require, "false_alarms": false_alarms,
        "picture": picture, "label_picture": label_picture, "html": html, "limit": limit, "seed": seed,
        "images": images or None, "maps": maps or None,
    }  # fmt: skip
    with command(debug) as observer:
        from refinery.jobs.inspect import inspect as run

        tables = _tables(config)
        settings = build(InspectConfig, tables.get("inspect", {}), options, str(config))
        if not settings.path:
            raise UsageError("nothing to look at: refinery inspect PATH")
        if not settings.label_picture and not json_output and sys.stdout.isatty():
            settings = replace(settings, label_picture=f"{Path(settings.path).resolve().stem}-labels.png")
        with scratch(settings.html or settings.picture or settings.path):
            result = run(settings, observer, parse_label_overrides(tables.get("labels", {})))
        print_result(result, json_output, observer, inspect_text)
        failed = (settings.synthetic or settings.refined) and "fail" in result.get("verdicts", {}).values()
        if failed or result.get("delivered", {}).get("wrong"):
            raise typer.Exit(LABELS_FAILED)


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

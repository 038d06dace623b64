"""Settings of the four commands as frozen dataclasses, read from TOML and written back to it.

One TOML file may hold a table for each command (`[train]`, `[refine]`, `[export]`, `[inspect]`) and one for each
training method (`[simgan]`). Precedence: option on the command line, then TOML, then the default.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import tomli_w

from refinery.errors import ConfigError
from refinery.sample import LabelType

Device = Literal["auto", "cpu", "cuda"]
TrainPrecision = Literal["auto", "fp32", "bf16"]
RefinePrecision = Literal["auto", "fp32", "bf16", "fp16"]
Provider = Literal["auto", "tensorrt", "cuda", "openvino", "cpu"]
OnDrift = Literal["soften", "quarantine", "keep", "fail"]
Config = TypeVar("Config")
TINY_STEPS, GUIDE_STEPS = 100, 450


@dataclass(frozen=True)
class TrainConfig:
    """`refinery train`: what does not depend on the method."""

    real: str = ""
    """Folder or HDF5 file of real images; needs no labels."""
    synthetic: str = ""
    """Folder or HDF5 file of rendered images, with their sidecars; as an option also a simulator: `COMMAND |`."""
    out: str = ""
    """Run folder; empty: runs/METHOD-DATE-TIME."""
    method: str = "simgan"
    """Training recipe; its own settings stand in a table of its name."""
    preset: str = ""
    """Settings by one word, below all that is given: `paper`, what the method's paper says; empty: the defaults."""
    steps: int = 0
    """Adversarial steps after pretraining; 0: the method's default."""
    minutes: float = 0.0
    """Train for this many minutes at most, with as much of `steps` as fit: the learning rates fall over these. 0: no
    limit. What is done before and after the steps comes on top. Not repeatable: how many fit is measured."""
    batch_size: int = 0
    """Images a step; 0: as many pixels as 32 images of 60x36, from 8 to 64 images."""
    crop: int = 0
    """Largest side of the training crops in px, smaller images are used whole; 0: 64 on a CPU, 224 on a GPU."""
    real_fit: Literal["resize", "crop"] = "resize"
    """Real images of another size: scaled to cover the synthetic size (they carry no labels), or only cropped."""
    device: Device = "auto"
    """auto, cpu or cuda; auto takes CUDA where there is one."""
    precision: TrainPrecision = "auto"
    """auto, fp32 or bf16 (autocast); auto takes bf16 where the hardware is faster in it."""
    seed: int = 0
    """Same seed and settings, same weights, on one CPU."""
    log_every: int = 20
    """Steps between log records."""
    eval_every: int = 200
    """Steps between evaluations on the held-out samples."""
    checkpoint_every: int = 200
    """Steps between checkpoints to resume from."""
    patience: int = 8
    """Stop after this many evaluations in a row that brought no better refiner; 0: never."""
    memory_mb: int = 0
    """Decoded images kept in memory, per side; those of a larger dataset are kept on disk while training runs. 0: 4096,
    or an eighth of the memory that this process may use (the machine's, or its container's limit) if that is less."""
    cache_mb: int = 20480
    """Decoded images kept on disk, per side; a larger dataset is sampled evenly down to this."""
    balance: str = "none"
    """Synthetic images drawn alike (none), or each class or sequence equally often: class, class:NAME, sequence."""
    balance_real: str = "none"
    """The same for real images, where they have classes or sequences."""
    first_samples: int = 2000
    """Samples of a simulator that are kept as a dataset: held-out ones, and what reads labels, come from these."""
    validation: int = 256
    """Synthetic samples held out of training to measure drift and realism on."""
    max_drift: str = "1px"
    """How far a label may move: the budget that training follows, unless the method's own table fixes its lambda."""
    budget_every: int = 25
    """Steps between measurements of the labels' drift that the budget follows."""
    control: int = 128
    """Synthetic samples held out of training for these measurements."""
    guide_steps: int = -1
    """Steps in which each of the three networks that watch the labels is trained; 0: none, the geometry check alone;
    -1: 450, or none in a training of less than 100 steps."""
    probe: bool = True
    """Train a label probe when the refiner is done; it goes into the artifact and judges labels while refining."""
    probe_steps: int = 0
    """Steps of each of its networks; 0: chosen by image size, no probe after a training of less than 100 steps, and no
    further networks where the first one, or a fifth of its steps, shows that no label can be judged."""
    wait_minutes: float = 10.0
    """How long a distributed run waits for its other processes to begin."""
    match_real: int = 0
    """For each synthetic image of a batch take the most similar in layout of this many drawn real ones; 0: any."""
    images: tuple[str, ...] = ()
    """Globs of the images to refine, such as "rgb*/**"; others are carried. Empty: found out, or asked."""
    maps: tuple[str, ...] = ()
    """Globs of images that are never refined, such as "depth*/**"."""
    yes: bool = False
    """Where it is in doubt which images are pictures, take the likeliest answer instead of asking."""

    def __post_init__(self) -> None:
        require_at_least(
            self,
            steps=0,
            minutes=0,
            batch_size=0,
            crop=0,
            log_every=1,
            eval_every=1,
            checkpoint_every=1,
            memory_mb=0,
            cache_mb=1,
            first_samples=8,
            patience=0,
            budget_every=1,
            control=4,
            match_real=0,
            guide_steps=-1,
            probe_steps=0,
            wait_minutes=0,
        )

    @property
    def is_tiny(self) -> bool:
        """True if it is a try, for which what is done once would take longer than all the steps."""
        return 0 < self.steps < TINY_STEPS


@dataclass(frozen=True)
class RefineConfig:
    """`refinery refine`."""

    source: str = ""
    """Folder, HDF5 file, tar archive or folder of those to refine; `-`: standard input; `s3://...`: archives there."""
    out: str = ""
    """Folder for the refined dataset; `-`: a tar archive to standard output; `s3://...`: archives there."""
    model: str = ""
    """Run, artifact or refiner.onnx; empty: the newest finished run under ./runs."""
    provider: Provider = "auto"
    """auto, cuda, openvino or cpu; auto takes the first of these that starts. tensorrt: on CUDA, where installed."""
    precision: RefinePrecision = "auto"
    """auto, fp32, bf16 (OpenVINO) or fp16 (CUDA, TensorRT); auto takes bf16 where OpenVINO is faster in it."""
    batch_size: int = 0
    """Images per inference; 0: chosen by image size."""
    workers: int = 0
    """Threads that decode, check and encode (0: one per core, at most 8); no more worker processes than those."""
    on_drift: OnDrift = "soften"
    """A label fails: soften (blend back toward the synthetic image until it holds), quarantine, keep or fail."""
    max_drift: str = "1px"
    """How far a label may move, by name or unit: 1px, or iris_center=0.5px,gaze=2deg,0.1iou."""
    require: str = ""
    """Labels that decide a sample's verdict, by name: box,center; empty: all. The others are still told."""
    false_alarms: float = 0.01
    """Share of labels that did not move and may be called moved all the same; the checks are calibrated to it."""
    check: bool = True
    """Check every label."""
    variants: int = 1
    """Refined images of each sample, by a refiner with noise; the first keeps the sample's name."""
    seed: int = 0
    """The noise of a refiner that has any, which samples the checks are calibrated on, how intervals are drawn."""
    report: str = ""
    """With `out = "-"` or an address: folder for journal, manifest and summary; empty: with `-` they are not kept."""
    shard: str = ""
    """One part of a batch job: 3/16; auto, auto/16: as SLURM or Kubernetes say; empty: the whole dataset."""
    strict: bool = False
    """An input that changed since the job began is an error; otherwise the output is brought up to date."""
    verify: bool = False
    """Read and hash input and output again; otherwise files of the same size and times count as unchanged."""
    exit_zero: bool = False
    """Exit with 0, not 3, where samples failed their label check or were rejected: for schedulers that know only 0."""
    images: tuple[str, ...] = ()
    """Globs of the images to refine, such as "rgb*/**"; others are carried. Empty: found out, or asked."""
    maps: tuple[str, ...] = ()
    """Globs of images that are never refined, such as "depth*/**"."""
    yes: bool = False
    """Where it is in doubt which images are pictures, take the likeliest answer instead of asking."""

    def __post_init__(self) -> None:
        require_share(self, "false_alarms")
        require_at_least(self, variants=1)


@dataclass(frozen=True)
class ExportConfig:
    """`refinery export`."""

    run: str = ""
    """Run folder or checkpoint file."""
    out: str = ""
    """Folder for the artifact, or the path of one .onnx file; empty: RUN/artifact."""
    checkpoint: Literal["best", "last"] = "best"
    """Which of the run's checkpoints."""
    tolerance: float = 1e-3
    """Largest |ONNX - torch| accepted, in units of the [-1, 1] range."""
    student: bool = False
    """Export a small, fast network that has learnt from the run's own what to answer; it goes to RUN/student."""
    synthetic: str = ""
    """With `student`: the synthetic images it learns from; empty: those of the run."""
    student_steps: int = 1500
    """Training steps of the student."""
    student_levels: float = 3.0
    """Mean difference of the student's images from the run's own, in levels of 255, from which on it is refused."""

    def __post_init__(self) -> None:
        require_at_least(self, student_steps=1, student_levels=0)


@dataclass(frozen=True)
class InspectConfig:
    """`refinery inspect`."""

    path: str = ""
    """Dataset, run, artifact or refined dataset."""
    refined: str = ""
    """Refined dataset, where `path` is its source: the same as `path` with `synthetic`."""
    real: str = ""
    """Real images to compare with."""
    synthetic: str = ""
    """Source of a refined dataset, to audit its labels against."""
    utility: str = ""
    """Labelled real photos: small models trained on synthetic, refined and mixed images are tested on them."""
    group: str = ""
    """Column or key that says which photos belong together (track, subject); `folder`: their folder; empty: found."""
    utility_seeds: int = 3
    """Models an arm, from different random weights."""
    utility_steps: int = 700
    """Training steps of each model."""
    utility_limit: int = 5000
    """Synthetic samples that they are trained on, and photos that they are tested on, at most."""
    model: str = ""
    """Run or artifact whose label probe and thresholds an audit uses (empty: see `probe`, calibrated on the pairs), and
    whose noise gives `utility` several looks of a sample (empty: the one under ./runs that refined it)."""
    probe: bool = True
    """Train a label probe on the synthetic labels for an audit without a model, where classes, numbers or directions
    need one; it takes minutes."""
    max_drift: str = "1px"
    """How far a label may move in an audit, by name or unit."""
    require: str = ""
    """Labels that decide a sample's verdict in an audit, by name; empty: all."""
    false_alarms: float = 0.01
    """Share of labels that did not move and that an audit may call moved all the same."""
    picture: str = ""
    """Where the PNG grid or curves go; empty: beside a run, or nowhere."""
    label_picture: str = ""
    """Where the picture of a dataset's labels as they were read goes; empty: nowhere, on a terminal
    NAME-labels.png in the current folder."""
    html: str = ""
    """Where a self-contained HTML page goes; empty: nowhere."""
    limit: int = 500
    """Images a side for realism."""
    seed: int = 0
    """Which real images form which half, which samples an audit is calibrated on."""
    images: tuple[str, ...] = ()
    """Globs of the images that are pictures, as refine takes them."""
    maps: tuple[str, ...] = ()
    """Globs of images that are maps, as refine takes them."""

    def __post_init__(self) -> None:
        require_share(self, "false_alarms")
        require_at_least(self, utility_seeds=1, utility_steps=10, utility_limit=20)


def require_share(config: Any, name: str) -> None:
    """Raises ConfigError for a share that is not above 0 and at most 0.5."""
    value = getattr(config, name)
    if not 0 < value <= 0.5:
        raise ConfigError(f"{name}: got {value}, expected a share above 0 and up to 0.5, such as 0.01")


def require_at_least(config: Any, **least: float) -> None:
    """Raises ConfigError for a number below its least value; one that is not a number fails too."""
    for name, smallest in least.items():
        value = getattr(config, name)
        if not value >= smallest:
            raise ConfigError(f"{name}: got {value}, expected {smallest} or more")


def load_toml(path: str | Path) -> dict[str, Any]:
    """A TOML file as a dictionary. Raises ConfigError with the place of a syntax error."""
    try:
        return parse_toml(Path(path).read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); --config takes a TOML file") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """The text of a TOML file as a dictionary. Raises ConfigError with the place of a syntax error."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where}: not valid TOML: {error}") from error


def check_tables(toml: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    """Raises ConfigError for a table that no command and no method reads."""
    for name, table in toml.items():
        if name not in known:
            raise ConfigError(f"{where}: unknown table [{name}]; {_suggest(name, known)}")
        if not isinstance(table, dict):
            raise ConfigError(f"{where}: {name!r} stands outside a table; put it under one of [{'], ['.join(known)}]")


@dataclass(frozen=True)
class LabelOverride:
    """`[labels.NAME]`: what a label is, where its file does not say so."""

    type: LabelType | None = None
    """class, number, vector, keypoint, box, polygon, semantic_mask, instance_mask, depth or text; none: as found."""
    unit: str = ""
    """Unit of its drift, such as deg; empty: as the type has it."""
    ignore: bool = False
    """Leave this label out."""


def parse_label_overrides(table: Mapping[str, Any], where: str = "[labels]") -> dict[str, LabelOverride]:
    """The `[labels]` table of a TOML file, with one table a label: {NAME: what it is}.

    A name with dots is quoted (`[labels."coins.center"]`) or not (`[labels.coins.center]`). Raises ConfigError.
    """
    overrides: dict[str, LabelOverride] = {}
    for name, inner in table.items():
        if not isinstance(inner, dict):
            raise ConfigError(f'{where}: {name} = {inner!r}; expected a table, such as type = "keypoint" in it')
        deeper = {key: value for key, value in inner.items() if isinstance(value, dict)}
        own = {key: value for key, value in inner.items() if key not in deeper}
        overrides |= {f"{name}.{key}": one for key, one in parse_label_overrides(deeper, f"[labels.{name}]").items()}
        if own or not deeper:
            overrides[name] = build(LabelOverride, own, {}, f"[labels.{name}]")
    return overrides


def build(kind: type[Config], table: Mapping[str, Any], options: Mapping[str, Any], where: str) -> Config:
    """A config dataclass from a TOML table and command-line options (None: not given), which win.

    Raises ConfigError for an unknown key or a value of the wrong type.
    """
    hints = typing.get_type_hints(kind)
    known = tuple(field.name for field in dataclasses.fields(kind))  # type: ignore[arg-type]
    for key in table:
        if key not in known:
            raise ConfigError(f"{where}: unknown key {key!r}; {_suggest(key, known)}")
    values = {key: _coerce(value, hints[key], f"{where}: {key}") for key, value in table.items()}
    for key, value in options.items():
        if value is not None:
            values[key] = _coerce(value, hints[key], f"--{key.replace('_', '-')}")
    try:
        return kind(**values)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}" if table else str(error)) from error


def to_toml(tables: Mapping[str, Any]) -> str:
    """Config dataclasses by table name as TOML text; None is left out, since TOML has no null."""
    plain = {name: {k: v for k, v in dataclasses.asdict(t).items() if v is not None} for name, t in tables.items()}
    return tomli_w.dumps(plain)


def parse_max_drift(text: str) -> dict[str, float]:
    """`1px`, or `iris_center=0.5px,gaze=2deg`, to tolerances by label name: "iris_center", "gaze*deg".

    Without a name they hold for all other labels of their unit, under "" for px and under "*deg", "*iou", ...
    `mask=0.1iou`: the IoU may fall by 0.1. No unit is px, or a label's own. Raises ConfigError for anything else.
    """
    tolerances: dict[str, float] = {}
    for part in text.split(","):
        name, _, amount = part.strip().rpartition("=")
        match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*(px|deg|iou|flip)?", amount.strip())
        if match is None:
            raise ConfigError(
                f"--max-drift: got {part.strip()!r}, expected a number and a unit such as 1px or gaze=2deg"
            )
        unit = "" if match[2] in (None, "px") else f"*{match[2]}"
        tolerances[name.strip() + unit] = float(match[1])
    return tolerances


def parse_require(text: str) -> frozenset[str]:
    """`box,center` to names; nothing: all labels decide. Raises ConfigError for an empty name."""
    names = [name.strip() for name in text.split(",")] if text.strip() else []
    if not all(names):
        raise ConfigError(f"--require: got {text!r}, expected names of labels such as box,center")
    return frozenset(names)


def _suggest(name: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"


def _coerce(value: Any, hint: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if value not in arguments:
            raise ConfigError(f"{where}: got {value!r}, expected one of {', '.join(map(str, arguments))}")
        return value
    if origin in (typing.Union, types.UnionType):
        return None if value is None else _coerce(value, next(a for a in arguments if a is not type(None)), where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{where}: got {value!r}, expected a list")
        return tuple(_coerce(item, arguments[0], where) for item in value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(f"{where}: got {value!r} ({type(value).__name__}), expected {hint.__name__}")
    return value

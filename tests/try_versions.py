"""Install refinery with the lowest or the newest versions that pyproject.toml allows, and try it: `make test-versions`.

    python tests/try_versions.py lowest newest [--tests tests/test_export.py ...] [--with-cuda]

Each set of versions gets an environment of its own (`.venv-lowest`, `.venv-newest`), in which the quick tests run and a
tiny training, refine, export and inspect. The table in docs/dependencies.md is written anew for what was tried.

torch's builds for Linux come with gigabytes of CUDA's libraries, and do not start without them. Where gcc is there,
they are left out, and stand-ins whose functions all fail take their place: torch then finds no GPU and uses the CPU.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "dependencies.md"
RESOLUTIONS = {"lowest": "lowest-direct", "newest": "highest"}
CUDA = re.compile(r"(nvidia-|cuda-|triton$)")
FAILS = 100
"""What every stand-in returns: cudaErrorNoDevice."""
HEAD = "| versions | tried on | with | quick tests | train, refine, export, inspect |"
WALK = """
import json
import sys
from pathlib import Path
sys.path.insert(0, "tests")
from tiny import SIMGAN, datasets
root = Path(sys.argv[1])
datasets(root)
settings = [f"{name} = {json.dumps(value)}" for name, value in SIMGAN.items()]
lines = ["[train]", "guide_steps = 0", "probe_steps = 5", "[simgan]", *settings]
(root / "quick.toml").write_text("".join(line + chr(10) for line in lines))
"""
VERSIONS = """
import re
from importlib.metadata import PackageNotFoundError, requires, version
names = [re.split("[^A-Za-z0-9_-]", line)[0] for line in requires("refinery") if "extra ==" not in line]
shown = []
for name in dict.fromkeys(names):
    try:
        shown.append(f"{name} {version(name)}")
    except PackageNotFoundError:
        pass  # for another kind of machine
print(*shown, sep=", ")
"""
COMMANDS = (
    "train --real real --synthetic synthetic --config quick.toml --steps 4 --out run",
    "refine synthetic --out refined --model run",
    "export run --out refiner.onnx",
    "inspect refined --real real",
)


def main() -> int:
    """Try what was asked for; the exit code is 0 when all of it works."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", nargs="+", choices=RESOLUTIONS)
    parser.add_argument("--tests", nargs="+", default=[], help="test files; all quick tests without it")
    parser.add_argument("--with-cuda", action="store_true", help="install CUDA's libraries as pip does")
    asked = parser.parse_args()
    good = True
    for which in asked.which:
        python = install(which, with_cuda=asked.with_cuda or not stand_ins_work())
        tests, walk = run_tests(python, asked.tests), run_commands(python)
        good &= tests.startswith("all") and walk == "ok"
        write_row(which, python, tests, walk)
    return 0 if good else 1


def stand_ins_work() -> bool:
    """True if stand-ins can be made here, and are needed."""
    linux = sys.platform == "linux" and platform.machine() == "x86_64"
    return linux and all(shutil.which(tool) for tool in ("gcc", "readelf", "ldconfig"))


def install(which: str, with_cuda: bool) -> Path:
    """A fresh environment; its Python."""
    folder, tools = ROOT / f".venv-{which}", ROOT / ".venv-uv"
    if not (tools / "bin" / "uv").exists():
        subprocess.run([sys.executable, "-m", "venv", tools], check=True)
        subprocess.run([tools / "bin" / "python", "-m", "pip", "install", "--quiet", "uv"], check=True)
    uv, python = str(tools / "bin" / "uv"), folder / "bin" / "python"
    subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, folder], check=True)
    resolution = ["--python", str(python), "--resolution", RESOLUTIONS[which]]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as excluded:
        if not with_cuda:
            compiled = [uv, "pip", "compile", "--quiet", *resolution, "--extra", "dev", "pyproject.toml"]
            text = subprocess.run(compiled, check=True, cwd=ROOT, capture_output=True, text=True).stdout
            names = [line.partition("==")[0] for line in text.splitlines() if CUDA.match(line)]
            excluded.write("\n".join(names))
            excluded.flush()
        wanted = ["--excludes", excluded.name, "--editable", ".[dev]"]
        subprocess.run([uv, "pip", "install", *resolution, *wanted], check=True, cwd=ROOT)
    if not with_cuda:
        make_stand_ins(next((folder / "lib").glob("python*/site-packages/torch")))
    return python


def make_stand_ins(torch: Path) -> None:
    """Libraries with the names, versions and functions that torch's own libraries ask for and nothing here has."""
    needed: set[str] = set()
    defined: set[str] = set()
    versions: dict[str, set[str]] = defaultdict(set)
    asked_for: dict[str, set[str]] = defaultdict(set)
    for library in [*(torch / "lib").glob("*.so*"), *torch.glob("_C*.so")]:
        for block in _output("readelf", "-VW", library).split("File: ")[1:]:
            versions[block.split()[0]] |= set(re.findall(r"Name: (\S+)", block))
        text = _output("readelf", "-dW", "--dyn-syms", library)
        needed |= set(re.findall(r"\(NEEDED\).*\[(.+)\]", text))
        for fields in (line.split() for line in text.splitlines()):
            if len(fields) >= 8 and fields[0].endswith(":"):
                name, _, version = fields[7].partition("@")
                (asked_for[version.lstrip("@")] if fields[6] == "UND" else defined).add(name)
    here, system = {path.name for path in (torch / "lib").iterdir()}, _output("ldconfig", "-p")
    missing = sorted(name for name in needed - here if f"\t{name} " not in system)
    loose = {name for name in asked_for[""] - defined if re.match(r"(__)?(cu|nccl|nv|NVTX)", name)}
    for library_name in missing:
        by_version = {version: asked_for[version] for version in versions[library_name]}
        _compile(torch / "lib" / library_name, by_version, loose if library_name == missing[-1] else set())


def _compile(path: Path, by_version: dict[str, set[str]], loose: set[str]) -> None:
    names = sorted(loose.union(*by_version.values()))
    code = "".join(f"int {name}(void) {{ return {FAILS}; }}\n" for name in names) or "int none(void) { return 0; }\n"
    nodes = [f"{v} {{ global: {' '.join(f'{n};' for n in sorted(s))} }};" for v, s in sorted(by_version.items())]
    with tempfile.TemporaryDirectory() as folder:
        source, script = Path(folder) / "stand_in.c", Path(folder) / "stand_in.map"
        source.write_text(code)
        script.write_text("\n".join(nodes) or f"{path.name} {{ global: *; }};")
        options = [
            "-shared",
            "-fPIC",
            "-w",
            "-fno-builtin",
            f"-Wl,-soname,{path.name}",
            f"-Wl,--version-script={script}",
        ]
        subprocess.run(["gcc", *options, "-o", path, source], check=True)


def _output(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def run_tests(python: Path, paths: list[str]) -> str:
    """`all 2,000 pass`, or how many fail, with the first ones' names on stdout."""
    two = ["-n", "2", "--dist", "loadfile"]
    command = [python, "-m", "pytest", "--tb=short", "--show-capture=no", "-p", "no:cacheprovider", *two, *paths]
    done = subprocess.run(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, check=False)
    print(done.stdout[-20_000:])
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|error)", done.stdout)}
    passed, failed = counts.get("passed", 0), counts.get("failed", 0) + counts.get("error", 0)
    of = f" (of {', '.join(paths)})" if paths else ""
    return f"all {passed:,} pass{of}" if passed and done.returncode == 0 else f"{failed:,} fail, {passed:,} pass{of}"


def run_commands(python: Path) -> str:
    """`ok`, or the first command that does not work, with what it said."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([python, "-c", WALK, folder], cwd=ROOT, check=True)
        for command in COMMANDS:
            words = [python, "-m", "refinery", *command.split()]
            done = subprocess.run(words, cwd=folder, check=False, capture_output=True, text=True)
            print(done.stderr[-2000:], done.stdout, sep="\n")
            if done.returncode not in (0, 3):  # 3: done, but some labels failed, which four steps may bring about
                last = (done.stderr.strip().splitlines() or [""])[-1]
                return f"{command.split()[0]} fails: {last[:200]}"
    return "ok"


def write_row(which: str, python: Path, tests: str, walk: str) -> None:
    """Put the result into the table, in place of the last one of its kind."""
    packages = _output(python, "-c", VERSIONS).strip()
    where = f"{datetime.date.today()}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    row = f"| {which} | {where} | {packages} | {tests} | {walk} |"
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    at = lines.index(HEAD) + 2
    same = [i for i in range(at, len(lines)) if lines[i].startswith(f"| {which} |")]
    if same:
        lines[same[0]] = row
    else:
        lines.insert(at, row)
    DOCUMENT.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())

"""Images encoded and decoded per second: refinery against plain Pillow and, where installed, other codec libraries.

    python benchmarks/codecs.py [--repeats 5]

Smooth scenes with a disc and noise of four levels, as a renderer or a camera gives. Plain Pillow is the baseline; PNG
is saved at level 1. Contenders whose library is not installed (OpenCV, imagecodecs, simplejpeg) are left out.
Beside the rates stand the bytes that are written, and whether each decoder gives Pillow's pixels bit for bit.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import numpy as np
from _common import interleaved, timed, write
from PIL import Image

from refinery import image, png

SHAPES = {"60x36 gray": (36, 60, 1), "256x256 RGB": (256, 256, 3), "1280x720 RGB": (720, 1280, 3)}
LEAST_S = 0.1
THREADS = (1, 2)
Calls = dict[str, Callable[[], Any]]


def scene(shape: tuple[int, int, int]) -> np.ndarray:
    """(H, W, C) uint8."""
    height, width, channels = shape
    random = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    disc = np.hypot(x - width / 2, y - height * 0.45) < height * 0.2
    light = 130 + 60 * (0.4 * x / width + 0.7 * y / height) + 30 * np.sin(x / 17) * np.cos(y / 23)
    planes = [light - disc * random.uniform(40, 110) + random.normal(0, 4, (height, width)) for _ in range(channels)]
    return np.clip(np.stack(planes, 2), 0, 255).astype(np.uint8)


def saved(pixels: np.ndarray, file_format: str, **options: Any) -> bytes:
    """What plain Pillow writes."""
    out = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(out, file_format, **options)
    return out.getvalue()


def opened(file: bytes) -> np.ndarray:
    """What plain Pillow reads."""
    return np.asarray(Image.open(io.BytesIO(file)))


def library(name: str) -> ModuleType | None:
    """A module, if it is installed; OpenCV held to the calling thread."""
    try:
        found = importlib.import_module(name)
    except ImportError:
        return None
    if name == "cv2":
        found.setNumThreads(1)
    return found


def png_without_isal() -> ModuleType:
    """The PNG writer as it is where isal has no build."""
    held = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "isal"}
    sys.modules["isal"] = None
    try:
        spec = importlib.util.spec_from_file_location("png_without_isal", png.__file__)
        alone = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(alone)
    finally:
        del sys.modules["isal"]
        sys.modules.update(held)
    return alone


def png_encoders(pixels: np.ndarray) -> Calls:
    """Level 1 everywhere."""
    like, dense = (image.decode(saved(pixels, "PNG", **more), "scene") for more in ({}, {"dpi": (300, 300)}))
    plain = png_without_isal()
    calls: Calls = {
        "Pillow": lambda: saved(pixels, "PNG", compress_level=1),
        "refinery": lambda: image.encode(pixels, like),
        "refinery, metadata": lambda: image.encode(pixels, dense),
        "refinery, no isal": lambda: plain.encode(pixels),
    }
    if cv2 := library("cv2"):
        calls["OpenCV"] = lambda: cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1]
    if imagecodecs := library("imagecodecs"):
        calls["spng"] = lambda: imagecodecs.spng_encode(pixels.squeeze(), level=1)
    return calls


def jpeg_encoders(pixels: np.ndarray) -> Calls:
    """Quality 95, no chroma subsampling."""
    like = image.decode(saved(pixels, "JPEG"), "scene")
    gray = pixels.shape[2] == 1
    calls: Calls = {
        "Pillow": lambda: saved(pixels, "JPEG", quality=95, subsampling=0),
        "refinery": lambda: image.encode(pixels, like),
    }
    if cv2 := library("cv2"):
        options = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x111111]
        calls["OpenCV"] = lambda: cv2.imencode(".jpg", pixels, options)[1]
    if simplejpeg := library("simplejpeg"):
        space, sampling = ("GRAY", "Gray") if gray else ("RGB", "444")
        calls["simplejpeg"] = lambda: simplejpeg.encode_jpeg(
            pixels, quality=95, colorspace=space, colorsubsampling=sampling
        )
    return calls


def decoders(file: bytes, gray: bool) -> Calls:
    """Every library that reads the file; OpenCV gives BGR."""
    is_png = file.startswith(png.SIGNATURE)
    calls: Calls = {"Pillow": lambda: opened(file), "refinery": lambda: image.decode(file, "scene").pixels}
    if cv2 := library("cv2"):
        calls["OpenCV"] = lambda: cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_UNCHANGED)
    if is_png and (imagecodecs := library("imagecodecs")):
        calls["spng"] = lambda: imagecodecs.spng_decode(file)
    if not is_png and (simplejpeg := library("simplejpeg")):
        calls["simplejpeg"] = lambda: simplejpeg.decode_jpeg(file, colorspace="GRAY" if gray else "RGB")
    return calls


def same_pixels(calls: Calls) -> dict[str, bool]:
    """Whether each decoder gives what Pillow gives."""
    found = {name: np.atleast_3d(call()).reshape(-1) for name, call in calls.items()}
    if "OpenCV" in found and calls["OpenCV"]().ndim == 3:
        found["OpenCV"] = calls["OpenCV"]()[:, :, ::-1].reshape(-1)
    return {name: bool(np.array_equal(values, found["Pillow"])) for name, values in found.items()}


def tasks(pixels: np.ndarray) -> Iterator[tuple[str, Calls, dict[str, Any]]]:
    """Name, contenders and what is noted beside their rates."""
    gray = pixels.shape[2] == 1
    for name, calls in (("PNG encode", png_encoders(pixels)), ("JPEG encode", jpeg_encoders(pixels))):
        yield name, calls, {"bytes": {contender: len(call()) for contender, call in calls.items()}}
    files = {"PNG decode": saved(pixels, "PNG"), "JPEG decode": saved(pixels, "JPEG", quality=95, subsampling=0)}
    if not gray:
        files["JPEG 4:2:0 decode"] = saved(pixels, "JPEG", quality=95, subsampling=2)
    files["JPEG progressive decode"] = saved(pixels, "JPEG", quality=95, subsampling=0, progressive=True)
    for name, file in files.items():
        calls = decoders(file, gray)
        yield name, calls, {"same_pixels": same_pixels(calls)}


def rate(call: Callable[[], Any], threads: int) -> float:
    """Calls per second of all threads together."""
    count = max(1, round(LEAST_S / timed(call)))
    if threads == 1:
        return count / timed(lambda: [call() for _ in range(count)])
    with ThreadPoolExecutor(threads) as pool:
        return threads * count / timed(lambda: list(pool.map(lambda _: [call() for _ in range(count)], range(threads))))


def compare(calls: Calls, threads: int, repeats: int) -> dict[str, Any]:
    """Rates in turn, and their ratios to plain Pillow."""
    rates = interleaved({name: lambda call=call: rate(call, threads) for name, call in calls.items()}, repeats)
    plain = rates["Pillow"]["median"]
    return {"rates": rates, "ratios": {name: round(found["median"] / plain, 3) for name, found in rates.items()}}


def main() -> None:
    """All sizes, tasks and numbers of threads, and a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    cases: dict[str, Any] = {}
    for size, shape in SHAPES.items():
        for task, calls, figures in tasks(scene(shape)):
            for threads in THREADS:
                name = f"{size}, {task}, {threads} thread{'s' * (threads > 1)}"
                print(name)
                cases[name] = compare(calls, threads, repeats) | {"figures": figures}
    write(
        "codecs",
        "without metadata, a PNG is encoded 2 (60x36) and 8 (256x256, 1280x720) times as fast as by Pillow",
        "images/s",
        cases,
    )
    for name, case in cases.items():
        rates, ratios = case["rates"], case["ratios"]
        print(f"| {name} |", " | ".join(f"{key} {rates[key]['median']:.4g} ({ratios[key]:.2f})" for key in rates), "|")


if __name__ == "__main__":
    main()

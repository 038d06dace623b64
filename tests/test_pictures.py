"""Which images are pictures and which are maps, in the layouts that simulators write, and how doubt is said."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
import tarfile
import unicodedata
from pathlib import Path

import h5py
import numpy as np
import pytest
import sensors
from typer.testing import CliRunner

from refinery.cli.commands import app
from refinery.dataset import doubts, kinds, open_dataset
from refinery.errors import PicturesInDoubt, UsageError
from refinery.formats import folder, hdf5, tar
from refinery.pictures.appearance import appearance_of, appearance_of_pixels
from refinery.pictures.choice import Choice, matches
from refinery.pictures.sensor_words import sense_of, sensor_words, without_sensor
from refinery.sample import Sample

RNG = np.random.default_rng(3)
THINGS = sensors.scene(RNG)
RENDER = sensors.encoded(sensors.render(THINGS, RNG))
PHOTO = sensors.encoded(sensors.render(THINGS, RNG), "JPEG", quality=90)
OTHER = sensors.encoded(sensors.render(sensors.scene(RNG), RNG))
SEG, COLOURS, PALETTE = sensors.label_map(THINGS), sensors.colour_map(THINGS, RNG), sensors.palette_map(THINGS, RNG)
DEPTH16, DEPTH24 = sensors.depth16(THINGS, RNG), sensors.depth24(THINGS, RNG)
NORMALS, FLOW = sensors.normal_map(THINGS, RNG), sensors.flow_map(THINGS, RNG)
NOISE = sensors.encoded(sensors.photo_like_noise(RNG))
ID = "3f2a9c1e-5b77-4d0a-9e35-0c8d12ab34cd"

LAYOUTS = {
    "BOP": (
        {"train_pbr/000000/rgb/000000.jpg": PHOTO, "train_pbr/000000/depth/000000.png": DEPTH16,
         "train_pbr/000000/mask/000000_000000.png": SEG, "train_pbr/000000/mask_visib/000000_000000.png": SEG,
         "train_pbr/000000/mask_visib/000000_000001.png": SEG, "train_pbr/000000/scene_gt.json": b"{}"},
        {"train_pbr/000000/rgb/000000.jpg": (
            "train_pbr/000000/depth/000000.png", "train_pbr/000000/mask/000000_000000.png",
            "train_pbr/000000/mask_visib/000000_000000.png", "train_pbr/000000/mask_visib/000000_000001.png")},
    ),
    "CARLA, one folder a sensor": (
        {"routes/0/rgb_front/0000.png": RENDER, "routes/0/depth_front/0000.png": DEPTH24,
         "routes/0/normals_front/0000.png": NORMALS, "routes/0/seg_front/0000.png": COLOURS,
         "routes/0/rgb_left/0000.png": OTHER, "routes/0/seg_left/0000.png": COLOURS},
        {"routes/0/rgb_front/0000.png": (
            "routes/0/depth_front/0000.png", "routes/0/normals_front/0000.png", "routes/0/seg_front/0000.png"),
         "routes/0/rgb_left/0000.png": ("routes/0/seg_left/0000.png",)},
    ),
    "CARLA's cameras": (
        {"_out/CameraRGB/000001.png": RENDER, "_out/CameraDepth/000001.png": DEPTH24,
         "_out/CameraSemSeg/000001.png": COLOURS},
        {"_out/CameraRGB/000001.png": ("_out/CameraDepth/000001.png", "_out/CameraSemSeg/000001.png")},
    ),
    "Virtual KITTI 2": (
        {f"Scene01/clone/frames/{sensor}/Camera_0/{name}": data for sensor, name, data in (
            ("rgb", "rgb_00000.jpg", PHOTO), ("depth", "depth_00000.png", DEPTH16),
            ("classSegmentation", "classgt_00000.png", COLOURS), ("instanceSegmentation", "instancegt_00000.png", SEG),
            ("forwardFlow", "flow_00000.png", FLOW), ("backwardFlow", "backwardFlow_00000.png", FLOW),
            ("forwardSceneFlow", "sceneFlow_00000.png", NOISE))},
        {"Scene01/clone/frames/rgb/Camera_0/rgb_00000.jpg": (
            "Scene01/clone/frames/backwardFlow/Camera_0/backwardFlow_00000.png",
            "Scene01/clone/frames/classSegmentation/Camera_0/classgt_00000.png",
            "Scene01/clone/frames/depth/Camera_0/depth_00000.png",
            "Scene01/clone/frames/forwardFlow/Camera_0/flow_00000.png",
            "Scene01/clone/frames/forwardSceneFlow/Camera_0/sceneFlow_00000.png",
            "Scene01/clone/frames/instanceSegmentation/Camera_0/instancegt_00000.png")},
    ),
    "SYNTHIA": (
        {"RGB/0000000.png": RENDER, "GT/COLOR/0000000.png": COLOURS, "GT/LABELS/0000000.png": SEG,
         "Depth/Depth/0000000.png": DEPTH16},
        {"RGB/0000000.png": ("Depth/Depth/0000000.png", "GT/COLOR/0000000.png", "GT/LABELS/0000000.png")},
    ),
    "SYNTHIA with cameras": (
        {"RGB/Stereo_Left/Omni_F/000000.png": RENDER, "GT/COLOR/Stereo_Left/Omni_F/000000.png": COLOURS,
         "GT/LABELS/Stereo_Left/Omni_F/000000.png": SEG, "Depth/Stereo_Left/Omni_F/000000.png": DEPTH16},
        {"RGB/Stereo_Left/Omni_F/000000.png": (
            "Depth/Stereo_Left/Omni_F/000000.png", "GT/COLOR/Stereo_Left/Omni_F/000000.png",
            "GT/LABELS/Stereo_Left/Omni_F/000000.png")},
    ),
    "AirSim recording": (
        {"images/img_PhysXCar_0_0_1549583243583478400.png": RENDER,
         "images/img_PhysXCar_0_5_1549583243583478400.png": COLOURS,
         "images/img_PhysXCar_0_3_1549583243583478400.png": NOISE, "airsim_rec.txt": b""},
        {"images/img_PhysXCar_0_0_1549583243583478400.png": ()},
    ),
    "AirSim folders": (
        {"Scene/img_0.png": RENDER, "DepthPlanar/img_0.png": NOISE, "Segmentation/img_0.png": COLOURS,
         "SurfaceNormals/img_0.png": NORMALS},
        {"Scene/img_0.png": ("DepthPlanar/img_0.png", "Segmentation/img_0.png", "SurfaceNormals/img_0.png")},
    ),
    "Unity Perception, legacy": (
        {f"RGB{ID}/rgb_2.png": RENDER, f"SemanticSegmentation{ID}/segmentation_2.png": COLOURS,
         f"InstanceSegmentation{ID}/Instance_2.png": COLOURS, f"Dataset{ID}/captures_000.json": b"{}"},
        {f"RGB{ID}/rgb_2.png": (
            f"InstanceSegmentation{ID}/Instance_2.png", f"SemanticSegmentation{ID}/segmentation_2.png")},
    ),
    "SOLO": (
        {"sequence.0/step0.camera.png": RENDER, "sequence.0/step0.camera.semantic segmentation.png": COLOURS,
         "sequence.0/step0.camera.Depth.png": NOISE, "sequence.0/step0.frame_data.json": b"{}"},
        {"sequence.0/step0.camera.png": (
            "sequence.0/step0.camera.Depth.png", "sequence.0/step0.camera.semantic segmentation.png",
            "sequence.0/step0.frame_data.json")},
    ),
    "Replicator": (
        {"rgb_0000.png": RENDER, "semantic_segmentation_0000.png": COLOURS, "normals_0000.png": NORMALS,
         "instance_id_segmentation_0000.png": COLOURS, "distance_to_camera_0000.npy": b"",
         "motion_vectors_0000.png": FLOW},
        {"rgb_0000.png": (
            "distance_to_camera_0000.npy", "instance_id_segmentation_0000.png", "motion_vectors_0000.png",
            "normals_0000.png", "semantic_segmentation_0000.png")},
    ),
    "NDDS": (
        {"000000.left.jpg": PHOTO, "000000.left.depth.png": DEPTH16, "000000.left.seg.png": SEG,
         "000000.left.json": b"{}", "000000.right.jpg": PHOTO, "000000.right.seg.png": SEG},
        {"000000.left.jpg": ("000000.left.depth.png", "000000.left.json", "000000.left.seg.png"),
         "000000.right.jpg": ("000000.right.seg.png",)},
    ),
    "KITTI object": (
        {"training/image_2/000000.png": RENDER, "training/image_3/000000.png": OTHER,
         "training/label_2/000000.txt": b"", "training/calib/000000.txt": b""},
        {"training/image_2/000000.png": ("training/label_2/000000.txt",), "training/image_3/000000.png": ()},
    ),
    "Cityscapes": (
        {"leftImg8bit/train/ulm/ulm_000000_000019_leftImg8bit.png": RENDER,
         "gtFine/train/ulm/ulm_000000_000019_gtFine_color.png": COLOURS,
         "gtFine/train/ulm/ulm_000000_000019_gtFine_instanceIds.png": DEPTH16,
         "disparity/train/ulm/ulm_000000_000019_disparity.png": DEPTH16},
        {"leftImg8bit/train/ulm/ulm_000000_000019_leftImg8bit.png": (
            "disparity/train/ulm/ulm_000000_000019_disparity.png",
            "gtFine/train/ulm/ulm_000000_000019_gtFine_color.png",
            "gtFine/train/ulm/ulm_000000_000019_gtFine_instanceIds.png")},
    ),
    "GTA5": (
        {"images/00001.png": RENDER, "labels/00001.png": PALETTE},
        {"images/00001.png": ("labels/00001.png",)},
    ),
    "CamVid": (
        {"train/0001TP_1.png": RENDER, "trainannot/0001TP_1.png": SEG, "val/0016E5_1.png": RENDER,
         "valannot/0016E5_1.png": SEG},
        {"train/0001TP_1.png": ("trainannot/0001TP_1.png",), "val/0016E5_1.png": ("valannot/0016E5_1.png",)},
    ),
    "Pascal VOC": (
        {"JPEGImages/2007_1.jpg": PHOTO, "SegmentationClass/2007_1.png": PALETTE, "Annotations/2007_1.xml": b"",
         "SegmentationObject/2007_1.png": PALETTE},
        {"JPEGImages/2007_1.jpg": (
            "Annotations/2007_1.xml", "SegmentationClass/2007_1.png", "SegmentationObject/2007_1.png")},
    ),
    "a folder of masks that look like renders, beside renders": (
        {"rgb/0.png": RENDER, "depth/0.png": NOISE}, {"rgb/0.png": ("depth/0.png",)},
    ),
    "images in a folder that is called after a task": (
        {"segmentation/train/images/1.png": RENDER, "segmentation/train/masks/1.png": SEG},
        {"segmentation/train/images/1.png": ("segmentation/train/masks/1.png",)},
    ),
}  # fmt: skip


def samples_of(source) -> dict[str, tuple[str, ...]]:
    """image -> sidecars."""
    return {entry.image: entry.sidecars for entry in source.entries() if isinstance(entry, Sample)}


@pytest.mark.parametrize("name", LAYOUTS)
def test_pictures_of_a_layout_are_found_without_a_question(name, tree):
    files, expected = LAYOUTS[name]
    source = open_dataset(tree(files), asks=True)
    assert samples_of(source) == expected
    assert all(", because " in reason for reason in kinds(source).values())


@pytest.mark.parametrize("name", ["BOP", "CARLA, one folder a sensor", "Virtual KITTI 2", "SYNTHIA"])
def test_archives_of_a_layout_hold_the_same_pictures(name, tmp_path):
    files, expected = LAYOUTS[name]
    path = tmp_path / "all.tar"
    with tarfile.open(path, "w") as archive:
        for member, data in sorted(files.items()):
            info = tarfile.TarInfo(member)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    source = open_dataset(path, asks=True)
    assert [image.removeprefix("all.tar/") for image in samples_of(source)] == sorted(expected)


def test_suffixes_of_a_webdataset_sample_say_what_is_the_picture(tmp_path):
    path = tmp_path / "shard-000.tar"
    with tarfile.open(path, "w") as archive:
        for key in ("a", "b"):
            for suffix, data in (("depth.png", NOISE), ("rgb.png", RENDER), ("seg.png", SEG), ("json", b"{}")):
                info = tarfile.TarInfo(f"{key}.{suffix}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    source = tar.open_source(path)
    assert list(samples_of(source)) == ["shard-000.tar/a.rgb.png", "shard-000.tar/b.rgb.png"]
    assert [verdict.kind for verdict in source.verdicts()] == ["map", "picture", "map"]


def blenderproc(path: Path, number: int) -> None:
    """One frame as BlenderProc's `write_hdf5` writes it."""
    rng = np.random.default_rng(number)
    things = sensors.scene(rng)
    with h5py.File(path / f"{number}.hdf5", "w") as file:
        file["colors"] = sensors.render(things, rng)
        file["depth"] = sensors.depth_of(things, rng).astype(np.float32)
        file["normals"] = rng.random((*things.shape, 3)).astype(np.float32)
        file["instance_segmaps"] = things.astype(np.uint8)
        file["category_id_segmaps"] = things.astype(np.uint8)
        file["instance_attribute_maps"] = np.bytes_("[]")
        file["blender_proc_version"] = np.bytes_("2.6.1")


def test_one_hdf5_file_a_frame(tmp_path):
    for number in range(3):
        blenderproc(tmp_path, number)
    source = open_dataset(tmp_path, asks=True)
    assert list(samples_of(source)) == [f"{number}.hdf5/colors" for number in range(3)]
    sink = source.sink(tmp_path / "out")
    for entry in source.entries():
        decoded = source.decode(source.read(entry), entry)
        sink.write_image(entry, source.encode(255 - decoded.pixels, decoded))
    sink.finish()
    with h5py.File(tmp_path / "1.hdf5") as before, h5py.File(tmp_path / "out" / "1.hdf5") as after:
        np.testing.assert_array_equal(after["colors"][()], 255 - before["colors"][()])
        for name in set(before) - {"colors"}:
            np.testing.assert_array_equal(after[name][()], before[name][()])


LOOKS = {
    "render": (RENDER, ""),
    "photo": (PHOTO, ""),
    "noise": (NOISE, ""),
    "a cutout": (sensors.encoded(THINGS.astype(np.uint8), transparency=0), ""),
    "classes": (SEG, "few flat colours"),
    "colours of classes": (COLOURS, "few flat colours"),
    "smoothed edges": (sensors.smoothed_map(THINGS, RNG), "few flat colours"),
    "palette": (PALETTE, "a palette"),
    "16 bits": (DEPTH16, "16 bits or more a value, without any grain"),
    "16 bits with grain": (
        sensors.encoded(RNG.integers(0, 60000, (20, 20)).astype(np.uint16)),
        "16 bits or more a value",
    ),
    "24 bits": (DEPTH24, "numbers encoded in R, G, B"),
    "normals": (NORMALS, "directions encoded in R, G, B"),
    "broken": (b"\x89PNG", None),
    "one colour": (sensors.encoded(np.full((9, 9, 3), 7, np.uint8)), None),
}


@pytest.mark.parametrize("name", LOOKS)
def test_what_pixels_look_like(name):
    data, expected = LOOKS[name]
    assert appearance_of(data) == expected


def test_vectors_of_length_one_are_directions_and_high_range_is_a_picture():
    vectors = RNG.normal(size=(20, 20, 3)).astype(np.float32)
    assert (
        appearance_of_pixels(vectors / np.linalg.norm(vectors, axis=2, keepdims=True)) == "directions in three numbers"
    )
    assert appearance_of_pixels(np.abs(vectors) * 7) == ""


@pytest.mark.parametrize(
    ("name", "words", "sense", "rest"),
    [
        ("rgb_front", ("rgb",), "picture", "front"), ("leftImg8bit", ("leftimg8bit",), "picture", ""),
        ("classSegmentation", ("segmentation",), "map", "class"), ("mask_visib", ("mask", "visib"), "map", ""),
        (f"RGB{ID}", ("rgb",), "picture", ""), ("distance_to_camera", ("distance", "camera"), "both", "to"),
        ("img_Car_0_5_1549583243583", ("segmentation",), "map", "car_0_5_1549583243583"),
        ("aachen_000019", (), "", "aachen_000019"), ("trainannot", ("trainannot",), "map", ""),
    ],
)  # fmt: skip
def test_words_for_sensors(name, words, sense, rest):
    assert (sensor_words(name), sense_of(words), without_sensor(name)) == (words, sense, rest)


DOUBTFUL = {
    "a name without meaning beside pictures": {"rgb/0.png": RENDER, "rgb/1.png": OTHER, "extra/0.png": NOISE},
    "flat images that no picture stands beside": {"a/0.png": SEG, "a/1.png": COLOURS},
    "a name for pictures, pixels of directions": {"images/0.png": NORMALS},
    "colours of classes called colour": {"rgb/0.png": RENDER, "color/0.png": COLOURS},
    "two names without meaning, the same scenes": {
        "a/0.png": RENDER, "b/0.png": sensors.encoded(255 - sensors.render(THINGS, RNG))},
}  # fmt: skip


@pytest.mark.parametrize("name", DOUBTFUL)
def test_doubt_is_a_question_with_its_answers(name, tree):
    root = tree(DOUBTFUL[name])
    with pytest.raises(PicturesInDoubt) as caught:
        open_dataset(root, asks=True)
    question, *lines = caught.value.lines()
    assert "--images" in question
    assert str(root) in question
    assert all("in doubt, because" in line for line in caught.value.candidates)
    assert lines[: len(caught.value.candidates)] == list(caught.value.candidates)
    assert "--yes" in lines[len(caught.value.candidates)]
    for images, maps in caught.value.answers:
        answered = open_dataset(root, choice=Choice(images, maps), asks=True)
        assert doubts(answered) == []
    likeliest = open_dataset(root, choice=Choice(*caught.value.answers[0]))
    assert samples_of(likeliest).keys() == samples_of(open_dataset(root)).keys()
    assert doubts(open_dataset(root))


CLEAR = {
    "one folder of 8-bit pictures": {"0.png": RENDER, "1.png": OTHER},
    "classes of photos": {"cat/0001.jpg": PHOTO, "dog/0001.jpg": PHOTO, "normal/0001.jpg": PHOTO},
    "classes of other scenes": {f"{name}/{i}.png": sensors.encoded(sensors.render(sensors.scene(RNG), RNG))
                                for name in ("cat", "dog") for i in range(3)},
    "two cameras": {"left/0.png": RENDER, "right/0.png": RENDER},
    "drawn shapes that are called images": {"images/0.png": COLOURS, "masks/0.png": SEG},
    "splits": {"train/a.png": RENDER, "val/b.png": OTHER, "test/c.png": RENDER},
}  # fmt: skip


@pytest.mark.parametrize("name", CLEAR)
def test_clear_cases_ask_nothing(name, tree):
    files = CLEAR[name]
    assert samples_of(open_dataset(tree(files), asks=True)).keys() == files.keys() - {"masks/0.png"}


def test_globs_name_paths_from_any_folder_on():
    assert matches("run/0/rgb_front/1.png", "rgb*/**")
    assert matches("rgb_front/1.png", "/rgb*/**")
    assert not matches("run/0/rgb_front/1.png", "/rgb*/**")
    assert not matches("rgb_front/a/1.png", "rgb*/*.png")
    assert matches("a/b/c/1.png", "a/**/1.png")
    assert matches("a/1.png", "a/**/1.png")
    assert matches("a[0].png", "a[0].png")


def test_images_are_refined_and_all_others_carried(tree):
    files = {"rgb/0.png": RENDER, "depth/0.png": DEPTH24, "masks/0.png": SEG}
    source = open_dataset(tree(files), choice=Choice(images=("depth/**",)), asks=True)
    assert samples_of(source).keys() == {"depth/0.png"}
    source = open_dataset(tree(files), choice=Choice(images=("**",), maps=("masks/**",)), asks=True)
    assert samples_of(source).keys() == {"rgb/0.png", "depth/0.png"}
    with pytest.raises(UsageError, match="no image matches 'rbg/\\*\\*'; there are"):
        open_dataset(tree(files), choice=Choice(images=("rbg/**",)))


def test_a_choice_holds_in_hdf5_and_tar(tmp_path):
    blenderproc(tmp_path, 0)
    source = open_dataset(tmp_path / "0.hdf5", choice=Choice(images=("normals",)))
    assert list(samples_of(source)) == ["0.hdf5/normals"]
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name in ("rgb/0.png", "extra/0.png"):
            info = tarfile.TarInfo(name)
            info.size = len(RENDER)
            archive.addfile(info, io.BytesIO(RENDER))
    with pytest.raises(PicturesInDoubt):
        open_dataset(tmp_path / "a.tar", asks=True)
    source = open_dataset(tmp_path / "a.tar", choice=Choice(maps=("rgb/**",)), asks=True)
    assert list(samples_of(source)) == ["a.tar/extra/0.png"]


def test_a_delivered_dataset_is_read_as_its_source_was(tree, tmp_path):
    files, expected = LAYOUTS["CARLA, one folder a sensor"]
    source = folder.open_source(tree(files))
    source.verdicts()
    for path in files:
        (tmp_path / "out" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / path).write_bytes(SEG)
    assert samples_of(source.delivered(tmp_path / "out")) == expected


def test_files_of_macos_are_carried_and_belong_to_nobody(tree, tmp_path):
    files = {"images/12.png": RENDER, "images/._12.png": b"\0\5\x16\7", "labels/12.txt": b"0 .5 .5 .1 .1\n",
             "labels/._12.txt": b"\0\5\x16\7"}  # fmt: skip
    source = folder.open_source(tree(files))
    assert samples_of(source) == {"images/12.png": ("labels/12.txt",)}
    assert {entry.path for entry in source.entries() if not isinstance(entry, Sample)} == {
        "images/._12.png", "labels/._12.txt"}  # fmt: skip
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, data in (("._12.png", b"\0"), ("12.png", RENDER), ("._12.txt", b"\0"), ("12.txt", b"")):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    source = tar.open_source(tmp_path / "a.tar")
    assert samples_of(source) == {"a.tar/12.png": ("a.tar/12.txt",)}
    assert source.lost() == []


@pytest.mark.parametrize("forms", [("NFD", "NFC"), ("NFC", "NFD")])
def test_names_are_the_same_however_their_letters_are_composed(forms, tree):
    image, label = (unicodedata.normalize(form, "prüfling_é") for form in forms)
    files = {f"{image}.png": RENDER, f"{label}.json": b"{}", f"{label}_mask.png": SEG,
             f"images/{image}/a.png": RENDER, f"labels/{label}/a.txt": b""}  # fmt: skip
    assert samples_of(folder.open_source(tree(files))) == {
        f"{image}.png": tuple(sorted((f"{label}.json", f"{label}_mask.png"))),
        f"images/{image}/a.png": (f"labels/{label}/a.txt",),
    }


def test_without_a_terminal_doubt_is_an_error_of_a_line_a_candidate(tree):
    root = tree(DOUBTFUL["a name without meaning beside pictures"])
    for command in (["refine", str(root), "--out", f"{root}-out", "--model", "none.onnx"],
                    ["refine", str(root), "--out", f"{root}-out", "--model", "none.onnx", "--json"]):  # fmt: skip
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 2
        assert result.stdout == ""
        lines = result.stderr.splitlines()
        assert all(line.startswith("error: ") for line in lines)
        assert [line for line in lines if "in doubt" in line] == [lines[1]]
        assert "extra/*.png: 1 image in doubt" in lines[1]
    toml = root.parent / "c.toml"
    toml.write_text('[refine]\nmaps = ["extra/**"]\n')
    result = CliRunner().invoke(
        app, ["refine", str(root), "--out", f"{root}-out", "--model", "none.onnx", "-c", str(toml)]
    )
    assert "none.onnx" in result.stderr  # the question is answered, the model is missing
    assert not Path(f"{root}-out").exists()


def test_inspect_says_what_it_took_images_for(tree):
    root = tree(DOUBTFUL["a name without meaning beside pictures"])
    found = json.loads(CliRunner().invoke(app, ["inspect", str(root), "--json"]).stdout)
    assert list(found["kinds"]) == ["rgb/*.png", "extra/*.png"]
    assert any("in doubt" in line and "carried" in line for line in found["problems"])


@pytest.mark.slow
def test_on_a_terminal_the_question_is_asked_and_answered(tree):
    root = tree(DOUBTFUL["a name without meaning beside pictures"])
    main, terminal = pty.openpty()
    command = [sys.executable, "-m", "refinery", "refine", str(root), "--out", f"{root}-out", "--model", "none.onnx"]
    with subprocess.Popen(command, stdin=terminal, stdout=subprocess.DEVNULL, stderr=terminal) as process:
        os.close(terminal)
        os.write(main, b"2\n")
        told = b""
        try:
            while piece := os.read(main, 4096):
                told += piece
        except OSError:  # the terminal's other end is gone
            pass
    os.close(main)
    assert process.returncode == 1
    text = " ".join(told.decode().split())
    assert "extra/*.png: 1 image in doubt" in text
    assert "as if given: --images 'extra/*.png' --images 'rgb/*.png'" in text
    assert "none.onnx" in text


def test_hdf5_groups_of_two_sensors(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for i in range(3):
            file[f"rgb/{i}"] = sensors.render(THINGS, np.random.default_rng(i))
            file[f"seg/{i}"] = THINGS.astype(np.uint8)
    source = hdf5.open_source(tmp_path / "a.h5")
    assert list(samples_of(source)) == [f"a.h5/rgb/{i}" for i in range(3)]
    assert [verdict.kind for verdict in source.verdicts()] == ["picture", "map"]

"""Grouping never loses or repeats a file; a split is a partition; arrays and spools give back what they took."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from conftest import photo, png
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from refinery import image
from refinery.dataset import _even_indices, split
from refinery.formats import _arrays, folder
from refinery.formats._grouping import Owners, pictures_in
from refinery.formats._name_list import Chosen, Keys, NameList, Sorter, repeated
from refinery.formats._names import picture_core, picture_tail, stem_of
from refinery.formats._roles import Roles
from refinery.formats._source import Loose
from refinery.formats._spool import Spool
from refinery.formats._variants import free_mark, with_variants

PNG = png(photo())
WORDS = st.sampled_from(["a", "b", "0001", "0.5", "left", "mask", "rgb", "depth", "camera", "é", "seg", "label"])
STEMS = st.builds(
    lambda words, joint: joint.join(words), st.lists(WORDS, min_size=1, max_size=3), st.sampled_from("._- ")
)
FILES = st.builds(
    lambda stem, suffix: stem + suffix, STEMS, st.sampled_from([".png", ".jpg", ".PNG", ".json", ".txt", ""])
)
FOLDERS = st.lists(
    st.sampled_from(
        ["images", "labels", "masks", "train", "trainannot", "rgb", "depth", "x", "gt", "normal", "x_masks"]
    ),
    max_size=3,
).map("/".join)
PATHS = st.lists(st.tuples(FOLDERS, FILES), min_size=1, max_size=12)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(PATHS)
def test_every_file_is_met_exactly_once(paths):
    with tempfile.TemporaryDirectory() as root:
        for below, name in paths:
            target = Path(root) / below / name
            if not target.exists() and not any(p.is_file() for p in target.parents if p != Path(root).parent):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(PNG if name.lower().endswith((".png", ".jpg")) else b"")
        met: list[str] = []
        keys: list[str] = []
        for entry in folder.open_source(Path(root)).entries():
            met += [entry.path] if isinstance(entry, Loose) else [entry.image, *entry.sidecars]
            keys += [] if isinstance(entry, Loose) else [entry.key]
        assert sorted(met) == sorted(p.relative_to(root).as_posix() for p in Path(root).rglob("*") if p.is_file())
        assert len(set(keys)) == len(keys)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(PATHS)
def test_variants_group_as_their_samples_do(paths):
    with tempfile.TemporaryDirectory() as root:
        before, out = Path(root) / "in", Path(root) / "out"
        for below, name in paths:
            target = before / below / name
            assume(not (picture_core(stem_of(name)) and picture_tail(stem_of(name))))  # `camera camera.png`
            if not target.exists() and not any(p.is_file() for p in target.parents):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(PNG if name.lower().endswith((".png", ".jpg")) else b"")
        source = folder.open_source(before)
        stream = with_variants(source, 2, free_mark(source, 2))
        sink = source.sink(out)
        expected = []
        for entry in stream.entries():
            if isinstance(entry, Loose):
                sink.carry(entry.path)
                continue
            sink.write_image(entry, source.read(entry.origin))
            for path, to in entry.carried():
                sink.carry(path, to)
            expected.append((entry.key, entry.image, sorted(entry.sidecars)))
        again = [entry for entry in folder.open_source(out).entries() if not isinstance(entry, Loose)]
        assert sorted((entry.key, entry.image, list(entry.sidecars)) for entry in again) == sorted(expected)


@given(st.lists(FILES, unique=True))
def test_keys_of_a_folder_are_unique(names):
    owners = Owners(pictures_in(NameList(sorted(names)), Roles()))
    assert len(set(map(owners.key_of, owners.pictures))) == len(owners.pictures)


@given(STEMS, STEMS)
def test_the_longest_stem_wins(short, rest):
    owners = Owners(NameList([f"{short}.png", f"{short}_{rest}.png"]))
    assert owners.of(f"{short}_{rest}.json") == 1
    assert owners.of(f"{short}.json") == 0


NAMES = st.text(st.characters(codec=None), min_size=1, max_size=6)
"""With lone surrogates, as names of files that are no UTF-8 have."""


@given(st.lists(NAMES, max_size=40))
def test_packed_names_are_the_names(names):
    packed = NameList(names)
    assert [*packed] == names
    assert [packed[at] for at in range(-len(packed), len(packed))] == 2 * names


@given(st.lists(NAMES, max_size=40))
def test_chosen_names_are_those_wanted(names):
    once = Chosen(NameList(names), lambda name: "0" not in name)
    assert [*once] == [name for name in names if "0" not in name]
    twice = Chosen(once, str.isprintable)
    assert [twice[at] for at in range(len(twice))] == [name for name in once if name.isprintable()]


@given(st.lists(NAMES, max_size=40), st.integers(1, 5))
def test_names_are_sorted_in_runs(names, run):
    sorter = Sorter(run)
    for name in names:
        sorter.add(name)
    assert [*sorter.names()] == sorted(names)
    assert [*sorter.names()] == []


@given(st.lists(NAMES, max_size=40), st.sampled_from([0, 1000]))
def test_a_text_leads_to_the_names_that_have_it(names, few):
    keys = Keys(NameList(names), lambda name: name[1:], few)
    for text in {name[1:] for name in names} | {"", "nowhere"}:
        places = [at for at, name in enumerate(names) if text and name[1:] == text]
        assert [*keys.places(text)] == places
        assert keys.first(text) == next(iter(places), None)
        assert keys.only(text) == (places[0] if len(places) == 1 else None)
        assert (text in keys) is bool(places)


@given(st.lists(st.sampled_from("abcdef")))
def test_repeated_texts(texts):
    assert repeated(texts, len(texts)) == {hash(text) for text in texts if texts.count(text) > 1}


@given(st.text(), st.floats(0, 1), st.floats(0, 1), st.integers(0, 5))
def test_a_larger_split_holds_what_a_smaller_one_does(key, one, other, seed):
    small, large = sorted((one, other))
    assert split(key, large, seed) or not split(key, small, seed)
    assert split(key, 1.0, seed)
    assert not split(key, 0.0, seed)


@given(st.integers(0, 500), st.integers(1, 60), st.integers(0, 5))
def test_even_indices_are_increasing_and_inside(total, limit, seed):
    indices = _even_indices(total, limit, seed)
    assert len(indices) == min(total, limit)
    assert indices == sorted(set(indices))
    assert all(0 <= index < total for index in indices)


SHAPES = st.tuples(st.integers(8, 20), st.integers(8, 20), st.sampled_from([1, 3]))


@settings(deadline=None)
@given(st.sampled_from([np.uint8, np.uint16]).flatmap(lambda dtype: arrays.arrays(dtype, SHAPES)))
def test_arrays_come_back(pixels):
    decoded = _arrays.decode(_arrays.to_bytes(pixels), "a", 0)
    np.testing.assert_array_equal(_arrays.to_array(_arrays.encode(decoded.pixels, decoded)), pixels)


@settings(deadline=None)
@given(arrays.arrays(np.uint8, SHAPES), st.sampled_from(["PNG", "BMP", "TIFF", "PPM"]))
def test_lossless_files_come_back(pixels, file_format):
    like = image.Decoded(pixels, file_format, "L" if pixels.shape[2] == 1 else "RGB")
    decoded = image.decode(image.encode(pixels, like), "a")
    np.testing.assert_array_equal(decoded.pixels, pixels)
    assert (decoded.format, decoded.mode) == (like.format, like.mode)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.binary(max_size=50)), max_size=8), st.integers(0, 60))
def test_a_spool_cut_anywhere_gives_a_beginning_of_its_records(records, cut):
    with tempfile.TemporaryDirectory() as root:
        spool = Spool(Path(root))
        for name, data in records:
            spool.append(name, data)
        for path in Path(root).iterdir():
            path.write_bytes(path.read_bytes()[: path.stat().st_size - cut])
        found = {name: place.read() for name, place in Spool(Path(root)).places().items()}
        assert found in [dict(records[:count]) for count in range(len(records) + 1)]

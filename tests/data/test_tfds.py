"""TFDS as a source: names, splits, hashes, errors, and never TensorFlow."""

import hashlib
import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets
from PIL import Image

from blurjax import data, images
from blurjax.data import _tfds
from blurjax.images import ImageError

RNG = np.random.default_rng(0)
NAMES = ("a-1.png", "a-2.jpg", "deep.png", "palette.gif", "sub/b.tif")


@pytest.fixture(autouse=True)
def _never_tensorflow():
    yield
    assert "tensorflow" not in sys.modules


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Photographs of every kind in a folder, and the same as a data set."""
    root = tmp_path_factory.mktemp("photographs")
    for name in NAMES:
        path = root / name
        path.parent.mkdir(exist_ok=True)
        pixels = RNG.random((9, 8, 3))
        if name.endswith("gif"):
            levels = np.rint(255 * pixels).astype(np.uint8)
            Image.fromarray(levels).quantize(16).save(path)
        else:
            images.write(path, pixels[..., 0] if "deep" in name else pixels, bits=_bits(name))
    data_dir = tmp_path_factory.mktemp("data_dir")
    data.build("folder", root, data_dir=data_dir)
    return root, data_dir


def _bits(name):
    return 16 if name in ("deep.png", "sub/b.tif") else 8


def test_photographs_are_those_of_the_folder(prepared):
    root, data_dir = prepared
    found, expected = data.tfds("folder", data_dir=data_dir), data.folder(root)
    assert isinstance(found, data.Source)
    assert found.names == tuple(f"train/{name}" for name in NAMES)
    for i in range(len(NAMES)):
        assert found[i].dtype == np.float32 and found[i].flags["C_CONTIGUOUS"]
        np.testing.assert_array_equal(found[i], expected[i])
    with pytest.raises(IndexError):
        found[len(NAMES)]


def test_a_slice_changes_neither_name_nor_hash_nor_photograph(prepared):
    _, data_dir = prepared
    whole = data.tfds("folder", data_dir=data_dir)
    for spec, places in (("train[1:3]", [1, 2]), ("train[80%:]+train[:1]", [4, 0])):
        part, same = data.tfds("folder:1.0.0", split=spec, data_dir=data_dir), None
        same = data.subset(whole, places)
        assert part.names == same.names and data.file_hashes(part) == data.file_hashes(same)
        np.testing.assert_array_equal(part[0], same[0])
    assert data.tfds("folder", split="train[:0]", data_dir=data_dir).names == ()


def test_hashes_are_of_the_data_set_the_place_and_the_stored_image(prepared):
    root, data_dir = prepared
    hashes = data.file_hashes(data.tfds("folder", data_dir=data_dir))
    content = b"folder/1.0.0\ntrain\n0\n" + (root / NAMES[0]).read_bytes()
    assert hashes[0] == hashlib.sha256(content).hexdigest()
    assert len(set(hashes)) == len(NAMES)
    both = data.concatenate(data.folder(root), data.tfds("folder", data_dir=data_dir))
    assert data.file_hashes(both)[len(NAMES) :] == hashes


def test_split_keeps_parts_of_a_photograph_together(prepared):
    root, data_dir = prepared
    options = {"fractions": (0.5, 0.5), "seed": 2}
    parts = data.split(data.tfds("folder", data_dir=data_dir), **options)
    files = data.split(data.folder(root), **options)
    names = [{name.removeprefix("train/") for name in part.names} for part in parts]
    assert names == [set(part.names) for part in files]
    assert any({"a-1.png", "a-2.jpg"} <= part for part in names)


def test_each_photograph_can_be_pickled_and_read_elsewhere(prepared, tmp_path):
    _, data_dir = prepared
    source = data.tfds("folder", data_dir=data_dir)
    expected = source[4]
    assert len(pickle.dumps(source)) < 3 * len(pickle.dumps(data.subset(source, [0])))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(source))[4], expected)
    (tmp_path / "one.pkl").write_bytes(pickle.dumps(data.subset(source, [4])))
    code = (
        "import pathlib, pickle, sys; one = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes()); "
        "print(one.names[0], one[0].sum(), 'tensorflow' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "one.pkl")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["train/sub/b.tif", str(expected.sum()), "False"]


def test_source_opens_folders_files_and_data_sets(prepared):
    root, data_dir = prepared
    assert data.source(root).names == NAMES
    assert data.source(str(root / "a-1.png")).names == ("a-1.png",)
    word = f"tfds:folder?data_dir={data_dir}"
    assert data.source(Path(word)).names == data.source(word).names
    some = data.source(Path(f"{word}&split=train[:40%]&feature=image"))
    assert some.names == ("train/a-1.png", "train/a-2.jpg")
    for wrong in ("?train", "?parts=3", "?split="):
        with pytest.raises(ValueError, match=r"is no option; after '\?' write split, feature"):
            data.source(f"tfds:folder{wrong}")
    with pytest.raises(ImageError, match="no such file or folder"):
        data.source("nowhere")


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("folder", {"split": "tset"}, r"'tset' is no part of it .* splits train, of which"),
        ("folder", {"split": "train["}, r"no part of it"),
        ("folder", {"feature": "mask"}, r"'mask' is no image .*; choose one of image"),
        ("folder/mine", {}, r"not prepared in .*train dataset folder/mine --manual DIR --data-dir"),
        ("folder:2.0.0", {}, r"not prepared"),
        ("bsds500", {}, r"python -m train dataset bsds500 --manual DIR --data-dir .* unpacking"),
        ("caltech101", {}, r"run python -m train dataset caltech101 --data-dir"),
        ("voc/1999", {}, r"no such configuration or version; write one of voc/2007, voc/2012"),
        ("voc/2007:9.0.0", {}, r"no such configuration or version"),
        ("caltech_101", {}, r"TFDS .* knows no such data set .*check the name"),
        ("community:one", {}, r"knows no such data set"),
        ("two words", {}, r"cannot be opened .*NAME/CONFIGURATION"),
    ],
)
def test_what_is_not_there_is_said_in_a_sentence(prepared, name, options, sentence):
    with pytest.raises(ImageError, match=sentence) as caught:
        data.tfds(name, data_dir=prepared[1], **options)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_without_a_data_dir_the_default_is_searched(prepared, monkeypatch):
    from tensorflow_datasets.core import constants
    from tensorflow_datasets.core.utils import file_utils

    monkeypatch.setattr(constants, "DATA_DIR", str(prepared[1]))
    monkeypatch.setattr(file_utils.constants, "DATA_DIR", str(prepared[1]))
    assert len(data.source("tfds:folder")) == len(NAMES)
    with pytest.raises(ImageError, match=r"dataset brodatz --manual DIR after"):
        data.source("tfds:brodatz")


def _altered(prepared, tmp_path, file, change):
    """The prepared data set with one of TFDS's own files changed."""
    import shutil

    copy = tmp_path / "folder" / "1.0.0"
    shutil.copytree(prepared[1] / "folder" / "1.0.0", copy)
    path = copy / file
    found = json.loads(path.read_text())
    change(found)
    path.write_text(json.dumps(found))
    return tmp_path


def test_tfrecord_is_refused(prepared, tmp_path):
    place = _altered(
        prepared, tmp_path, "dataset_info.json", lambda info: info.update(fileFormat="tfrecord")
    )
    with pytest.raises(ImageError, match=r"as tfrecord, .* without TensorFlow; remove that folder"):
        data.tfds("folder", data_dir=place)


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "missing"])
def test_a_damaged_or_missing_shard_is_named(prepared, tmp_path, damage):
    place = _altered(prepared, tmp_path, "dataset_info.json", lambda info: None)
    (shard,) = (place / "folder" / "1.0.0").glob("*array_record*")
    content = shard.read_bytes()
    if damage == "missing":
        shard.unlink()
    else:
        kept = {"empty": b"", "cut": content[: len(content) // 2]}
        shard.write_bytes(kept.get(damage, content.replace(b"a-1.png", b"b-1.png")))
    with pytest.raises(ImageError, match=r"folder.* remove that folder") as caught:
        list(data.tfds("folder", data_dir=place))
    assert str(place) in str(caught.value) and "\n" not in str(caught.value)


def test_a_damaged_record_is_named(prepared, tmp_path):
    root = tmp_path / "in"
    root.mkdir()
    images.write(root / "good.png", np.full((8, 6), 0.5))
    data.build("folder", root, data_dir=tmp_path / "out")
    source = data.tfds("folder", data_dir=tmp_path / "out")
    with pytest.raises(ImageError, match=r"^train/good\.png: .*(damaged|known format)"):
        _tfds._decode(b"nonsense", source.names[0])


def features(**kinds):
    return tensorflow_datasets.features.FeaturesDict(kinds)


def test_which_feature_is_the_photograph():
    kinds = tensorflow_datasets.features
    photograph = kinds.Image()
    every = features(
        zebra=photograph,
        depth=kinds.Image(shape=(None, None, 1), dtype=np.float32),
        labels=kinds.LabeledImage(labels=3, shape=(None, None, 1)),
        film=kinds.Sequence(photograph),
        pair=features(left=photograph, right=photograph),
    )
    assert _tfds._feature("x", every, None) == "pair/left"
    assert _tfds._feature("x", every, "zebra") == "zebra"
    assert _tfds._feature("x", features(image=photograph, a=photograph), None) == "image"
    with pytest.raises(ImageError, match="choose one of pair/left, pair/right, zebra"):
        _tfds._feature("x", every, "depth")
    with pytest.raises(ImageError, match=r"none of its features is an image \(film\)"):
        _tfds._feature("x", features(film=kinds.Sequence(photograph)), None)


def test_an_image_inside_a_feature_of_a_parquet_file(tmp_path):
    kinds = tensorflow_datasets.features

    class Nested(tensorflow_datasets.core.GeneratorBasedBuilder, skip_registration=True):
        name = "nested"
        VERSION = tensorflow_datasets.core.Version("1.2.0")

        def _info(self):
            pair = features(left=kinds.Image(), right=kinds.Image())
            return tensorflow_datasets.core.DatasetInfo(
                builder=self, features=features(pair=pair, number=np.int64)
            )

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples(0), "test": self._generate_examples(1)}

        def _generate_examples(self, which):
            for i in range(3):
                paths = [str(tmp_path / f"{side}.png") for side in ("left", "right")]
                yield i, {"pair": dict(zip(("left", "right"), paths, strict=True)), "number": i}

    for side, level in (("left", 0.2), ("right", 0.8)):
        images.write(tmp_path / f"{side}.png", np.full((6, 7), level))
    options = tensorflow_datasets.download.DownloadConfig(try_download_gcs=False)
    Nested(data_dir=tmp_path, file_format="parquet").download_and_prepare(download_config=options)
    source = data.tfds("nested", data_dir=tmp_path)
    assert source.names == tuple(f"{s}/{i:07d}" for s in ("train", "test") for i in range(3))
    right = data.tfds("nested", data_dir=tmp_path, feature="pair/right", split="test")
    np.testing.assert_allclose([source[0], right[2]], [np.full((6, 7), v) for v in (0.2, 0.8)])
    # The same image at other places.
    assert len(set(data.file_hashes(source))) == 6


@pytest.mark.parametrize("name", ["caltech101", "voc/2007", "mnist"])
def test_official_data_sets(name):
    with tensorflow_datasets.testing.mock_data(num_examples=3):
        source = data.tfds(name, split="test")
        assert source.names == ("test/0000000", "test/0000001", "test/0000002")
        for image in source:
            assert image.ndim == 2 and image.dtype == np.float32 and image.size
            assert 0 <= image.min() < image.max() <= 1
        assert len(set(data.file_hashes(source))) == 3
        assert len(data.source(f"tfds:{name}")) == 3

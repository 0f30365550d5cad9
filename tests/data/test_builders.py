"""Each data set from a tiny imitation of what its authors hand out."""

import io
import sys
import tarfile

import numpy as np
import pytest
import tensorflow_datasets
from scipy.io import savemat

from blurjax import data, images
from blurjax.data._without_tensorflow import without_tensorflow
from blurjax.images import ImageError

SHAPE = (12, 10)


@pytest.fixture(autouse=True)
def _never_tensorflow():
    yield
    assert "tensorflow" not in sys.modules


def picture(path, level=0.5, colour=True):
    """A photograph that is told by its gray."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((*SHAPE, 3) if colour else SHAPE, float(level))
    if path.suffix == ".gif":
        from PIL import Image

        Image.fromarray(np.rint(255 * pixels).astype(np.uint8)).save(path)
    else:
        images.write(path, pixels)
    return path


def prepared(name, root, out):
    """All records of a data set, decoded by TFDS itself, and the source."""
    folder = data.build(name, root, data_dir=out)
    assert folder.is_relative_to(out) and any(folder.glob("*array_record*"))
    builder = tensorflow_datasets.builder_from_directory(folder)
    records = [one for part in builder.info.splits for one in builder.as_data_source(part)]
    source = data.tfds(name, data_dir=out)
    assert len(source) == len(records)
    assert [n.partition("/")[2] for n in source.names] == [r["name"].decode() for r in records]
    return records, source


def levels(source):
    return [round(float(image.mean()), 2) for image in source]


def test_there_is_a_builder_for_each_name():
    from blurjax.data import _builders

    assert set(_builders.CLASSES) == set(data.BUILDERS)
    # A name of ours never hides one of TFDS's.
    assert not set(data.BUILDERS) & set(
        tensorflow_datasets.list_builders(with_community_datasets=False)
    )


def test_folder(tmp_path, capfd):
    picture(tmp_path / "in" / "b.png", 0.2)
    picture(tmp_path / "in" / "a" / "c.jpg", 0.6)
    (tmp_path / "in" / "bad.png").write_bytes(b"nonsense")
    (tmp_path / "in" / "empty.tif").write_bytes(b"")
    (tmp_path / "in" / "notes.txt").write_text("no image")
    _, source = prepared("folder", tmp_path / "in", tmp_path / "out")
    out, err = capfd.readouterr()
    assert out == "" and err.count("\n") == 1
    assert "2 of 4 images: bad.png, empty.tif" in err
    assert source.names == ("train/a/c.jpg", "train/b.png")
    assert levels(source) == [0.6, 0.2]
    # Nothing is done twice, and nothing of another folder is taken for it.
    folder = tmp_path / "out" / "folder" / "1.0.0"
    times = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert data.build("folder", tmp_path / "in", data_dir=tmp_path / "out") == folder
    picture(tmp_path / "in" / "d.png")
    with pytest.raises(ValueError, match=r"other files .* remove that folder, or write folder/NA"):
        data.build("folder", tmp_path / "in", data_dir=tmp_path / "out")
    assert times == {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    mine = data.build("folder/mine", tmp_path / "in", data_dir=tmp_path / "out")
    assert mine == tmp_path / "out" / "folder" / "mine" / "1.0.0"
    again = data.source(f"tfds:folder/mine?data_dir={tmp_path / 'out'}")
    assert again.names == ("train/a/c.jpg", "train/b.png", "train/d.png")
    assert data.file_hashes(again)[0] != data.file_hashes(source)[0]


def test_bsds500(tmp_path):
    root = tmp_path / "in" / "BSR" / "BSDS500" / "data"
    rng = np.random.default_rng(0)
    people = rng.integers(1, 400, (2, *SHAPE)).astype(np.uint16)
    for i, (part, name) in enumerate(
        [("test", "5"), ("train", "20"), ("train", "10"), ("val", "7")]
    ):
        picture(root / "images" / part / f"{name}.jpg", 0.2 * (i + 1))
        if name == "10":
            continue
        cells = np.empty((1, len(people)), object)
        for j, labels in enumerate(people):
            cells[0, j] = {"Segmentation": labels, "Boundaries": labels > 200}
        (root / "groundTruth" / part).mkdir(parents=True, exist_ok=True)
        savemat(root / "groundTruth" / part / f"{name}.mat", {"groundTruth": cells})
    (root / "images" / "train" / "Thumbs.db").write_bytes(b"")
    records, source = prepared("bsds500", tmp_path / "in", tmp_path / "out")
    assert source.names == ("train/10.jpg", "train/20.jpg", "validation/7.jpg", "test/5.jpg")
    assert levels(source) == [0.6, 0.4, 0.8, 0.2]
    assert records[0]["segmentations"].shape == (0, 0, 0)
    for record in records[1:]:
        np.testing.assert_array_equal(record["segmentations"], people)
    train = data.tfds("bsds500", split="train", data_dir=tmp_path / "out")
    assert train.names == source.names[:2]
    (root / "groundTruth" / "test" / "5.mat").write_bytes(b"MATLAB no more")
    with pytest.raises(ImageError, match=r"5\.mat: damaged, or no \.mat file"):
        data.build("bsds500", tmp_path / "in", data_dir=tmp_path / "other")


def test_brodatz(tmp_path):
    for name, level in (("D1.gif", 0.1), ("D112.png", 0.2), ("sub/d013.tif", 0.3), ("D2.gif", 0.4)):
        picture(tmp_path / "in" / name, level, colour=False)
    picture(tmp_path / "in" / "sub" / "D1.png", 0.9)
    picture(tmp_path / "in" / "overview.png", 0.9)
    records, source = prepared("brodatz", tmp_path / "in", tmp_path / "out")
    assert [record["number"] for record in records] == [1, 2, 13, 112]
    assert source.names == ("train/D1", "train/D2", "train/D13", "train/D112")
    assert levels(source) == [0.1, 0.4, 0.3, 0.2]


def test_cuhk(tmp_path):
    root = tmp_path / "in" / "BlurDetection"
    for i, name in enumerate(["motion0002", "out_of_focus0001"]):
        picture(root / "image" / f"{name}.jpg", 0.3 * (i + 1))
        mask = np.zeros(SHAPE)
        mask[:, : i + 3] = 1
        (root / "gt").mkdir(exist_ok=True)
        images.write(root / "gt" / f"{name}.png", mask)
    records, source = prepared("cuhk", tmp_path / "in", tmp_path / "out")
    assert source.names == ("train/motion0002.jpg", "train/out_of_focus0001.jpg")
    assert levels(source) == [0.3, 0.6]
    assert [record["kind"] for record in records] == [0, 1]
    for i, record in enumerate(records):
        assert record["mask"].shape == (*SHAPE, 1)
        assert (record["mask"] == 255).sum() == SHAPE[0] * (i + 3)
    images.write(root / "gt" / "motion0002.png", np.zeros((3, 4)))
    with pytest.raises(ImageError, match=r"motion0002\.png: the mask has shape \(3, 4\)"):
        data.build("cuhk", root, data_dir=tmp_path / "other")
    (root / "gt" / "motion0002.png").unlink()
    with pytest.raises(ImageError, match=r"motion0002\.jpg: .*no gt/motion0002\.png below"):
        data.build("cuhk", root, data_dir=tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_mirflickr(tmp_path, capfd):
    for n, level in ((1, 0.1), (10, 0.5), (2, 0.3)):
        picture(tmp_path / "in" / "mirflickr" / f"im{n}.jpg", level)
    (tmp_path / "in" / "mirflickr" / "im3.jpg").write_bytes(b"nonsense")
    picture(tmp_path / "in" / "mirflickr" / "meta" / "tags.jpg", 0.9)
    _, source = prepared("mirflickr25k", tmp_path / "in", tmp_path / "out")
    assert source.names == ("train/im1.jpg", "train/im2.jpg", "train/im10.jpg")
    assert levels(source) == [0.1, 0.3, 0.5]
    assert "1 of 4 images: im3.jpg" in capfd.readouterr().err


def test_levin2009(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "in" / "LevinEtalCVPR09Data").mkdir(parents=True)
    contents = {}
    for name in ("im05_flit01", "im05_flit02", "im06_flit01"):
        values = {"x": rng.random((9, 8)), "y": rng.random((9, 8)) - 0.01, "f": rng.random((4, 3))}
        savemat(tmp_path / "in" / "LevinEtalCVPR09Data" / f"{name}.mat", values)
        contents[name] = values
    records, source = prepared("levin2009", tmp_path / "in", tmp_path / "out")
    assert source.names == ("test/im05-01", "test/im05-02", "test/im06-01")
    for i, (values, record) in enumerate(zip(contents.values(), records, strict=True)):
        np.testing.assert_array_equal(record["sharp"], values["x"].astype(np.float32))
        np.testing.assert_array_equal(record["blurred"], values["y"].astype(np.float32))
        assert record["psf"].shape == (5, 5) and abs(record["psf"].sum() - 1) < 1e-6
        np.testing.assert_allclose(source[i], values["x"], atol=0.51 / 255)
    # One photograph's kernels stay together.
    parts = [set(p.names) for p in data.split(source, (0.5, 0.5), seed=1)]
    assert any({"test/im05-01", "test/im05-02"} <= part for part in parts)


@pytest.mark.parametrize("layout", ["names", "folders", "one", "mat", "cells"])
def test_koehler2012(tmp_path, layout):
    for image, kernel in ((1, 1), (1, 12), (2, 1)):
        level = 0.1 * image + 0.01 * kernel
        root = tmp_path / "in"
        picture(root / "BlurryImages" / f"Blurry{image}_{kernel}.png", 1 - level)
        frames = [level - 0.05, level, level + 0.05]
        if layout == "one":
            picture(root / "GroundTruth" / f"GroundTruth{image}.png", 0.1 * image)
        elif layout == "mat":
            stack = np.stack([np.full((*SHAPE, 3), f) for f in frames], axis=-1)
            path = root / f"GroundTruth{image}_{kernel}.mat"
            savemat(path, {"truth": np.rint(255 * stack).astype(np.uint8), "n": 3})
        elif layout == "cells":
            cells = np.empty(3, object)
            for i, f in enumerate(frames):
                cells[i] = np.full(SHAPE, 255 * f)
            savemat(root / f"GroundTruth{image}_{kernel}.mat", {"truth": cells})
        else:
            for frame, f in zip((9, 10, 100), frames, strict=True):
                name = f"GroundTruth{image}_{kernel}_{frame}.png"
                if layout == "folders":
                    name = f"GroundTruth/Image{image}/Kernel{kernel}/{frame}.png"
                picture(root / name, f)
    records, source = prepared("koehler2012", tmp_path / "in", tmp_path / "out")
    assert source.names == ("test/1-1", "test/1-12", "test/2-1")
    assert [(r["number"], r["kernel"]) for r in records] == [(1, 1), (1, 12), (2, 1)]
    expected = [0.1, 0.1, 0.2] if layout == "one" else [0.11, 0.22, 0.21]
    assert levels(source) == expected
    blurred = data.tfds("koehler2012", feature="blurred", data_dir=tmp_path / "out")
    assert levels(blurred) == [0.89, 0.78, 0.79]
    (tmp_path / "in" / "BlurryImages" / "Blurry3_1.png").write_bytes(
        (tmp_path / "in" / "BlurryImages" / "Blurry1_1.png").read_bytes()
    )
    with pytest.raises(ImageError, match=r"Blurry3_1\.png: .* no GroundTruth3_1 below"):
        data.build("koehler2012", tmp_path / "in", data_dir=tmp_path / "other")


@pytest.mark.parametrize("kernels", [True, False])
def test_sunhays80(tmp_path, kernels):
    root = tmp_path / "in"
    for i in (1, 10, 2):
        picture(root / "sharp" / f"img_{i}_groundtruth_img.png", 0.05 * i)
        for j in (1, 2):
            picture(root / "blurred" / f"img_{i}_kernel_{j}_img.png", 0.05 * i + 0.1 * j)
    if kernels:
        (root / "kernels").mkdir()
        images.write(root / "kernels" / "kernel_1.png", np.ones((3, 3)))
        savemat(root / "kernels" / "kernel_2.mat", {"kernel": np.ones((5, 5))})
    records, source = prepared("sunhays80", root, tmp_path / "out")
    assert source.names == ("test/01", "test/02", "test/10")
    assert levels(source) == [0.05, 0.1, 0.5]
    for record in records:
        assert list(record["kernels"]) == [1, 2] and len(record["blurred"]) == 2
        steps = [(b.mean() - record["image"].mean()) / 255 for b in record["blurred"]]
        np.testing.assert_allclose(steps, [0.1, 0.2], atol=0.01)
        if kernels:
            expected = np.zeros((2, 5, 5))
            expected[0, 1:4, 1:4], expected[1] = 1 / 9, 1 / 25
            np.testing.assert_allclose(record["psf"], expected, atol=1e-6)
        else:
            assert record["psf"].shape == (0, 0, 0)
    if kernels:
        (root / "kernels" / "kernel_1.png").unlink()
        with pytest.raises(ImageError, match=r"no kernel_1\.png .* unpack all of them, or none"):
            data.build("sunhays80", root, data_dir=tmp_path / "other")
        (root / "kernels" / "kernel_2.mat").unlink()
    (root / "blurred" / "img_2_kernel_1_img.png").unlink()
    (root / "blurred" / "img_2_kernel_2_img.png").unlink()
    with pytest.raises(ImageError, match=r"img_2_groundtruth_img\.png: .*no img_2_kernel_1"):
        data.build("sunhays80", root, data_dir=tmp_path / "third")


@pytest.mark.parametrize("name", [name for name in data.BUILDERS if name != "folder"])
def test_a_folder_without_the_files_of_a_data_set(tmp_path, name):
    picture(tmp_path / "in" / "photograph.webp.png")
    with pytest.raises(ImageError, match=rf"no file of {name}, such as .* below this folder"):
        data.build(name, tmp_path / "in", data_dir=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_names_and_folders_that_are_none(tmp_path):
    picture(tmp_path / "in" / "a.png")
    for name in ("bsds500/mine", "folder:1.0.0", "folder/a b", "folder/a/b"):
        with pytest.raises(ValueError, match=r"without a version, .* folder/NAME"):
            data.build(name, tmp_path / "in", data_dir=tmp_path / "out")
    with pytest.raises(ValueError, match=r"choose one of folder, bsds500"):
        data.build("voc/2007", tmp_path / "in", data_dir=tmp_path / "out")
    with pytest.raises(ImageError, match="no such folder; unpack the files of brodatz"):
        data.build("brodatz", tmp_path / "nowhere", data_dir=tmp_path / "out")
    (tmp_path / "in" / "a.png").write_bytes(b"")
    with pytest.raises(ImageError, match="none of its 1 images can be read"):
        data.build("folder", tmp_path / "in", data_dir=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_interrupted_it_leaves_nothing(tmp_path, monkeypatch, error):
    from blurjax.data import _builders

    for n in (1, 2, 3):
        picture(tmp_path / "in" / f"{n}.png")
    plain = _builders._plain

    def fail(path):
        if path.name == "3.png":
            raise error
        return plain(path)

    monkeypatch.setattr(_builders, "_plain", fail)
    (tmp_path / "out").mkdir()
    with pytest.raises(error):
        data.build("folder/mine", tmp_path / "in", data_dir=tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_more_than_fits_into_memory_is_sorted_on_disk_in_the_order_of_the_files(
    tmp_path, monkeypatch
):
    from tensorflow_datasets.core import shuffle

    for n in range(1, 9):
        picture(tmp_path / "in" / f"im{n}.jpg", 0.1 * n)
    monkeypatch.setattr(shuffle, "MAX_MEM_BUFFER_SIZE", 1000)
    opened = []
    monkeypatch.setattr(
        shuffle._Bucket, "del_file", lambda bucket: opened.append(len(bucket)), raising=True
    )
    _, source = prepared("mirflickr25k", tmp_path / "in", tmp_path / "out")
    assert levels(source) == [round(0.1 * n, 2) for n in range(1, 9)]
    assert max(opened) == 1 and sum(opened) == 8


VOC = """<annotation><size><width>10</width><height>12</height></size><object><name>dog</name>
<pose>Left</pose><truncated>0</truncated><difficult>0</difficult><bndbox><xmin>1</xmin>
<ymin>1</ymin><xmax>5</xmax><ymax>5</ymax></bndbox></object></annotation>"""


def archive(path, parts, level):
    """What VOC hands out, with a photograph in each part."""
    base = "VOCdevkit/VOC2007"
    files = {}
    for i, part in enumerate(parts):
        files[f"{base}/ImageSets/Main/{part}.txt"] = f"00000{i}\n".encode()
        photograph = picture(path.parent / "scratch.jpg", level + 0.2 * i)
        files[f"{base}/JPEGImages/00000{i}.jpg"] = photograph.read_bytes()
        files[f"{base}/Annotations/00000{i}.xml"] = VOC.encode()
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture
def voc(tmp_path, monkeypatch):
    """The network gives tiny archives of VOC 2007; the rest is TFDS's own code."""
    paths = {
        "trainval": archive(tmp_path / "trainval.tar", ("train", "val"), 0.2),
        "test": archive(tmp_path / "test.tar", ("test",), 0.7),
    }
    monkeypatch.setattr(
        tensorflow_datasets.download.DownloadManager,
        "download_and_extract",
        lambda manager, urls: manager.extract({key: paths[key] for key in urls}),
    )
    return tmp_path / "data_dir"


def test_official_data_sets_are_prepared_without_tensorflow(voc, capfd):
    folder = data.download("voc/2007", data_dir=voc)
    assert folder == voc / "voc" / "2007" / "5.0.0" and capfd.readouterr().out == ""
    source = data.tfds("voc/2007", data_dir=voc)
    assert sorted(source.names) == ["test/0000000", "train/0000000", "validation/0000000"]
    assert sorted(levels(source)) == [0.2, 0.4, 0.7]
    assert data.download("voc/2007:5.0.0", data_dir=voc) == folder
    assert data.source(f"tfds:voc/2007:5.0.0?split=test&data_dir={voc}").names == ("test/0000000",)


def test_what_keeps_tfds_from_preparing_is_said_in_a_sentence(voc, monkeypatch):
    with pytest.raises(ImageError, match="knows no such data set"):
        data.download("nonsense", data_dir=voc)
    with pytest.raises(ImageError, match="write one of voc/2007, voc/2012"):
        data.download("voc/1999", data_dir=voc)
    manager = tensorflow_datasets.download.DownloadManager

    def offline(self, urls):
        raise OSError("no route to host")

    monkeypatch.setattr(manager, "download_and_extract", offline)
    with pytest.raises(ImageError, match=r"could not prepare it \(OSError: no route to host\)"):
        data.download("voc/2007", data_dir=voc)

    def needy(self, urls):
        from tensorflow_datasets.core.utils.lazy_imports_utils import tensorflow

        return tensorflow.image.decode_jpeg(b"")

    monkeypatch.setattr(manager, "download_and_extract", needy)
    with pytest.raises(ImageError, match=r"without the package tensorflow .*TensorFlow's image"):
        data.download("voc/2007", data_dir=voc)
    assert not (voc / "voc" / "2007" / "5.0.0").exists()
    place = voc / "voc" / "2007" / "5.0.0"
    place.mkdir(parents=True)
    (place / "voc-test.tfrecord-00000-of-00001").write_bytes(b"")
    with pytest.raises(ImageError, match=r"as tfrecord, .* remove that folder"):
        data.download("voc/2007", data_dir=voc)


def test_the_stand_in_for_tensorflows_files(tmp_path):
    from tensorflow_datasets.core.utils.lazy_imports_utils import tensorflow

    with without_tensorflow():
        gfile = tensorflow.io.gfile
        gfile.makedirs(tmp_path / "a" / "b")
        with gfile.GFile(tmp_path / "a" / "one.txt", "w") as file:
            file.write("first\n")
            file.write("second")
        gfile.copy(tmp_path / "a" / "one.txt", tmp_path / "a" / "b" / "two.txt")
        with gfile.GFile(tmp_path / "a" / "b" / "two.txt") as file:
            assert list(file) == ["first\n", "second"]
        assert gfile.listdir(tmp_path / "a") == ["b", "one.txt"]
        assert gfile.glob(str(tmp_path / "a" / "*.txt")) == [str(tmp_path / "a" / "one.txt")]
        assert [files for _, _, files in gfile.walk(tmp_path / "a")] == [["one.txt"], ["two.txt"]]
        gfile.remove(tmp_path / "a" / "one.txt")
        assert not gfile.exists(tmp_path / "a" / "one.txt") and gfile.isdir(tmp_path / "a")
        assert tensorflow.compat.as_text(b"text") == "text"
        with pytest.raises(tensorflow.errors.UnimplementedError):
            gfile.copy("ftp://somewhere/file", tmp_path / "file")
        with pytest.raises(ModuleNotFoundError, match="TensorFlow's data"):
            tensorflow.data.Dataset  # noqa: B018
    with pytest.raises(ModuleNotFoundError):
        tensorflow.io  # noqa: B018

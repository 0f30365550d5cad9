"""What runs on the host: files, data, weights, fits, and the applications above the systems."""

import dataclasses
import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import blurjax
from blurjax import data, images, imaging, psf, weights
from tests.properties.common import (
    KINDS,
    SEEDS,
    close,
    finite,
    magnitudes,
    picture,
    refused,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("properties")


@given(
    kind=st.sampled_from(KINDS),
    seed=SEEDS,
    shape=st.sampled_from([(1, 1), (5, 9), (4, 3, 3), (1, 7, 3)]),
    form=st.sampled_from(["png", "tif", "jpg"]),
    bits=st.sampled_from([8, 16]),
    dtype=st.sampled_from(["float64", "float32", "float16"]),
)
def test_what_is_written_is_read(folder, kind, seed, shape, form, bits, dtype):
    image = picture(kind, shape[:2], seed)
    image = np.stack([image] * 3, -1) if len(shape) == 3 else image
    image = image.astype(dtype)
    file = folder / f"a.{form}"
    if form == "jpg" and bits == 16:
        refused(images.write, file, image, bits=bits)
        return
    images.write(file, image, bits=bits)
    images.check_writable(file)
    found = images.read(file)
    assert found.shape == shape and found.dtype == np.float32
    assert np.all((found >= 0) & (found <= 1))
    assert images.depth(file) == bits and images.paths(file) == [file]
    if form != "jpg":
        levels = 2**bits - 1
        assert np.max(np.abs(found - image.astype(np.float64))) <= 0.5 / levels + 1e-3 * (bits == 8)
        images.write(file, found, bits=bits)
        np.testing.assert_array_equal(images.read(file), found)
    dark = images.read(file, linear=True)
    assert np.all(dark <= found + 1e-6) and np.all(dark >= 0)
    luma = images.gray(found)
    assert luma.shape == shape[:2]
    np.testing.assert_allclose(images.as_gray(found), luma, atol=1e-6)
    assert images.as_gray(found).dtype == np.float32
    assert sorted(p.name for p in folder.iterdir() if p.name.endswith(".part")) == []


@given(value=st.sampled_from([np.nan, np.inf, -np.inf]), seed=SEEDS)
def test_what_is_no_image_is_not_written(folder, value, seed):
    image = picture("noise", (4, 5), seed)
    refused(images.write, folder / "b.png", np.where(image < 0.5, value, image))
    refused(images.write, folder / "b.png", np.zeros((0, 3)))
    refused(images.write, folder / "b.png", np.zeros((4, 5, 2)))
    refused(images.write, folder / "b.png", (255 * image).astype(np.uint8))
    refused(images.write, folder / "b.xyz", image)
    refused(images.check_writable, folder / "b.xyz")
    refused(images.write, folder / "nowhere" / "b.png", image)
    refused(images.gray, np.zeros((2, 4)[:1]))
    for f in (images.read, images.depth, images.paths, images.read_psf):
        refused(f, folder / "missing.png")
    assert not (folder / "b.png").exists()


@given(
    seed=SEEDS,
    size=st.sampled_from([1, 3, 8]),
    scale=st.sampled_from([1e-30, 1.0, 1e30]),
    form=st.sampled_from(["npy", "mat", "png"]),
)
def test_kernels_in_files(folder, seed, size, scale, form):
    kernel = np.random.default_rng(seed).random((size, size)) ** 6 + 1e-9
    file = folder / f"k.{form}"
    if size % 2 == 0:
        refused(images.write_psf, file, kernel)
        np.save(folder / "k.npy", kernel)
        found = images.read_psf(folder / "k.npy")
        assert found.shape == (size + 1, size + 1)
        np.testing.assert_allclose(found.sum(), 1, atol=1e-9)
        return
    if scale * kernel.sum() < 1e-35:
        return
    images.write_psf(file, scale * kernel)
    found = images.read_psf(file)
    assert found.shape == (size, size) and np.all(found >= 0)
    np.testing.assert_allclose(found.sum(), 1, atol=1e-6)
    np.testing.assert_allclose(found, kernel / kernel.sum(), atol=1e-3)
    for wrong in (0 * kernel, -kernel, kernel * np.nan):
        refused(images.write_psf, file, wrong)


class InMemory:
    """A source of photographs that are in memory."""

    def __init__(self, photographs):
        self.photographs = photographs

    @property
    def names(self):
        return tuple(f"{i}.png" for i in range(len(self.photographs)))

    def __len__(self):
        return len(self.photographs)

    def __getitem__(self, index):
        return self.photographs[index]


def source_of(seed, count=5):
    rng = np.random.default_rng(seed)
    return InMemory(
        [
            picture(
                "noise",
                (int(rng.integers(40, 60)), int(rng.integers(40, 60))),
                seed + i,
                np.float32,
            )
            for i in range(count)
        ]
    )


@given(seed=SEEDS, part=st.floats(0, 1), size=st.sampled_from([1, 16, 40]))
def test_sources(seed, part, size):
    source = source_of(seed)
    first, second = data.split(source, (part, 1 - part), seed=seed)
    assert len(first) + len(second) == 5 and not set(first.names) & set(second.names)
    again = data.split(source, (part, 1 - part), seed=seed)
    assert [s.names for s in again] == [first.names, second.names]
    both = data.concatenate(first, second)
    assert sorted(both.names) == sorted(source.names)
    for i, name in enumerate(both.names):
        np.testing.assert_array_equal(both[i], source[source.names.index(name)])
    some = data.subset(source, [4, -1, 0])
    assert some.names == ("4.png", "4.png", "0.png")
    refused(data.subset, source, [5], error=IndexError)
    refused(data.split, source, (0.5, 0.6))
    refused(data.split, source, (-0.5, 1.5))
    found = data.tiles(source, size=size, per_image=2, seed=seed)
    assert isinstance(found, data.Tiles)
    assert found.images.dtype == np.uint8 and found.images.shape[1:] == (size, size)
    counts = np.bincount(found.index, minlength=5)
    assert np.all(counts <= 2)
    framed = data.frames(source, shape=(48, 64), least=16, seed=seed)
    assert isinstance(framed, data.Frames) and framed.images.shape[1:] == (48, 64)
    assert np.all((framed.inside >= 16) & (framed.inside <= [48, 64]))
    cut = data.scenes(source, size=48, seed=seed)
    assert isinstance(cut, data.Scenes)
    assert cut.images.shape == cut.segments.shape and cut.segments.max() < 64
    refused(data.tiles, source, size=0)
    refused(data.tiles, source, size=999)
    refused(data.tiles, source, size=16, per_image=0)
    refused(data.frames, source, shape=(8, 64), least=16)
    refused(data.scenes, source, size=31)


def test_folders_pairs_and_what_is_installed(folder):
    root = folder / "photographs"
    root.mkdir()
    for i in range(3):
        images.write(root / f"{i}.png", picture("steps", (9, 8), i))
    source = data.folder(root)
    assert (
        source.names == ("0.png", "1.png", "2.png") and data.source(str(root)).names == source.names
    )
    np.testing.assert_allclose(source[1], picture("steps", (9, 8), 1), atol=1 / 255)
    expected = [hashlib.sha256((root / n).read_bytes()).hexdigest() for n in source.names]
    assert data.file_hashes(source) == expected or list(data.file_hashes(source)) == expected
    assert data.folder(root, skip=("1.png",)).names == ("0.png", "2.png")
    refused(data.folder, root, skip=("9.png",))
    refused(data.folder, folder / "nowhere")
    refused(data.file_hashes, source_of(1))
    both = data.pairs(root, root)
    assert isinstance(both, data.Pairs) and len(both) == 3 and isinstance(both[0], data.Pair)
    refused(data.pairs, root, folder / "nowhere")
    refused(data.levin, root)
    parts = [data.embedded(part).names for part in ("train", "validation", "test")]
    assert data.embedded("all").names == tuple(n for part in parts for n in part)
    assert data.embedded_path(parts[0][0]).is_file()
    refused(data.embedded_path, "nothing.png")
    refused(data.tfds, "no_such_data_set_at_all", data_dir=str(folder))
    refused(data.build, "no_such_builder", folder, data_dir=str(folder))


@pytest.mark.slow
@given(seed=SEEDS, size=st.sampled_from([16, 17]))
def test_images_from_keys(seed, size):
    key = jax.random.key(seed)
    for make in (
        lambda k: data.dead_leaves(k, size=size, count=16),
        lambda k: data.texture(k, size=size),
    ):
        image = make(key)
        assert image.shape == (size, size) and np.all((image >= 0) & (image <= 1))
        assert np.array_equal(image, make(key))
    assert data.dead_leaves(key, size=16, count=8, dtype=jnp.bfloat16).dtype == jnp.bfloat16
    refused(data.dead_leaves, key, size=7)
    refused(data.dead_leaves, key, size=16, count=0)
    refused(data.dead_leaves, key, size=16, min_radius=0.0)
    refused(data.dead_leaves, key, size=16, min_radius=3.0, max_radius=2.0)
    refused(data.texture, key, size=15)


@dataclasses.dataclass(frozen=True)
class Setting:
    width: int = 3
    span: tuple[float, float] = (0.0, 1.0)


VALUES = st.sampled_from([0.0, 1e-8, 6e4, -6e4, 1.0]) | st.floats(-1e3, 1e3)


@given(
    values=st.lists(VALUES, min_size=1, max_size=4),
    width=st.integers(-5, 5),
    place=st.floats(0, 1),
)
def test_weights(folder, values, width, place):
    file = folder / "w.npz"
    tree = {"params": {"a": np.array(values), "b": {"c": np.float32([1, 2])}}}
    setting = Setting(width=width)
    assert weights.save(file, tree, setting, {"note": "none"}) == file
    found, config, record = weights.load(file, Setting)
    assert config == setting and record["note"] == "none"
    assert found["params"]["a"].dtype == np.float32
    np.testing.assert_array_equal(
        found["params"]["a"], np.array(values).astype(np.float16).astype(np.float32)
    )
    assert weights.configuration(Setting, {"width": 7, "span": [0.0, 2.0]}, "here").span == (
        0.0,
        2.0,
    )
    refused(weights.configuration, Setting, {"height": 7}, "here", error=weights.WeightsError)
    refused(
        weights.save,
        file,
        {"params": {"a": np.array([1e9])}},
        setting,
        {},
        error=weights.WeightsError,
    )
    refused(weights.load, folder / "none.npz", Setting, error=weights.WeightsError)
    foreign = folder / "foreign.npz"
    np.savez(foreign, **{"meta.json": np.frombuffer(b"{}", np.uint8)})
    refused(weights.load, foreign, Setting, error=weights.WeightsError)
    content = bytearray(file.read_bytes())
    content[int(place * (len(content) - 1))] ^= 0x55
    file.write_bytes(content)
    # What a changed byte spoils is refused, what it does not spoil is what it was.
    try:
        again, _, _ = weights.load(file, Setting)
    except weights.WeightsError as error:
        assert str(file) in str(error) and "\n" not in str(error)
    else:
        close(again, found, atol=0)
    assert weights.path("blur_type").is_file()


@given(seed=SEEDS, sigma=st.floats(0.6, 2.0))
def test_fits(seed, sigma):
    """The parameter that was used is found again; what cannot be fitted is refused."""
    sharp = jnp.asarray(picture("noise", (24, 25), seed))
    blurred = imaging.blur(sharp, psf.gaussian(sigma, size=11))
    found = blurjax.fit(sharp, blurred, family="gaussian", size=11, starts=3, steps=40)
    assert isinstance(found, blurjax.Fit)
    np.testing.assert_allclose(found.parameters["sigma"], sigma, atol=1e-2)
    assert found.loss >= 0 and found.standard_errors["sigma"] >= 0
    for wrong in (jnp.zeros((24, 25)), sharp.at[0, 0].set(jnp.nan)):
        refused(blurjax.fit, wrong, blurred, family="gaussian", size=11)
        refused(blurjax.fit_blind, wrong, family="gaussian", size=11)
    refused(blurjax.fit, sharp, blurred[1:], family="gaussian", size=11)
    refused(blurjax.fit, sharp, blurred, family="round", size=11)
    refused(blurjax.fit, sharp, blurred, family="gaussian", size=10)
    refused(blurjax.fit, sharp, blurred, family="gaussian", size=99)
    refused(blurjax.fit_blind, blurred, family="round", size=11)
    refused(blurjax.fit_blind, blurred[:3, :3], family="gaussian", size=11)
    refused(blurjax.fit, sharp.astype(int), blurred, family="gaussian", size=11, error=TypeError)


@given(kind=st.sampled_from(KINDS), seed=SEEDS, channels=st.booleans(), weight=magnitudes(0.1))
def test_deblurring_with_a_kernel(kind, seed, channels, weight):
    image = picture(kind, (24, 25), seed, np.float32)
    image = np.stack([image] * 3, -1) if channels else image
    kernel = np.asarray(psf.gaussian(0.7, size=5))
    found = blurjax.deblur(image, psf=kernel, weight=weight + 1e-4)
    assert isinstance(found, blurjax.Deblurred) and finite(found.image)
    assert found.image.shape == image.shape and found.image.dtype == np.float32
    assert np.all((found.image >= 0) & (found.image <= 1))
    assert found.size == 5 and found.kernel.shape == (5, 5)
    for wrong in (
        {"size": 4}, {"psf": np.ones((4, 4))}, {"psf": np.ones((99, 99))}, {"size": 99},
        {"size": 3, "psf": np.ones((3, 3)) / 9}, {"solver": "guess"}, {"region": (0, 0, 99, 99)},
    ):  # fmt: skip
        refused(blurjax.deblur, image, **wrong)


@given(kind=st.sampled_from(KINDS), height=st.integers(1, 63), width=st.integers(1, 63))
def test_analyses_of_small_images_say_why(kind, height, width):
    """Below the least size of all systems nothing is compiled, and each says why."""
    if min(height, width) >= 32:
        height = 31
    found = blurjax.analyze(picture(kind, (height, width)))
    for row in found:
        assert row.status != "ok" and 10 < len(row.status) < 200

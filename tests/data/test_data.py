"""Sources, splits, tiles and dead leaves."""

import hashlib
import pickle
import re
import shutil
import socket

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from blurjax import data, images
from blurjax.images import ImageError

PARTS = ("train", "validation", "test")


class Arrays:
    """The smallest source there is: nothing of ours."""

    def __init__(self, arrays, names=None):
        self.arrays = arrays
        self.names = tuple(names or (f"{i}.png" for i in range(len(arrays))))

    def __len__(self):
        return len(self.arrays)

    def __getitem__(self, index, /):
        return self.arrays[index]


def named(names):
    return Arrays([np.zeros((4, 4), np.float32)] * len(names), names)


@pytest.fixture
def photographs(tmp_path):
    """Four files below a folder, the value of each its place in the order."""
    for i, name in enumerate(["a.png", "b-1.PNG", "sub/b-1.png", "sub/c.tif"]):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        images.write(tmp_path / name, np.full((8, 6), i / 10))
    return tmp_path


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_embedded_files_are_installed_and_open_without_network(no_network):
    source = data.embedded()
    assert isinstance(source, data.Source)
    assert len(source) == len(source.names) == 10
    for i, name in enumerate(source.names):
        image = source[i]
        assert image.dtype == np.float32 and image.ndim == 2, name
        assert min(image.shape) >= 128, name
        assert image.min() >= 0 and image.max() <= 1 and image.std() > 0.05, name


def test_embedded_parts_are_disjoint_and_make_up_the_whole():
    parts = [data.embedded(part).names for part in PARTS]
    assert sum(parts, ()) == data.embedded().names
    assert len(set(sum(parts, ()))) == 10
    assert data.embedded("test").names == ("coffee.png", "motorcycle_left.png")


def test_embedded_refuses_other_parts():
    # TypeError where the tests' checking of types comes first.
    with pytest.raises((ValueError, TypeError), match="tset"):
        data.embedded("tset")


def test_embedded_images_are_sharp_at_the_pixel():
    # Reblurring a sharp image takes much of its finest detail; a soft one has little to lose.
    from scipy.ndimage import gaussian_filter

    def detail(image):
        windows = image[: image.shape[0] // 32 * 32, : image.shape[1] // 32 * 32]
        windows = np.abs(windows - gaussian_filter(windows, 1))
        blocks = windows.reshape(windows.shape[0] // 32, 32, -1, 32).mean(axis=(1, 3))
        return np.quantile(blocks, 0.9)

    source = data.embedded()
    softest = min(detail(source[i]) for i in range(len(source)))
    clock = images.read(data.embedded_path("clock_motion.png"))
    assert softest > 2 * detail(clock)


def test_embedded_path():
    assert data.embedded_path("clock_motion.png").is_file()
    with pytest.raises(ValueError, match="nothing-here"):
        data.embedded_path("nothing-here.png")


def test_folder(photographs):
    source = data.folder(photographs)
    assert isinstance(source, data.Source)
    assert source.names == ("a.png", "b-1.PNG", "sub/b-1.png", "sub/c.tif")
    for i in range(4):
        np.testing.assert_allclose(source[i], i / 10, atol=0.5 / 255 + 1e-6)
    assert data.folder(photographs / "a.png").names == ("a.png",)


def test_folder_reads_colour_as_gray(tmp_path):
    colour = np.zeros((4, 5, 3))
    colour[..., 1] = 1
    images.write(tmp_path / "green.png", colour)
    image = data.folder(tmp_path)[0]
    np.testing.assert_allclose(image, 0.587, atol=1e-6)
    assert image.shape == (4, 5) and image.dtype == np.float32


def test_folder_skip(photographs):
    assert data.folder(photographs, skip=["sub/b-1.png", "a.png"]).names == ("b-1.PNG", "sub/c.tif")
    assert data.folder(photographs, skip=["c.tif"]).names == ("a.png", "b-1.PNG", "sub/b-1.png")
    with pytest.raises(ValueError, match=r"typo\.png"):
        data.folder(photographs, skip=["typo.png"])
    with pytest.raises(ValueError, match="several"):
        data.folder(photographs, skip="a.png")
    with pytest.raises(ImageError, match="skipped"):
        data.folder(photographs / "a.png", skip=["a.png"])


def test_unreadable_file_is_named_only_when_asked_for(photographs):
    (photographs / "bad.png").write_bytes(b"nonsense")
    source = data.folder(photographs)
    i = source.names.index("bad.png")
    assert source[i - 1].shape == (8, 6)
    with pytest.raises(ImageError, match=r"bad\.png"):
        source[i]
    with pytest.raises(ImageError, match=r"bad\.png"):
        data.tiles(source, 4)


def test_file_hashes(photographs):
    whole = data.folder(photographs)
    expected = [hashlib.sha256((photographs / n).read_bytes()).hexdigest() for n in whole.names]
    assert list(data.file_hashes(whole)) == expected
    assert list(data.file_hashes(data.subset(whole, [3, 0]))) == [expected[3], expected[0]]
    with pytest.raises(ValueError, match=r"x\.png"):
        data.file_hashes(data.concatenate(whole, named(["x.png"])))


def test_concatenate_and_subset_keep_order_and_take_any_source(photographs):
    whole = data.concatenate(data.folder(photographs), Arrays([np.ones((3, 3), np.float32)]))
    assert whole.names[3:] == ("sub/c.tif", "0.png")
    picked = data.subset(whole, np.array([4, -2, 4]))
    assert picked.names == ("0.png", "sub/c.tif", "0.png")
    np.testing.assert_array_equal(picked[0], np.ones((3, 3)))
    np.testing.assert_allclose(picked[1], 0.3, atol=0.003)
    with pytest.raises(IndexError):
        data.subset(whole, [5])
    with pytest.raises(IndexError):
        whole[5]


def test_sources_can_be_pickled_and_iterated(photographs):
    source = pickle.loads(pickle.dumps(data.concatenate(data.folder(photographs), data.embedded())))
    assert len(source) == 14
    np.testing.assert_allclose(source[1], 0.1, atol=0.003)
    assert [image.shape for image in data.folder(photographs)] == [(8, 6)] * 4


def split_names(source, **options):
    return [set(part.names) for part in data.split(source, **options)]


def test_split_is_a_partition_near_the_fractions():
    names = [f"photo{i}.png" for i in range(2000)]
    parts = split_names(named(names))
    assert sorted(set().union(*parts)) == sorted(names)
    assert sum(map(len, parts)) == len(names)
    # Binomial: four standard deviations of 2000 draws at 0.8 are 0.036.
    np.testing.assert_allclose([len(p) / 2000 for p in parts], [0.8, 0.1, 0.1], atol=0.036)
    assert split_names(named(names), seed=1) != parts


def test_split_is_fixed_for_ever():
    # Frozen: a change here moves photographs of earlier training runs into their test sets.
    names = [f"{i:04d}.png" for i in range(12)]
    parts = data.split(named(names), (0.5, 0.25, 0.25), seed=3)
    assert [tuple(n[2:4] for n in part.names) for part in parts] == FROZEN


FROZEN = [
    ("01", "04", "05", "06"),
    ("00", "02", "03", "07", "09", "11"),
    ("08", "10"),
]


def test_split_keeps_the_crops_of_a_photograph_together():
    names = [f"{i:04d}-{j}.png" for i in range(200) for j in (1, 2, 11)]
    parts = split_names(named(names), fractions=(0.5, 0.5))
    assert all(len(part) > 100 for part in parts)
    for i in range(200):
        sides = {k for j in (1, 2, 11) for k in (0, 1) if f"{i:04d}-{j}.png" in parts[k]}
        assert len(sides) == 1
    # The extension, case and folder are no part of the scene either; the number before is.
    assert len([p for p in split_names(named(["A-1.jpg", "x/a.PNG", "a-22.tif"])) if p]) == 1


def test_split_depends_neither_on_order_nor_on_other_files_nor_on_the_place(tmp_path, photographs):
    names = [f"photo{i}.png" for i in range(300)]
    parts = split_names(named(names))
    assert split_names(named(names[::-1])) == parts
    assert split_names(named(names[::3])) == [part & set(names[::3]) for part in parts]
    moved = tmp_path / "elsewhere" / "deeper"
    shutil.copytree(photographs, moved, ignore=shutil.ignore_patterns("elsewhere"))
    (moved / "new.png").write_bytes((moved / "a.png").read_bytes())
    here = split_names(data.folder(photographs, skip=[]), fractions=(0.5, 0.5), seed=5)
    there = split_names(data.folder(moved), fractions=(0.5, 0.5), seed=5)
    for side in (0, 1):
        assert {n for n in here[side] if "elsewhere" not in n} == there[side] - {"new.png"}


@pytest.mark.parametrize("fractions", [(0.8, 0.1), (1.2, -0.2), ()])
def test_split_refuses_bad_fractions(fractions):
    with pytest.raises(ValueError, match="sum to 1"):
        data.split(named(["a.png"]), fractions)


def test_split_with_everything_in_one_part():
    assert [len(p) for p in data.split(named(["a.png", "b.png"]), (0.0, 1.0, 0.0))] == [0, 2, 0]


def test_tiles_are_centred_and_do_not_overlap():
    # Every pixel differs, so a tile says where it was cut.
    image = (np.arange(11 * 14).reshape(11, 14) / 255).astype(np.float32)
    cut = data.tiles(Arrays([image]), 4)
    assert cut.images.dtype == np.uint8 and cut.index.dtype == np.int32
    assert cut.images.shape == (2 * 3, 4, 4)
    expected = [
        np.arange(11 * 14).reshape(11, 14)[r : r + 4, c : c + 4] for r in (1, 5) for c in (1, 5, 9)
    ]
    np.testing.assert_array_equal(cut.images, expected)


def test_tiles_index_and_skipped():
    small, big = np.zeros((3, 9), np.float32), np.ones((4, 8), np.float32)
    cut = data.tiles(Arrays([big, small, big], ["a", "b", "c"]), 4)
    np.testing.assert_array_equal(cut.index, [0, 0, 2, 2])
    assert cut.skipped == ("b",)
    assert cut.images.shape == (4, 4, 4) and (cut.images == 255).all()
    with pytest.raises(ValueError, match="no tile of 5 x 5"):
        data.tiles(Arrays([big, small]), 5)
    with pytest.raises(ValueError, match="at least 1"):
        data.tiles(Arrays([big]), 0)


def test_tiles_min_std_drops_flat_ones():
    half = np.zeros((4, 8), np.float32)
    half[:, 4::2] = 0.2
    cut = data.tiles(Arrays([half, np.zeros((4, 4), np.float32)]), 4, min_std=0.05)
    assert len(cut.images) == 1 and cut.skipped == ("1.png",)
    np.testing.assert_array_equal(cut.images[0, 0], [51, 0, 51, 0])
    assert len(data.tiles(Arrays([half]), 4, min_std=0.09).images) == 1
    with pytest.raises(ValueError, match="min_std"):
        data.tiles(Arrays([half]), 4, min_std=0.11)


def test_tiles_per_image_is_a_seeded_pick_by_name():
    rng = np.random.default_rng(0)
    arrays = [rng.random((40, 40), np.float32) for _ in range(2)]
    every = data.tiles(Arrays(arrays), 8)
    picked = data.tiles(Arrays(arrays), 8, per_image=3)
    np.testing.assert_array_equal(picked.index, [0, 0, 0, 1, 1, 1])
    known = {tile.tobytes() for tile in every.images}
    assert len({tile.tobytes() for tile in picked.images} & known) == 6
    again = data.tiles(Arrays(arrays[::-1], ["1.png", "0.png"]), 8, per_image=3)
    np.testing.assert_array_equal(again.images[3:], picked.images[:3])
    other = data.tiles(Arrays(arrays), 8, per_image=3, seed=1)
    assert (other.images != picked.images).any()


def test_dead_leaves_range_dtype_and_determinism():
    key = jax.random.key(3)
    image = data.dead_leaves(key, size=64)
    assert image.shape == (64, 64) and image.dtype == jnp.float32
    assert jnp.isfinite(image).all() and image.min() >= 0 and image.max() <= 1
    assert image.std() > 0.03
    np.testing.assert_array_equal(image, data.dead_leaves(key, size=64))
    assert jnp.abs(image - data.dead_leaves(jax.random.key(4), size=64)).mean() > 0.05


def test_dead_leaves_under_jit_and_vmap_are_the_same_images():
    keys = jax.random.split(jax.random.key(5), 3)
    batch = jax.jit(jax.vmap(lambda key: data.dead_leaves(key, size=64)))(keys)
    for key, image in zip(keys, batch, strict=True):
        np.testing.assert_allclose(image, data.dead_leaves(key, size=64), atol=2e-5)


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.bfloat16, jnp.float16])
def test_dead_leaves_other_dtypes(dtype):
    # Traced only, which is where a wrong promotion would raise; compiling takes seconds.
    image = jax.eval_shape(
        lambda key: data.dead_leaves(key, size=16, dtype=dtype), jax.random.key(0)
    )
    assert image.dtype == dtype and image.shape == (16, 16)


def test_dead_leaves_of_float32_compute_nothing_in_float64():
    # So that the images do not depend on `jax_enable_x64`, which the tests switch on.
    def make(key):
        return data.dead_leaves(key, size=16)

    # Arrays only: the bounds of `jax.random.uniform` are float64 scalars until it casts them.
    assert not re.search(r"f64\[\d", str(jax.make_jaxpr(make)(jax.random.key(0))))
    with jax.enable_x64(False):
        assert jax.eval_shape(make, jax.random.key(0)).dtype == jnp.float32


def power_slope(image):
    """Slope of log power over log frequency, 4 cycles an image to half of Nyquist."""
    n = image.shape[0]
    window = np.hanning(n)[:, None] * np.hanning(n)[None]
    frequency = np.hypot(np.fft.fftfreq(n)[:, None], np.fft.fftfreq(n)[None])
    power = np.abs(np.fft.fft2((image - image.mean()) * window)) ** 2
    band = (frequency > 4 / n) & (frequency < 0.25)
    return np.polyfit(np.log(frequency[band]), np.log(power[band] + 1e-12), 1)[0]


def test_dead_leaves_have_the_spectrum_of_photographs():
    # Natural images: power ~ f^-2, individually from about -1.5 to -3.
    keys = jax.random.split(jax.random.key(11), 6)
    slopes = [power_slope(np.asarray(data.dead_leaves(key, size=64))) for key in keys]
    assert -2.8 < np.mean(slopes) < -1.8
    white = power_slope(np.random.default_rng(0).random((64, 64)))
    assert white > -0.5


def test_dead_leaves_have_sharp_edges():
    # The steepest steps between neighbours are nearly half the range of the grays; a blur of
    # even half a pixel takes more than a quarter off.
    from scipy.ndimage import gaussian_filter

    image = np.asarray(data.dead_leaves(jax.random.key(1), size=64))
    steepest = lambda x: np.quantile(np.abs(np.diff(x, axis=1)), 0.99)  # noqa: E731
    assert steepest(image) > 0.42 * (image.max() - image.min())
    assert steepest(gaussian_filter(image, 0.5)) < 0.78 * steepest(image)


def test_dead_leaves_look_the_same_at_the_border_as_in_the_middle():
    keys = jax.random.split(jax.random.key(7), 48)
    batch = np.stack([data.dead_leaves(key, size=64) for key in keys])
    steps = np.abs(np.diff(batch, axis=1)).mean(axis=(0, 1))
    border, middle = np.r_[steps[:6], steps[-6:]].mean(), steps[26:38].mean()
    assert abs(border / middle - 1) < 0.12


def test_one_leaf_covers_its_area():
    # The mean of the coverage over the image is the area of the shape, to the antialiasing.
    from blurjax.data import _dead_leaves as module

    y, x = jnp.arange(-40.0, 41)[:, None], jnp.arange(-40.0, 41)[None, :]
    leaf = module._Leaves(
        *[jnp.zeros(())] * 2,
        half=jnp.array([20.0, 8.0]),
        angle=jnp.array(0.4),
        ellipse=jnp.array(True),
        level=jnp.zeros(()),
        shade=jnp.zeros(2),
        wave=jnp.zeros(2),
        phase=jnp.zeros(()),
        wave_amplitude=jnp.zeros(()),
        noise_amplitude=jnp.zeros(()),
        noise_start=jnp.zeros(3, jnp.int32),
    )
    ellipse = module._coverage(y, x, leaf)
    rectangle = module._coverage(y, x, leaf._replace(ellipse=jnp.array(False)))
    np.testing.assert_allclose(ellipse.sum(), np.pi * 20 * 8, rtol=0.01)
    np.testing.assert_allclose(rectangle.sum(), 4 * 20 * 8, rtol=0.01)
    assert ellipse[40, 40] == 1
    # The long axis lies along `angle`, rows down.
    assert ellipse[40 + 7, 40 + 16] == 1 and ellipse[40 - 7, 40 + 16] == 0


@pytest.mark.parametrize(
    "options",
    [{"size": 4}, {"size": 32, "count": 0}, {"size": 32, "min_radius": 9.0}],
)
def test_dead_leaves_refuse_bad_sizes(options):
    with pytest.raises(ValueError, match="expected size"):
        data.dead_leaves(jax.random.key(0), **options)


def test_textures_are_sharp_varied_and_repeatable():
    keys = jax.random.split(jax.random.key(0), 12)
    drawn = np.asarray(jax.vmap(lambda k: data.texture(k, size=64))(keys))
    assert drawn.shape == (12, 64, 64) and drawn.dtype == np.float32
    assert drawn.min() >= 0 and drawn.max() <= 1 and np.all(np.isfinite(drawn))
    np.testing.assert_allclose(drawn[3], data.texture(keys[3], size=64), atol=1e-5)
    contrast = drawn.std(axis=(1, 2))
    assert contrast.min() > 0.02 and np.ptp(contrast) > 0.05
    # Averaged over the pixel, not blurred: neighbours differ.
    steps = np.abs(np.diff(drawn, axis=2)).mean(axis=(1, 2)) / contrast
    assert np.median(steps) > 0.2
    with pytest.raises(ValueError, match="at least 16"):
        data.texture(keys[0], size=8)

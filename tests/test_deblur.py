"""`blurjax.deblur`: how the kernel is come by, and what is made of it."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import blurjax
from blurjax import (
    _deblur,
    blur_type,
    data,
    deconvolution,
    imaging,
    kernel_size,
    psf,
    region,
)
from blurjax.deconvolution._noise import weight_for_noise
from blurjax.metrics import kernel_similarity


def photograph(rows=100, columns=100):
    return np.array(data.embedded("test")[1][200 : 200 + rows, 200 : 200 + columns])


def in_colour(gray):
    return gray[..., None] * np.array([1, 0.8, 0.6], np.float32)


def blurred(image, kernel, noise=0.0):
    channel_axis = -1 if image.ndim == 3 else None
    image = np.asarray(imaging.blur(jnp.asarray(image), kernel, channel_axis=channel_axis))
    noise = noise * np.random.default_rng(0).normal(size=image.shape).astype(image.dtype)
    return np.clip(image + noise, 0, 1)


def psnr(a, b):
    """Without the border, beyond which nobody sees."""
    return -10 * np.log10(np.mean((np.asarray(a) - b)[8:-8, 8:-8] ** 2))


# ---- with a kernel


DISC = psf.defocus(2.5, size=7)


@pytest.fixture(scope="module")
def scene():
    """A photograph in colour, and what a camera out of focus makes of it."""
    sharp = in_colour(photograph())
    return sharp, blurred(sharp, DISC, noise=0.004)


@pytest.mark.parametrize("solver", _deblur.SOLVERS)
def test_every_solver_restores_with_a_given_kernel(scene, solver):
    sharp, seen = scene
    found = blurjax.deblur(seen, psf=DISC, solver=solver)
    assert isinstance(found, blurjax.Deblurred)
    assert (found.status, found.path, found.confidence) == ("ok", "kernel as given", 1.0)
    assert found.size == 7 and found.kernel.dtype == np.float32
    np.testing.assert_allclose(found.kernel, DISC, atol=1e-7)
    assert found.boxes == ()
    assert found.image.shape == seen.shape and found.image.dtype == np.float32
    assert found.image.min() >= 0 and found.image.max() <= 1
    # 4.3 to 6.2 dB measured.
    assert psnr(found.image, sharp) > psnr(seen, sharp) + 3.0


def test_gray_is_what_a_colour_of_its_own_is(scene):
    _, seen = scene
    alone = blurjax.deblur(seen[..., 0], psf=DISC, solver="wiener", weight=0.01)
    together = blurjax.deblur(seen, psf=DISC, solver="wiener", weight=0.01)
    assert alone.image.shape == seen.shape[:2]
    np.testing.assert_allclose(together.image[..., 0], alone.image, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_integers_are_shares_of_their_white(scene, dtype):
    _, seen = scene
    white = np.iinfo(dtype).max
    stored = np.round(seen * white).astype(dtype)
    options = {"psf": DISC, "solver": "wiener", "weight": 0.01}
    found = blurjax.deblur(stored, **options)
    expected = blurjax.deblur(stored / np.float64(white), **options)
    assert found.image.dtype == np.float32
    np.testing.assert_allclose(found.image, expected.image, atol=1e-5)


def test_the_weight_is_the_solvers(scene):
    sharp, seen = scene
    rough, smooth = (
        blurjax.deblur(seen, psf=DISC, solver="wiener", weight=w).image for w in (1e-4, 1.0)
    )
    assert np.abs(np.diff(smooth, axis=0)).sum() < 0.7 * np.abs(np.diff(rough, axis=0)).sum()
    chosen = blurjax.deblur(seen, psf=DISC, solver="wiener").image
    assert psnr(chosen, sharp) > max(psnr(rough, sharp), psnr(smooth, sharp))


def test_the_weight_follows_the_noise():
    for solver in ("hyper_laplacian", "total_variation", "wiener"):
        scale = _deblur._WEIGHTS[solver]
        weights = [float(weight_for_noise(s, scale)) for s in (0.0, 0.001, 0.01, 0.03)]
        assert weights[0] == weights[1] > 0
        assert weights[2] / weights[1] == pytest.approx(10**1.5)
        assert weights == sorted(weights)


def test_white_pixels_are_left_out():
    """Lights six times as bright as white, whose streaks are cut off."""
    light = photograph()
    for row, column in np.random.default_rng(1).integers(10, 88, (8, 2)):
        light[row : row + 3, column : column + 3] = 6.0
    kernel, sharp = psf.motion(9.0, 0.6, size=11), np.clip(light, 0, 1)
    seen = blurred(light, kernel)
    assert (seen >= 0.995).mean() > 0.01
    with_mask, without = (
        blurjax.deblur(seen, psf=kernel, saturation=saturation).image
        for saturation in (True, False)
    )
    # 6 dB measured.
    assert psnr(with_mask, sharp) > psnr(without, sharp) + 3
    assert psnr(with_mask, sharp) > psnr(seen, sharp) + 1.5


def test_a_mask_is_for_images_with_white_and_solvers_that_take_one(monkeypatch):
    masks = []

    def solver(part, kernel, *, weight=None, mask=None):
        masks.append(mask)
        return deconvolution.Deconvolution(part, jnp.ones((), int), jnp.zeros(()))

    for name in ("total_variation", "wiener"):
        monkeypatch.setattr(deconvolution, name, solver)
    image = np.full((40, 50), 0.5, np.float32)
    kernel = np.ones((3, 3)) / 9
    blurjax.deblur(image, psf=kernel)
    image[0, 0] = 1
    assert image.size == 2000
    # One of 2000 pixels is not above the share; two are.
    blurjax.deblur(image, psf=kernel)
    image[0, 1] = 1
    blurjax.deblur(image, psf=kernel, saturation=False)
    blurjax.deblur(image, psf=kernel, solver="wiener")
    assert masks == [None] * 4
    blurjax.deblur(image, psf=kernel)
    np.testing.assert_array_equal(masks[-1][0], image < 1)


def test_ringing_is_suppressed(scene):
    """A ramp beside a bright bar has no ripples but those of the kernel's zeros."""
    sharp = np.tile(np.linspace(0.2, 0.4, 96, dtype=np.float32), (96, 1))
    sharp[30:60, 40:44] = 0.9
    kernel = psf.motion(9.0, 0.0, size=11)
    seen = blurred(sharp, kernel)
    options = {"psf": psf.motion(10.0, 0.0, size=11), "solver": "richardson_lucy"}
    rings, less = (
        blurjax.deblur(seen, suppress_ringing=suppress, **options).image
        for suppress in (False, True)
    )
    beside = (slice(35, 55), slice(54, 80))
    assert np.std((less - sharp)[beside]) < 0.8 * np.std((rings - sharp)[beside])


def test_large_images_are_restored_in_tiles(monkeypatch):
    monkeypatch.setattr(_deblur, "_TILE", 128)
    monkeypatch.setattr(_deblur, "_OVERLAP", 48)
    sharp = photograph(150, 200)
    kernel = psf.gaussian(1.0, size=7)
    seen, said = blurred(sharp, kernel), []
    options = {"psf": kernel, "solver": "wiener", "weight": 1e-3}
    tiled = blurjax.deblur(seen, progress=said.append, **options).image
    assert said[0] == "deconvolving"
    assert said[1:] == [f"deconvolving, tile {i + 1} of 4" for i in range(4)]
    monkeypatch.setattr(_deblur, "_TILE", 256)
    whole = blurjax.deblur(seen, progress=said.append, **options).image
    assert said[5:] == ["deconvolving"]
    np.testing.assert_allclose(tiled[16:-16, 16:-16], whole[16:-16, 16:-16], atol=0.01)


# ---- without one


PIXEL = np.zeros((5, 5), np.float32)
PIXEL[2, 2] = 1


def kind(label, sure, **parameters):
    """What `blur_type` says."""
    answers = np.full(5, (1 - sure) / 4)
    answers[blur_type.ANSWERS.index(label)] = sure
    third = np.full(3, 1 / 3)
    return blur_type.Estimate(
        "ok", label, third, parameters, parameters, third, np.zeros((0, 4)), np.zeros(0), answers
    )


def extent(size, low=None, high=None, status="ok"):
    """What `kernel_size` says."""
    low, high = low or size, high or size
    return kernel_size.Estimate(
        width=float(size),
        height=float(size) / 2,
        interval={"width": (low, high), "height": (low / 2, high / 2)},
        size=size,
        status=status,
    )


@pytest.fixture
def told(monkeypatch):
    """Lets the systems say what a test wants, and lists what they were asked."""
    asked = []

    def tell(type_=None, size=None, kernels=None, scores=None):
        def estimate_kernel(window, *, size):
            asked.append(("kernel", window.shape, size))
            kernel = jnp.asarray((kernels or {}).get(size, np.ones((size, size)) / size**2))
            return deconvolution.KernelEstimate(
                kernel.astype(jnp.float32), jnp.float32(0.7), kernel[None], jnp.zeros(1)
            )

        def told_size(gray):
            asked.append(("size", gray.shape))
            return size

        def told_type(gray):
            asked.append(("type", gray.shape))
            return type_

        def judge(window, candidates):
            asked.append(("judge", window.shape, candidates.shape))
            values = jnp.asarray(scores)
            return deconvolution.Judgement(values, jnp.zeros(len(candidates)), values)

        monkeypatch.setattr(blur_type, "estimate", told_type)
        monkeypatch.setattr(kernel_size, "estimate", told_size)
        monkeypatch.setattr(deconvolution, "estimate_kernel", estimate_kernel)
        monkeypatch.setattr(deconvolution, "judge", judge)
        return asked

    return tell


IMAGE = np.random.default_rng(5).uniform(0.2, 0.8, (130, 150, 3)).astype(np.float32)


def unaided(**options):
    said = []
    found = blurjax.deblur(IMAGE, solver="wiener", progress=said.append, **options)
    return found, said


def test_a_given_size_asks_nobody(told):
    asked = told(kernels={9: np.pad(np.ones((3, 3)) / 9, 3)})
    found, said = unaided(size=9)
    assert asked == [("kernel", (130, 150), 9)]
    assert found.path == "blind, kernel of 9 px as given" and found.size == 9
    assert found.confidence == pytest.approx(0.7)
    assert found.boxes == ((0, 0, 130, 150),)
    assert said == ["estimating a kernel of 9 px", "deconvolving"]
    assert found.image.shape == IMAGE.shape


def test_a_sharp_image_is_returned(told):
    asked = told(kind("sharp", 0.8))
    found, said = unaided()
    assert found.status.startswith("it looks sharp (probability 0.80); pass a size")
    np.testing.assert_array_equal(found.image, IMAGE)
    assert (found.path, found.size, found.confidence) == ("nothing to undo", 1, 0.0)
    np.testing.assert_array_equal(found.kernel, [[1]])
    assert asked == [("type", (130, 150))] and said == ["telling the type of the blur"]


@pytest.mark.parametrize(
    ("label", "parameters", "expected"),
    [
        ("gaussian", {"sigma": 1.5}, lambda n: psf.gaussian(1.5, size=n)),
        ("defocus", {"radius": 3.2}, lambda n: psf.defocus(3.2, size=n)),
    ],
)
def test_a_type_that_is_sure_gives_the_kernel(told, label, parameters, expected):
    asked = told(kind(label, 0.9, **parameters))
    found, said = unaided()
    assert len(asked) == 1 and said[-1] == "deconvolving"
    assert found.path.startswith(label) and found.path.endswith(", by blur_type")
    assert found.confidence == pytest.approx(0.9) and found.boxes == ()
    np.testing.assert_allclose(found.kernel, expected(found.size), atol=1e-6)


@pytest.mark.parametrize(("left", "believed"), [(0.8, True), (1.0, False)])
def test_a_likely_type_is_believed_if_the_image_gets_sparser(told, left, believed):
    asked = told(kind("defocus", 0.7, radius=3.2), extent(13), scores=[left, 1.0])
    found, _ = unaided()
    assert asked[1][0] == "judge" and asked[1][2] == (2, 7, 7)
    assert found.path.startswith("defocus" if believed else "blind")


def test_an_unsure_type_leaves_it_to_the_size(told):
    asked = told(kind("gaussian", 0.45, sigma=1.5), extent(13))
    found, said = unaided()
    assert [each[0] for each in asked] == ["type", "size", "kernel"]
    assert asked[2][2] == 13
    assert found.path == "blind, size 13 px by kernel_size" and found.size == 13
    assert said == [
        "telling the type of the blur",
        "telling the size of the kernel",
        "estimating a kernel of 13 px",
        "deconvolving",
    ]


def test_a_type_that_cannot_tell_leaves_it_to_the_size(told):
    asked = told(kind("sharp", 0.9)._replace(status="too little texture"), extent(13))
    found, _ = unaided()
    assert found.status == "ok" and len(asked) == 3


@pytest.mark.parametrize("best", range(4))
def test_of_several_the_one_judged_best_is_taken(told, best):
    """An unsure size gives three kernels, straight motion one more."""
    scores = np.full(4, 0.5)
    scores[best] = 0.4
    asked = told(kind("motion", 0.7, length=6.0, angle=0.3), extent(15, 9, 23), scores=scores)
    found, said = unaided()
    assert [each[2] for each in asked if each[0] == "kernel"] == [9, 15, 23]
    assert asked[-1][2] == (4, 23, 23)
    assert said[2:5] == [f"estimating a kernel of {side} px" for side in (9, 15, 23)]
    assert found.path.endswith(", best of 4")
    if best < 3:
        assert found.size == (9, 15, 23)[best]
        assert found.path.startswith(f"blind, size {found.size} px by kernel_size")
    else:
        assert found.path.startswith("motion, length 6.0 px")
        assert found.confidence == pytest.approx(0.7)
        similar = kernel_similarity(jnp.asarray(found.kernel), psf.motion(6.0, 0.3, size=9))
        assert similar > 0.99


def test_without_a_size_nothing_is_done(told):
    told(kind("motion", 0.4), extent(0, status="too little texture: the image is flat"))
    found, _ = unaided()
    assert found.status == "too little texture: the image is flat; pass a size or a psf"
    np.testing.assert_array_equal(found.image, IMAGE)


def test_sizes():
    wide = (1000, 800)
    # The next of a few, so that few programs are compiled.
    assert _deblur._sizes(extent(13), wide) == [13]
    assert _deblur._sizes(extent(14), wide) == [15]
    assert _deblur._sizes(extent(1), wide) == [5]
    # The ends of the interval only where they are far apart.
    assert _deblur._sizes(extent(13, 11, 16), wide) == [13]
    assert _deblur._sizes(extent(13, 8, 20.5), wide) == [9, 13, 23]
    assert _deblur._sizes(extent(13, 0.5, 20), wide) == [5, 13, 23]
    # Nothing larger than is looked for, or than the image shows.
    assert _deblur._sizes(extent(120), wide) == [95]
    for side in (128, 131, 159):
        (size,) = _deblur._sizes(extent(150), (side, 300))
        assert 2 * size <= min(_deblur._window(np.zeros((side, 300), np.float32), size)[0].shape)
    for size in _deblur._SIZES:
        assert size % 2 == 1


# ---- the part that is looked at


def test_the_window_is_where_most_happens():
    image = np.full((900, 1300), 0.5, np.float32)
    varied = np.random.default_rng(0).uniform(size=(150, 200))
    image[600:750, 1000:1200] = varied
    window, box = _deblur._window(image, 25)
    assert box[2:] == (512, 512)
    assert np.array_equal(window, image[box[0] : box[0] + 512, box[1] : box[1] + 512])
    assert window.shape == (512, 512)
    assert np.isin(varied.astype(np.float32), window).all()


@pytest.mark.parametrize(
    ("shape", "size", "expected"),
    [
        ((300, 350), 25, (300, 350)),
        ((2000, 300), 25, (512, 300)),
        ((600, 520), 25, (512, 512)),
        ((600, 700), 151, (600, 604)),
        ((63, 200), 9, (63, 200)),
    ],
)
def test_windows_have_what_the_image_and_the_kernel_allow(shape, size, expected):
    image = np.random.default_rng(0).uniform(size=shape).astype(np.float32)
    assert _deblur._window(image, size)[0].shape == expected


# ---- the region that is asked for


@pytest.fixture
def chosen(monkeypatch):
    """Lets `region` find a kernel in two windows, or say why not; lists what it was asked."""
    asked = []

    def choose(status="ok"):
        def estimate_kernel(gray, *, size, window):
            asked.append((gray.shape, size, window))
            fine = status == "ok"
            kernel = np.pad(np.ones((3, 3), np.float32) / 9, (size - 3) // 2)
            boxes = np.array([(0, 7, 120, 120), (10, 30, 120, 120)])
            return region.KernelEstimate(
                status,
                kernel if fine else np.ones((1, 1), np.float32),
                0.62 if fine else 0.0,
                np.stack([kernel, kernel]) if fine else np.zeros((0, 1, 1), np.float32),
                boxes if fine else boxes[:0],
                np.float32([0.9, 0.8] if fine else []),
            )

        monkeypatch.setattr(region, "estimate_kernel", estimate_kernel)
        return asked

    return choose


@pytest.mark.parametrize(("size", "window"), [(9, 228), (57, 228), (59, 236)])
def test_the_best_windows_give_the_kernel_if_asked(told, chosen, size, window):
    asked, others = chosen(), told()
    found, said = unaided(size=size, region="auto")
    assert asked == [((130, 150), size, window)] and others == []
    assert found.path == f"blind, kernel of {size} px as given, 2 windows by region"
    assert found.size == size and found.confidence == pytest.approx(0.62)
    assert found.kernel.max() == pytest.approx(1 / 9)
    assert found.boxes == ((0, 7, 120, 120), (10, 30, 120, 120))
    assert all(type(n) is int for box in found.boxes for n in box)
    assert said == [f"estimating a kernel of {size} px", "deconvolving"]


def test_a_single_window_is_not_called_several(told, chosen, monkeypatch):
    told(), chosen()
    two = region.estimate_kernel

    def one(gray, **options):
        return two(gray, **options)._replace(boxes=np.array([(3, 4, 120, 120)]))

    monkeypatch.setattr(region, "estimate_kernel", one)
    found, _ = unaided(size=9, region="auto")
    assert found.path.endswith(", 1 window by region") and found.boxes == ((3, 4, 120, 120),)


def test_where_no_window_can_be_chosen_it_is_the_usual_part(told, chosen):
    asked, others = chosen("image is 130x150 pixels; region needs at least 228x228"), told()
    found, _ = unaided(size=9, region="auto")
    assert len(asked) == 1 and others == [("kernel", (130, 150), 9)]
    assert found.status == "ok" and found.path == "blind, kernel of 9 px as given"
    assert found.confidence == pytest.approx(0.7) and found.boxes == ((0, 0, 130, 150),)


@pytest.mark.parametrize("given", [tuple, list, np.array])
def test_the_kernel_is_estimated_from_exactly_the_box(told, monkeypatch, given):
    told()
    seen, estimate_kernel = [], deconvolution.estimate_kernel

    def look(window, *, size):
        seen.append(np.asarray(window))
        return estimate_kernel(window, size=size)

    monkeypatch.setattr(deconvolution, "estimate_kernel", look)
    part = given((10, 20, 60, 50))
    found, _ = unaided(size=9, region=part)
    (window,) = seen
    luminance = IMAGE @ np.float32([0.299, 0.587, 0.114])
    np.testing.assert_allclose(window, luminance[10:70, 20:70], atol=1e-3)
    assert found.boxes == ((10, 20, 60, 50),)
    assert found.path == "blind, kernel of 9 px as given"
    # All of the image is restored.
    assert found.image.shape == IMAGE.shape
    whole, _ = unaided(size=9, region=(0, 0, 130, 150))
    assert seen[1].shape == (130, 150) and whole.boxes == ((0, 0, 130, 150),)


def test_without_a_size_every_candidate_comes_from_the_windows(told, chosen):
    asked = chosen()
    others = told(kind("motion", 0.4), extent(15, 9, 23), scores=[0.5, 0.4, 0.6])
    found, _ = unaided(region="auto")
    assert [each[1] for each in asked] == [9, 15, 23]
    # They are judged in the usual part.
    assert [each[0] for each in others] == ["type", "size", "judge"]
    assert found.path == "blind, size 15 px by kernel_size, 2 windows by region, best of 3"
    assert found.boxes == ((0, 7, 120, 120), (10, 30, 120, 120))


def test_without_a_size_a_box_limits_what_is_looked_for(told):
    asked = told(kind("motion", 0.4), extent(15, 9, 40), scores=[0.4, 0.5])
    found, _ = unaided(region=(10, 20, 40, 50))
    # The 40 px at the end of the interval are beyond the 20 that it shows.
    assert asked[2:] == [
        ("kernel", (40, 50), 9),
        ("kernel", (40, 50), 15),
        ("judge", (40, 50), (2, 15, 15)),
    ]
    assert found.size == 9 and found.boxes == ((10, 20, 40, 50),)


def test_nothing_is_done_where_the_box_shows_no_kernel(told):
    told(kind("motion", 0.4), extent(15))
    found, _ = unaided(region=(10, 20, 9, 50))
    assert found.status == (
        "a kernel of 15 px cannot be seen in a region of 9x50; pass a larger one"
    )
    assert found.boxes == () and found.path == "nothing to undo"
    np.testing.assert_array_equal(found.image, IMAGE)


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("best", "region is 'best'; pass 'auto', or row, column, height and width of a box"),
        ((1, 2, 3), r"region is \(1, 2, 3\); pass 'auto', or row"),
        ((0, 0, 131, 50), r"\(0, 0, 131, 50\) and the image 130x150; a box is inside it"),
        ((100, 0, 40, 50), "a box is inside it"),
        ((0, 120, 40, 40), "a box is inside it"),
        ((-1, 0, 40, 40), "a box is inside it"),
        ((0, -1, 40, 40), "a box is inside it"),
        # What these cut out of an array would not be empty.
        ((2, 0, -4, 40), "a box is inside it"),
        ((0, 2, 40, -4), "a box is inside it"),
        ((5, 5, 0, 40), "a box is inside it"),
        ((0, 0, 17, 40), "a kernel of 9 is seen in no less than 18x18"),
    ],
)
def test_one_sentence_for_a_region_that_is_none(part, words):
    with pytest.raises(ValueError, match=words) as caught:
        blurjax.deblur(IMAGE, size=9, region=part)
    assert "\n" not in str(caught.value)


# ---- what it refuses


@pytest.mark.parametrize(
    ("image", "options", "words"),
    [
        (np.zeros((40, 40, 4), np.float32), {}, "shape"),
        (np.full((40, 40), np.nan, np.float32), {}, "not finite"),
        (np.full((40, 40), 300.0, np.float32), {}, "scale it to"),
        (np.zeros((40, 40), np.int32), {}, "int32"),
        (IMAGE, {"size": 9, "psf": PIXEL}, "both a size and a psf were given"),
        (IMAGE, {"psf": PIXEL, "solver": "magic"}, "solver is 'magic'; choose one of "),
        (IMAGE, {"psf": PIXEL, "solver": "richardson_lucy", "weight": 1.0}, "no prior to weigh"),
        (IMAGE, {"psf": PIXEL, "weight": -1.0}, "weight=-1.0"),
        (IMAGE, {"size": 8}, "size=8; a kernel has an odd number"),
        (IMAGE, {"size": 67}, "a kernel of 67 is seen in no less than 134x134"),
        (IMAGE, {"psf": PIXEL[:4, :4]}, r"psf has shape \(4, 4\)"),
        (IMAGE, {"psf": PIXEL[:3]}, r"psf has shape \(3, 5\)"),
        (IMAGE, {"psf": PIXEL[None]}, r"psf has shape \(1, 5, 5\)"),
        (IMAGE, {"psf": np.array(1.0)}, r"psf has shape \(\)"),
        (
            IMAGE,
            {"psf": np.full((131, 131), 131.0**-2)},
            "131 pixels a side and the image only 130",
        ),
        (IMAGE, {"psf": 9 * PIXEL}, "the sum 9; it must"),
        (IMAGE, {"psf": PIXEL - np.roll(PIXEL, 1) + np.roll(PIXEL, 2)}, "not be negative"),
        (IMAGE, {"psf": PIXEL * np.nan}, "must not be negative and have the sum 1"),
    ],
)
def test_one_sentence_for_what_cannot_be_deblurred(image, options, words):
    with pytest.raises(ValueError, match=words) as caught:
        blurjax.deblur(image, **options)
    assert "\n" not in str(caught.value)


# ---- for real


@pytest.mark.slow
def test_a_shake_is_undone_blindly():
    sharp = photograph(224, 224)
    points = psf.sample_trajectory(jax.random.key(2), num_samples=1000, extent=9.0, axis=1)
    kernel = psf.trajectory(points, size=15).astype(jnp.float32)
    seen = blurred(sharp, kernel, noise=0.003)
    found = blurjax.deblur(seen, size=15)
    assert found.status == "ok"
    assert kernel_similarity(jnp.asarray(found.kernel), kernel) > 0.75
    # The kernel is found up to a shift of half a pixel.
    assert np.std(np.diff(found.image)) > 1.2 * np.std(np.diff(seen))


# ---- previews


NOWHERE = region.Estimate(
    "too small", np.zeros((0, 4), int), np.zeros(0), np.zeros((0, 0)), np.zeros((0, 0, 4), int)
)


def best_at(row, column, side=region.WINDOW):
    box = np.array([[row, column, side, side]])
    return region.Estimate("ok", box, np.ones(1), np.ones((1, 1)), box[None])


def test_a_preview_undoes_a_blur_of_known_type(scene):
    sharp, seen = scene
    found = _deblur.preview(seen, kind("defocus", 0.8, radius=2.5), extent(5), NOWHERE)
    assert found.status == "ok" and "radius 2.5 px" in found.path and found.confidence == 0.8
    assert found.box == (0, 0, 100, 100)
    np.testing.assert_array_equal(found.before, seen)
    assert psnr(found.after, sharp) > psnr(seen, sharp) + 2
    assert found.after.shape == seen.shape and found.after.dtype == np.float32


def test_a_preview_of_a_sharp_image_says_that_it_is(scene):
    _, seen = scene
    found = _deblur.preview(seen, kind("sharp", 0.9), extent(5), NOWHERE)
    assert found.status == "it looks sharp (probability 0.90)" and found.kernel.shape == (1, 1)
    np.testing.assert_array_equal(found.before, found.after)


def test_a_preview_shows_a_part_as_the_whole_would_be(monkeypatch):
    monkeypatch.setattr(_deblur, "_TILE", 128)
    monkeypatch.setattr(_deblur, "_SHOWN", 96)
    seen = blurred(photograph(100, 260), DISC)
    told = kind("defocus", 0.8, radius=2.5), extent(5), best_at(10, 150, 80)
    found = _deblur.preview(seen, *told)
    # About the middle of the best window, and no further than the image.
    assert found.box == (0, 142, 100, 96)
    np.testing.assert_array_equal(found.before, seen[:, 142:238])
    monkeypatch.setattr(_deblur, "_TILE", 1024)
    whole = _deblur.preview(seen, *told)
    assert whole.box == (0, 0, 100, 260)
    # Solvers of unlike images differ a little everywhere; what is undone is much more.
    change, done = (
        np.std(found.after - other) for other in (whole.after[:, 142:238], found.before)
    )
    assert change < 0.15 * done and done > 0.02
    same = _deblur.part_of(
        blurjax.Deblurred(whole.after, whole.kernel, 5, "", 1.0, "ok"), seen, told[2]
    )
    np.testing.assert_array_equal(same.after, whole.after)
    np.testing.assert_array_equal(same.before, seen)


@pytest.mark.parametrize(("size", "times"), [(5, 1), (17, 1), (18, 2), (40, 3)])
def test_a_preview_looks_for_other_kernels_in_one_program(monkeypatch, size, times):
    windows = []

    def estimate_kernel(window, *, size, starts):
        windows.append((window.shape, size, starts))
        kernel = jnp.zeros((size, size)).at[size // 2, 3:-3].set(1 / (size - 6))
        return deconvolution.KernelEstimate(
            kernel.astype(jnp.float32), jnp.float32(1), kernel[None], jnp.zeros(1)
        )

    monkeypatch.setattr(deconvolution, "estimate_kernel", estimate_kernel)
    monkeypatch.setattr(_deblur, "_restored", lambda pixels, *_: pixels)
    image = np.random.default_rng(0).uniform(size=(700, 750)).astype(np.float32)
    found = _deblur.preview(image, kind("no dominant blur", 0.9), extent(size), best_at(400, 500))
    ((shape, searched, starts),) = windows
    assert (shape, searched, starts) == ((228, 228), 17, "plain")
    assert len(found.kernel) == (17 * times) | 1 and np.isnan(found.confidence)
    assert found.kernel.sum() == pytest.approx(1, abs=1e-5)
    # As long as the one that was found, times as much.
    assert np.ptp(np.nonzero(found.kernel.sum(0) > 1e-3)[0]) == pytest.approx(11 * times, abs=3)


def test_a_preview_says_why_there_is_none():
    image = np.full((60, 60), 0.5, np.float32)
    small = _deblur.preview(image, kind("no dominant blur", 0.9), extent(40), NOWHERE)
    assert small.status == "a kernel of 40 px cannot be seen in 60x60 px"
    unknown = extent(5, status="too little texture: the image is flat")
    flat = _deblur.preview(image, kind("motion", 0.3, length=3.0, angle=0.0), unknown, NOWHERE)
    assert flat.status == unknown.status


@pytest.mark.slow
def test_a_large_photograph_is_analysed_in_bounded_memory(tmp_path):
    """25 megapixels in colour: 0.8 GB for the programs, and some 60 bytes a pixel."""
    tile = (255 * in_colour(photograph(250, 250))).astype(np.uint8)
    Image.fromarray(np.tile(tile, (20, 20, 1))).save(tmp_path / "large.jpg")
    code = (
        "import resource, sys; from blurjax import cli; "
        "status = cli.main(['analyze', sys.argv[1], '--out', sys.argv[2]]); "
        "peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; "
        "print(peak); sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "large.jpg"), str(tmp_path / "out")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "large.html").exists()
    assert int(done.stdout.split()[-1]) < 3_000_000

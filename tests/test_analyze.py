"""blurjax.analyze: every system's row, with reasons where there is no answer."""

import json
import math
import threading
from pathlib import Path

import jax
import numpy as np
import pytest

import blurjax
from blurjax import (
    _analyze,
    _programs,
    blur_type,
    data,
    kernel_size,
    region,
    sharpness,
    sigma_map,
    weights,
)


@pytest.fixture
def texture():
    # As high as the windows that region looks at.
    return np.random.default_rng(0).uniform(size=(228, 256)).astype(np.float32)


@pytest.fixture
def chosen(stand_in, sigma_stand_in, sharpness_stand_in, kernel_size_stand_in, region_stand_in):
    """Weights for every system."""
    return {
        "blur_type": stand_in,
        "sigma_map": sigma_stand_in,
        "sharpness": sharpness_stand_in,
        "kernel_size": kernel_size_stand_in,
        "region": region_stand_in,
    }


def sigmas(valid):
    """An estimate in which sigma rises from 0 to 2 px and the spread is 0.1 px."""
    sigma = np.broadcast_to(np.linspace(0, 2, 201, dtype=np.float32), (50, 201))
    spread = np.full(sigma.shape, 0.1, np.float32)
    known = np.broadcast_to(valid, sigma.shape)
    status = "ok" if known.any() else "too little texture: none"
    return sigma_map.Estimate(status, sigma, spread, known)


def sharp_in(share):
    """An estimate in which that share of 1000 pixels is sharp."""
    seen = np.repeat(np.float32([1, 0]), [round(1000 * share), 1000 - round(1000 * share)])[None]
    return sharpness.Estimate("ok", seen, seen > 0.5, float(np.mean(seen > 0.5)))


def kernel_of(width, height):
    """An estimate of a kernel's size, to within a pixel either way, but not below 1."""
    interval = {"width": (max(width - 1, 1), width + 1), "height": (max(height - 1, 1), height + 1)}
    return kernel_size.Estimate("ok", width, height, interval, 15)


def window_at(row, column, score=0.63):
    """An estimate of the best window, the only one."""
    box = np.array([[row, column, 228, 228]])
    scores = np.float32([score])
    return region.Estimate("ok", box, scores, scores[None], box[None])


def made_up(label, parameters):
    return _analyze.Analysis(
        blur_type.Estimate(
            status="ok",
            label=label,
            probabilities=np.array([0.1, 0.7, 0.2], np.float32),
            parameters=parameters,
            spread=dict.fromkeys(parameters, 0.1),
            votes=np.array([1, 7, 2]),
            boxes=np.zeros((10, 4), int),
            choices=np.ones(10, int),
            answers=np.array([0.1, 0.6, 0.2, 0.05, 0.05]),
        ),
        sigmas(True),
        sharp_in(0.38),
        kernel_of(13.4, 8.1),
        window_at(120, 40),
    )


@pytest.mark.parametrize("colour", [False, True], ids=["gray", "rgb"])
def test_a_textured_image_gets_an_answer(chosen, texture, colour):
    image = np.repeat(texture[..., None], 3, axis=-1) if colour else texture
    analysis = blurjax.analyze(image, weights=chosen)
    estimate = analysis.blur_type
    assert {system.status for system in analysis} == {"ok"}
    assert analysis.sharpness.sharpness.shape == texture.shape
    assert analysis.sharpness.sharp_fraction == 0.5
    # Exact in float32 only.
    assert (analysis.kernel_size.width, analysis.kernel_size.height) == pytest.approx((13.4, 8.1))
    assert analysis.region.boxes.tolist() == [[0, 28, 228, 228]]
    assert analysis.region.scores[0] == pytest.approx(0.63)
    assert analysis.sigma_map.sigma.shape == texture.shape and analysis.sigma_map.valid.all()
    assert estimate.label in blur_type.LABELS
    np.testing.assert_allclose(estimate.probabilities.sum(), 1)
    assert estimate.votes.sum() == len(estimate.boxes) == len(estimate.choices)
    assert estimate.parameters.keys() == estimate.spread.keys() != set()


def test_the_same_image_as_integers_gets_the_same_answer(chosen, texture):
    levels = np.rint(texture * 255).astype(np.uint8)
    of_integers = blurjax.analyze(levels, weights=chosen)
    of_floats = blurjax.analyze(levels / np.float32(255), weights=chosen)
    assert _analyze.summary(of_integers) == _analyze.summary(of_floats)


def test_large_images_are_looked_at_by_one_system_after_the_other(chosen, texture, monkeypatch):
    together = _analyze.summary(blurjax.analyze(texture, weights=chosen))
    threads = []
    begin = _analyze._SYSTEMS["sharpness"]
    monkeypatch.setitem(
        _analyze._SYSTEMS,
        "sharpness",
        lambda *a: threads.append(threading.current_thread()) or begin(*a),
    )
    blurjax.analyze(texture, weights=chosen)
    monkeypatch.setattr(_analyze, "_SMALL", 0)
    assert _analyze.summary(blurjax.analyze(texture, weights=chosen)) == together
    assert [thread is threading.main_thread() for thread in threads] == [False, True]
    # A fault in one is the caller's, either way.
    monkeypatch.setitem(_analyze._SYSTEMS, "region", lambda *a: 1 / 0)
    for small in (0, 10**9):
        monkeypatch.setattr(_analyze, "_SMALL", small)
        with pytest.raises(ZeroDivisionError):
            blurjax.analyze(texture, weights=chosen)


def test_room_is_made_for_programs_before_there_is_none(chosen, texture, monkeypatch, tmp_path):
    forgotten = []
    monkeypatch.setattr(jax, "clear_caches", lambda: forgotten.append(1))
    maps = tmp_path / "maps"
    monkeypatch.setattr(_programs, "_MAPS", maps)
    # Other systems have no such file, and no such limit.
    for lines, expected in ((None, 0), (25_000, 0), (25_001, 1)):
        if lines is not None:
            maps.write_text("\n" * lines)
        blurjax.analyze(texture, weights=chosen)
        assert len(forgotten) == expected


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="no limit is known here")
def test_photographs_of_many_shapes_do_not_end_the_process(monkeypatch):
    monkeypatch.setattr(_programs, "_MOST", 4000)
    photograph = data.embedded("test")[1]
    counts = []
    for side in range(240, 280, 5):
        blurjax.analyze(np.asarray(photograph[:side, : side + 30]))
        counts.append(Path("/proc/self/maps").read_bytes().count(b"\n"))
    # It falls again, and no image adds more than a few thousand to what was left.
    assert min(np.diff(counts)) < 0 and max(counts) < 12_000


def test_an_interrupt_leaves_what_was_not_begun(monkeypatch):
    enough = threading.Event()
    for name in _analyze._SYSTEMS:
        monkeypatch.setitem(_analyze._SYSTEMS, name, lambda *_: enough.wait(20))
    image = np.zeros((40, 40), np.float32)
    with pytest.raises(KeyboardInterrupt), _analyze.workers(image) as pool:
        answers = _analyze.begin(image, pool)
        raise KeyboardInterrupt
    enough.set()
    # Two may have been begun.
    assert [answer.cancelled() for answer in answers.values()][2:] == [True, True, True]


@pytest.mark.parametrize(
    ("shape", "reason"), [((20, 200), "20x200 pixels"), ((230, 230), "too little texture")]
)
def test_no_answer_comes_with_its_reason(chosen, shape, reason):
    image = np.full(shape, 0.5, np.float32)
    analysis = blurjax.analyze(image, weights=chosen)
    assert all(reason in system.status for system in analysis)
    rows = _analyze.summary(analysis)
    assert rows["sharpness"]["sharp_fraction"] is None
    assert rows["kernel_size"]["width"]["value"] is rows["kernel_size"]["size"] is None
    assert rows["region"]["box"] is rows["region"]["score"] is None
    # NaN is no JSON.
    json.dumps(rows, allow_nan=False)
    row = rows["blur_type"]
    assert row["label"] == "unknown" and row["parameters"] == {} and row["patches"] == 0


@pytest.mark.parametrize(
    "image", [np.full((80, 80), np.nan), np.full((80, 80), 7.0), np.zeros((80, 80, 4))]
)
def test_what_is_no_image_is_refused(chosen, image):
    with pytest.raises(ValueError, match=r"finite|ranges|shape"):
        blurjax.analyze(image, weights=chosen)


def test_a_system_without_an_answer_does_not_stop_the_others(chosen, texture):
    analysis = blurjax.analyze(texture[:40], weights=chosen)
    assert "blur_type needs at least 64x64" in analysis.blur_type.status
    assert "40x256 pixels; kernel_size needs at least 128x128" in analysis.kernel_size.status
    assert "40x256 pixels; region needs at least 228x228" in analysis.region.status
    assert analysis.sigma_map.status == analysis.sharpness.status == "ok"
    assert _analyze.MIN_SIZE == sigma_map.MIN_SIZE == sharpness.MIN_SIZE == 32


def test_weights_of_an_unknown_system_are_refused(texture):
    with pytest.raises(ValueError, match="no system is called blurtype"):
        blurjax.analyze(texture, weights={"blurtype": "w.npz"})


def test_weights_of_another_method_than_the_detector_are_refused(texture, chosen):
    chosen["sharpness"] = weights.path("sharpness_metric")
    with pytest.raises(ValueError, match=r"sharpness_metric.npz: weights of body 'metric'"):
        blurjax.analyze(texture, weights=chosen)


def test_summary_is_json_with_angles_in_both_units():
    analysis = made_up("motion", {"length": 9.0, "angle": math.pi / 6})
    row = json.loads(json.dumps(_analyze.summary(analysis), allow_nan=False))["blur_type"]
    assert row["votes"] == {"gaussian": 1, "motion": 7, "defocus": 2}
    assert row["parameters"]["length"] == {"value": 9.0, "spread": 0.1, "unit": "pixel"}
    angle = row["parameters"]["angle"]
    assert angle["unit"] == "radian"
    assert angle["value"] == pytest.approx(math.pi / 6)
    assert angle["value_degrees"] == pytest.approx(30)
    assert angle["spread_degrees"] == pytest.approx(math.degrees(0.1))


def test_summary_of_a_sigma_map_tells_of_the_valid_pixels():
    row = _analyze._sigma_map_summary(sigmas(np.arange(201) <= 100))
    assert row["status"] == "ok" and row["unit"] == "pixel"
    np.testing.assert_allclose(
        [row[f"sigma_{part}"] for part in ("5_percent", "median", "95_percent")],
        [0.05, 0.5, 0.95],
        atol=0.01,
    )
    np.testing.assert_allclose([row["spread_median"], row["coverage"]], [0.1, 101 / 201])
    nothing = json.loads(json.dumps(_analyze._sigma_map_summary(sigmas(False)), allow_nan=False))
    assert nothing["coverage"] == 0 and nothing["sigma_median"] is nothing["spread_median"] is None


def test_sigma_map_in_words():
    known = _analyze.sigma_phrase(sigmas(np.arange(201) <= 100))
    assert known == "0.1 to 0.9 px (median 0.5, 5 to 95 %), known in 50 % of the pixels"
    assert _analyze.sigma_phrase(sigmas(False)) == "too little texture: none"


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (0.38, "38 % of the pixels are sharp"),
        (0.999, "> 99 % of the pixels are sharp"),
        (1, "all sharp"),
        (0, "all blurred"),
    ],
)
def test_sharpness_in_words(share, shown):
    seen = sharp_in(share)
    assert _analyze.sharpness_phrase(seen) == shown
    row = {"status": "ok", "sharp_fraction": share, "mean": pytest.approx(share)}
    assert _analyze._sharpness_summary(seen) == row
    assert _analyze.sharpness_phrase(seen._replace(status="too small")) == "too small"


@pytest.mark.parametrize(
    ("label", "parameters", "share", "said"),
    [
        ("gaussian", {"sigma": 2.04}, 0.0, "Gaussian blur, sigma about 2.0 px, whole frame"),
        (
            *("motion", {"length": 14.2, "angle": math.radians(179.8)}, 0.38),
            "motion blur, about 14 px at 0 degrees, in 62 % of the frame",
        ),
        (
            *("defocus", {"radius": 3.96}, 0.9),
            "out of focus, a disc of radius about 4.0 px, though little enough to look sharp "
            "almost everywhere",
        ),
        ("sharp", {}, 1.0, "sharp, whole frame"),
        ("sharp", {}, 0.4, "sharp in 40 % of the frame"),
        (
            *("no dominant blur", {}, 0.3),
            "blurred, in 70 % of the frame, of no single type (as motion about 13.4 x 8.1 px)",
        ),
        (
            *("no dominant blur", {}, 0.6),
            "blurred, in 40 % of the frame, of no single type",
        ),
    ],
)
def test_a_sentence_says_what_how_much_where_and_how_surely(label, parameters, share, said):
    analysis = made_up(label, parameters)._replace(sharpness=sharp_in(share))
    assert _analyze.sentence(analysis) == f"{said}; confidence 0.60"
    certain = analysis.blur_type._replace(answers=np.array([1.0, 0, 0, 0, 0]))
    # Never rounded to certainty.
    assert _analyze.sentence(analysis._replace(blur_type=certain)).endswith("confidence 0.99")


@pytest.mark.parametrize(
    ("around", "shown"), [(0.4, "0.4"), (0.06, "0.1"), (0.04, "0.04"), (0.003, "0.003"), (0, "0")]
)
def test_a_spread_has_as_many_digits_as_it_takes(around, shown):
    said = _analyze.parameter_phrase({"radius": 4.0}, {"radius": around})
    assert said == f"radius 4.0 ± {shown} px"


def test_streaks_of_a_motion_do_not_pass_for_sharp():
    analysis = made_up("motion", {"length": 9.0, "angle": 0.5})._replace(sharpness=sharp_in(0.6))
    assert "in 40 % of the frame" in _analyze.sentence(analysis)
    kind = analysis.blur_type._replace(votes=np.array([1, 8, 1]))
    moved = analysis._replace(blur_type=kind)
    assert ", whole frame" in _analyze.sentence(moved)
    assert _analyze.summary(moved)["blur_type"]["everywhere"] is True
    # Sharp patches have to choose one of the types too, and a disc leaves no streaks.
    other = kind._replace(label="gaussian", parameters={"sigma": 2.0}, votes=np.array([9, 1, 0]))
    assert "in 40 % of the frame" in _analyze.sentence(analysis._replace(blur_type=other))


def test_a_sentence_without_the_type_says_what_is_known():
    analysis = made_up("gaussian", {"sigma": 2.0})
    unknown = analysis.blur_type._replace(status="too little texture: none")
    analysis = analysis._replace(blur_type=unknown)
    assert _analyze.sentence(analysis) == (
        "38 % of the pixels are sharp; the type of the blur is unknown"
    )
    flat = analysis.sharpness._replace(status="too little texture: the image is flat")
    analysis = analysis._replace(sharpness=flat, sigma_map=sigmas(False))
    assert _analyze.sentence(analysis) == "no answer: too little texture: none"


def test_summary_of_a_kernel_size_keeps_width_and_height_apart():
    row = _analyze._kernel_size_summary(kernel_of(13.4, 8.0))
    assert row == {
        "status": "ok",
        "width": {"value": 13.4, "low": 12.4, "high": 14.4, "unit": "pixel"},
        "height": {"value": 8.0, "low": 7.0, "high": 9.0, "unit": "pixel"},
        "interval_probability": 0.8,
        "size": 15,
    }


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((13.4, 8.1), "13.4 x 8.1 px (width x height; 80 % within 12-14 x 7-9)"),
        ((1.2, 1.0), "no motion, 1.2 x 1.0 px (width x height; 80 % within 1-2 x 1-2)"),
        # Along the columns alone.
        ((1.0, 9.0), "1.0 x 9.0 px (width x height; 80 % within 1-2 x 8-10)"),
    ],
)
def test_kernel_size_in_words(size, shown):
    found = kernel_of(*size)
    assert _analyze.kernel_size_phrase(found) == shown
    assert _analyze.kernel_size_phrase(found._replace(status="too small")) == "too small"


def test_an_interval_within_a_pixel_is_one_number():
    found = kernel_of(5.0, 8.0)._replace(interval={"width": (4.6, 5.4), "height": (1.0, 1.2)})
    assert _analyze.interval_phrase(found) == "80 % within 5 x 1"


def test_summary_of_a_region_is_its_best_window():
    found = window_at(120, 40, 0.5)
    more = found._replace(boxes=np.repeat(found.boxes, 2, axis=0), scores=np.float32([0.5, 0.25]))
    for one in (found, more):
        row = json.loads(json.dumps(_analyze._region_summary(one), allow_nan=False))
        assert row == {
            "status": "ok",
            "box": {"row": 120, "column": 40, "height": 228, "width": 228, "unit": "pixel"},
            "score": 0.5,
        }


def test_region_in_words():
    found = window_at(120, 40, 0.63)
    expected = "228x228 px at row 120, column 40 (score 0.63)"
    assert _analyze.region_phrase(found) == expected
    assert _analyze.region_phrase(found._replace(status="too small")) == "too small"


def test_every_system_has_a_summary():
    assert tuple(_analyze._SUMMARIES) == _analyze.Analysis._fields
    assert tuple(_analyze.LOADERS) == _analyze.Analysis._fields


@pytest.mark.parametrize(
    ("degrees", "shown"), [(30, "30°"), (179.8, "0°"), (180, "0°"), (-10, "170°")]
)
def test_angles_in_words_are_undirected(degrees, shown):
    phrase = _analyze.blur_phrase("motion", {"length": 9, "angle": math.radians(degrees)})
    assert phrase == f"motion, length 9.0 px, angle {shown}"


def test_spread_in_words():
    phrase = _analyze.blur_phrase("gaussian", {"sigma": 2.04}, {"sigma": 0.26})
    assert phrase == "gaussian, sigma 2.0 ± 0.3 px"


@pytest.mark.parametrize(
    ("probability", "shown"), [(1.0, "> 99 %"), (0.0, "< 1 %"), (0.42, "42 %")]
)
def test_percent_never_claims_certainty(probability, shown):
    assert _analyze.percent(probability) == shown

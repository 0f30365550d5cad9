"""blurjax.analyze: every system's row, with reasons where there is no answer."""

import json
import math

import numpy as np
import pytest

import blurjax
from blurjax import _analyze, blur_type


@pytest.fixture
def texture():
    return np.random.default_rng(0).uniform(size=(96, 128)).astype(np.float32)


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
        )
    )


@pytest.mark.parametrize("colour", [False, True], ids=["gray", "rgb"])
def test_a_textured_image_gets_an_answer(stand_in, texture, colour):
    image = np.repeat(texture[..., None], 3, axis=-1) if colour else texture
    estimate = blurjax.analyze(image, weights={"blur_type": stand_in}).blur_type
    assert estimate.status == "ok"
    assert estimate.label in blur_type.LABELS
    np.testing.assert_allclose(estimate.probabilities.sum(), 1)
    assert estimate.votes.sum() == len(estimate.boxes) == len(estimate.choices)
    assert estimate.parameters.keys() == estimate.spread.keys() != set()


def test_the_same_image_as_integers_gets_the_same_answer(stand_in, texture):
    levels = np.rint(texture * 255).astype(np.uint8)
    chosen = {"blur_type": stand_in}
    of_integers = blurjax.analyze(levels, weights=chosen)
    of_floats = blurjax.analyze(levels / np.float32(255), weights=chosen)
    assert _analyze.summary(of_integers) == _analyze.summary(of_floats)


@pytest.mark.parametrize(
    ("shape", "reason"), [((40, 200), "40x200 pixels"), ((100, 100), "too little texture")]
)
def test_no_answer_comes_with_its_reason(stand_in, shape, reason):
    image = np.full(shape, 0.5, np.float32)
    analysis = blurjax.analyze(image, weights={"blur_type": stand_in})
    assert reason in analysis.blur_type.status
    row = _analyze.summary(analysis)["blur_type"]
    assert row["label"] == "unknown" and row["parameters"] == {} and row["patches"] == 0


@pytest.mark.parametrize(
    "image", [np.full((80, 80), np.nan), np.full((80, 80), 7.0), np.zeros((80, 80, 4))]
)
def test_what_is_no_image_is_refused(stand_in, image):
    with pytest.raises(ValueError, match=r"finite|ranges|shape"):
        blurjax.analyze(image, weights={"blur_type": stand_in})


def test_weights_of_an_unknown_system_are_refused(stand_in, texture):
    with pytest.raises(ValueError, match="no system is called blurtype"):
        blurjax.analyze(texture, weights={"blurtype": stand_in})


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


def test_every_system_has_a_summary():
    assert tuple(_analyze._SUMMARIES) == _analyze.Analysis._fields


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

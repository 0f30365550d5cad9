"""The evaluation of sharpness counts by the protocols it names, whatever estimates."""

import json
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest

from blurjax import data, images, metrics, sharpness
from blurjax.images import ImageError
from blurjax.weights import WeightsError
from eval import report
from eval import sharpness as protocol

METHODS = ("detector", "metric", "lbp")
SHAPE = (40, 60)
# Three tenths are blurred: the dark columns at the right.
DARK = np.zeros(SHAPE, bool)
DARK[:, 42:] = True


class Answer(NamedTuple):
    status: str
    sharpness: np.ndarray
    mask: np.ndarray
    sharp_fraction: float


class Batch(NamedTuple):
    images: np.ndarray
    sharp: np.ndarray
    image: np.ndarray


def photograph():
    """What is sharp in it is bright, so that a stand-in can see the truth."""
    return np.where(DARK, 0.2, 0.8)


@pytest.fixture
def estimator(monkeypatch):
    """The detector sees the truth, the metric half of the contrast; LBP has no weights."""

    def estimate(image, variables=None, config=None, *, method="detector", **options):
        assert (method == "metric") == ("refine" in options)
        if method == "lbp":
            raise WeightsError("no file lbp.npz; train it first")
        values = image / np.float32(255) if image.dtype == np.uint8 else image
        found = (values > 0.5).astype(np.float32)
        if method == "metric" and not options["refine"]:
            found = 0.25 + 0.5 * found
        # For photographs that are one thing all over: steps from pixel to pixel.
        steps = float(np.abs(np.diff(values, axis=1)).mean())
        return Answer("ok", found, found >= 0.5, float(steps > 0.05))

    def refine(found, *, iterations=(10, 50, 100), weights=(0.3, 0.2, 0.5), threshold="fixed"):
        assert len(weights) == len(iterations) and threshold in ("fixed", "mean", "otsu")
        return jnp.where(found < 0.5, 0, found)

    def sample(key, scenes, *, n=16):
        pictures = np.broadcast_to(photograph().astype(np.float32), (n, *SHAPE))
        return Batch(pictures, np.where(DARK, 0.25, 0.75) * np.ones((n, 1, 1)), np.zeros(n, int))

    monkeypatch.setattr(sharpness, "METHODS", METHODS)
    monkeypatch.setattr(protocol, "_refine", refine)
    for name, stand_in in (("estimate", estimate), ("compose", sample)):
        monkeypatch.setattr(sharpness, name, stand_in)


@pytest.fixture
def folders(tmp_path):
    """Two photographs with masks, white where blurred; and two to be blurred whole."""
    for folder in ("in", "masks", "whole"):
        (tmp_path / folder).mkdir()
    for name in ("a.png", "b.png"):
        images.write(tmp_path / "in" / name, photograph())
        images.write(tmp_path / "masks" / name, DARK.astype(float))
    noise = np.random.default_rng(0).uniform(size=(48, 64))
    images.write(tmp_path / "whole" / "noise.png", noise)
    images.write(tmp_path / "whole" / "flat.png", np.full((48, 64), 0.5))
    return tmp_path


def run(folders, **options):
    given = {
        "images": (folders / "in",), "masks": (folders / "masks",), "white": "blurred",
        "out": folders / "out", "whole": (folders / "whole",), "composites": 3, "runtime": False,
    }  # fmt: skip
    return protocol.evaluate(**{**given, **options})


def by_formula(precision, recall):
    return 1.3 * precision * recall / (0.3 * precision + recall)


def test_f_by_hand():
    truth = np.array([[1, 1, 1, 1, 0, 0, 0, 0]], bool)
    called = np.array([[1, 1, 1, 0, 1, 1, 0, 0]], bool)
    assert protocol.f(called, truth) == pytest.approx(by_formula(3 / 5, 3 / 4))
    assert protocol.f(np.zeros_like(truth), truth) == 0
    assert np.isnan(protocol.f(called, np.zeros_like(truth)))


def test_thresholds_relative_to_the_mean_by_hand():
    found = np.array([[0.0, 0.2, 0.3, 0.5]], np.float32)
    # The mean is 0.25: thresholds 0.375 and 0.5.
    np.testing.assert_array_equal(protocol._above(found, 1.5), [[0, 0, 0, 1]])
    np.testing.assert_array_equal(protocol._above(found, 2.0), [[0, 0, 0, 1]])
    np.testing.assert_array_equal(protocol._above(found, 1.0), [[0, 0, 1, 1]])
    # At most 1, so that a map of 1 reaches it; a map of 0 never does.
    assert protocol._above(np.ones((2, 2), np.float32), 2.0).all()
    assert not protocol._above(np.zeros((2, 2), np.float32), 1.5).any()


def test_a_perfect_map_and_constants():
    found = (~DARK).astype(np.float32)
    row = protocol.numbers(found, ~DARK)
    assert row.pop("mae") == 0
    assert set(row.values()) == {1}
    blurred = protocol.numbers(np.zeros(SHAPE, np.float32), ~DARK)
    assert blurred["f_blur"] == pytest.approx(1.3 * 0.3 / (0.3 * 0.3 + 1))
    assert blurred["mae"] == pytest.approx(0.7) and blurred["auc"] == 0.5
    assert blurred["f_sharp"] == blurred["f_sharp_1.5_mean"] == blurred["f_sharp_2_mean"] == 0
    sharp = protocol.numbers(np.ones(SHAPE, np.float32), ~DARK)
    assert sharp["f_sharp"] == pytest.approx(1.3 * 0.7 / (0.3 * 0.7 + 1)) and sharp["f_blur"] == 0
    whole = protocol.numbers(found, np.ones(SHAPE, bool))
    assert np.isnan(whole["f_blur"]) and np.isnan(whole["auc"]) and whole["mae"] == 0.3


def test_numbers_and_curve_are_those_of_the_metrics(float32):
    rng = np.random.default_rng(1)
    truth = rng.uniform(size=SHAPE) < 0.4
    # Steps of a level, so that many pixels tie and many lie on a threshold.
    found = np.rint(255 * np.clip(0.3 * truth + 0.7 * rng.uniform(size=SHAPE), 0, 1)) / 255
    found = found.astype(np.float32)
    row = protocol.numbers(found, truth)
    assert row["auc"] == pytest.approx(float(metrics.roc_auc(found, truth)), abs=1e-6)
    assert row["auc"] == pytest.approx(float(metrics.roc_auc(1 - found, ~truth)), abs=1e-6)
    assert row["mae"] == pytest.approx(float(metrics.mean_absolute_error(found, truth)), abs=1e-6)
    assert row["f_blur"] == pytest.approx(float(metrics.f_measure(found < 0.5, ~truth)), abs=1e-6)
    assert row["f_sharp"] == pytest.approx(float(metrics.f_measure(found >= 0.5, truth)), abs=1e-6)
    expected = metrics.precision_recall(1 - found, ~truth)
    for ours, theirs in zip(protocol.curve(found, truth), expected[:2], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_pooling_and_means_are_told_apart():
    tally = protocol._Tally()
    small = np.zeros((10, 10), bool)
    small[:5] = True
    large = np.zeros((30, 10), bool)
    large[:3] = True
    tally.add("right", "ok", small.astype(np.float32), small, True)
    tally.add("all blurred", "too dark", np.zeros(large.shape, np.float32), large, True)
    tally.add("whole", "ok", np.ones(small.shape, np.float32), np.ones(small.shape, bool), True)
    found = tally.summary()
    second = by_formula(0.9, 1)
    assert found["f_blur"]["n"] == 2 and found["f_sharp"]["n"] == 3 and found["auc"]["n"] == 2
    assert found["images"] == 3 and found["refused"] == 1
    assert found["f_blur"]["mean"] == pytest.approx((1 + second) / 2)
    assert found["f_blur"]["standard_error"] == pytest.approx((1 - second) / 2)
    assert found["f_max"] == pytest.approx(by_formula(0.95, 1), abs=1e-6)
    assert found["f_max_at_blur"] > 0
    assert found["f_pooled"] == pytest.approx(by_formula(320 / 350, 1))
    # 50 + 100 sharp pixels at 1 are above all 320 blurred ones, 30 at 0 equal them.
    assert found["auc_pooled"] == pytest.approx((150 + 15) / 180)
    assert found["mae"]["mean"] == pytest.approx((0 + 0.1 + 0) / 3)
    by_factor, by_fixed = tally.by_threshold()
    assert by_factor[0] == pytest.approx((1 + 0 + 1) / 3)
    np.testing.assert_allclose(by_fixed, (1 + second) / 2)


@pytest.mark.slow
def test_all_protocols_with_an_oracle(folders, estimator, capsys):
    result = run(folders, study=True)
    assert set(result["pairs"]["methods"]) == {
        "detector", "metric, refined", "metric, unrefined", "all blurred", "all sharp",
    }  # fmt: skip
    for part in (result["pairs"], result["composites"]):
        found = part["methods"]
        assert part["blurred_share"] == pytest.approx(0.3)
        for key in ("f_blur", "f_sharp", "f_sharp_1.5_mean", "f_sharp_2_mean", "auc"):
            assert found["detector"][key]["mean"] == 1, key
        assert found["detector"]["mae"]["mean"] == 0 and found["detector"]["f_max"] == 1
        raw = found["metric, unrefined"]
        assert raw["f_blur"]["mean"] == 1 and raw["mae"]["mean"] == pytest.approx(0.25)
        # Its mean is 0.6, and its largest value 0.75: nothing reaches 0.9 or 1.
        assert raw["f_sharp_1.5_mean"]["mean"] == raw["f_sharp_2_mean"]["mean"] == 0
        assert found["metric, refined"]["auc_unrefined"]["mean"] == 1
        blurred = found["all blurred"]
        assert blurred["f_max"] == pytest.approx(by_formula(0.3, 1))
        assert blurred["f_pooled"] == pytest.approx(by_formula(0.3, 1))
        assert blurred["auc_pooled"] == 0.5
        refinement = part["refinement"]
        assert refinement["of"] == "metric, unrefined" and len(refinement["rules"]) == 4
        single = refinement["rules"]["as shipped"]["single"]
        assert len(single["mae"]) == len(protocol._ITERATIONS)
        assert single["mae"][0]["mean"] == pytest.approx(0.25)
        # Squares of 4x4 pixels, and the edge that crosses some, are enlarged again.
        assert single["mae"][1]["mean"] == pytest.approx(0.7 * 0.25, abs=0.03)
    assert result["pairs"]["n"] == 2 and result["composites"]["n"] == 3
    assert "train it first" in result["left_out"]["lbp"] and "runtime" in result["left_out"]
    written = json.loads((folders / "out" / "report.json").read_text())
    assert written == json.loads(json.dumps(result, default=report._plain))
    assert {p.name for p in (folders / "out").iterdir()} == {
        "tables.json",
        "kernels.png",
        "report.json",
        *(
            f"{figure}_{part}.png"
            for figure in ("precision_recall", "sheet", "refinement", "thresholds")
            for part in ("pairs", "composites")
        ),
    }
    said = capsys.readouterr().out
    assert "white = blurred" in said and "all blurred" in said and "left out, lbp" in said


@pytest.mark.slow
def test_white_is_what_the_caller_says(folders, estimator):
    options = {"composites": 0, "methods": ("detector",)}
    blurred = run(folders, **options)["pairs"]["methods"]["detector"]
    assert blurred["f_blur"]["mean"] == 1
    wrong = run(folders, white="sharp", **options)
    assert wrong["pairs"]["methods"]["detector"]["f_blur"]["mean"] == 0
    assert wrong["pairs"]["methods"]["detector"]["mae"]["mean"] == 1
    assert wrong["pairs"]["blurred_share"] == pytest.approx(0.7)
    for name in ("a.png", "b.png"):
        images.write(folders / "masks" / name, (~DARK).astype(float))
    again = run(folders, white="sharp", **options)["pairs"]
    assert again["methods"]["detector"] == blurred and again["refinement"] is None


def test_photographs_that_are_one_thing_all_over(folders, estimator):
    result = run(folders, images=(), masks=(), white=None, composites=0, methods=("detector",))
    assert result["pairs"] is None and "no --images" in result["left_out"]["pairs"]
    assert result["left_out"]["composites"] == "--composites is 0"
    whole = result["whole"]
    # The flat one is called blurred, before and after.
    found = whole["methods"]["detector"]
    assert found["sharp"] == {"right": 1, "n": 2} and whole["n"] == 2
    assert found["out of focus, all"] == {"right": 8, "n": 8}
    assert found["moved, all"]["n"] == 6
    assert found["disc 8"] == {"right": 2, "n": 2}
    assert whole["photographs"] == ["flat.png", "noise.png"]


def test_time_is_taken_of_a_photograph_of_the_published_size(folders, estimator, monkeypatch):
    monkeypatch.setattr(protocol, "_TIMED", 3)
    seen = []
    estimate = sharpness.estimate

    def count(image, *args, **kwargs):
        seen.append((image.shape, image.dtype))
        return estimate(image, *args, **kwargs)

    monkeypatch.setattr(sharpness, "estimate", count)
    speed = protocol._runtime(
        protocol._System(
            (
                "detector",
                "lbp",
            ),
            (),
        )
    )
    assert set(seen) == {((457, 640), np.dtype(np.uint8))} and len(seen) == 2 + 3 + 1
    assert set(speed["methods"]) == {"detector"} and speed["cores"] >= 1
    assert speed["methods"]["detector"]["median_ms"] > 0


def test_what_cannot_be_read_is_counted_and_the_rest_goes_on(folders, estimator, capsys):
    images.write(folders / "masks" / "a.png", DARK[:-1].astype(float))
    (folders / "whole" / "flat.png").write_bytes(b"no image")
    result = run(folders, composites=0, methods=("detector",))
    assert result["pairs"]["n"] == 1 and list(result["pairs"]["unreadable"]) == ["a.png"]
    assert result["whole"]["n"] == 1 and list(result["whole"]["unreadable"]) == ["flat.png"]
    said = capsys.readouterr()
    assert "60 x 39" in said.err and "1 unreadable" in said.out
    (folders / "masks" / "b.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match="none of 2 pairs"):
        run(folders, composites=0)
    (folders / "masks" / "b.png").unlink()
    with pytest.raises(ImageError, match=r"b\.png: no mask"):
        run(folders)


def test_without_weights_the_constants_remain(folders, estimator, capsys):
    result = run(folders, methods=("lbp",), composites=0, runtime=True)
    assert set(result["pairs"]["methods"]) == {"all blurred", "all sharp"}
    assert result["whole"]["methods"] == result["runtime"]["methods"] == {}
    assert "train it first" in result["left_out"]["lbp"]
    assert {p.name for p in (folders / "out").iterdir()} == {"report.json", "tables.json"}


def test_weights_go_to_the_method_they_are_of(monkeypatch, estimator):
    seen = {}

    def estimate(image, variables=None, config=None, *, method="detector", **options):
        seen[method] = variables
        return Answer("ok", image, image > 0.5, 1.0)

    def load(name):
        return {"of": name}, sharpness.Config(body=name)

    monkeypatch.setattr(sharpness, "estimate", estimate)
    monkeypatch.setattr(sharpness, "load", load)
    methods = ("detector", "metric", "lbp")
    for given, expected in (
        (("metric",), {"detector": None, "metric": {"of": "metric"}, "lbp": {"of": "metric"}}),
        (("detector",), {"detector": {"of": "detector"}, "metric": None, "lbp": None}),
    ):
        system = protocol._System(methods, given)
        for variant in system.variants:
            system(np.zeros(SHAPE, np.float32), variant)
        assert seen == expected
    with pytest.raises(ValueError, match="'metric', which is not among"):
        protocol._System(("detector",), ("metric",))
    with pytest.raises(ValueError, match="a patch network, which answers for no image"):
        protocol._System(methods, ("patches",))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"masks": (), "white": None}, "1 folders of --images and 0 of --masks"),
        ({"images": ()}, "0 folders of --images and 1 of --masks"),
        ({"white": None}, "--masks without --white"),
        ({"images": (), "masks": ()}, "--white says nothing"),
        ({"composites": -1}, "composites is -1"),
        ({"methods": ("guess",)}, "no method is called"),
    ],
)
def test_options_that_do_not_fit(folders, estimator, options, reason):
    with pytest.raises(ValueError, match=reason):
        run(folders, **options)


def test_composites_are_numbered_and_named_after_their_photograph(estimator):
    scenes = data.Scenes(np.zeros((1, 8, 8), np.uint8), np.zeros((1, 8, 8), np.uint8), np.ones(1))
    examples = list(protocol._composites(scenes, ("other.png", "this.png"), 17, 0))
    assert [e.name for e in examples] == [f"{i}: this.png" for i in range(17)]
    np.testing.assert_array_equal(examples[16].sharp, ~DARK)

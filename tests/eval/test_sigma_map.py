"""The evaluation of sigma_map blurs as it says, and counts and pools right."""

import json
from typing import NamedTuple

import numpy as np
import pytest
import scipy.ndimage

from blurjax import data, images, sigma_map
from eval import report
from eval import sigma_map as protocol


class Answer(NamedTuple):
    status: str
    sigma: np.ndarray
    spread: np.ndarray
    valid: np.ndarray


@pytest.fixture
def folder(tmp_path):
    """Two photographs of one shape and one too small."""
    (tmp_path / "in").mkdir()
    for i, side in enumerate((130, 140, 90)):
        images.write(tmp_path / "in" / f"{i}.png", data.embedded("test")[i % 2][:side, :side])
    return tmp_path / "in"


@pytest.fixture
def estimator(monkeypatch):
    """Says 0.2 too much where the truth was a ramp, with that as its spread."""

    def estimate(image, variables, config, *, stride, decode):
        assert image.dtype == np.float32 and image.shape == (128, 128)
        np.testing.assert_allclose(255 * image, np.rint(255 * image), atol=1e-3)
        sigma = protocol._true_map("ramp", image.shape) + np.float32(0.2)
        valid = np.ones(image.shape, bool)
        valid[:64] = False
        return Answer("ok", sigma, np.full(image.shape, 0.2001, np.float32), valid)

    monkeypatch.setattr(sigma_map, "estimate", estimate)
    # Twelve thousand iterations are not what is tested here.
    monkeypatch.setattr(sigma_map, "heat_flow", lambda sigma, *, iterations, step: sigma)
    monkeypatch.setattr(sigma_map, "load", lambda name=None: ({}, sigma_map.Config()))


def test_images_are_halved_cropped_and_refused():
    image = np.arange(1100 * 130, dtype=np.float32).reshape(1100, 130)
    whole = protocol._prepared(image, False)
    assert whole.shape == (992, 128)
    np.testing.assert_array_equal(whole, image[54:1046, 1:129])
    assert protocol._prepared(image, True) is None and protocol._prepared(image[:95], False) is None
    wide = np.arange(400.0 * 200).reshape(400, 200).astype(np.float32)
    halved = protocol._prepared(wide, True)
    assert halved.shape == (192, 96)
    np.testing.assert_allclose(halved[0, 0], wide[8:10, 4:6].mean())


def test_the_maps_are_the_published_ones():
    wide, narrow = (128, 320), (128, 96)
    ramp = protocol._true_map("ramp", narrow)
    np.testing.assert_allclose(ramp[5], np.linspace(0.1, 3, 96), rtol=1e-6)
    columns, rows = np.arange(1, 321), np.arange(1, 129)
    sine = protocol._true_map("sine", wide)
    np.testing.assert_allclose(sine[5], 1.55 + 1.45 * np.sin(0.02 * columns), atol=1e-5)
    assert protocol._period("sine", narrow) == 96 and protocol._period("sine2d", wide) == 128
    waves = [np.sin(2 * np.pi * x / 128) for x in (rows, columns)]
    product = protocol._true_map("sine2d", wide)
    np.testing.assert_allclose(product, 1.55 + 1.45 * np.outer(*waves), atol=1e-5)
    for sigma in (ramp, sine, product):
        assert sigma.min() >= np.float32(0.1) and sigma.max() <= 3


def test_both_blurs_are_those_of_scipy(float32):
    sharp = data.embedded("test")[0][:64, :96]
    sigma = protocol._true_map("ramp", sharp.shape)
    ours, theirs = protocol._blurred(sharp, sigma), protocol._by_scipy(sharp, sigma[0])
    for column in (0, 3, 40, 95):
        whole = scipy.ndimage.gaussian_filter(sharp, float(sigma[0, column]), truncate=4.0)
        np.testing.assert_allclose(theirs[:, column], whole[:, column], atol=1e-6)
        # Kernels are cut off elsewhere: far below one level of 8 bits.
        np.testing.assert_allclose(ours[:, column], whole[:, column], atol=5e-4)


def test_noise_is_of_its_size_and_the_images_own(float32):
    sharp = np.full((96, 96), 0.5, np.float32)
    sigma = protocol._true_map("ramp", sharp.shape)
    condition = protocol._Condition("ramp", noise=3.0)
    seen = [protocol._observed(sharp, sigma, condition, 0, index) for index in (0, 1, 0)]
    assert 2.8 < 255 * seen[0].std() < 3.2
    np.testing.assert_array_equal(seen[0], seen[2])
    assert np.abs(seen[0] - seen[1]).max() > 0.01


def test_errors_of_a_map_made_by_hand():
    truth = np.ones((10, 10), np.float32)
    found, spread = truth + np.float32(0.1), np.full((10, 10), 0.2, np.float32)
    found[0], spread[0] = 2.0, 0.5
    found[1], spread[1] = 1.3, 0.2
    valid = spread < 0.3
    row = protocol.errors(found, spread, valid, truth)
    np.testing.assert_allclose(row["rmse"] ** 2, 0.1 + 0.009 + 0.008, rtol=1e-5)
    np.testing.assert_allclose(row["bias"], 0.1 + 0.03 + 0.08, rtol=1e-5)
    np.testing.assert_allclose(row["rmse_valid"] ** 2, (0.9 + 0.8) / 90 * 1, rtol=2e-2)
    assert row["n_surest"] == 80 and row["rmse_surest"] < row["rmse"]
    np.testing.assert_allclose([row["within_68"], row["within_95"]], [0.8, 0.9])
    np.testing.assert_allclose(row["rms_error_in_spreads"] ** 2, 0.1 * 4 + 0.1 * 2.25 + 0.8 * 0.25)
    found[5] = np.nan
    gap = protocol.errors(found, spread, valid, truth)
    assert gap["n"] == 90 and gap["without_number"] == pytest.approx(0.1)
    empty = protocol.errors(np.full_like(found, np.nan), spread, valid, truth)
    assert "rmse" not in empty


def test_pooling_weighs_pixels_and_takes_offsets_apart():
    def row(n, rmse, bias):
        one = dict.fromkeys(
            ("rmse_valid", "rmse_surest", "rms_error_in_spreads", "mean_spread", "seconds"), rmse
        )
        shares = dict.fromkeys(("within_68", "within_95", "without_number"), 0.5)
        counts = {"n": n, "n_valid": n // 2, "n_surest": n}
        # The better image is the surer one.
        bins = np.zeros((2, len(protocol._BINS) + 1))
        bins[:, round(100 * rmse)] = n, n * rmse**2
        counts["by_spread"] = bins
        return {"status": "ok", "rmse": rmse, "bias": bias, **one, **shares, **counts}

    rows = [row(300, 0.1, 0.1), row(100, 0.5, -0.3), {"status": "too small"}]
    pooled = protocol._pooled(rows)
    total = (3 * 0.01 + 0.25) / 4
    np.testing.assert_allclose(pooled["rmse"], total**0.5)
    np.testing.assert_allclose(pooled["offset_share"], (3 * 0.01 + 0.09) / 4 / total)
    np.testing.assert_allclose(pooled["rmse_without_offset"], (0.16 / 4) ** 0.5)
    surest = (300 * 0.01 + 20 * 0.25) / 320
    np.testing.assert_allclose(pooled["rmse_surest"], surest**0.5)
    assert pooled["n"] == 2 and pooled["refused"] == pooled["without_estimate"] == 1
    assert pooled["rmse_median_image"] == pytest.approx(0.3)
    assert protocol._jackknife(np.full(5, 0.04), np.full(5, 7.0)) == pytest.approx(0, abs=1e-9)
    squares = np.random.default_rng(0).exponential(size=400)
    standard = squares.std() / 20 / (2 * np.sqrt(squares.mean()))
    assert protocol._jackknife(squares, np.ones(400)) == pytest.approx(standard, rel=0.02)


def test_the_yardsticks():
    image = np.zeros((96, 96), np.float32)
    truth = protocol._true_map("ramp", image.shape)
    seen = protocol._yardsticks(image, truth)
    assert seen["constant"] == pytest.approx(2.9 / 95 * np.sqrt((64**2 - 1) / 12), rel=1e-5)
    for count in (10, 30):
        expected = 3.0 / count / np.sqrt(12)
        assert seen[f"quantised to {count} classes"] == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize("sigma", [1.0, 2.0, 3.0])
def test_polyblur_reads_a_step(sigma):
    step = np.zeros((96, 96))
    step[:, 48:] = 0.6
    blurred = scipy.ndimage.gaussian_filter(step, sigma).astype(np.float32)
    found = protocol.polyblur(blurred, window=32)
    # The constants stand for photographs, whose edges are a little soft.
    assert 0.6 * sigma < found[48, 48] < 1.1 * sigma
    np.testing.assert_allclose(protocol.polyblur(0.2 + blurred, window=32), found, atol=1e-4)
    assert set(np.unique(protocol.polyblur(np.full((40, 40), 0.3, np.float32), window=32))) == {
        np.float32(0.3)
    }


@pytest.mark.slow
def test_the_protocol_with_an_oracle(tmp_path, folder, float32, estimator, capsys):
    result = protocol.evaluate(
        (folder,), tmp_path / "out", uniform=1, noise=(0.0, 1.0), protocol="photographs"
    )
    assert result["photographs"] == 2 and result["too_small"] == ["2.png"]
    assert result["shapes"] == [(128, 128)] and result["images_are"] == "photographs"
    assert set(result["tests"]) == {
        "ramp", "sine", "sine2d", "ramp, noise 1/255", "ramp, blurred by SciPy",
    }  # fmt: skip
    ramp = result["tests"]["ramp"]
    np.testing.assert_allclose([ramp["rmse"], ramp["bias"], ramp["rmse_surest"]], 0.2, rtol=1e-4)
    assert ramp["valid_share"] == 0.5 and ramp["within_68"] == 1
    assert ramp["offset_share"] == pytest.approx(1) and ramp["rmse_without_offset"] < 1e-3
    assert ramp["smoothed"]["heat flow, 1 iteration"] == pytest.approx(0.2, rel=1e-2)
    assert result["tests"]["ramp, blurred by SciPy"]["levels_from_ours"]["most"] <= 1
    assert [row["n"] for row in result["uniform"]] == [1] * 8
    written = json.loads((tmp_path / "out" / "report.json").read_text())
    assert written == json.loads(json.dumps(result, default=report._plain))
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "tables.json",
        "report.json", "maps_ramp.png", "maps_sine.png", "maps_sine2d.png", "uniform.png",
    }  # fmt: skip
    said = capsys.readouterr()
    assert "protocol: photographs" in said.out and "Brodatz" in said.out
    assert "uniform blur: 1 of 1 images read" in said.err


def test_nothing_to_evaluate(tmp_path, folder, estimator):
    with pytest.raises(ValueError, match="96 pixels a side after halving"):
        protocol.evaluate((folder,), tmp_path, halve=True)
    for option in ({"noise": (-1.0,)}, {"photographs": 0}, {"tests": ()}, {"stride": 0}):
        with pytest.raises(ValueError, match="give"):
            protocol.evaluate((folder,), tmp_path, **option)


def test_the_split_of_training_is_the_other_one(folder):
    some = data.split(data.folder(folder))[0].names
    assert protocol.selection.chosen((folder,), "train").names == some
    assert protocol.selection.chosen((folder,), "all").names == ("0.png", "1.png", "2.png")

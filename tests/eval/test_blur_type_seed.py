"""The published experiment: patches from two folders, and deblurring with what is found."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from blurjax import blur_type, data, images
from eval import blur_type_seed as protocol
from eval import report


@pytest.fixture
def folders(tmp_path):
    for i, name in enumerate(("first", "second")):
        (tmp_path / name).mkdir()
        images.write(tmp_path / name / f"{i}.png", data.embedded("test")[i][40:240, 100:290])
    return tmp_path / "first", tmp_path / "second"


@pytest.mark.slow
def test_deconvolution_gains_with_the_true_kernel_and_loses_with_a_wrong_one(float32, stand_in):
    sharp = data.embedded("test")[1][:200, :240]
    case = protocol._deblur("one", sharp, *blur_type.load(stand_in))
    shape = (200 - 2 * (8 + 16), 240 - 2 * (8 + 16))
    assert case.truth.shape == shape and {v.shape for v in case.versions.values()} == {shape}
    psnr = {title: scores["psnr"] for title, scores in case.quality.items()}
    ssim = {title: scores["ssim"] for title, scores in case.quality.items()}
    assert psnr[protocol._TRUE] > psnr[protocol._BLURRED] + 3
    assert psnr[protocol._WRONG] < psnr[protocol._BLURRED]
    assert ssim[protocol._TRUE] > ssim[protocol._BLURRED] > ssim[protocol._WRONG]
    assert case.patches > 20


def test_the_angle_of_many_patches_is_a_circular_median(float32, monkeypatch):
    blurred = data.embedded("test")[1][:100, :100]

    def predictions(variables, config, patches):
        n = len(patches)
        # On either side of the horizontal, where angles begin again.
        angle = np.where(np.arange(n) % 2 == 0, 0.1, np.pi - 0.04).astype(np.float32)
        angle[0] = 0.03
        length = np.where(np.arange(n) < n // 2 + 1, 7.0, 90.0)
        zero = np.zeros(n)
        return blur_type.Prediction(
            np.zeros((n, 3)), np.zeros((n, 3)), zero, zero, length, angle, zero, np.zeros((n, 3))
        )

    monkeypatch.setattr(protocol.protocol, "predictions", predictions)
    found, count = protocol._told_motion(blurred, {}, blur_type.Config())
    assert count > 20 and found["length"] == 7
    assert float(blur_type.circular_error(jnp.float32(found["angle"]), jnp.float32(0.03))) < 0.08


def test_a_flat_photograph_has_nothing_to_say(float32, stand_in, tmp_path):
    variables, config = blur_type.load(stand_in)
    flat = np.full((200, 200), 0.5, np.float32)
    assert protocol._deblur("flat", flat, variables, config) is None
    # Nor has one that is too small.
    images.write(tmp_path / "small.png", data.embedded("test")[0][:100, :100])
    with pytest.raises(ValueError, match="--photographs 0"):
        protocol._deblurred({"CR1": data.folder(tmp_path / "small.png")}, 1, variables, config)


def test_the_richest_square_is_found():
    image = np.zeros((100, 140), np.float32)
    image[64:80, 96:112] = np.eye(16)
    row, column = protocol._richest(image, 32)
    assert row <= 64 <= 80 <= row + 32 and column <= 96 <= 112 <= column + 32


@pytest.mark.parametrize("option", [{"patches": 31}, {"photographs": -1}])
def test_options_out_of_range(folders, option):
    with pytest.raises(ValueError, match="give"):
        protocol.evaluate(*folders, **option)


# The stand-in never chooses some types, whose errors are then means of nothing.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value")
def test_the_whole_protocol(tmp_path, folders, stand_in, float32, capsys):
    result = protocol.evaluate(
        *folders, tmp_path / "out", patches=30, photographs=1, weights=stand_in
    )
    written = json.loads((tmp_path / "out" / "report.json").read_text())
    assert written == json.loads(json.dumps(result, default=report._plain))
    for name in ("CR1", "CR2"):
        np.testing.assert_array_equal(np.sum(written["classification"][name]["confusion"], 1), 10)
        assert set(written["parameters"][name]) == {"sigma", "length", "angle", "radius"}
    assert written["deblurring"]["n"] == 2 and len(written["deblurring"]["methods"]) == 5
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "tables.json",
        "confusion_CR1.png", "confusion_CR2.png", "deblurring.png", "report.json",
    }  # fmt: skip
    out = capsys.readouterr().out
    assert "whole chain" in out and "paper" not in out
    without = protocol.evaluate(
        *folders, tmp_path / "out", patches=30, photographs=0, weights=stand_in
    )
    assert without["deblurring"] is None

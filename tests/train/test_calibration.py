import jax
import numpy as np
import pytest

from blurjax import images
from train import calibration


def test_logistic_finds_the_line_that_made_the_labels():
    rng = np.random.default_rng(0)
    score = rng.normal(2.0, 3.0, (200, 500)).astype(np.float32)
    truth = (rng.uniform(size=score.shape) < 1 / (1 + np.exp(-(0.7 * score - 1.1)))).astype(float)
    line = calibration.logistic([[(row, t) for row, t in zip(score, truth, strict=True)]])
    # Both kinds weigh alike: the offset loses the logarithm of the odds of the labels.
    odds = np.log(truth.mean() / (1 - truth.mean()))
    assert float(line["scale"]) == pytest.approx(0.7, abs=0.02)
    assert float(line["offset"]) == pytest.approx(-1.1 - odds, abs=0.05)


def test_unbalanced_the_line_says_how_often_labels_are_true():
    rng = np.random.default_rng(3)
    score = rng.normal(2.0, 3.0, 100_000)
    truth = rng.uniform(size=score.shape) < 1 / (1 + np.exp(-(0.7 * score - 3.0)))
    line = calibration.logistic([[(score, truth)]], balanced=False)
    assert float(line["scale"]) == pytest.approx(0.7, abs=0.02)
    assert float(line["offset"]) == pytest.approx(-3.0, abs=0.05)
    said = 1 / (1 + np.exp(-(float(line["scale"]) * score + float(line["offset"]))))
    assert said.mean() == pytest.approx(truth.mean(), abs=1e-4)


@pytest.mark.parametrize(("balanced", "rate"), [(False, 0.3), (True, 0.5)])
def test_scores_that_say_nothing_are_all_as_sure_as_the_labels_are_often_true(balanced, rate):
    truth = np.arange(1000) < 300
    line = calibration.logistic([[(np.full(1000, 0.1), truth)]], balanced=balanced)
    odds = float(line["scale"]) * 0.1 + float(line["offset"])
    assert 1 / (1 + np.exp(-odds)) == pytest.approx(rate, abs=1e-5)


def test_groups_count_alike_however_large():
    rng = np.random.default_rng(1)
    x = rng.normal(size=1000)
    low, high = (
        (x, (x + rng.logistic(scale=0.3, size=1000) > threshold).astype(float))
        for threshold in (-0.5, 0.5)
    )
    once = calibration.logistic([[low], [high]])
    often = calibration.logistic([[low] * 30, [high]])
    assert float(often["offset"]) == pytest.approx(float(once["offset"]), rel=1e-4)
    together = calibration.logistic([[low] * 30 + [high]])
    assert float(together["offset"]) > float(once["offset"]) + 0.3


@pytest.mark.slow
def test_composites_are_as_many_as_asked_for():
    from blurjax.data import Scenes

    squares = np.random.default_rng(2).integers(0, 255, (2, 64, 64)).astype(np.uint8)
    scenes = Scenes(squares, np.zeros_like(squares), np.arange(2, dtype=np.int32))
    found = calibration.composites(jax.random.key(0), scenes, 3)
    assert len(found) == 3
    assert found[0].image.shape == found[0].sharp.shape == (64, 64)


def test_pairs_name_what_is_white(tmp_path):
    for name in ("photographs", "masks"):
        (tmp_path / name).mkdir()
    images.write(tmp_path / "photographs" / "a.png", np.full((40, 40), 0.5))
    mask = np.zeros((40, 40))
    mask[:, :10] = 1
    images.write(tmp_path / "masks" / "a.png", mask)
    folders = [tmp_path / "photographs"], [tmp_path / "masks"]
    (sharp,) = calibration.pairs(*folders, "sharp")
    (blurred,) = calibration.pairs(*folders, "blurred")
    np.testing.assert_array_equal(sharp.sharp, mask)
    np.testing.assert_array_equal(blurred.sharp, 1 - mask)
    with pytest.raises(ValueError, match="1 folders of pairs and 0 of masks"):
        calibration.pairs(folders[0], [], "sharp")

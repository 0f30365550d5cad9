"""Sigma maps of photographs that are partly out of focus."""

import numpy as np
import pytest

from blurjax import images, sigma_map
from eval import defocus_maps


@pytest.fixture
def rising(monkeypatch):
    """A map that is right: sigma 1 px on the left half, 3 px on the right, unknown in a corner."""

    def estimate(image, *_):
        sigma = np.ones(image.shape[:2], np.float32)
        sigma[:, sigma.shape[1] // 2 :] = 3
        valid = np.ones(sigma.shape, bool)
        valid[:4, :4] = False
        return sigma_map.Estimate("ok", sigma, np.full_like(sigma, 0.1), valid)

    monkeypatch.setattr(sigma_map, "estimate", estimate)


def pair(tmp_path, name, sharp):
    images.write(tmp_path / "images" / f"{name}.png", np.zeros((32, 40), np.float32))
    images.write(tmp_path / "masks" / f"{name}.png", sharp.astype(np.float32))


def test_masks_say_how_well_sigma_tells_blurred_from_sharp(tmp_path, rising, capsys):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    left = np.zeros((32, 40), bool)
    left[:, :20] = True
    pair(tmp_path, "right", left)
    pair(tmp_path, "wrong", ~left)
    made = defocus_maps.evaluate(
        (tmp_path / "images",), (tmp_path / "masks",), "sharp", out=tmp_path / "out", figures=1
    )
    right, wrong = made["rows"]
    assert (right["auc"], wrong["auc"]) == (1, 0)
    assert (right["sharp"], right["blurred"]) == (1, 3)
    assert right["coverage"] == pytest.approx(1 - 16 / (32 * 40))
    assert [p.suffix for p in (tmp_path / "out").glob("*.png")] == [".png"]
    turned = defocus_maps.evaluate(
        (tmp_path / "images",), (tmp_path / "masks",), "blurred", out=tmp_path / "o2", figures=0
    )
    assert [row["auc"] for row in turned["rows"]] == [0, 1]
    assert "n = 2 photographs" in capsys.readouterr().out


def test_without_masks_there_are_pictures_alone(tmp_path, rising):
    made = defocus_maps.evaluate(out=tmp_path)
    assert [row["auc"] for row in made["rows"]] == [None, None]
    assert len(list(tmp_path.glob("*.png"))) == 2


def test_what_does_not_fit_together_is_refused(tmp_path, rising):
    for options in (
        {"masks": (tmp_path,)},
        {"white": "sharp"},
        {"images": (tmp_path,), "masks": (tmp_path,)},
        {"figures": -1},
    ):
        with pytest.raises(ValueError, match="give"):
            defocus_maps.evaluate(out=tmp_path, **options)

"""Photographs and masks are matched by name, and white is what the file says is white."""

import numpy as np
import pytest
from PIL import Image

from blurjax import data, images
from blurjax.images import ImageError

LEFT = np.zeros((6, 8), bool)
LEFT[:, :3] = True


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(values)).save(path)


def colour(values):
    return np.repeat(np.asarray(values, np.uint8)[..., None], 3, axis=-1)


@pytest.fixture
def folders(tmp_path):
    """A photograph whose gray is 0.2, another in a folder below; of the first no mask yet."""
    for name in ("a.png", "sub/b.v2.bmp"):
        save(tmp_path / "in" / name, colour(np.full((6, 8), 51)))
    save(tmp_path / "masks" / "sub" / "b.v2.png", np.uint8(255) * LEFT)
    return tmp_path / "in", tmp_path / "masks"


def test_photographs_have_the_masks_of_their_names(folders):
    save(folders[1] / "a.jpg", np.uint8(255) * ~LEFT)
    save(folders[1] / "nobody.png", np.uint8(255) * LEFT)
    found = data.pairs(*folders)
    assert found.names == ("a.png", "sub/b.v2.bmp") and len(found) == 2
    for pair, white in zip(found, (~LEFT, LEFT), strict=True):
        assert pair.image.dtype == np.float32 and pair.mask.dtype == bool
        np.testing.assert_allclose(pair.image, 0.2, rtol=1e-5)
        np.testing.assert_array_equal(pair.mask, white)
    np.testing.assert_array_equal(found[-1].mask, LEFT)
    with pytest.raises(IndexError):
        found[2]
    alone = data.pairs(folders[0] / "a.png", folders[1] / "a.jpg")
    assert alone.names == ("a.png",) and len(alone) == 1


@pytest.mark.parametrize(
    ("name", "values", "white"),
    [
        ("a.bmp", LEFT.astype(np.uint8), LEFT),
        ("a.png", colour(LEFT), LEFT),
        ("a.png", colour(np.uint8(255) * LEFT), LEFT),
        ("a.png", LEFT, LEFT),
        ("a.png", LEFT.astype(np.uint16), LEFT),
        ("a.png", np.where(LEFT, 128, 127).astype(np.uint8), LEFT),
        ("a.png", np.ones((6, 8), np.uint8), np.ones((6, 8), bool)),
        ("a.png", np.zeros((6, 8), np.uint8), np.zeros((6, 8), bool)),
        ("a.jpg", np.ones((6, 8), np.uint8), np.zeros((6, 8), bool)),
        ("a.png", np.where(LEFT, 9, 0).astype(np.uint8), np.zeros((6, 8), bool)),
    ],
)
def test_white_is_half_of_the_format_or_one_of_zero_and_one(folders, name, values, white):
    save(folders[1] / name, values)
    np.testing.assert_array_equal(data.pairs(*folders)[0].mask, white)


def test_a_photograph_without_a_mask_is_named(folders):
    with pytest.raises(ImageError, match=r"^a\.png: no mask .* add 'a\.png' there or take"):
        data.pairs(*folders)
    save(folders[0] / "c.png", np.zeros((6, 8), np.uint8))
    with pytest.raises(ImageError, match=r"^a\.png and 1 other photographs: no mask"):
        data.pairs(*folders)
    for name in ("a", "c"):
        save(folders[1] / f"{name}.png", np.uint8(255) * LEFT)
    save(folders[1] / "c.jpg", np.uint8(255) * LEFT)
    with pytest.raises(ImageError, match=r"^c\.png: 2 masks .* c\.jpg and c\.png; keep one"):
        data.pairs(*folders)
    with pytest.raises(ImageError, match="check the path"):
        data.pairs(folders[0], folders[1] / "missing")


def test_pairs_that_cannot_be_read_are_refused_when_asked_for(folders):
    save(folders[1] / "a.png", np.zeros((8, 6), np.uint8))
    found = data.pairs(*folders)
    with pytest.raises(ImageError, match=r"has 6 x 8 pixels .* has 8 x 6; both"):
        found[0]
    save(folders[1] / "a.png", np.where(LEFT, 38, 0).astype(np.uint8))
    with pytest.raises(ImageError, match=r"0\.149 of the file's range.*save it with 0 and 255"):
        found[0]
    (folders[1] / "a.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"a\.png: not an image"):
        found[0]
    assert found[1].mask.any()


def test_pairs_are_read_lazily(folders, monkeypatch):
    save(folders[1] / "a.png", np.uint8(255) * LEFT)

    def refuse(path):
        raise AssertionError("a file was read")

    monkeypatch.setattr(images, "read", refuse)
    assert "2 photographs" in repr(data.pairs(*folders))

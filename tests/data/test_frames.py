import numpy as np
import pytest

from blurjax import data
from blurjax.data._source import Photograph, Photographs


def source(*shapes):
    rng = np.random.default_rng(0)
    images = [rng.random(shape, dtype=np.float32) for shape in shapes]
    return images, Photographs(
        Photograph(f"{i}.png", lambda image=image: image, None) for i, image in enumerate(images)
    )


def test_frames_hold_the_photographs_in_their_upper_left_corners():
    (tall, small, _, wide), photographs = source((90, 60), (50, 70), (39, 90), (64, 150))
    cut = data.frames(photographs, (64, 100), least=40)
    assert cut.images.dtype == np.uint8 and cut.images.shape[1:] == (64, 100)
    np.testing.assert_array_equal(cut.index, [0, 1, 3, 3])  # The third is too small.
    np.testing.assert_array_equal(cut.inside, [[60, 90], [50, 70], [64, 100], [64, 100]])
    # The portrait lies on its side.
    np.testing.assert_array_equal(cut.images[0, :60, :90], np.rint(255 * tall.T))
    np.testing.assert_array_equal(cut.images[1, :50, :70], np.rint(255 * small))
    assert not cut.images[1, 50:].any() and not cut.images[1, :, 70:].any()
    parts = {x.tobytes() for x in cut.images[2:]}
    assert parts == {
        np.rint(255 * wide[:, at : at + 100]).astype(np.uint8).tobytes() for at in (0, 50)
    }


def test_reductions_average_and_count():
    (image,), photographs = source((200, 240))
    cut = data.frames(photographs, (100, 120), least=60, factors=(2.0,), per_image=9)
    expected = image.reshape(100, 2, 120, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(cut.images[0], 255 * expected, atol=1)
    few = data.frames(photographs, (100, 120), least=60, factors=(1.0, 2.0), per_image=3)
    again = data.frames(photographs, (100, 120), least=60, factors=(1.0, 2.0), per_image=3)
    assert len(few.images) == 3
    np.testing.assert_array_equal(few.images, again.images)


def test_what_cannot_be_cut_is_said():
    _, photographs = source((30, 30))
    with pytest.raises(ValueError, match="none of 1 photographs has 160 pixels"):
        data.frames(photographs)
    with pytest.raises(ValueError, match="least is 200"):
        data.frames(photographs, (100, 120), least=200)

import numpy as np
import pytest

from blurjax import region


def test_the_published_photograph_has_144_windows():
    corners = region.grid((450, 450), 228, 20)
    assert corners.shape == (144, 2)
    assert corners[0].tolist() == [0, 0] and corners[1].tolist() == [0, 20]  # Row by row.
    assert corners[-1].tolist() == [220, 220]


@pytest.mark.parametrize(
    ("shape", "size", "stride"), [((450, 300), 228, 20), ((64, 200), 64, 16), ((99, 101), 64, 7)]
)
def test_windows_are_inside_apart_and_as_many_as_fit(shape, size, stride):
    corners = region.grid(shape, size, stride)
    assert corners.min() == 0 and np.all(corners + size <= shape)
    assert np.all(corners % stride == 0) and len(np.unique(corners, axis=0)) == len(corners)
    # One more would not be inside.
    assert np.all(corners.max(axis=0) + stride + size > shape)
    assert len(corners) == np.prod([1 + (n - size) // stride for n in shape])


def test_smaller_images_have_none_and_equal_ones_one():
    for shape in ((227, 500), (500, 227), (20, 20)):
        assert region.grid(shape, 228, 20).shape == (0, 2)
    assert region.grid((228, 228), 228, 20).tolist() == [[0, 0]]

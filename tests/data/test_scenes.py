"""Squares of photographs with their regions, drawn by hand or found."""

import numpy as np
import pytest
from scipy.io import savemat

from blurjax import data
from blurjax.images import ImageError


class Arrays:
    """The smallest source there is."""

    def __init__(self, **arrays):
        self.names = tuple(f"{name}.png" for name in arrays)
        self.arrays = list(arrays.values())

    def __len__(self):
        return len(self.arrays)

    def __getitem__(self, index, /):
        return self.arrays[index]


def noise(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


def blocks(height, width, side):
    """A number for each block of `side` pixels; numbers are mixed, so that none follows area."""
    row, column = np.mgrid[:height, :width] // side
    return (row * 7 + column * 3) % 11 + 1


def shade(regions):
    """A photograph that shows the regions: each has a gray level of its own."""
    return (regions / np.float32(regions.max() + 1)).astype(np.float32)


def draw(folder, name, *annotators):
    """As the Berkeley data: groundTruth, a cell of structures."""
    cells = np.empty((1, len(annotators)), object)
    for i, regions in enumerate(annotators):
        cells[0, i] = {"Segmentation": regions.astype(np.uint16), "Boundaries": regions > 1}
    folder.mkdir(exist_ok=True, parents=True)
    savemat(folder / f"{name}.mat", {"groundTruth": cells})
    return folder


def partition(labels):
    """The regions by the place where each is first met: the same for any numbering."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return first[inverse].reshape(labels.shape)


def test_squares_of_photographs_with_their_regions_found():
    source = Arrays(a=shade(blocks(90, 120, 30)), b=noise(70, 200))
    found = data.scenes(source, size=64)
    assert found.images.shape == found.segments.shape == (2, 64, 64)
    assert found.images.dtype == found.segments.dtype == np.uint8
    assert found.index.dtype == np.int32 and found.index.tolist() == [0, 1]
    levels = np.rint(255 * source[0])
    windows = np.lib.stride_tricks.sliding_window_view(levels, (64, 64))
    assert np.any(np.all(windows == found.images[0], axis=(2, 3)))
    # But for slivers along the edges a region is of one gray level.
    regions = [found.images[0][found.segments[0] == i] for i in np.unique(found.segments[0])]
    assert len(regions) >= 6
    assert sum(np.bincount(region).max() for region in regions) > 0.85 * 64 * 64
    for segments in found.segments:
        areas = np.bincount(segments.ravel())
        assert len(areas) <= 64 and np.all(np.diff(areas) <= 0) and areas.min() > 0


def test_regions_drawn_by_hand_are_used_and_numbered_by_falling_area(tmp_path):
    regions = blocks(100, 130, 25)
    root = draw(tmp_path / "mats" / "deeper", "a", regions).parent
    source = Arrays(a=shade(regions), b=noise(100, 100))
    found = data.scenes(source, segmentations=root, size=64)
    np.testing.assert_array_equal(partition(found.segments[0]), partition(found.images[0]))
    areas = np.bincount(found.segments[0].ravel())
    assert len(areas) > 5 and np.all(np.diff(areas) <= 0) and areas.min() > 0
    # Of the photograph that nobody has drawn nothing else changes.
    alone = data.scenes(Arrays(b=source[1]), size=64)
    np.testing.assert_array_equal(found.segments[1], alone.segments[0])


def test_one_of_the_annotators_is_chosen_at_random(tmp_path):
    truths = [blocks(64, 64, side) for side in (16, 32)]
    root = draw(tmp_path, "a", *truths)
    chosen = set()
    for seed in range(8):
        found = data.scenes(Arrays(a=noise(64, 64)), segmentations=root, size=64, seed=seed)
        same = [np.array_equal(partition(found.segments[0]), partition(t)) for t in truths]
        assert sum(same) == 1
        chosen.add(same.index(True))
    assert chosen == {0, 1}


def test_what_is_beyond_the_64_largest_joins_the_last(tmp_path):
    regions = np.arange(64 * 64).reshape(64, 64) // 40
    found = data.scenes(
        Arrays(a=noise(64, 64)), segmentations=draw(tmp_path, "a", regions), size=64
    )
    areas = np.bincount(found.segments[0].ravel())
    assert data.REGIONS == len(areas) == 64
    assert np.all(areas[:63] == 40) and areas[63] == 64 * 64 - 63 * 40


def test_factors_reduce_photograph_and_regions_alike(tmp_path):
    regions = blocks(160, 240, 32)
    found = data.scenes(
        Arrays(a=shade(regions), b=noise(100, 100)),
        segmentations=draw(tmp_path, "a", regions),
        size=64,
        factors=(1.0, 2.0, 4.0),
    )
    # A quarter of the first is 40x60, a little too small; half of the second 50x50.
    assert found.index.tolist() == [0, 0, 0, 1, 1]
    for image, segments in zip(found.images[:3], found.segments[:3], strict=True):
        np.testing.assert_array_equal(partition(segments), partition(image))
    # Blocks of 32, 16 and 8 pixels: the more of them fit.
    edges = [np.mean(np.diff(s.astype(int), axis=1) != 0) for s in found.segments[:3]]
    assert 1.5 * edges[0] < edges[1] and 1.5 * edges[1] < edges[2]


def test_images_a_little_too_small_are_continued_by_mirroring(tmp_path):
    image = noise(40, 60)
    root = draw(tmp_path, "a", blocks(40, 60, 10))
    found = data.scenes(Arrays(a=image), segmentations=root, size=64)
    for square in (found.images[0], found.segments[0]):
        np.testing.assert_array_equal(square[40:], square[39:15:-1])
        np.testing.assert_array_equal(square[:, 60:], square[:, 59:55:-1])
    np.testing.assert_array_equal(found.images[0][:40, :60], np.rint(255 * image))


def test_images_much_too_small_are_left_out():
    source = Arrays(small=noise(38, 200), good=noise(39, 200, seed=1))
    found = data.scenes(source, size=64)
    assert found.index.tolist() == [1]
    with pytest.raises(ValueError, match="none of 1 photographs has 39 pixels a side"):
        data.scenes(Arrays(small=source[0]), size=64)


def test_the_choice_depends_on_seed_and_name_alone():
    a, b = noise(100, 150), noise(100, 150, seed=1)
    both = data.scenes(Arrays(a=a, b=b), size=64, factors=(1.0, 1.25))
    again = data.scenes(Arrays(a=a, b=b), size=64, factors=(1.0, 1.25))
    for x, y in zip(both, again, strict=True):
        np.testing.assert_array_equal(x, y)
    alone = data.scenes(Arrays(b=b), size=64, factors=(1.0, 1.25))
    np.testing.assert_array_equal(alone.images, both.images[2:])
    np.testing.assert_array_equal(alone.segments, both.segments[2:])
    other = data.scenes(Arrays(a=a, b=b), size=64, factors=(1.0, 1.25), seed=1)
    assert np.any(other.images != both.images)
    renamed = data.scenes(Arrays(c=a), size=64)
    assert np.any(renamed.images != both.images[:1])


def test_what_cannot_be_read_is_refused_with_its_name(tmp_path):
    source = Arrays(a=noise(64, 64))

    def refused(words):
        with pytest.raises(ImageError, match=words):
            data.scenes(source, segmentations=tmp_path, size=64)

    refused("no MATLAB file below this folder")
    draw(tmp_path, "a", blocks(64, 65, 8))
    refused(r"a\.mat: the segmentation is 64x65 and the photograph 64x64")
    savemat(tmp_path / "a.mat", {"other": np.ones((64, 64))})
    refused(r"a\.mat: not a segmentation \(KeyError")
    (tmp_path / "a.mat").write_bytes(b"not a MATLAB file at all" * 20)
    refused(r"a\.mat: not a segmentation")


@pytest.mark.parametrize("options", [{"size": 31}, {"factors": ()}, {"factors": (1.0, 0.5)}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match="give a size from 32 on and factors from 1 on"):
        data.scenes(Arrays(a=noise(64, 64)), **options)

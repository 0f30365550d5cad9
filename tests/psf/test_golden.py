"""Numbers that other people printed: MATLAB's fspecial."""

import numpy as np
import pytest

from blurjax import psf

# To the digits that were published.
PRINTED = {"rtol": 0, "atol": 5.1e-5}


def quadrant(rows):
    """The kernel whose lower right quadrant, centre included, is given."""
    rows = np.array(rows)
    right = np.concatenate([rows[:, :0:-1], rows], axis=1)
    return np.concatenate([right[:0:-1], right])


def test_disk_of_radius_1():
    # fspecial('disk', 1) as it is printed at many places; its centre is 1 / pi.
    np.testing.assert_allclose(
        psf.defocus(1.0, size=3), quadrant([[0.3183, 0.1453], [0.1453, 0.0251]]), **PRINTED
    )


def test_disk_of_radius_4():
    # fspecial('disk', 4) over its largest value, with 15 digits, as the Python port of the RIVeR
    # toolbox (Patalano, function fspecial_disk) took it over from MATLAB.
    expected = quadrant(
        [
            [1, 1, 1, 1, 0.489558781987489],
            [1, 1, 1, 1, 0.361469237632242],
            [1, 1, 1, 0.900152358153484, 0.0477750257157819],
            [1, 1, 0.900152358153484, 0.208018589368669, 0],
            [0.489558781987489, 0.361469237632242, 0.0477750257157819, 0, 0],
        ]
    )
    kernel = psf.defocus(4.0, size=9)
    np.testing.assert_allclose(kernel / kernel[4, 4], expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("sigma", "size", "expected", "tolerance"),
    [
        # fspecial('gaussian', [3 3], 0.5) as quoted in the MATLAB code of NSIM (window).
        (0.5, 3, [[0.6193, 0.0838], [0.0838, 0.0113]], 5.1e-5),
        # fspecial('gaussian', 5, 1): stackoverflow.com, "How to obtain a gaussian filter in
        # python".
        (
            1.0,
            5,
            [
                [0.1621, 0.09832, 0.021938],
                [0.09832, 0.059634, 0.013306],
                [0.021938, 0.013306, 0.002969],
            ],
            5.1e-6,
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:size .* cuts off")
def test_gaussian(sigma, size, expected, tolerance):
    kernel = psf.gaussian(sigma, size=size, sampling="point")
    np.testing.assert_allclose(kernel, quadrant(expected), rtol=0, atol=tolerance)


def test_motion_along_the_axes_is_equal_taps():
    # fspecial('motion', 9, 0) and ('motion', 9, 90) as a C++ library tests its own (its test is
    # called ImageBatch4Test.FspecialMotion): "pinned to MATLAB R2025b"; so are the next ones.
    row = psf.motion(9.0, 0.0, size=11, sampling="point")
    expected = np.zeros((11, 11))
    expected[5, 1:10] = 1 / 9
    np.testing.assert_allclose(row, expected, rtol=0, atol=1e-12)
    column = psf.motion(9.0, np.pi / 2, size=11, sampling="point")
    np.testing.assert_allclose(column, expected.T, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("length", "pixel", "expected"),
    [
        (9.0, (0, 0), 0.0997064915),
        (9.0, (-3, 3), 0.0755136399),
        (9.0, (-3, -3), 0.0),
        (5.0, (0, 0), 0.1771490832),
    ],
)
def test_motion_at_45_degrees(length, pixel, expected):
    kernel = psf.motion(length, np.pi / 4, size=11, sampling="point")
    np.testing.assert_allclose(kernel[5 + pixel[0], 5 + pixel[1]], expected, rtol=0, atol=1e-9)


def test_short_motion_at_45_degrees():
    # fspecial('motion', 3, 45): MATLAB Answers 307822. The distance to the segment as its
    # documentation describes it would give 0.0702 and 0.2397.
    expected = [[0, 0.0754, 0.1883], [0.0754, 0.3215, 0.0754], [0.1883, 0.0754, 0]]
    kernel = psf.motion(3.0, np.pi / 4, size=11, sampling="point")
    np.testing.assert_allclose(kernel[4:7, 4:7], expected, **PRINTED)

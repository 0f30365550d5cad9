"""Figures: they are drawn for every kind of answer, say n and units, and are written whole."""

import math
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from blurjax import _analyze, blur_type, kernel_size, plots, region, sharpness, sigma_map

PARAMETERS = {
    "gaussian": {"sigma": 2.0},
    "motion": {"length": 9.0, "angle": 0.5},
    "defocus": {"radius": 4.0},
}


def estimate(label, parameters):
    boxes = np.array([[0, 0, 32, 32], [8, 40, 32, 32], [30, 30, 32, 32]])
    return blur_type.Estimate(
        status="ok",
        label=label,
        probabilities=np.array([0.2, 0.7, 0.1]),
        parameters=parameters,
        spread=dict.fromkeys(parameters, 0.25),
        votes=np.array([1, 1, 1]),
        boxes=boxes,
        choices=np.array([0, 1, 2]),
        answers=np.array([0.2, 0.6, 0.1, 0.06, 0.04]),
    )


def sigmas(shape, status="ok"):
    """A sigma map that is known in the upper half, or nowhere."""
    valid = np.zeros(shape, bool)
    valid[: shape[0] // 2] = status == "ok"
    return sigma_map.Estimate(
        status, np.full(shape, 1.5, np.float32), np.full(shape, 0.1, np.float32), valid
    )


def ramp(shape, status="ok"):
    """A sharpness map that rises from 0 at the top to 1 at the bottom."""
    seen = np.tile(np.linspace(0, 1, shape[0], dtype=np.float32)[:, None], (1, shape[1]))
    return sharpness.Estimate(status, seen, seen > 0.5, float(np.mean(seen > 0.5)))


def kernel(status="ok"):
    """A kernel about twice as wide as high."""
    interval = {"width": (12.0, 16.0), "height": (7.0, 8.0)}
    return kernel_size.Estimate(status, 13.4, 7.5, interval, 15)


def window(*box, status="ok"):
    """A best window (row, column, height, width); none without one."""
    boxes = np.array([box] if box else []).reshape(-1, 4)
    scores = np.full(len(boxes), 0.63, np.float32)
    return region.Estimate(status, boxes, scores, scores[None], boxes[None])


NO_WINDOW = window(status="needs 228x228")


def refused(reason):
    empty = np.zeros(0, int)
    return blur_type.Estimate(
        status=reason,
        label="unknown",
        probabilities=np.full(3, 1 / 3),
        parameters={},
        spread={},
        votes=np.zeros(3, int),
        boxes=np.zeros((0, 4), int),
        choices=empty,
        answers=np.full(5, 0.2),
    )


def words(figure):
    """Everything that is written on a figure."""
    from matplotlib.text import Text

    figure.canvas.draw()
    return " ".join(text.get_text() for text in figure.findobj(Text)).replace("\n", " ")


def test_colours_come_in_the_order_of_the_labels():
    assert tuple(plots.COLOURS) == blur_type.LABELS


@pytest.mark.parametrize("label", blur_type.LABELS)
@pytest.mark.parametrize("shape", [(80, 120), (200, 64, 3)])
def test_analysis_says_what_was_found(label, shape):
    image = np.linspace(0, 1, math.prod(shape), dtype=np.float32).reshape(shape)
    answer = _analyze.Analysis(
        estimate(label, PARAMETERS[label]),
        sigmas(shape[:2]),
        ramp(shape[:2]),
        kernel(),
        window(5, 10, 50, 50),
    )
    written = words(plots.analysis(image, answer, title="photo.png"))
    assert "Sigma map: 1.5 to 1.5 px (median 1.5, 5 to 95 %), known in 50 %" in written
    assert "sigma (px)" in written
    assert "Sharpness: 50 % of the pixels are sharp" in written
    assert "photo.png" in written
    assert "n = 3 patches" in written
    assert "60 %" in written and "no dominant blur" in written
    assert f"Estimated PSF: {label}" in written
    assert "px" in written and "±" in written
    assert "Motion kernel: 13.4 x 7.5 px 80 % within 12-16 x 7-8 px" in written
    assert "best region, score 0.63" in written


def test_analysis_draws_the_kernel_in_its_band():
    answer = _analyze.Analysis(
        refused("none"), sigmas((70, 70)), ramp((70, 70)), kernel(), NO_WINDOW
    )
    axes = plots.analysis(np.zeros((70, 70), np.float32), answer).axes[-1]
    sizes = [(box.get_width(), box.get_height()) for box in axes.patches]
    assert sizes == [(16, 8), (12, 7), (13.4, 7.5)]
    assert all(box.get_center() == pytest.approx((0, 0)) for box in axes.patches)
    assert axes.get_xlim()[1] > 8 and axes.get_ylim()[0] > 4


@pytest.mark.parametrize(("column", "side"), [(10, "left"), (380, "right")])
def test_analysis_frames_the_best_window_from_edge_to_edge(column, side):
    shape = (100, 400)
    found = window(30, column, 20, 20)
    answer = _analyze.Analysis(estimate("sharp", {}), sigmas(shape), ramp(shape), kernel(), found)
    figure = plots.analysis(np.ones(shape, np.float32), answer)
    axes = figure.axes[0]
    (frame,) = axes.patches
    assert frame.get_bbox().bounds == (column - 0.5, 29.5, 20, 20)
    # White on white: the dark line around it is what is seen.
    assert frame.get_edgecolor() == (1, 1, 1, 1) and frame.get_path_effects()
    # The label is wider than the window, and yet within the image.
    figure.canvas.draw()
    (label,) = axes.texts
    assert label.get_ha() == side
    inside, around = label.get_window_extent(), axes.get_window_extent()
    assert around.x0 <= inside.x0 and inside.x1 <= around.x1
    # The view is that of the image alone.
    assert axes.get_xlim() == (-0.5, 399.5) and axes.get_ylim() == (99.5, -0.5)


def test_analysis_of_a_sharp_image_draws_no_kernel():
    answer = _analyze.Analysis(
        estimate("sharp", {}), sigmas((80, 90)), ramp((80, 90)), kernel(), NO_WINDOW
    )
    written = words(plots.analysis(np.full((80, 90), 0.5, np.float32), answer))
    assert "sharp: no kernel to draw" in written


def test_analysis_without_an_answer_gives_the_reason():
    answer = _analyze.Analysis(
        refused("too little texture: 3 patches"),
        sigmas((70, 70), "too little texture: flat"),
        ramp((70, 70), "image is too small"),
        kernel("needs 128x128"),
        NO_WINDOW,
    )
    figure = plots.analysis(np.zeros((70, 70), np.float32), answer)
    written = words(figure)
    assert "best region" not in written and not figure.axes[0].patches
    assert "Blur type unknown: too little texture: 3 patches" in written
    assert "Sigma map unknown: too little texture: flat" in written
    assert "Sharpness unknown: image is too small" in written and "outlined" not in written
    assert "Motion kernel unknown: needs 128x128" in written and "within" not in written
    assert "Estimated PSF" not in written and "sigma (px)" not in written


@pytest.mark.parametrize("title", ["$x_", "a" * 300 + ".png", "写真.png"])
def test_any_file_name_can_be_a_title(tmp_path, title):
    answer = _analyze.Analysis(
        estimate("motion", PARAMETERS["motion"]),
        sigmas((70, 70)),
        ramp((70, 70)),
        kernel(),
        NO_WINDOW,
    )
    figure = plots.analysis(np.zeros((70, 70), np.float32), answer, title=title)
    assert plots.save(figure, tmp_path / "a.png").stat().st_size > 1000


@pytest.mark.parametrize("shape", [(60, 90, 3), (200, 40)])
def test_sigma_overlay_colours_what_is_known(shape):
    found = sigmas(shape[:2])
    image = np.full(shape, 0.5, np.float32)
    figure = plots.sigma_overlay(image, found.sigma, valid=found.valid, title="$a.png")
    written = words(figure)
    count = found.valid.sum()
    assert "$a.png" in written and f"n = {count} pixels" in written and "sigma (px)" in written
    drawn = figure.axes[0].images[1]
    assert drawn.get_array().count() == count and drawn.get_clim() == (0, 1.5)
    found.sigma[0, 0] = np.nan
    figure = plots.sigma_overlay(image, found.sigma, high=3.0)
    assert f"n = {found.sigma.size - 1} pixels" in words(figure)
    assert figure.axes[0].images[1].get_clim() == (0, 3)
    assert "n = 0 pixels" in words(plots.sigma_overlay(image, found.sigma * np.nan))
    with pytest.raises(ValueError, match="height and width"):
        plots.sigma_overlay(image[1:], found.sigma)


@pytest.mark.parametrize("shape", [(60, 90, 3), (200, 40), (2600, 100)])
def test_sharpness_overlay_outlines_what_is_sharp(shape):
    image, seen = np.full(shape, 0.5, np.float32), ramp(shape[:2]).sharpness
    figure = plots.sharpness_overlay(image, seen, title="$a.png")
    written = words(figure)
    assert "$a.png" in written and f"50 % of the pixels are sharp, n = {seen.size}" in written
    (axes,) = figure.axes
    (outline,) = axes.collections
    (path,) = outline.get_paths()
    # Rows count from the centre of the first: the line is in the middle, and spans all columns.
    # A coarser drawing shows every third row from the first, whose centre is a pixel further down.
    off = {2600: 1.01}.get(shape[0], 0.01)
    np.testing.assert_allclose(path.vertices[:, 1], (shape[0] - 1) / 2, atol=off)
    assert np.ptp(path.vertices[:, 0]) > 0.9 * (shape[1] - 1)
    # The photograph is darkest where it is most blurred, and stays in place.
    veil = axes.images[1].get_array()[..., 3]
    assert veil[0, 0] == pytest.approx(0.7) and veil[-1, 0] == pytest.approx(0, abs=0.01)
    assert axes.get_ylim() == (shape[0] - 0.5, -0.5)


@pytest.mark.filterwarnings("error")
def test_sharpness_overlay_without_an_outline_and_refusals():
    image = np.full((40, 50), 0.5, np.float32)
    for value, share in ((1, "all sharp"), (0, "all blurred"), (0.5, "all blurred")):
        figure = plots.sharpness_overlay(image, np.full(image.shape, value))
        assert f"{share}, n = 2000 (50 x 40 px)" in words(figure)
        assert not figure.axes[0].collections
    with pytest.raises(ValueError, match="height and width"):
        plots.sharpness_overlay(image[1:], image)
    for wrong in (np.nan, 1.5, -0.1):
        with pytest.raises(ValueError, match=r"outside \[0, 1\]"):
            plots.sharpness_overlay(image, np.full(image.shape, wrong))


def test_overview_marks_what_is_not_known():
    photographs = [np.zeros((70, 90), np.float32), np.zeros((90, 70, 3), np.float32)]
    blur = plots.Blur("defocus", PARAMETERS["defocus"])
    written = words(plots.overview(photographs, ["one", "two"], [None, blur], [blur, None]))
    assert "not known" in written and "no answer" in written
    assert written.count("radius 4.0 px") == 2


def test_overview_needs_photographs():
    with pytest.raises(ValueError, match="at least one"):
        plots.overview([], [], [], [])


def test_confusion_shows_accuracy_and_n():
    matrix = np.array([[8, 1, 1], [0, 10, 0], [5, 0, 5]])
    written = words(plots.confusion(matrix, blur_type.LABELS))
    assert "n = 30" in written and "76.7 %" in written and "80.0 % 8" in written
    with pytest.raises(ValueError, match="labels"):
        plots.confusion(matrix[:2], blur_type.LABELS)


def test_reliability_shows_ece_and_n():
    confidence = np.array([0.0, 0.4, 0.4, 0.8, 1.0])
    figure = plots.reliability(confidence, np.array([0, 1, 0, 1, 1]), 0.12)
    assert "12.0 %" in words(figure) and "n = 5" in words(figure)
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    assert heights == [0, 0.5, 1, 1]
    with pytest.raises(ValueError, match="two arrays"):
        plots.reliability(np.zeros(0), np.zeros(0), 0.0)


def test_parameter_scatter_turns_angles_to_the_nearest():
    truth = {"angle": np.array([0.02, 1.0]), "sigma": np.array([1.0, 2.0])}
    found = {"angle": np.array([math.pi - 0.01, 1.0]), "sigma": np.array([1.1, 2.1])}
    figure = plots.parameter_scatter(truth, found)
    written = words(figure)
    assert "n = 2" in written and "degrees" in written and "px" in written
    shown = np.asarray(figure.axes[1].collections[0].get_offsets())
    np.testing.assert_allclose(shown[0], np.degrees([0.02, -0.01]))
    with pytest.raises(ValueError, match="the same of"):
        plots.parameter_scatter(truth, {"sigma": found["sigma"]})


@pytest.mark.parametrize("n", [1, 5, 20])
def test_gallery_shows_every_patch(n):
    figure = plots.gallery(np.zeros((n, 32, 32), np.float32), [f"patch {i}." for i in range(n)])
    assert f"patch {n - 1}." in words(figure) and f"n = {n} patches of 32 x 32 px" in words(figure)
    with pytest.raises(ValueError, match="captions"):
        plots.gallery(np.zeros((n, 32, 32)), [])


@pytest.mark.parametrize("shape", [(40, 60), (90, 30)])
def test_comparison_shows_all_alike_and_the_detail_beneath(shape):
    ramp = np.linspace(0.2, 0.6, math.prod(shape), dtype=np.float32).reshape(shape)
    figure = plots.comparison([ramp, 2 * ramp], ["one $", "two"], (3, 5, 20), title="photo.png")
    written = words(figure)
    assert "photo.png" in written and "one $" in written and "20 x 20 px" in written
    shown = [axes.images[0] for axes in figure.axes]
    assert all(image.get_clim() == (0, 1) for image in shown)
    np.testing.assert_array_equal(shown[3].get_array(), 2 * ramp[3:23, 5:25])


def test_comparison_refuses_what_does_not_belong_together():
    image = np.zeros((40, 60), np.float32)
    with pytest.raises(ValueError, match="of one shape"):
        plots.comparison([image, image[1:]], ["a", "b"], (0, 0, 8))
    with pytest.raises(ValueError, match="1 captions"):
        plots.comparison([image, image], ["a"], (0, 0, 8))
    with pytest.raises(ValueError, match="at least one"):
        plots.comparison([], [], (0, 0, 8))
    with pytest.raises(ValueError, match="within 40 x 60"):
        plots.comparison([image], ["a"], (30, 0, 20))


@pytest.mark.parametrize("n", [1, 5, 30])
def test_filters_are_symmetric_about_zero_by_their_own_scale(n):
    weights = np.linspace(-0.5, 2, n * 12).reshape(n, 3, 4)
    figure = plots.filters(weights)
    written = words(figure)
    assert f"n = {n} filters of 3 x 4" in written and "own scale" in written
    shown = [image for axes in figure.axes for image in axes.images]
    assert len(shown) == n
    for image, weight in zip(shown, weights, strict=True):
        assert image.get_clim() == (-1, 1) and image.get_cmap()(0.5)[:3] > (0.9, 0.9, 0.9)
        np.testing.assert_allclose(image.get_array(), weight / np.abs(weight).max(), rtol=1e-6)


def test_filters_of_nothing_and_refusals():
    dead = plots.filters(jnp.zeros((2, 4, 4), jnp.bfloat16), titles=["a", "b"], what="units")
    assert "n = 2 units of 4 x 4" in words(dead) and " b" in words(dead)
    assert not np.any([image.get_array() for axes in dead.axes for image in axes.images])
    with pytest.raises(ValueError, match="with 1 titles"):
        plots.filters(np.zeros((2, 4, 4)), titles=["a"])
    with pytest.raises(ValueError, match=r"filters are \(0, 4, 4\)"):
        plots.filters(np.zeros((0, 4, 4)))
    with pytest.raises(ValueError, match="NaN"):
        plots.filters(np.full((1, 4, 4), np.nan))


@pytest.mark.parametrize("shape", [(40, 60), (90, 30)])
def test_sigma_maps_compare_within_the_border(tmp_path, shape):
    truth = np.tile(np.linspace(0.1, 3, shape[1], dtype=np.float32), (shape[0], 1))
    estimate = truth + np.float32(0.25)
    estimate[:4] = 100.0
    estimate[10:12, 10:12] = np.nan
    image = np.full(shape, 0.5, np.float32)
    figure = plots.sigma_maps(
        [image] * 2,
        [truth] * 2,
        [estimate, np.full(shape, np.nan, np.float32)],
        ["one $", "two"],
        border=4,
        title="ramp_$",
    )
    written = words(figure)
    pixels = (shape[0] - 8) * (shape[1] - 8) - 4
    assert f"bias +0.250 px, RMSE 0.250 px n = {pixels} pixels" in written
    assert "no pixel to compare" in written and "one $" in written and "ramp_$" in written
    assert written.count("sigma (px)") == 4 and written.count("difference (px)") == 2
    shown = [axes.images[0] for axes in figure.axes if axes.get_xlabel() == "column (px)"]
    assert [image.get_clim() for image in shown[1:4]] == [(0, 3), (0, 3), (-1, 1)]
    assert np.ma.getmaskarray(shown[3].get_array()).sum() == truth.size - pixels
    assert plots.save(figure, tmp_path / "a.png").stat().st_size > 1000


def test_sigma_maps_of_what_does_not_fit():
    image = np.ones((20, 30), np.float32)
    with pytest.raises(ValueError, match="at least one"):
        plots.sigma_maps([], [], [], [])
    with pytest.raises(ValueError, match=r"three \(H, W\)"):
        plots.sigma_maps([image], [image[1:]], [image], ["a"])
    with pytest.raises(ValueError, match="must leave some"):
        plots.sigma_maps([image], [image], [image], ["a"], border=10)


def test_sigma_bias_says_n_and_takes_a_single_image():
    truth = np.array([0.5, 1.0, 2.0])
    figure = plots.sigma_bias(truth, truth - 0.1, np.full(3, np.nan), np.full(3, 0.2), n=1)
    written = words(figure)
    assert "n = 1 images" in written and "bias (px)" in written and "true sigma (px)" in written
    np.testing.assert_allclose(figure.axes[1].lines[1].get_ydata(), -0.1)
    with pytest.raises(ValueError, match="four"):
        plots.sigma_bias(truth, truth[:2], truth, truth, n=1)


def test_detection_curves_have_a_line_a_method_and_say_n():
    recall = np.linspace(0, 1, 5)
    curves = {f"method {i}": (1 - recall / 2, recall) for i in range(9)}
    curves["method 0"][0][0] = np.nan
    figure = plots.detection_curves(curves, {"all blurred": (0.6, 1.0)}, n=7, title="pairs_$")
    written = words(figure)
    assert "n = 7 images" in written and "pairs_$" in written and "all blurred" in written
    assert "recall of blurred pixels (share)" in written and "method 8" in written
    lines = figure.axes[0].lines
    assert len({(line.get_color(), line.get_linestyle()) for line in lines[:9]}) == 9
    np.testing.assert_array_equal(lines[1].get_xdata(), recall)
    np.testing.assert_array_equal(lines[9].get_xydata(), [[1.0, 0.6]])
    with pytest.raises(ValueError, match="at least one"):
        plots.detection_curves({}, n=1)
    with pytest.raises(ValueError, match=r"a: precision is \(5,\) and recall \(4,\)"):
        plots.detection_curves({"a": (recall, recall[1:])}, n=1)


@pytest.mark.parametrize("shape", [(40, 60), (90, 30)])
def test_sharpness_sheet_draws_all_alike(tmp_path, shape):
    ramp = np.linspace(0.2, 0.6, math.prod(shape), dtype=np.float32).reshape(shape)
    truth = ramp > 0.4
    gap = np.where(truth, ramp, np.float32(np.nan))
    figure = plots.sharpness_sheet(
        [ramp] * 2, [truth] * 2, {"detector": [ramp, gap], "lbp": [truth] * 2}, ["one $", "two"],
        title="pairs",
    )  # fmt: skip
    written = words(figure)
    assert (
        "n = 2 images" in written
        and "one $" in written
        and f"{shape[1]} x {shape[0]} px" in written
    )
    for name in ("photograph", "truth", "detector", "lbp", "0 blurred, 1 sharp"):
        assert name in written
    shown = [axes.images[0] for axes in figure.axes[:8]]
    assert all(image.get_clim() == (0, 1) for image in shown)
    np.testing.assert_array_equal(np.ma.getmaskarray(shown[6].get_array()), ~truth)
    assert plots.save(figure, tmp_path / "a.png").stat().st_size > 1000
    with pytest.raises(ValueError, match=r"\[1\] maps; pass at least one"):
        plots.sharpness_sheet([ramp] * 2, [truth] * 2, {"lbp": [ramp]}, ["a", "b"])
    with pytest.raises(ValueError, match="alike"):
        plots.sharpness_sheet([ramp], [truth[1:]], {}, ["a"])


def test_refinement_curves_have_a_panel_a_measure():
    counts = np.array([0, 1, 10, 100])
    curves = {
        "F": {"fixed": counts / 100, "otsu": counts / 200},
        "MAE": {"fixed": 1 / (1 + counts)},
    }
    figure = plots.refinement_curves(counts, curves, {"F": {"fixed": 0.7}}, n=5, title="metric_$")
    written = words(figure)
    assert "n = 5 images" in written and "iterations (number)" in written and "metric_$" in written
    assert [axes.get_ylabel() for axes in figure.axes] == [
        f"{m} (mean over images)" for m in curves
    ]
    assert [len(axes.lines) for axes in figure.axes] == [3, 1]
    np.testing.assert_array_equal(figure.axes[0].lines[1].get_ydata(), 0.7)
    with pytest.raises(ValueError, match=r"F, fixed: values \(3,\)"):
        plots.refinement_curves(counts, {"F": {"fixed": counts[1:]}}, n=1)
    with pytest.raises(ValueError, match="at least one measure"):
        plots.refinement_curves(counts, {}, n=1)


def test_threshold_curves_have_a_panel_a_rule():
    factors = np.array([0.5, 1.0, 2.0])
    panels = {
        "threshold (times the mean)": (factors, {"detector": factors / 2, "lbp": factors / 3}),
        "threshold (sharpness)": (factors[:2] / 2, {"detector": factors[:2], "lbp": factors[:2]}),
    }
    figure = plots.threshold_curves(panels, n=3, title="study_$")
    written = words(figure)
    assert "n = 3 images" in written and "F (mean over images)" in written and "lbp" in written
    assert all(rule in written for rule in panels) and "study_$" in written
    np.testing.assert_array_equal(figure.axes[0].lines[1].get_ydata(), factors / 3)
    with pytest.raises(ValueError, match="pass two"):
        plots.threshold_curves({"a": (factors, {"b": factors[1:]})}, n=1)
    with pytest.raises(ValueError, match="at least one"):
        plots.threshold_curves({}, n=1)


def test_size_scatter_has_a_panel_a_method(tmp_path):
    true = np.array([10.0, 50.0, 90.0])
    answers = {f"method {i}_$": (true, true + i) for i in range(4)}
    answers["far"] = (true, np.array([10.0, 50.0, 130.0]))
    figure = plots.size_scatter(answers, constant=50.0, title="part_$")
    written = words(figure)
    assert "part_$" in written and "best constant, 50 px" in written and "n = 3" in written
    assert "mean |error| 3.00 px, median 3.00 px" in written and "true size (px)" in written
    # Drawn on the border, counted as it is.
    assert "mean |error| 13.33 px, median 0.00 px" in written
    shown = np.asarray(figure.axes[4].collections[0].get_offsets())
    np.testing.assert_array_equal(shown[:, 1], [10, 50, 100])
    np.testing.assert_array_equal(figure.axes[0].lines[1].get_ydata(), 50)
    assert plots.save(figure, tmp_path / "a.png").stat().st_size > 1000
    with pytest.raises(ValueError, match="at least one"):
        plots.size_scatter({}, constant=1.0)
    with pytest.raises(ValueError, match=r"a: truth is \(3,\) and estimate \(2,\)"):
        plots.size_scatter({"a": (true, true[1:])}, constant=1.0)


def test_size_errors_have_a_panel_a_condition():
    means, bars = np.array([1.0, np.nan, 3.0]), np.array([0.1, np.nan, np.nan])
    ranges = {"to 19": 3, "20-35": 0, "36-95": 4}
    panels = {"noise 0": {"a_$": (means, bars)}, "noise 0.01": {"a_$": (means, bars)}}
    figure = plots.size_errors(ranges, panels, title="part_$")
    written = words(figure)
    assert "n = 7 sizes" in written and "to 19 n = 3" in written and "a_$" in written
    assert "noise 0.01" in written and "(px)" in written
    np.testing.assert_array_equal(figure.axes[1].lines[0].get_ydata(), means)
    with pytest.raises(ValueError, match=r"noise 0, a: errors \(2,\)"):
        plots.size_errors(ranges, {"noise 0": {"a": (means[1:], bars)}})
    with pytest.raises(ValueError, match="at least one"):
        plots.size_errors(ranges, {})


def test_size_sheet_draws_both_boxes_in_the_middle():
    image = np.full((101, 151), 0.5, np.float32)
    figure = plots.size_sheet(
        [image] * 5, [(21, 31)] * 5, [(11.4, 41.0), None, *[(3, 3)] * 3], ["one_$"] * 5, title="t"
    )
    written = words(figure)
    assert "n = 5 images" in written and "truth 31 x 21, estimate 41 x 11 px" in written
    assert "no answer" in written and "one_$" in written
    first, second = figure.axes[0].patches
    # Rows 40 to 60 about row 50, from edge to edge; columns 60 to 90 about column 75.
    assert first.get_bbox().bounds == pytest.approx((59.5, 39.5, 31, 21))
    assert second.get_bbox().bounds == pytest.approx((54.5, 44.3, 41, 11.4))
    assert len(figure.axes[1].patches) == 1
    with pytest.raises(ValueError, match="at least one"):
        plots.size_sheet([], [], [], [])
    with pytest.raises(ValueError, match="2 captions"):
        plots.size_sheet([image], [(1, 1)], [None], ["a", "b"])


def restored(shape, kernel=5, truth=7):
    ramp = np.linspace(0, 1, math.prod(shape), dtype=np.float32).reshape(shape)
    kernels = [None if k is None else np.ones((k, k)) / k**2 for k in (kernel, truth)]
    notes = ("20.0 dB_$", "25.0 dB", "30.0 dB")
    return plots.Deblurred("one_$", ramp, ramp**2, 2 * ramp, ramp, *kernels, notes)


@pytest.mark.parametrize("shape", [(60, 80), (90, 30)])
def test_deblurring_sheet_has_a_row_an_image(tmp_path, shape):
    rows = [restored(shape), restored(shape[::-1], None, None)]
    figure = plots.deblurring_sheet(rows, title="part_$")
    written = words(figure)
    assert "part_$ shown: n = 2 images" in written and "one_$" in written and "20.0 dB_$" in written
    assert f"{shape[1]} x {shape[0]} px" in written and "true kernel" in written
    assert "none" in written and "not known" in written
    first = figure.axes[:6]
    assert all(axes.images[0].get_clim() == (0, 1) for axes in first[:4])
    # Both kernels to one scale: the larger fills its axes, the smaller is in the middle.
    assert {axes.get_xlim() for axes in first[4:]} == {(-3.5, 3.5)}
    extents = [tuple(axes.images[0].get_extent()) for axes in first[4:]]
    assert extents == [(-2.5, 2.5, 2.5, -2.5), (-3.5, 3.5, 3.5, -3.5)]
    assert plots.save(figure, tmp_path / "a.png").stat().st_size > 1000
    with pytest.raises(ValueError, match="at least one row"):
        plots.deblurring_sheet([])
    with pytest.raises(ValueError, match="in one row; pass"):
        plots.deblurring_sheet([rows[0]._replace(sharp=np.zeros((3, 3)))])


def test_success_curve_counts_what_is_at_most_so_large(tmp_path):
    ratios = {"a_$": np.array([3.0, 1.0, np.nan, 2.0]), "b": np.array([0.5, 9.0])}
    figure = plots.success_curve(ratios, title="part_$")
    written = words(figure)
    assert "part_$ n = 2 to 4 images" in written and "(%)" in written
    assert "a_$: 50 % at most 2" in written and "b: 50 % at most 2" in written
    line = next(line for line in figure.axes[0].lines if line.get_label().startswith("a_$"))
    np.testing.assert_array_equal(line.get_xdata(), [0, 1, 2, 3, 6])
    np.testing.assert_array_equal(line.get_ydata(), [0, 25, 50, 75, 75])
    assert "n = 3 images" in words(plots.success_curve({"a": jnp.ones(3)}))
    assert plots.save(figure, tmp_path / "a.png").stat().st_size > 1000
    with pytest.raises(ValueError, match="at least one"):
        plots.success_curve({})
    with pytest.raises(ValueError, match=r"a: ratios are \(0,\)"):
        plots.success_curve({"a": np.zeros(0)})


def selected(shape=(60, 80), **changed):
    image = np.linspace(0, 1, math.prod(shape), dtype=np.float32).reshape(shape)
    row = plots.Selected(
        caption="one_$",
        blurred=image,
        boxes={"a_$": (5, 10, 20, 30), "b": (5, 10, 20, 30), "c": (5, 11, 20, 30)},
        kernels={"a_$": np.ones((5, 5)), "b": np.eye(7), "whole": jnp.ones((3, 3))},
        truth=np.ones((9, 9)),
        notes={"b": "similarity 0.5_$"},
    )
    return row._replace(**changed)


def test_window_sheet_shows_windows_and_their_kernels(tmp_path):
    other = selected((90, 30), boxes={}, kernels={"whole": np.ones((3, 3))}, truth=None)
    figure = plots.window_sheet([selected(), other], title="part_$")
    written = words(figure)
    assert "part_$ shown: n = 2 images" in written and "80 x 60 px" in written
    assert "one_$" in written and "column (px) similarity 0.5_$" in written
    # The second has neither the kernels of windows nor the true one; nobody has that of c.
    assert written.count("none") == 1 + 3 and written.count("not known") == 1
    first = figure.axes[:6]
    # From edge to edge; of two at one place the second is 0.5 px inside, on every side.
    boxes = [patch.get_bbox().bounds for patch in first[0].patches]
    assert boxes[0] == pytest.approx((9.5, 4.5, 30, 20)) and len(boxes) == 3
    assert boxes[1] == pytest.approx((10, 5, 29, 19))
    assert boxes[2] == pytest.approx((10.5, 4.5, 30, 20))
    # In their colours, which are those of the frames and of the legend.
    colours = [patch.get_edgecolor() for patch in first[0].patches]
    assert len(set(colours)) == 3
    assert first[2].spines["left"].get_edgecolor() == colours[1]
    legend = figure.legends[0]
    assert {text.get_text() for text in legend.get_texts()} == {"a_$", "b", "c"}
    # All kernels of a row to one scale.
    assert {first[i].get_xlim() for i in (1, 2, 3, 5)} == {(-4.5, 4.5)}
    assert plots.save(figure, tmp_path / "a.png").stat().st_size > 1000
    assert not plots.window_sheet([other]).legends
    with pytest.raises(ValueError, match="0 rows of windows; pass at least one"):
        plots.window_sheet([])
    with pytest.raises(ValueError, match="each with a kernel"):
        plots.window_sheet([selected(kernels={})])


def test_window_sheet_shows_the_scores_of_a_grid():
    corners = np.stack(np.meshgrid((0, 20, 40), (0, 30), indexing="ij"), -1)
    grid = np.concatenate([corners, np.full_like(corners, 20)], axis=-1)
    scores = np.linspace(0.1, 0.6, 6, dtype=np.float32).reshape(3, 2)
    scored = region.Estimate("ok", grid[2, 1][None], scores[2:, 1], scores, grid)
    figure = plots.window_sheet([selected(scored=scored)])
    (dots,) = (c for c in figure.axes[0].collections)
    # The middle of pixels 0 to 19 is 9.5; columns first.
    np.testing.assert_allclose(dots.get_offsets()[:3], [(9.5, 9.5), (39.5, 9.5), (9.5, 29.5)])
    np.testing.assert_allclose(dots.get_array(), scores.ravel())
    assert dots.get_clim() == (0, 1)
    written = words(figure)
    assert "score of the window about each dot" in written and "n = 1 image" in written
    assert "images" not in written
    # Nothing of those that have none.
    refused = plots.window_sheet([selected(scored=NO_WINDOW)])
    assert not refused.axes[0].collections and "about each dot" not in words(refused)


def test_shortfall_sheet_shows_truth_and_answer():
    image = np.linspace(0, 1, 40 * 60, dtype=np.float32).reshape(40, 60)
    unknown = np.where(image < 0.5, np.nan, 2.0).astype(np.float32)
    cases = [
        plots.Shortfall(
            "two blurs", image, "no dominant blur", "motion", probabilities=[0.1, 0.9, 0, 0, 0]
        ),
        plots.Shortfall(
            "moved", image, "30 px", "0.5 px", map=unknown, unit="sigma (px)", high=3.0
        ),
        plots.Shortfall(
            "faint ends",
            image,
            "width 7 px",
            "width 3 px",
            kernels={"true": np.eye(7) / 7, "beside": np.eye(7)[::-1] / 7},
            sizes={"true": (7, 7), "answered": (9, 3)},
            boxes={"beside": (3, 4, 20, 20)},
        ),
    ]
    figure = plots.shortfall_sheet(cases, title="Where it fails")
    written = words(figure)
    for case in cases:
        for said in (case.condition, f"true: {case.truth}", f"answered: {case.answer}"):
            assert said in written
    assert "n = 3 cases" in written and "60 x 40 px" in written and "sigma (px)" in written
    assert "90 %" in written and "beside" in written
    with pytest.raises(ValueError, match="0 cases"):
        plots.shortfall_sheet([])
    with pytest.raises(ValueError, match="each with probabilities, a map or kernels"):
        plots.shortfall_sheet([plots.Shortfall("c", image, "t", "a")])


def test_device_arrays_are_drawn_too():
    patches = jnp.zeros((2, 32, 32), jnp.bfloat16)
    assert "n = 2" in words(plots.gallery(patches, ["a", "b"]))
    sigma = {"sigma": jnp.ones(3, jnp.float32)}
    assert "n = 3" in words(plots.parameter_scatter(sigma, sigma))


def test_save_makes_the_folder_and_leaves_nothing_else(tmp_path):
    figure = plots.confusion(np.eye(3, dtype=int), blur_type.LABELS)
    path = plots.save(figure, tmp_path / "new" / "figure.png")
    plots.save(figure, path)
    assert [file.name for file in path.parent.iterdir()] == ["figure.png"]
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        picture.load()


def test_save_that_fails_keeps_the_old_file(tmp_path):
    class Broken:
        def savefig(self, file, **options):
            file.write_bytes(b"half")
            raise OSError("disk full")

    path = tmp_path / "figure.png"
    path.write_bytes(b"old")
    # Past the type checks, which know no broken figures.
    save = getattr(plots.save, "__wrapped__", plots.save)
    with pytest.raises(OSError, match="disk full"):
        save(Broken(), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_matplotlib_is_imported_only_to_draw():
    code = "import sys; import blurjax.plots; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

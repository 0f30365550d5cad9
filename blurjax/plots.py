"""Every figure of the library, with units and the number of samples on each (host).

Figures are matplotlib's object-oriented ones: nothing here touches pyplot's
global state or needs a display. matplotlib is imported when a figure is drawn.
"""

import contextlib
import math
import os
import textwrap
import uuid
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from blurjax import blur_type, images, kernel_size, psf, region
from blurjax._analyze import (
    Analysis,
    blur_phrase,
    interval_phrase,
    parameter_phrase,
    percent,
    share_phrase,
    sharpness_phrase,
    sigma_phrase,
    size_phrase,
)
from blurjax._deblur import Preview
from blurjax._typing import ArrayLike

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

__all__ = [
    "COLOURS",
    "Blur",
    "Deblurred",
    "Selected",
    "Shortfall",
    "analysis",
    "comparison",
    "confusion",
    "deblurring_sheet",
    "detection_curves",
    "filters",
    "gallery",
    "overview",
    "parameter_scatter",
    "refinement_curves",
    "reliability",
    "save",
    "sharpness_overlay",
    "sharpness_sheet",
    "shortfall_sheet",
    "sigma_bias",
    "sigma_maps",
    "sigma_overlay",
    "size_errors",
    "size_scatter",
    "size_sheet",
    "success_curve",
    "threshold_curves",
    "window_sheet",
]

COLOURS = {"gaussian": "#0072B2", "motion": "#D55E00", "defocus": "#009E73"}
"""One colour a blur type, told apart by the colour-blind too.

Source: Okabe & Ito, Color Universal Design, 2008.
"""
_SHARP = "#E69F00"
_ANSWER_COLOURS = {**COLOURS, "sharp": _SHARP, "no dominant blur": "#999999"}

# What is compared line by line, by the same source; then the same colours dashed.
_LINE_COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999",
)  # fmt: skip
_NEUTRAL = "#555555"
_UNKNOWN = "#BBBBBB"
_DOTS_PER_INCH = 110
# More pixels than a figure can show only cost time.
_SHOWN_SIDE = 1200
# Of each parameter: the type it belongs to, its unit, and what brings it to that unit.
_PARAMETERS = {
    "sigma": ("gaussian", "px", 1.0),
    "length": ("motion", "px", 1.0),
    "angle": ("motion", "degrees", 180 / math.pi),
    "radius": ("defocus", "px", 1.0),
}


class Blur(NamedTuple):
    """A blur to draw: its type and parameters, in pixels and radians."""

    label: str
    parameters: Mapping[str, float]

    def __str__(self) -> str:
        return blur_phrase(self.label, self.parameters)


def analysis(
    image: ArrayLike,
    analysis: Analysis,
    *,
    preview: Preview | None = None,
    title: str = "",
) -> "matplotlib.figure.Figure":
    """An image and what `blurjax.analyze` says about it (host).

    Above the image in gray, with the patches that voted in the colour of their vote and the window
    in which a kernel is estimated best, if there is one, and what is sharp in it, outlined, the
    rest dimmed. Below the sigma map over it, uncoloured where it is not known; the probability of
    each answer; the estimated PSF or the reason why there is none; and a box as wide and high as
    the kernel is if motion made it, in the band in which its edges may lie. With a preview, at the
    bottom, a part of the image before and after deblurring, with the kernel.

    Args:
        image: (H, W) or (H, W, 3), in [0, 1].
        analysis: what `blurjax.analyze` returned for it.
        preview: a part of it, deblurred.
        title: above the image; a file's name, say.

    Returns:
        The figure, ready for `save`.
    """
    image, estimate = np.asarray(image), analysis.blur_type
    height, width = image.shape[:2]
    rows = 2 if preview is None else 3
    figure = _figure(13, 0.8 + rows * min(max(1 + 5.2 * height / width, 4.4), 5.4))
    grid = figure.add_gridspec(rows, 2)
    axes = figure.add_subplot(grid[0, 0])
    _draw_votes(figure, axes, image, estimate, title)
    _draw_region(axes, width, analysis.region)
    axes, seen = figure.add_subplot(grid[0, 1]), analysis.sharpness
    if seen.status == "ok":
        _draw_sharpness(axes, image, seen.sharpness)
        said = "outlined, the rest is dimmed"
        axes.set_title(f"Sharpness: {sharpness_phrase(seen)}\n({said})", fontsize=11)
    else:
        _draw_text(axes, f"Sharpness unknown:\n{seen.status}", width=34)
    axes, found = figure.add_subplot(grid[1, 0]), analysis.sigma_map
    if found.status == "ok":
        _draw_sigma(figure, axes, image, np.where(found.valid, found.sigma, np.nan))
        axes.set_title("Sigma map: " + sigma_phrase(found).replace("), ", "),\n"), fontsize=11)
    else:
        _draw_text(axes, f"Sigma map unknown:\n{found.status}", width=34)
    known = estimate.status == "ok"
    right = grid[1, 1].subgridspec(2, 2, height_ratios=(1, 1.6))
    if known:
        _draw_probabilities(figure.add_subplot(right[0, :]), estimate)
        axes = figure.add_subplot(right[1, 0])
        _draw_answer(axes, Blur(estimate.label, estimate.parameters))
        axes.set_title(
            "Estimated PSF: " + _broken(estimate.label, estimate.parameters, estimate.spread),
            fontsize=9,
        )
    else:
        reason = f"Blur type unknown:\n{estimate.status}"
        _draw_text(figure.add_subplot(right[0, :]), reason, width=34)
    _draw_kernel_size(figure.add_subplot(right[1, int(known) :]), analysis.kernel_size)
    if preview is not None:
        before, after = (figure.add_subplot(grid[2, column]) for column in (0, 1))
        _draw_preview(before, after, preview)
    return figure


def sharpness_overlay(
    image: ArrayLike, sharpness: ArrayLike, *, title: str = ""
) -> "matplotlib.figure.Figure":
    """A photograph with its sharp parts outlined and the others dimmed (host).

    Args:
        image: (H, W) or (H, W, 3), in [0, 1].
        sharpness: (H, W) in [0, 1]; the outline is where it is 0.5, and the less it is, the darker
            the photograph is drawn.
        title: above the image; a file's name, say.

    Returns:
        The figure, with the share of the pixels whose sharpness is above 0.5.

    Raises:
        ValueError: arrays that do not match, or a map that is not within [0, 1].
    """
    image, sharpness = np.asarray(image), np.asarray(sharpness, np.float32)
    if sharpness.ndim != 2 or image.shape[:2] != sharpness.shape:
        raise ValueError(
            f"image is {image.shape} and sharpness {sharpness.shape}; "
            "pass a map (H, W) of the image's height and width"
        )
    # NaN fails both comparisons.
    if not np.all((sharpness >= 0) & (sharpness <= 1)):
        raise ValueError("sharpness holds values outside [0, 1]; pass a calibrated map")
    height, width = sharpness.shape
    figure = _figure(6.6, 1.2 + 5.4 * min(max(height / width, 0.4), 1.4))
    axes = figure.add_subplot()
    _draw_sharpness(axes, image, sharpness)
    share = share_phrase(float(np.mean(sharpness > 0.5)))
    said = f"{share}, n = {sharpness.size} ({width} x {height} px)"
    axes.set_title(f"{title}\n{said}".strip(), fontsize=11, parse_math=False)
    return figure


def sigma_overlay(
    image: ArrayLike,
    sigma: ArrayLike,
    *,
    valid: ArrayLike | None = None,
    high: float | None = None,
    title: str = "",
) -> "matplotlib.figure.Figure":
    """A sigma map in colour over its photograph in gray (host).

    Args:
        image: (H, W) or (H, W, 3), in [0, 1].
        sigma: (H, W), in pixels; what is not finite gets no colour.
        valid: (H, W); what is not valid gets no colour. By default all is.
        high: sigma in pixels at the end of the colours, which begin at 0; by default the map's
            99.5 % quantile.
        title: above the image; a file's name, say.

    Returns:
        The figure, with the number of pixels that sigma is known in.

    Raises:
        ValueError: arrays that do not match.
    """
    image, sigma = np.asarray(image), np.asarray(sigma, np.float32)
    known = np.isfinite(sigma) & (True if valid is None else np.asarray(valid, bool))
    if sigma.ndim != 2 or known.shape != sigma.shape or image.shape[:2] != sigma.shape:
        raise ValueError(
            f"image is {image.shape}, sigma {sigma.shape} and valid {known.shape}; "
            "pass maps (H, W) of the image's height and width"
        )
    height, width = sigma.shape
    figure = _figure(6.6, 1.2 + 5.4 * min(max(height / width, 0.4), 1.4))
    axes = figure.add_subplot()
    _draw_sigma(figure, axes, image, np.where(known, sigma, np.float32(np.nan)), high)
    count = f"{width} x {height} px, sigma known in n = {np.count_nonzero(known)} pixels"
    axes.set_title(f"{title}\n{count}".strip(), fontsize=11, parse_math=False)
    return figure


def overview(
    photographs: Sequence[ArrayLike],
    captions: Sequence[str],
    truths: Sequence[Blur | None],
    answers: Sequence[Blur | None],
) -> "matplotlib.figure.Figure":
    """Photographs above their true and their estimated PSFs, a column each (host).

    Args:
        photographs: images (H, W) or (H, W, 3), in [0, 1].
        captions: one for each.
        truths: their true blurs; None where nobody knows.
        answers: the estimates; None where there was no answer.

    Returns:
        The figure.

    Raises:
        ValueError: sequences of different lengths, or empty ones.
    """
    if not photographs:
        raise ValueError("no photographs to draw; pass at least one")
    n = len(photographs)
    figure = _figure(0.6 + 3 * n, 7.6)
    axes = figure.subplots(3, n + 1, squeeze=False, width_ratios=(0.15, *[1] * n))
    for place, name in zip(axes[:, 0], ("Input", "True PSF", "Estimated PSF"), strict=True):
        place.set_axis_off()
        place.text(
            0.5, 0.5, name, rotation=90, ha="center", va="center", fontsize=12, fontweight="bold"
        )
    columns = zip(axes.T[1:], photographs, captions, truths, answers, strict=True)
    for (top, middle, bottom), photograph, caption, truth, answer in columns:
        _draw_image(top, np.asarray(photograph))
        top.set_title(_filled(caption, 36), fontsize=10, parse_math=False)
        span = max((_psf_size(blur) for blur in (truth, answer) if blur is not None), default=1)
        for place, blur, missing in (
            (middle, truth, "not known"),
            (bottom, answer, "no answer"),
        ):
            if blur is None:
                _draw_text(place, missing, width=20)
            else:
                _draw_answer(place, blur, size=span)
                place.set_title(_broken(blur.label, blur.parameters), fontsize=10)
    return figure


def confusion(matrix: ArrayLike, labels: Sequence[str]) -> "matplotlib.figure.Figure":
    """How often each type was taken for each (host).

    Args:
        matrix: (n, n) counts, a row for each true type, a column for each answer.
        labels: the n names.

    Returns:
        The figure: counts, and their share of the row.

    Raises:
        ValueError: a matrix that is not square with a row for each label.
    """
    matrix = np.asarray(matrix)
    if matrix.shape != (len(labels), len(labels)):
        raise ValueError(
            f"matrix is {matrix.shape}; {len(labels)} labels need a row and a column each"
        )
    total = int(matrix.sum())
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    figure = _figure(5.4, 4.6)
    axes = figure.add_subplot()
    shown = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(matrix):
        axes.text(
            column,
            row,
            f"{100 * share[row, column]:.1f} %\n{int(count)}",
            ha="center",
            va="center",
            color="white" if share[row, column] > 0.5 else "black",
        )
    accuracy = np.trace(matrix) / max(total, 1)
    axes.set_xticks(range(len(labels)), labels)
    axes.set_yticks(range(len(labels)), labels, rotation=90, va="center")
    axes.set(
        xlabel="answer",
        ylabel="truth",
        title=f"Accuracy {100 * accuracy:.1f} %, n = {total}",
    )
    figure.colorbar(shown, ax=axes, label="share of the row", shrink=0.85)
    return figure


def reliability(
    confidence: ArrayLike, correct: ArrayLike, ece: float
) -> "matplotlib.figure.Figure":
    """Whether answers given with probability p are right p of the time (host).

    Args:
        confidence: (n,) in [0, 1], the probability of each answer.
        correct: (n,) truth values or 0 and 1, whether it was right.
        ece: the expected calibration error in [0, 1], shown in the title.

    Returns:
        The figure: accuracy in ten bins of confidence, and how many answers each holds.

    Raises:
        ValueError: arrays of different lengths, or empty ones.
    """
    confidence, correct = np.asarray(confidence), np.asarray(correct)
    if confidence.shape != correct.shape or confidence.ndim != 1 or confidence.size == 0:
        raise ValueError(
            f"confidence is {confidence.shape} and correct is {correct.shape}; "
            "pass two arrays (n,) with n at least 1"
        )
    edges = np.linspace(0, 1, 11)
    members = np.clip(np.digitize(confidence, edges) - 1, 0, 9)
    count = np.bincount(members, minlength=10)
    right = np.bincount(members, weights=correct.astype(float), minlength=10)
    filled = count > 0
    centre = (edges[:-1] + edges[1:])[filled] / 2
    figure = _figure(5.2, 5.6)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.bar(
        centre,
        right[filled] / count[filled],
        width=0.095,
        color="#56B4E9",
        edgecolor="white",
        label="answers",
    )
    upper.plot([0, 1], [0, 1], color=_NEUTRAL, linestyle="--", label="perfect calibration")
    upper.set(
        ylabel="share that is right",
        ylim=(0, 1),
        title=f"Expected calibration error {100 * ece:.1f} %, n = {confidence.size}",
    )
    upper.legend(loc="upper left")
    lower.bar(centre, count[filled], width=0.095, color=_NEUTRAL, edgecolor="white")
    lower.set(xlabel="probability of the answer", ylabel="number of answers", xlim=(0, 1))
    return figure


def parameter_scatter(
    truth: Mapping[str, ArrayLike], estimate: Mapping[str, ArrayLike]
) -> "matplotlib.figure.Figure":
    """Estimated against true parameters, a panel each (host).

    Args:
        truth: (n,) true values of some of "sigma", "length", "radius" (pixels) and "angle"
            (radians).
        estimate: likewise the estimates, with the same names.

    Returns:
        The figure; angles are drawn in degrees, the estimate on the turn nearest to the truth.

    Raises:
        ValueError: no or unknown names, or names and lengths that do not match.
    """
    if not truth or truth.keys() != estimate.keys() or truth.keys() - _PARAMETERS.keys():
        raise ValueError(
            f"truth has {sorted(truth)} and estimate {sorted(estimate)}; pass the same of "
            f"{', '.join(_PARAMETERS)} in both"
        )
    names = [name for name in _PARAMETERS if name in truth]
    figure = _figure(3.7 * len(names), 4)
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        family, unit, factor = _PARAMETERS[name]
        true, found = (np.asarray(d[name], float) * factor for d in (truth, estimate))
        if true.shape != found.shape or true.ndim != 1:
            raise ValueError(f"{name}: truth is {true.shape} and estimate {found.shape}")
        error = found - true
        if name == "angle":
            error = (error + 90) % 180 - 90
        low, high = (float(true.min()), float(true.max())) if true.size else (0.0, 1.0)
        axes.plot([low, high], [low, high], color=_NEUTRAL, linestyle="--", zorder=0)
        axes.scatter(true, true + error, s=6, alpha=0.35, color=COLOURS[family], linewidths=0)
        middle = f"{np.median(np.abs(error)):.2g}" if true.size else "-"
        axes.set(
            xlabel=f"true {name} ({unit})",
            ylabel=f"estimated {name} ({unit})",
            title=f"{family} {name}, n = {true.size}\nmedian error {middle} {unit}",
        )
    return figure


def gallery(patches: ArrayLike, captions: Sequence[str]) -> "matplotlib.figure.Figure":
    """Patches side by side with what is to be said about each (host).

    Args:
        patches: (n, h, w) in [0, 1], each drawn with its own contrast.
        captions: one for each; line breaks are kept.

    Returns:
        The figure.

    Raises:
        ValueError: no patch, or another number of captions.
    """
    patches = np.asarray(patches)
    if patches.ndim != 3 or len(patches) == 0 or len(captions) != len(patches):
        raise ValueError(
            f"patches are {patches.shape} with {len(captions)} captions; "
            "pass (n, h, w) with n at least 1 and a caption each"
        )
    n, height, width = patches.shape
    columns = min(n, 8, max(3, math.ceil(math.sqrt(n))))
    rows = math.ceil(n / columns)
    lines = max(caption.count("\n") + 1 for caption in captions)
    figure = _figure(1.75 * columns, (1.6 + 0.19 * lines) * rows + 0.5)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[n:]:
        axes.set_axis_off()
    for axes, patch, caption in zip(grid.flat, patches, captions, strict=False):
        axes.imshow(np.asarray(patch, np.float32), cmap="gray", interpolation="nearest")
        axes.set_title(caption, fontsize=8)
        axes.set(xticks=[], yticks=[])
    figure.suptitle(
        f"n = {n} patches of {height} x {width} px, contrast stretched each", fontsize=10
    )
    return figure


def comparison(
    images: Sequence[ArrayLike],
    captions: Sequence[str],
    detail: tuple[int, int, int],
    *,
    title: str = "",
) -> "matplotlib.figure.Figure":
    """Versions of one photograph side by side, and the same detail of each beneath (host).

    Args:
        images: (H, W) each, of one shape, in [0, 1]: all are drawn with the same contrast.
        captions: one for each; line breaks are kept.
        detail: row, column and side in pixels of the square that is drawn enlarged.
        title: above them all; a file's name, say.

    Returns:
        The figure.

    Raises:
        ValueError: no image, images of different shapes, another number of captions, or a detail
            that is not within the image.
    """
    shown = [np.asarray(image, np.float32) for image in images]
    shapes = {image.shape for image in shown}
    if len(shapes) != 1 or shown[0].ndim != 2 or len(captions) != len(shown):
        raise ValueError(
            f"images are {sorted(shapes)} with {len(captions)} captions; pass at least one (H, W), "
            "all of one shape, and a caption each"
        )
    height, width = shown[0].shape
    row, column, side = detail
    if min(row, column) < 0 or side < 1 or row + side > height or column + side > width:
        raise ValueError(f"detail is {detail}; it must lie within {height} x {width} pixels")
    figure = _figure(2.9 * len(shown), 2.9 * (1 + min(height / width, 2)) + 1.1)
    grid = figure.subplots(2, len(shown), squeeze=False, height_ratios=(min(height / width, 2), 1))
    for (upper, lower), image, caption in zip(grid.T, shown, captions, strict=True):
        for axes, part in (
            (upper, image),
            (lower, image[row : row + side, column : column + side]),
        ):
            axes.imshow(part, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
        upper.set_title(caption, fontsize=10, parse_math=False)
        frame = [column, column + side, column + side, column, column]
        sides = [row, row, row + side, row + side, row]
        upper.plot(np.array(frame) - 0.5, np.array(sides) - 0.5, color="#E69F00", linewidth=1)
    grid[0, 0].set_ylabel(f"{width} x {height} px")
    grid[1, 0].set_ylabel(f"the marked {side} x {side} px")
    figure.suptitle(title, fontsize=11, parse_math=False)
    return figure


def filters(
    images: ArrayLike, *, titles: Sequence[str] = (), what: str = "filters"
) -> "matplotlib.figure.Figure":
    """The weights of a layer's units as images, blue below zero and red above (host).

    Each is drawn by its own scale, from minus to plus its largest magnitude: the pattern shows,
    and how strong one is beside another does not.

    Args:
        images: (n, h, w), the weights into each unit; an RBM's are
            `params["kernel"].T.reshape(-1, h, w)`.
        titles: one for each, or none.
        what: the images' name in the heading, after their number.

    Returns:
        The figure.

    Raises:
        ValueError: no image, one that is not finite, or another number of titles.
    """
    images = np.asarray(images, np.float32)
    if images.ndim != 3 or images.size == 0 or len(titles) not in (0, len(images)):
        raise ValueError(
            f"filters are {images.shape} with {len(titles)} titles; "
            "pass (n, h, w) with n at least 1, and a title each or none"
        )
    if not np.isfinite(images).all():
        raise ValueError("a filter holds NaN or infinity; it cannot be drawn, see its training")
    n, height, width = images.shape
    columns = min(n, max(4, math.ceil(math.sqrt(1.5 * n))))
    rows = math.ceil(n / columns)
    figure = _figure(max(0.75 * columns, 3.6) + 1, (0.95 if titles else 0.75) * rows + 1)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for index, (axes, image) in enumerate(zip(grid.flat, images, strict=False)):
        scale = float(np.abs(image).max()) or 1.0
        drawn = axes.imshow(image / scale, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
        if titles:
            axes.set_title(titles[index], fontsize=7)
    bar = figure.colorbar(drawn, ax=list(grid.flat), ticks=[-1, 0, 1], shrink=0.8)
    bar.set_label("weight, of its filter's largest", fontsize=8)
    figure.suptitle(
        f"n = {n} {what} of {height} x {width},\neach by its own scale about 0", fontsize=10
    )
    return figure


def save(figure: "matplotlib.figure.Figure", path: str | os.PathLike[str]) -> Path:
    """Write a figure as PNG, whole or not at all (host).

    Args:
        figure: from any function here.
        path: the file; missing folders are made, an existing file is replaced.

    Returns:
        The path.

    Raises:
        OSError: the folder cannot be made or written to.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        with warnings.catch_warnings():
            # A name in a script that the font lacks is drawn as boxes; that is all there is to it.
            warnings.filterwarnings("ignore", message="Glyph")
            # Pillow's default takes longer than the drawing, and saves a sixth.
            figure.savefig(temporary, format="png", pil_kwargs={"compress_level": 1})
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return path


def _figure(width: float, height: float) -> "matplotlib.figure.Figure":
    """An empty figure of a size in inches, with a canvas that needs no display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)
    figure = Figure((width, height), dpi=_DOTS_PER_INCH, layout=layout)
    FigureCanvasAgg(figure)
    return figure


def _draw_image(axes: "matplotlib.axes.Axes", image: np.ndarray, **options: Any) -> None:
    """An image with axes in its own pixels, however coarsely it is drawn."""
    height, width = image.shape[:2]
    step = max(1, math.ceil(max(height, width) / _SHOWN_SIDE))
    shown = np.clip(np.asarray(image[::step, ::step], np.float32), 0, 1)
    axes.imshow(
        shown,
        extent=(-0.5, width - 0.5, height - 0.5, -0.5),
        cmap="gray",
        vmin=0,
        vmax=1,
        **options,
    )
    axes.set(xlabel="column (px)", ylabel="row (px)")


def _draw_sigma(
    figure: "matplotlib.figure.Figure",
    axes: "matplotlib.axes.Axes",
    image: np.ndarray,
    sigma: np.ndarray,
    high: float | None = None,
) -> None:
    """Sigma in colour over the image, with a bar; NaN gets no colour."""
    _draw_image(axes, images.gray(image))
    known = np.isfinite(sigma)
    if high is None:
        # The very largest are specks; what is above the end gets its colour.
        high = max(float(np.quantile(sigma[known], 0.995)), 0.1) if np.any(known) else 1.0
    beyond = "max" if np.any(sigma[known] > high) else "neither"
    _draw_map(figure, axes, sigma, "viridis", (0, high), "sigma (px)", alpha=0.65, beyond=beyond)


def _draw_sharpness(axes: "matplotlib.axes.Axes", image: np.ndarray, sharpness: np.ndarray) -> None:
    """The image, dimmed where it is blurred, with a line around what is sharp."""
    from matplotlib.patheffects import withStroke

    _draw_image(axes, image)
    height, width = sharpness.shape
    step = max(1, math.ceil(max(height, width) / _SHOWN_SIDE))
    shown = sharpness[::step, ::step]
    veil = np.zeros((*shown.shape, 4), np.float32)
    veil[..., 3] = 0.7 * (1 - shown)
    axes.imshow(veil, extent=(-0.5, width - 0.5, height - 0.5, -0.5))
    sharp = shown > 0.5
    # Without a border matplotlib warns of a line that is nowhere.
    if np.any(sharp) and not np.all(sharp):
        rows, columns = (
            (np.arange(n) + 0.5) * side / n - 0.5
            for n, side in zip(shown.shape, sharpness.shape, strict=True)
        )
        line = axes.contour(columns, rows, shown, levels=[0.5], colors=[_SHARP], linewidths=1.5)
        # Seen on every colour.
        line.set_path_effects([withStroke(linewidth=3, foreground="black")])


def _draw_votes(
    figure: "matplotlib.figure.Figure",
    axes: "matplotlib.axes.Axes",
    image: np.ndarray,
    estimate: blur_type.Estimate,
    title: str,
) -> None:
    from matplotlib.collections import PolyCollection
    from matplotlib.patches import Patch

    _draw_image(axes, images.gray(image))
    corners = np.array([[0, 0], [0, 1], [1, 1], [1, 0]])
    for index, colour in enumerate(COLOURS.values()):
        boxes = estimate.boxes[estimate.choices == index]
        squares = boxes[:, None, :2] + corners * boxes[:, None, 2:] - 0.5
        # Patches overlap many times over, so that one alone has to be faint.
        axes.add_collection(
            PolyCollection(
                list(squares[..., ::-1]),
                facecolor=(colour, 0.03),
                edgecolor=(colour, 0.3),
                linewidth=0.6,
            )
        )
    count = len(estimate.boxes)
    height, width = image.shape[:2]
    if len(title) > 60:
        title = f"{title[:28]} … {title[-28:]}"
    heading = f"{title}\n{width} x {height} px, n = {count} patches read"
    # A file's name may hold a dollar sign, which is no mathematics.
    axes.set_title(heading.strip(), fontsize=11, parse_math=False)
    if count:
        # The figure's own legend: the layout keeps room for it whatever the image's shape.
        figure.legend(
            handles=[
                Patch(color=colour, label=f"{name}: {votes}")
                for (name, colour), votes in zip(COLOURS.items(), estimate.votes, strict=True)
            ],
            title="patches by vote",
            loc="outside upper left",
            ncols=3,
            frameon=False,
        )


def _draw_region(axes: "matplotlib.axes.Axes", width: int, estimate: region.Estimate) -> None:
    """The best window, on an image so many pixels wide; nothing where there is none."""
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    if estimate.status != "ok":
        return
    top, left, high, wide = (float(x) for x in estimate.boxes[0])
    # Seen on every colour, and above the patches.
    frame = Rectangle(
        (left - 0.5, top - 0.5), wide, high, fill=False, edgecolor="white", linewidth=1.2, zorder=2
    )
    frame.set_path_effects([withStroke(linewidth=3, foreground="black")])
    axes.add_patch(frame)
    # On a large image the window is narrower than its label, which then needs room beside it.
    rightmost = left + wide / 2 > width / 2
    axes.annotate(
        f"best region, score {estimate.scores[0]:.2f}",
        (left - 0.5 + (wide if rightmost else 0), top - 0.5),
        xytext=(-4 if rightmost else 4, -4),
        textcoords="offset points",
        ha="right" if rightmost else "left",
        va="top",
        color="white",
        fontsize=9,
        path_effects=[withStroke(linewidth=2, foreground="black")],
    )


def _draw_probabilities(axes: "matplotlib.axes.Axes", estimate: blur_type.Estimate) -> None:
    colours = list(_ANSWER_COLOURS.values())
    bars = axes.barh(list(_ANSWER_COLOURS), 100 * estimate.answers, color=colours)
    axes.bar_label(bars, [percent(p) for p in estimate.answers], padding=4)
    # Room for the label beside a full bar.
    axes.set(xlim=(0, 125), xticks=range(0, 101, 25), xlabel="probability (%)")
    axes.set_title(f"Blur, n = {len(estimate.boxes)} patches", fontsize=11)
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)


def _psf_size(blur: Blur) -> int:
    if blur.label not in COLOURS:
        return 3
    size = psf.support(blur.label, *blur.parameters.values(), mass=0.999)
    return max(size, 3)


def _draw_answer(axes: "matplotlib.axes.Axes", blur: Blur, *, size: int | None = None) -> None:
    if blur.label in COLOURS:
        _draw_psf(axes, blur, size=size)
    else:
        _draw_text(axes, f"{blur.label}: no kernel to draw", width=24)


def _draw_psf(axes: "matplotlib.axes.Axes", blur: Blur, *, size: int | None = None) -> None:
    # One ring of zeros more than it needs, to see where it ends.
    size = (size or _psf_size(blur)) + 2
    kernel = np.asarray(getattr(psf, blur.label)(*blur.parameters.values(), size=size))
    edge = size / 2
    axes.imshow(
        kernel, cmap="gray", vmin=0, extent=(-edge, edge, edge, -edge), interpolation="nearest"
    )
    axes.set(xlabel="column (px)", ylabel="row (px)")
    axes.locator_params(integer=True, nbins=5)


def _draw_kernel_size(axes: "matplotlib.axes.Axes", estimate: kernel_size.Estimate) -> None:
    """A box of the kernel's size, in the band in which its edges may lie."""
    from matplotlib.patches import Rectangle

    if estimate.status != "ok":
        _draw_text(axes, f"Motion kernel unknown:\n{estimate.status}", width=24)
        return
    colour = COLOURS["motion"]

    def box(width: float, height: float, **look: Any) -> None:
        axes.add_patch(Rectangle((-width / 2, -height / 2), width, height, **look))

    low, high = zip(*(estimate.interval[side] for side in ("width", "height")), strict=True)
    box(*high, facecolor=(colour, 0.25), edgecolor="none")
    box(*low, facecolor="white", edgecolor="none")
    box(estimate.width, estimate.height, fill=False, edgecolor=colour, linewidth=2)
    reach = 0.6 * max(*high, estimate.width, estimate.height)
    axes.set(xlim=(-reach, reach), ylim=(reach, -reach), aspect="equal")
    axes.set(xlabel="column (px)", ylabel="row (px)")
    axes.locator_params(integer=True, nbins=5)
    axes.set_title(
        f"Motion kernel: {size_phrase(estimate)}\n{interval_phrase(estimate)} px", fontsize=9
    )


def _draw_preview(
    before: "matplotlib.axes.Axes", after: "matplotlib.axes.Axes", preview: Preview
) -> None:
    """A part of an image, and what deblurring makes of it or why it does nothing."""
    top, left, height, width = preview.box
    _draw_image(before, preview.before)
    before.set_title(f"{width} x {height} px at row {top}, column {left}, as it is", fontsize=11)
    if preview.status != "ok":
        _draw_text(after, f"Not deblurred:\n{preview.status}", width=34)
        return
    _draw_image(after, preview.after)
    after.set_title(f"deblurred ({preview.path})", fontsize=11, parse_math=False)
    inset = after.inset_axes((0.02, 0.74, 0.24, 0.24))
    inset.imshow(preview.kernel, cmap="gray", vmin=0, interpolation="nearest")
    inset.set(xticks=[], yticks=[])
    inset.set_xlabel(
        f"kernel, {len(preview.kernel)} px",
        fontsize=8,
        labelpad=2,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )


def _draw_text(axes: "matplotlib.axes.Axes", text: str, *, width: int) -> None:
    axes.set_axis_off()
    axes.text(
        0.5,
        0.5,
        _filled(text, width),
        ha="center",
        va="center",
        transform=axes.transAxes,
        fontsize=12,
    )


def _filled(text: str, width: int) -> str:
    """Text in lines of at most `width` characters; its own line breaks are kept."""
    return "\n".join(textwrap.fill(line, width) for line in text.splitlines())


def _broken(
    label: str, parameters: Mapping[str, float], spread: Mapping[str, float] | None = None
) -> str:
    """The blur in words, its type and its parameters on a line each."""
    return f"{label}\n{parameter_phrase(parameters, spread)}"


def sigma_maps(
    images: Sequence[ArrayLike],
    truths: Sequence[ArrayLike],
    estimates: Sequence[ArrayLike],
    captions: Sequence[str],
    *,
    border: int = 0,
    high: float = 3.0,
    title: str = "",
) -> "matplotlib.figure.Figure":
    """Blurred images, their true and their estimated sigma maps and the difference (host).

    Args:
        images: (H, W) each, in [0, 1].
        truths: for each (H, W), sigma in pixels.
        estimates: likewise; what is not finite is drawn in gray.
        captions: one for each; line breaks are kept.
        border: pixels on every side that the difference leaves out.
        high: sigma in pixels at the end of the maps' colours; they begin at 0.
        title: above them all.

    Returns:
        The figure: a row for each image, with bias, root mean square error and the number of
        pixels of each difference; its colours reach from -1 to 1 px.

    Raises:
        ValueError: no image, shapes that differ within a row, sequences of different lengths, or
            a border that leaves nothing.
    """
    rows = [
        tuple(np.asarray(part, np.float32) for part in row)
        for row in zip(images, truths, estimates, strict=True)
    ]
    if not rows or len(captions) != len(rows):
        raise ValueError(
            f"{len(rows)} images with {len(captions)} captions; pass at least one and as many"
        )
    for image, truth, estimate in rows:
        if image.ndim != 2 or not image.shape == truth.shape == estimate.shape:
            raise ValueError(
                f"image, truth and estimate are {image.shape}, {truth.shape} and "
                f"{estimate.shape}; pass three (H, W)"
            )
        if border < 0 or 2 * border >= min(image.shape):
            raise ValueError(f"border is {border}; it must leave some of {image.shape} pixels")
    heights = [min(max(image.shape[0] / image.shape[1], 0.4), 2.0) for image, _, _ in rows]
    figure = _figure(14, 2.5 * sum(heights) + 1.0 * len(rows) + 0.3)
    grid = figure.subplots(len(rows), 4, squeeze=False, height_ratios=heights)
    for axes, (image, truth, estimate), caption in zip(grid, rows, captions, strict=True):
        inside = slice(border, -border or None)
        error = np.full(image.shape, np.nan, np.float32)
        error[inside, inside] = (estimate - truth)[inside, inside]
        counted = error[np.isfinite(error)].astype(float)
        said = "no pixel to compare"
        if counted.size:
            rms = math.sqrt(np.mean(counted**2))
            said = f"bias {counted.mean():+.3f} px, RMSE {rms:.3f} px\nn = {counted.size} pixels"
        _draw_image(axes[0], image)
        axes[0].set_title(caption, fontsize=9, parse_math=False)
        for place, values, name in (
            (axes[1], truth, "true sigma"),
            (axes[2], estimate, "estimated sigma\n(gray: no estimate)"),
        ):
            place.set_title(name, fontsize=9)
            place.set_facecolor(_UNKNOWN)
            _draw_map(figure, place, values, "viridis", (0, high), "sigma (px)")
        axes[3].set_title(f"estimate - truth\n{said}", fontsize=9)
        axes[3].set_facecolor(_UNKNOWN)
        _draw_map(figure, axes[3], error, "RdBu_r", (-1, 1), "difference (px)")
    if title:
        figure.suptitle(title, fontsize=11, parse_math=False)
    return figure


def sigma_bias(
    truth: ArrayLike, mean: ArrayLike, deviation: ArrayLike, spread: ArrayLike, *, n: int
) -> "matplotlib.figure.Figure":
    """Estimated against true sigma of uniform blur (host).

    Args:
        truth: (m,) sigmas in pixels.
        mean: (m,) the mean estimate of each, in pixels.
        deviation: (m,) the standard deviation of the estimates between images, in pixels; not
            finite where there is one image.
        spread: (m,) the mean standard deviation that the estimates state, in pixels.
        n: the number of images.

    Returns:
        The figure: the means with both deviations above, the bias beneath.

    Raises:
        ValueError: arrays that are not all (m,) with m at least 1.
    """
    truth, mean, deviation, spread = (
        np.asarray(x, float) for x in (truth, mean, deviation, spread)
    )
    shapes = {x.shape for x in (truth, mean, deviation, spread)}
    if len(shapes) != 1 or truth.ndim != 1 or not truth.size:
        raise ValueError(f"the arrays are {sorted(shapes)}; pass four (m,) with m at least 1")
    figure = _figure(5.6, 6.6)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2.2, 1))
    ends = [0.0, float(max(truth.max(), mean.max()))]
    upper.plot(ends, ends, color=_NEUTRAL, linestyle="--", label="estimate = truth")
    lower.axhline(0, color=_NEUTRAL, linestyle="--")
    order = np.argsort(truth)
    for axes, centre in ((upper, mean), (lower, mean - truth)):
        axes.fill_between(
            truth[order],
            (centre - spread)[order],
            (centre + spread)[order],
            color="#56B4E9",
            alpha=0.35,
            linewidth=0,
            label="± mean stated spread",
        )
        axes.errorbar(
            truth,
            centre,
            yerr=np.nan_to_num(deviation),
            fmt="o",
            color="#0072B2",
            markersize=4,
            capsize=3,
            label="mean ± deviation between images",
        )
    upper.set(ylabel="estimated sigma (px)", title=f"Uniform blur, n = {n} images for each sigma")
    upper.legend(loc="upper left", fontsize=8)
    lower.set(xlabel="true sigma (px)", ylabel="bias (px)")
    return figure


def detection_curves(
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]],
    points: Mapping[str, tuple[float, float]] | None = None,
    *,
    n: int,
    positive: str = "blurred",
    title: str = "",
) -> "matplotlib.figure.Figure":
    """Precision over recall as the threshold moves, a line for each method (host).

    Args:
        curves: for each method (m,) precisions and (m,) recalls in [0, 1]; what is not finite
            leaves a gap.
        points: for each answer without a threshold its precision and recall.
        n: the number of images.
        positive: the class that is detected.
        title: above them all.

    Returns:
        The figure.

    Raises:
        ValueError: no curve, or arrays that are not all (m,) with m at least 1.
    """
    drawn = {
        name: tuple(np.asarray(part, float) for part in curve) for name, curve in curves.items()
    }
    if not drawn:
        raise ValueError("no curve to draw; pass at least one")
    for name, (precision, recall) in drawn.items():
        if precision.shape != recall.shape or precision.ndim != 1 or not precision.size:
            raise ValueError(
                f"{name}: precision is {precision.shape} and recall {recall.shape}; "
                "pass two (m,) with m at least 1"
            )
    figure = _figure(8.8, 5.6)
    axes = figure.add_subplot()
    for index, (name, (precision, recall)) in enumerate(drawn.items()):
        axes.plot(recall, precision, label=name, **_line(index))
    for index, (name, (height, place)) in enumerate((points or {}).items()):
        marker = "so^v"[index % 4]
        axes.plot([place], [height], marker, color=_NEUTRAL, label=name, clip_on=False)
    axes.set(
        xlabel=f"recall of {positive} pixels (share)",
        ylabel=f"precision of {positive} pixels (share)",
        xlim=(0, 1),
        ylim=(0, 1.02),
    )
    axes.set_title(f"{title}\nmeans over n = {n} images".strip(), fontsize=11, parse_math=False)
    figure.legend(loc="outside right upper", fontsize=8)
    return figure


def sharpness_sheet(
    images: Sequence[ArrayLike],
    truths: Sequence[ArrayLike],
    maps: Mapping[str, Sequence[ArrayLike]],
    captions: Sequence[str],
    *,
    title: str = "",
) -> "matplotlib.figure.Figure":
    """Photographs, what is sharp in them, and the sharpness that each method sees (host).

    Args:
        images: (H, W) each, in [0, 1].
        truths: for each (H, W) in [0, 1], 1 where sharp.
        maps: for each method as many (H, W) in [0, 1], 1 where sharp; what is not finite is
            blue-gray.
        captions: one for each image; line breaks are kept.
        title: above them all.

    Returns:
        The figure: a row for each image; the photograph, the truth, then a column for each method,
        gray from 0 to 1 throughout.

    Raises:
        ValueError: no image, shapes that differ within a row, or sequences of different lengths.
    """
    columns = {"truth": truths, **maps}
    lengths = {len(images), len(captions), *(len(some) for some in columns.values())}
    if len(lengths) != 1 or not len(images):
        raise ValueError(
            f"{len(images)} images with {len(captions)} captions, {len(truths)} truths and "
            f"{[len(some) for some in maps.values()]} maps; pass at least one and as many"
        )
    rows = [
        [np.asarray(part, np.float32) for part in row]
        for row in zip(images, *columns.values(), strict=True)
    ]
    for row in rows:
        if row[0].ndim != 2 or any(part.shape != row[0].shape for part in row):
            raise ValueError(f"shapes {[part.shape for part in row]} in one row; pass (H, W) alike")
    heights = [min(max(row[0].shape[0] / row[0].shape[1], 0.4), 1.6) for row in rows]
    wide = 1.9
    figure = _figure(wide * (1 + len(columns)) + 0.9, wide * sum(heights) + 0.3 * len(rows) + 0.9)
    grid = figure.subplots(len(rows), 1 + len(columns), squeeze=False, height_ratios=heights)
    for axes, row, caption in zip(grid, rows, captions, strict=True):
        for place, part in zip(axes, row, strict=True):
            _draw_image(place, part)
            place.set_facecolor("#C5D3E0")
            place.set(xticks=[], yticks=[], xlabel="", ylabel="")
        height, width = row[0].shape
        # Under the photograph rather than beside it, where a long name finds no room.
        axes[0].set_xlabel(
            f"{_filled(caption, 30)}\n{width} x {height} px", fontsize=7, parse_math=False
        )
    for axes, name in zip(grid[0], ("photograph", *columns), strict=True):
        axes.set_title(_filled(name, 20), fontsize=9)
    figure.colorbar(
        grid[0, 0].images[0],
        ax=list(grid.flat),
        label="gray of the photograph; sharpness: 0 blurred, 1 sharp",
        shrink=min(1.0, 3 / figure.get_figheight()),
    )
    figure.suptitle(f"{title}\nn = {len(rows)} images".strip(), fontsize=11, parse_math=False)
    return figure


def refinement_curves(
    iterations: ArrayLike,
    curves: Mapping[str, Mapping[str, ArrayLike]],
    mixtures: Mapping[str, Mapping[str, float]] | None = None,
    *,
    n: int,
    title: str = "",
) -> "matplotlib.figure.Figure":
    """How good a refined map is after so many iterations, a panel for each measure (host).

    Args:
        iterations: (m,) counts; 0 is the map before refinement.
        curves: for each measure ("F", say) and each line in its panel the (m,) values.
        mixtures: likewise the value of the weighted mixture of iterations, drawn across.
        n: the number of images that the values are means over.
        title: above them all.

    Returns:
        The figure.

    Raises:
        ValueError: no measure, or values of another shape than `iterations`.
    """
    counts, mixtures = np.asarray(iterations), mixtures or {}
    if not curves or counts.ndim != 1 or not counts.size:
        raise ValueError(
            f"iterations are {counts.shape} with {len(curves)} measures; pass (m,) with m at least "
            "1 and at least one measure"
        )
    figure = _figure(4.2 * len(curves) + 1.8, 4.4)
    panels = figure.subplots(1, len(curves), squeeze=False)[0]
    for axes, (measure, lines) in zip(panels, curves.items(), strict=True):
        for index, (name, values) in enumerate(lines.items()):
            drawn, style = np.asarray(values, float), _line(index)
            if drawn.shape != counts.shape:
                raise ValueError(
                    f"{measure}, {name}: values {drawn.shape} for {counts.shape} iterations; "
                    "pass as many"
                )
            axes.plot(counts, drawn, marker="o", markersize=3, label=name, **style)
            if name in mixtures.get(measure, {}):
                across = mixtures[measure][name]
                axes.axhline(across, label=f"{name}, mixture", **{**style, "linestyle": ":"})
        # Linear up to 1, so that 0 has a place.
        axes.set_xscale("symlog", linthresh=1, linscale=0.4)
        axes.set_xlim(-0.3, 1.3 * max(float(counts.max()), 1.0))
        shown = [count for count in (0, 1, 2, 5, 10, 20, 50, 100) if count <= counts.max()]
        axes.set_xticks(shown, [str(count) for count in shown])
        axes.set(xlabel="iterations (number)", ylabel=f"{measure} (mean over images)")
        axes.minorticks_off()
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right upper", fontsize=8)
    figure.suptitle(f"{title}\nn = {n} images".strip(), fontsize=11, parse_math=False)
    return figure


def convergence(
    lines: Sequence[Mapping[str, Any]], measures: Sequence[str], *, title: str = ""
) -> "matplotlib.figure.Figure":
    """How a run converged, a panel for each measure: in training, and in validation (host).

    Args:
        lines: what a run wrote to metrics.jsonl, each with "step" and measures by name, those of
            validation under "validate/NAME".
        measures: names to draw, at least one; with the unit in brackets, "abe (pixel)", if there is
            one.
        title: above them all.

    Returns:
        The figure.

    Raises:
        ValueError: no measure, or one that no line has.
    """
    if not measures:
        raise ValueError("no measure to draw; name at least one")
    figure = _figure(4.2 * len(measures), 3.8)
    panels = figure.subplots(1, len(measures), squeeze=False)[0]
    for axes, measure in zip(panels, measures, strict=True):
        name = measure.split(" (")[0]
        drawn = 0
        sources = (("training", name), ("validation", f"validate/{name}"))
        for index, (label, key) in enumerate(sources):
            found = [(line["step"], line[key]) for line in lines if line.get(key) is not None]
            if found:
                steps, values = zip(*found, strict=True)
                axes.plot(steps, values, label=label, marker=".", **_line(index))
                drawn += len(found)
        if not drawn:
            raise ValueError(f"no line of the run's metrics has {name!r}")
        axes.set(xlabel="steps (number)", ylabel=measure)
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=8)
    figure.suptitle(title, fontsize=11, parse_math=False)
    return figure


def threshold_curves(
    panels: Mapping[str, tuple[ArrayLike, Mapping[str, ArrayLike]]],
    *,
    n: int,
    measure: str = "F",
    title: str = "",
) -> "matplotlib.figure.Figure":
    """How a measure depends on the threshold, a panel for each rule of setting it (host).

    Args:
        panels: for each rule, whose name is the label of its axis, (m,) thresholds and for each
            method the (m,) values.
        n: the number of images that the values are means over.
        measure: its name.
        title: above them all.

    Returns:
        The figure.

    Raises:
        ValueError: no panel, or values of another shape than their thresholds.
    """
    if not panels:
        raise ValueError("no panel to draw; pass at least one")
    figure = _figure(4.4 * len(panels) + 2.2, 4.4)
    grid = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axes, (rule, (thresholds, lines)) in zip(grid, panels.items(), strict=True):
        places = np.asarray(thresholds, float)
        for index, (name, values) in enumerate(lines.items()):
            drawn = np.asarray(values, float)
            if drawn.shape != places.shape or places.ndim != 1:
                raise ValueError(
                    f"{rule}, {name}: values {drawn.shape} for {places.shape} thresholds; "
                    "pass two (m,)"
                )
            axes.plot(places, drawn, marker="o", markersize=3, label=name, **_line(index))
        axes.set(xlabel=rule, ylabel=f"{measure} (mean over images)")
        axes.label_outer()
    handles, names = grid[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right upper", fontsize=8)
    figure.suptitle(f"{title}\nn = {n} images".strip(), fontsize=11, parse_math=False)
    return figure


def size_scatter(
    answers: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    constant: float,
    largest: float = 100.0,
    title: str = "",
) -> "matplotlib.figure.Figure":
    """Estimated against true sizes of kernels, a panel for each method (host).

    Args:
        answers: for each method (n,) true sizes and (n,) estimates, in pixels.
        constant: the best answer of one that looks at nothing, in pixels: drawn across.
        largest: end of both axes, in pixels; estimates beyond it are drawn on it.
        title: above them all.

    Returns:
        The figure, with the mean and the median absolute error of each method.

    Raises:
        ValueError: no method, or arrays that are not all (n,) with n at least 1.
    """
    if not answers:
        raise ValueError("no method to draw; pass at least one")
    columns = min(len(answers), 3)
    rows = math.ceil(len(answers) / columns)
    figure = _figure(3.9 * columns, 0.8 + 4.1 * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    for place in grid.flat[len(answers) :]:
        place.set_axis_off()
    for axes, (name, pair) in zip(grid.flat, answers.items(), strict=False):
        true, found = (np.asarray(part, float) for part in pair)
        if true.shape != found.shape or true.ndim != 1 or not true.size:
            raise ValueError(
                f"{name}: truth is {true.shape} and estimate {found.shape}; "
                "pass two (n,) with n at least 1"
            )
        axes.plot([0, largest], [0, largest], color=_NEUTRAL, linestyle="--", zorder=0)
        axes.axhline(constant, color=_LINE_COLOURS[1], linestyle=":", zorder=0)
        axes.scatter(
            true,
            np.minimum(found, largest),
            s=12,
            alpha=0.5,
            color=_LINE_COLOURS[0],
            linewidths=0,
            clip_on=False,
        )
        error = np.abs(found - true)
        axes.set_title(
            f"{name}, n = {true.size}\nmean |error| {error.mean():.2f} px, "
            f"median {np.median(error):.2f} px",
            fontsize=9,
            parse_math=False,
        )
        axes.set(xlim=(0, largest), ylim=(0, largest), aspect="equal")
        axes.set(xlabel="true size (px)", ylabel="estimated size (px)")
    heading = f"{title}\ndashed: estimate = truth; dotted: best constant, {constant:g} px"
    figure.suptitle(heading.strip(), fontsize=11, parse_math=False)
    return figure


def size_errors(
    ranges: Mapping[str, int],
    panels: Mapping[str, Mapping[str, tuple[ArrayLike, ArrayLike]]],
    *,
    title: str = "",
) -> "matplotlib.figure.Figure":
    """Errors of the estimated sizes by the true size, a line for each method (host).

    Args:
        ranges: for each range of true sizes, "20-35" say, the number of sizes in it.
        panels: for each condition and each method in it the mean absolute error in each range and
            its standard error, in pixels; what is not finite leaves a gap.
        title: above them all.

    Returns:
        The figure, a panel for each condition.

    Raises:
        ValueError: no panel, or arrays that are not as long as there are ranges.
    """
    if not panels or not ranges:
        raise ValueError(
            f"{len(panels)} panels of {len(ranges)} ranges; pass at least one of either"
        )
    places = np.arange(len(ranges), dtype=float)
    figure = _figure(4.6 * len(panels) + 2.2, 4.6)
    grid = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axes, (condition, lines) in zip(grid, panels.items(), strict=True):
        for index, (name, pair) in enumerate(lines.items()):
            mean, deviation = (np.asarray(part, float) for part in pair)
            if mean.shape != places.shape or deviation.shape != places.shape:
                raise ValueError(
                    f"{condition}, {name}: errors {mean.shape} and deviations {deviation.shape} "
                    f"for {len(ranges)} ranges; pass as many"
                )
            axes.errorbar(
                # Side by side, so that no bar hides another.
                places + 0.05 * (index - (len(lines) - 1) / 2),
                mean,
                yerr=np.nan_to_num(deviation),
                marker="o",
                markersize=3,
                capsize=2,
                label=name,
                **_line(index),
            )
        axes.set_title(condition, fontsize=10, parse_math=False)
        axes.set_xticks(places, [f"{name}\nn = {count}" for name, count in ranges.items()])
        axes.tick_params(axis="x", labelsize=8)
        axes.set(xlabel="true size (px)", ylabel="mean |error| ± standard error (px)")
        axes.label_outer()
    # After all are drawn: they share the axis, which then no longer grows.
    grid[0].set_ylim(bottom=0)
    handles, names = grid[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right upper", fontsize=8)
    heading = f"{title}\nn = {sum(ranges.values())} sizes"
    figure.suptitle(heading.strip(), fontsize=11, parse_math=False)
    return figure


def size_sheet(
    images: Sequence[ArrayLike],
    truths: Sequence[Sequence[float]],
    answers: Sequence[Sequence[float] | None],
    captions: Sequence[str],
    *,
    title: str = "",
) -> "matplotlib.figure.Figure":
    """Blurred photographs with the boxes of the true and the estimated kernel (host).

    Args:
        images: (H, W) each, in [0, 1].
        truths: for each the kernel's height and width in pixels.
        answers: likewise the estimates; None where there was no answer.
        captions: one for each.
        title: above them all.

    Returns:
        The figure; the boxes are in the photographs' middle and to their scale.

    Raises:
        ValueError: no image, or sequences of different lengths.
    """
    lengths = {len(images), len(truths), len(answers), len(captions)}
    if len(lengths) != 1 or not len(images):
        raise ValueError(
            f"{len(images)} images, {len(truths)} truths, {len(answers)} answers and "
            f"{len(captions)} captions; pass at least one and as many"
        )
    from matplotlib.patches import Rectangle

    columns = min(len(images), 4)
    rows = math.ceil(len(images) / columns)
    figure = _figure(3.2 * columns, 0.8 + 3.3 * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    for place in grid.flat[len(images) :]:
        place.set_axis_off()
    both = (("truth", _LINE_COLOURS[4], "-"), ("estimate", _LINE_COLOURS[5], "--"))
    panels = zip(grid.flat, images, truths, answers, captions, strict=False)
    for axes, image, truth, answer, caption in panels:
        picture = np.asarray(image)
        _draw_image(axes, picture)
        said = []
        for (name, colour, style), size in zip(both, (truth, answer), strict=True):
            if size is None:
                said.append("no answer")
                continue
            height, width = (float(side) for side in size)
            corner = ((n - side - 1) / 2 for n, side in zip(picture.shape, size, strict=True))
            row, column = corner
            axes.add_patch(
                Rectangle(
                    (column, row),
                    width,
                    height,
                    fill=False,
                    edgecolor=colour,
                    linestyle=style,
                    linewidth=1.8,
                )
            )
            said.append(f"{name} {width:.0f} x {height:.0f}")
        axes.set(xticks=[], yticks=[], xlabel="", ylabel="")
        axes.set_title(
            f"{_filled(caption, 36)}\n{', '.join(said)} px", fontsize=8, parse_math=False
        )
    heading = f"{title}\nsolid: true width x height, dashed: estimated; n = {len(images)} images"
    figure.suptitle(heading.strip(), fontsize=11, parse_math=False)
    return figure


def _line(index: int) -> dict[str, Any]:
    """Colour and style of the line of that number."""
    turn, place = divmod(index, len(_LINE_COLOURS))
    return {"color": _LINE_COLOURS[place], "linestyle": ("-", "--")[turn % 2]}


def _draw_map(
    figure: "matplotlib.figure.Figure | matplotlib.figure.SubFigure",
    axes: "matplotlib.axes.Axes",
    values: np.ndarray,
    colours: str,
    limits: tuple[float, float],
    label: str,
    *,
    alpha: float = 1.0,
    beyond: str = "both",
) -> None:
    """A map with its colour bar, in axes of its own pixels; what is not finite is not drawn."""
    height, width = values.shape
    step = max(1, math.ceil(max(height, width) / _SHOWN_SIDE))
    drawn = axes.imshow(
        np.ma.masked_invalid(values[::step, ::step]),
        extent=(-0.5, width - 0.5, height - 0.5, -0.5),
        cmap=colours,
        vmin=limits[0],
        vmax=limits[1],
        alpha=alpha,
        interpolation="nearest",
    )
    axes.set(xlabel="column (px)")
    figure.colorbar(drawn, ax=axes, label=label, shrink=0.85, extend=beyond)


class Deblurred(NamedTuple):
    """One row of `deblurring_sheet`."""

    caption: str
    blurred: ArrayLike
    """(H, W) in [0, 1], as are the other images."""
    estimate: ArrayLike
    reference: ArrayLike
    """Restored with the true kernel."""
    sharp: ArrayLike
    kernel: ArrayLike | None
    """(k, k), the estimated one; None if there is none."""
    truth: ArrayLike | None
    """(l, l), the true one; None if nobody knows it."""
    notes: tuple[str, str, str] = ("", "", "")
    """On the blurred image, the estimate and the reference: their errors, say."""


def deblurring_sheet(rows: Sequence[Deblurred], *, title: str = "") -> "matplotlib.figure.Figure":
    """Blurred photographs, restored with the estimated and with the true kernel (host).

    Args:
        rows: at least one.
        title: above them all.

    Returns:
        The figure: a row for each image; blurred, estimate, result of the true kernel, sharp, then
        the estimated and the true kernel, both of a row to one scale, each as bright as it gets.

    Raises:
        ValueError: no row, or images of different shapes in one.
    """
    if not rows:
        raise ValueError("no image to draw; pass at least one row")
    pictures = [
        [np.asarray(part, np.float32) for part in (r.blurred, r.estimate, r.reference, r.sharp)]
        for r in rows
    ]
    for shown in pictures:
        if shown[0].ndim != 2 or any(part.shape != shown[0].shape for part in shown):
            raise ValueError(
                f"shapes {[part.shape for part in shown]} in one row; pass (H, W) alike"
            )
    heights = [min(max(p[0].shape[0] / p[0].shape[1], 0.4), 1.6) for p in pictures]
    names = ("blurred", "estimate", "with the true kernel", "sharp")
    kernel_names = ("estimated kernel", "true kernel")
    wide = 2.3
    figure = _figure(wide * (4 + 2 * 0.7) + 0.6, wide * sum(heights) + 0.6 * len(rows) + 0.9)
    grid = figure.subplots(
        len(rows), 6, squeeze=False, width_ratios=(1, 1, 1, 1, 0.7, 0.7), height_ratios=heights
    )
    for places, row, shown in zip(grid, rows, pictures, strict=True):
        notes = (*row.notes, "")
        for axes, picture, note in zip(places[:4], shown, notes, strict=True):
            _draw_image(axes, picture)
            axes.set(xticks=[], yticks=[], xlabel="", ylabel="")
            axes.set_xlabel(note, fontsize=8, parse_math=False)
        height, width = shown[0].shape
        places[0].set_ylabel(
            f"{_filled(row.caption, 30)}\n{width} x {height} px", fontsize=7, parse_math=False
        )
        both = [None if k is None else np.asarray(k, np.float32) for k in (row.kernel, row.truth)]
        span = max((k.shape[-1] for k in both if k is not None), default=1)
        for axes, kernel, missing in zip(places[4:], both, ("none", "not known"), strict=True):
            if kernel is None:
                _draw_text(axes, missing, width=12)
                continue
            _draw_kernel(axes, kernel, span)
            axes.set_xlabel("column (px)", fontsize=8)
    for axes, name in zip(grid[0], (*names, *kernel_names), strict=True):
        axes.set_title(name, fontsize=9)
    figure.suptitle(
        f"{title}\nshown: n = {len(rows)} images".strip(), fontsize=11, parse_math=False
    )
    return figure


def success_curve(
    ratios: Mapping[str, ArrayLike], *, largest: float = 6.0, title: str = ""
) -> "matplotlib.figure.Figure":
    """Which share of the images has at most so large an error, a line for each method (host).

    Args:
        ratios: for each method (n,) error ratios, n at least 1; those that are not finite count as
            larger than any.
        largest: end of the axis.
        title: above it; it should say what the errors are divided by.

    Returns:
        The figure, with the share at most 2 of each method, and marks at 2, 3 and 5.

    Raises:
        ValueError: no method, or arrays that are not (n,) with n at least 1.
    """
    if not ratios:
        raise ValueError("no method to draw; pass at least one")
    figure = _figure(9.4, 5.0)
    axes = figure.add_subplot()
    counts = set()
    for bound in (2, 3, 5):
        axes.axvline(bound, color=_UNKNOWN, linestyle=":", linewidth=1, zorder=0)
    for index, (name, values) in enumerate(ratios.items()):
        some = np.asarray(values, float)
        if some.ndim != 1 or not some.size:
            raise ValueError(f"{name}: ratios are {some.shape}; pass (n,) with n at least 1")
        some = np.sort(np.where(np.isfinite(some), some, np.inf))
        counts.add(some.size)
        share = np.arange(1, some.size + 1) / some.size
        inside = some <= largest
        places = np.concatenate([[0.0], some[inside], [largest]])
        heights = np.concatenate([[0.0], share[inside], [np.mean(inside)]])
        label = f"{name}: {100 * np.mean(some <= 2):.0f} % at most 2"
        axes.step(places, 100 * heights, where="post", label=label, **_line(index))
    axes.set(
        xlabel="error ratio (squared error over squared error)",
        ylabel="images with at most that ratio (%)",
        xlim=(0, largest),
        ylim=(0, 102),
    )
    number = str(counts.pop()) if len(counts) == 1 else f"{min(counts)} to {max(counts)}"
    axes.set_title(f"{title}\nn = {number} images".strip(), fontsize=11, parse_math=False)
    figure.legend(loc="outside right upper", fontsize=8)
    return figure


def _draw_kernel(axes: "matplotlib.axes.Axes", kernel: np.ndarray, span: int) -> None:
    """A kernel (k, k) as bright as it gets, in the middle of a square so many pixels wide."""
    edge = kernel.shape[-1] / 2
    axes.imshow(
        kernel,
        cmap="gray",
        vmin=0,
        extent=(-edge, edge, edge, -edge),
        interpolation="nearest",
    )
    axes.set(xlim=(-span / 2, span / 2), ylim=(span / 2, -span / 2), facecolor="black")
    axes.locator_params(integer=True, nbins=3)
    axes.tick_params(labelsize=7)


# What the last kernel of a row is called.
_TRUE = "true kernel"


class Selected(NamedTuple):
    """One row of `window_sheet`."""

    caption: str
    blurred: ArrayLike
    """(H, W) in [0, 1]."""
    boxes: Mapping[str, Sequence[float]]
    """Of each name the window: row, column, height and width in pixels. What was found without a
    window, in the whole image say, has none."""
    kernels: Mapping[str, ArrayLike]
    """Of each name the kernel (k, k) that was found."""
    truth: ArrayLike | None
    """(l, l), the true kernel; None if nobody knows it."""
    notes: Mapping[str, str] = MappingProxyType({})
    """Below the kernels of these names: how similar they are to the true one, say."""
    scored: region.Estimate | None = None
    """Whose grid of windows is shown, each as a dot at its centre in the colour of its score."""


def window_sheet(rows: Sequence[Selected], *, title: str = "") -> "matplotlib.figure.Figure":
    """Windows of blurred photographs, and the kernels found in them (host).

    Args:
        rows: at least one.
        title: above them all.

    Returns:
        The figure: a row for each photograph; the windows on it, a colour for each name, those at
        one place one inside the other, and the scores of a grid of them; then the kernels, framed
        in that colour, and the true one, all of a row to one scale, each as bright as it gets.

    Raises:
        ValueError: no row, or one without a kernel.
    """
    if not rows or not all(row.kernels for row in rows):
        raise ValueError(f"{len(rows)} rows of windows; pass at least one, each with a kernel")
    from matplotlib.patches import Patch

    names = list(dict.fromkeys(name for row in rows for name in (*row.kernels, *row.boxes)))
    boxed = [name for name in names if any(name in row.boxes for row in rows)]
    styles = {
        name: {"edgecolor": line["color"], "linestyle": line["linestyle"]}
        for name, line in zip(boxed, map(_line, range(len(boxed))), strict=True)
    }
    pictures = [np.asarray(row.blurred, np.float32) for row in rows]
    heights = [min(max(p.shape[0] / p.shape[1], 0.4), 1.6) for p in pictures]
    # Beside a photograph there is room for two lines of kernels.
    count = len(names) + 1
    lines = 2 if count > 6 else 1
    columns = math.ceil(count / lines)
    wide, narrow = 3.4, 1.5
    figure = _figure(wide + narrow * columns, (wide + 0.2) * sum(heights) + 1.2)
    grid = figure.add_gridspec(
        len(rows) * lines,
        columns + 1,
        width_ratios=(wide / narrow, *[1] * columns),
        height_ratios=np.repeat(heights, lines),
    )
    for number, (row, picture) in enumerate(zip(rows, pictures, strict=True)):
        first = number * lines
        height, width = picture.shape
        axes = figure.add_subplot(grid[first : first + lines, 0])
        _draw_image(axes, picture)
        _draw_boxes(axes, row.boxes, styles)
        if row.scored is not None and row.scored.status == "ok":
            _draw_scores(figure, axes, row.scored)
        axes.set(xticks=[], yticks=[], xlabel="")
        axes.set_title("blurred", fontsize=8)
        axes.set_ylabel(
            f"{_filled(row.caption, 40)}\n{width} x {height} px", fontsize=7, parse_math=False
        )
        shown = {name: row.kernels.get(name) for name in names} | {_TRUE: row.truth}
        kernels = {n: None if k is None else np.asarray(k, np.float32) for n, k in shown.items()}
        span = max(k.shape[-1] for k in kernels.values() if k is not None)
        for place, (name, kernel) in enumerate(kernels.items()):
            line, column = divmod(place, columns)
            axes = figure.add_subplot(grid[first + line, 1 + column])
            axes.set_title(name, fontsize=8, parse_math=False)
            if kernel is None:
                _draw_text(axes, "not known" if name == _TRUE else "none", width=12)
                continue
            _draw_kernel(axes, kernel, span)
            note = f"column (px)\n{row.notes.get(name, '')}".strip()
            axes.set_xlabel(note, fontsize=7, parse_math=False)
            if name in styles:
                for spine in axes.spines.values():
                    spine.set(linewidth=2, **styles[name])
    handles = [
        Patch(fill=False, linewidth=1.8, label=name, **style) for name, style in styles.items()
    ]
    if handles:
        figure.legend(
            handles=handles, loc="outside lower center", ncols=min(len(handles), 6), fontsize=8
        )
    figure.suptitle(
        f"{title}\nshown: n = {len(rows)} image{'s' if len(rows) > 1 else ''}".strip(),
        fontsize=11,
        parse_math=False,
    )
    return figure


def _draw_scores(
    figure: "matplotlib.figure.Figure", axes: "matplotlib.axes.Axes", estimate: region.Estimate
) -> None:
    """How good every window of a grid is, at its centre, with the bar of the colours."""
    row, column, height, width = np.moveaxis(estimate.map_boxes, -1, 0).reshape(4, -1)
    dots = axes.scatter(
        column + (width - 1) / 2,
        row + (height - 1) / 2,
        c=estimate.score_map.ravel(),
        s=22,
        vmin=0,
        vmax=1,
        edgecolors="white",
        linewidths=0.6,
        zorder=3,
    )
    bar = figure.colorbar(dots, ax=axes, location="bottom", shrink=0.8, aspect=30)
    bar.set_label("score of the window about each dot", fontsize=7)
    bar.ax.tick_params(labelsize=7)


def _draw_boxes(
    axes: "matplotlib.axes.Axes",
    boxes: Mapping[str, Sequence[float]],
    styles: Mapping[str, Mapping[str, Any]],
) -> None:
    """Windows (row, column, height, width), each in the style of its name."""
    from matplotlib.patches import Rectangle

    there: dict[tuple[float, ...], int] = {}
    for name, box in boxes.items():
        place = tuple(float(x) for x in box)
        row, column, height, width = place
        # One on top of the other only the last would be seen.
        inset = 0.025 * min(height, width) * there.get(place, 0)
        there[place] = there.get(place, 0) + 1
        axes.add_patch(
            Rectangle(
                (column - 0.5 + inset, row - 0.5 + inset),
                width - 2 * inset,
                height - 2 * inset,
                fill=False,
                linewidth=1.8,
                **styles[name],
            )
        )


class Shortfall(NamedTuple):
    """One case of `shortfall_sheet`: what was true, and what a system answered."""

    condition: str
    image: ArrayLike
    """(H, W) in [0, 1], as the system saw it, or a part of that."""
    truth: str
    """In words, with units; likewise the answer."""
    answer: str
    probabilities: ArrayLike | None = None
    """Of each of `blur_type.ANSWERS`, where these are the answer."""
    map: ArrayLike | None = None
    """(H, W), where the answer is a map; NaN where it is not known."""
    unit: str = ""
    """What the map's colours say, and their largest value."""
    high: float = 1.0
    kernels: Mapping[str, ArrayLike] = MappingProxyType({})
    """Kernels (k, k) by name, the true one first."""
    sizes: Mapping[str, Sequence[float]] = MappingProxyType({})
    """Height and width in pixels by name, the true one first: boxes about the first kernel."""
    boxes: Mapping[str, Sequence[float]] = MappingProxyType({})
    """Windows on the image, row, column, height and width, by the name of their kernel."""


def shortfall_sheet(cases: Sequence[Shortfall], *, title: str = "") -> "matplotlib.figure.Figure":
    """Cases in which a system answers badly, the truth and the answer below each (host).

    Args:
        cases: at least one.
        title: above them all.

    Returns:
        The figure: a column for each case; the photograph, below it the answer as probabilities, as
        a map or as kernels, and below that true and answered in words.

    Raises:
        ValueError: no case, or one without probabilities, map and kernels.
    """
    if not cases or not all(
        case.kernels or case.map is not None or case.probabilities is not None for case in cases
    ):
        raise ValueError(
            f"{len(cases)} cases; pass at least one, each with probabilities, a map or kernels"
        )
    figure = _figure(2.8 * len(cases) + 0.4, 5.8)
    grid = figure.add_gridspec(2, len(cases), height_ratios=(1.1, 1))
    for place, case in enumerate(cases):
        picture = np.asarray(case.image, np.float32)
        axes = figure.add_subplot(grid[0, place])
        _draw_image(axes, picture)
        styles = {
            name: {"edgecolor": line["color"], "linestyle": line["linestyle"]}
            for name, line in zip(case.boxes, map(_line, range(len(case.boxes))), strict=True)
        }
        _draw_boxes(axes, case.boxes, styles)
        axes.set(xticks=[], yticks=[], xlabel="", ylabel="")
        height, width = picture.shape
        axes.set_title(
            f"{_filled(case.condition, 40)}\n{width} x {height} px", fontsize=9, parse_math=False
        )
        below = figure.add_subfigure(grid[1, place])
        below.supxlabel(
            f"{_filled(f'true: {case.truth}', 48)}\n{_filled(f'answered: {case.answer}', 48)}",
            fontsize=8,
            parse_math=False,
        )
        _draw_shortfall(below, case, styles)
    count = f"n = {len(cases)} case{'s' if len(cases) > 1 else ''}, chosen for failing"
    figure.suptitle(f"{title}\n{count}".strip(), fontsize=11, parse_math=False)
    return figure


def _draw_shortfall(
    figure: "matplotlib.figure.SubFigure",
    case: Shortfall,
    styles: Mapping[str, Mapping[str, Any]],
) -> None:
    """The answer of one case."""
    if case.probabilities is not None:
        axes = figure.subplots()
        shares = np.asarray(case.probabilities, float)
        bars = axes.barh(list(_ANSWER_COLOURS), 100 * shares, color=list(_ANSWER_COLOURS.values()))
        axes.bar_label(bars, [percent(share) for share in shares], padding=3, fontsize=7)
        axes.set(xlim=(0, 130), xticks=range(0, 101, 50))
        axes.set_xlabel("probability (%)", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.invert_yaxis()
        axes.spines[["top", "right"]].set_visible(False)
    elif case.map is not None:
        axes = figure.subplots()
        values = np.asarray(case.map, np.float32)
        beyond = "max" if np.any(values > case.high) else "neither"
        _draw_map(figure, axes, values, "viridis", (0, case.high), case.unit, beyond=beyond)
        axes.set(xticks=[], yticks=[], xlabel="", facecolor="#cccccc")
    else:
        kernels = {name: np.asarray(kernel) for name, kernel in case.kernels.items()}
        span = math.ceil(
            max(
                *(kernel.shape[-1] for kernel in kernels.values()),
                *(1.1 * side for size in case.sizes.values() for side in size),
            )
        )
        panels = figure.subplots(1, len(kernels), squeeze=False)[0]
        for axes, (name, kernel) in zip(panels, kernels.items(), strict=True):
            _draw_kernel(axes, kernel, span)
            axes.set_title(name, fontsize=8, parse_math=False)
            axes.set_xlabel("column (px)", fontsize=7)
            axes.tick_params(labelleft=axes is panels[0])
            for spine in axes.spines.values() if name in styles else ():
                spine.set(linewidth=2, **styles[name])
        _draw_sizes(panels[0], case.sizes)


def _draw_sizes(axes: "matplotlib.axes.Axes", sizes: Mapping[str, Sequence[float]]) -> None:
    """Boxes (height, width) about the middle, the first solid, the others dashed."""
    from matplotlib.patches import Rectangle

    for index, (name, (height, width)) in enumerate(sizes.items()):
        axes.add_patch(
            Rectangle(
                (-width / 2, -height / 2),
                width,
                height,
                fill=False,
                linewidth=1.8,
                edgecolor=_LINE_COLOURS[4 + min(index, 1)],
                linestyle="-" if index == 0 else "--",
                label=name,
            )
        )
    if sizes:
        axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False)

"""What `blurjax analyze --out` writes for people: a page an image, an index, a table (host)."""

import csv
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

import blurjax
from blurjax import _analyze, _html
from blurjax._analyze import Analysis
from blurjax._deblur import Preview

# Of the pictures in the index.
_THUMBNAIL = 96
_FOOTER = (
    "Lengths are in pixels of the photograph, angles counter-clockwise from the horizontal. "
    "blurjax {version}."
)

COLUMNS = (
    "path", "sharpness", "sharp_fraction", "answer", "probability", "sigma_px", "length_px",
    "angle_degrees", "radius_px", "sigma_map_median_px", "kernel_width_px", "kernel_height_px",
    "width", "height", "sentence", "page", "error",
)  # fmt: skip
"""Of `summary.csv`; what is not known is left empty."""


def page(
    name: str,
    image: np.ndarray,
    analysis: Analysis,
    picture: bytes,
    preview: Preview,
    files: Sequence[str],
) -> bytes:
    """The page of one image.

    Args:
        name: of its file.
        image: (H, W) or (H, W, 3), in [0, 1].
        analysis: what `blurjax.analyze` says of it.
        picture: the PNG that `plots.analysis` draws of that.
        preview: a part of it, deblurred.
        files: names of the files beside the page, to link to.
    """
    height, width = image.shape[:2]
    body = [
        _html.paragraph(_analyze.sentence(analysis), "lead"),
        _html.picture(image, f"{name}, {width} x {height} px", side=900),
        _html.table(["question", "answer"], _answers(analysis)),
        "<h2>What was seen where</h2>",
        _html.png(picture, "every system's answer over the photograph; below, a part of it"),
        "<h2>Deblurred</h2>",
        *_deblurred(preview),
    ]
    if files:
        links = ", ".join(_html.link(file, file) for file in files)
        body += ["<h2>Files</h2>", f"<p>{links}</p>"]
    return _html.page(f"The blur of {name}", body, _FOOTER.format(version=blurjax.__version__))


def _answers(analysis: Analysis) -> list[tuple[str, str]]:
    kind = analysis.blur_type
    known = kind.status == "ok"
    what = f"{kind.label}, probability {_analyze.percent(float(kind.answers.max()))}"
    rows = {
        "type": what if known else kind.status,
        "parameters": _analyze.parameter_phrase(kind.parameters, kind.spread) or "none",
        "sigma map": _analyze.sigma_phrase(analysis.sigma_map),
        "sharpness": _analyze.sharpness_phrase(analysis.sharpness),
        "kernel, if it is motion": _analyze.kernel_size_phrase(analysis.kernel_size),
        "best region for a kernel": _analyze.region_phrase(analysis.region),
    }
    return [(_html.text(question), _html.text(answer)) for question, answer in rows.items()]


def _deblurred(preview: Preview) -> list[str]:
    top, left, height, width = preview.box
    where = f"{width} x {height} px at row {top}, column {left}"
    if preview.status != "ok":
        return [_html.paragraph(f"Nothing was undone: {preview.status}.")]
    sure = "" if math.isnan(preview.confidence) else f", confidence {preview.confidence:.2f}"
    size = len(preview.kernel)
    kernel = np.kron(preview.kernel / preview.kernel.max(), np.ones((max(1, 160 // size),) * 2))
    return [
        _html.beside(
            [
                _html.picture(preview.before, f"as it is, {where}"),
                _html.picture(preview.after, f"deblurred{sure}"),
            ]
        ),
        _html.picture(kernel, f"kernel, {size} x {size} px: {preview.path}", side=160),
        _html.paragraph(
            "A wrong kernel makes rings and false detail: believe what you see only as far as the "
            "kernel."
        ),
    ]


def thumbnail(image: np.ndarray) -> str:
    """An image as a small picture for the index."""
    return _html.picture(image, "", side=_THUMBNAIL)


def index(entries: Sequence[dict[str, Any]], thumbnails: dict[str, str]) -> bytes:
    """The page of many images, the sharpest first.

    Args:
        entries: objects of the report.
        thumbnails: of those that have one, by path.
    """
    rows = []
    for entry in ranked(entries):
        page = entry.get("page")
        name = _html.link(page, entry["path"]) if page else _html.text(entry["path"])
        mean = _sharpness(entry)
        rows.append(
            (
                thumbnails.get(entry["path"], ""),
                name,
                "" if math.isnan(mean) else f"{mean:.2f}",
                _html.text(entry.get("sentence") or entry["error"]),
            )
        )
    body = [
        _html.paragraph(
            "The sharpest first. Sharpness is the mean over the photograph, 0 to 1; those that "
            "moved all over come last, for their streaks pass for detail."
        ),
        _html.table(["", "photograph", "sharpness", "what its blur is"], rows),
        f"<p>{_html.link('summary.csv', 'summary.csv')}, "
        f"{_html.link('report.json', 'report.json')}</p>",
    ]
    title = f"The blur of {len(entries)} photographs"
    return _html.page(title, body, _FOOTER.format(version=blurjax.__version__))


def table(entries: Sequence[dict[str, Any]]) -> bytes:
    """`summary.csv`: a line an image, the sharpest first, those without an answer last."""
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, COLUMNS)
    writer.writeheader()
    writer.writerows(map(_line, ranked(entries)))
    return file.getvalue().encode("utf-8", "backslashreplace")


def ranked(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Objects of the report by mean sharpness, the sharpest first; then those that moved all over,
    whose streaks pass for detail; then those without an answer."""

    def rank(entry: dict[str, Any]) -> float:
        mean = _sharpness(entry)
        moved = entry.get("blur_type", {}).get("everywhere", False)
        return math.inf if math.isnan(mean) else float(moved) - mean / 2

    return sorted(entries, key=rank)


def _sharpness(entry: dict[str, Any]) -> float:
    mean = entry.get("sharpness", {}).get("mean")
    return math.nan if mean is None else float(mean)


def _line(entry: dict[str, Any]) -> dict[str, Any]:
    if "error" in entry:
        return {"path": entry["path"], "error": entry["error"]}
    kind, kernel = entry["blur_type"], entry["kernel_size"]
    values = {name: parameter["value"] for name, parameter in kind["parameters"].items()}
    known = kind["status"] == "ok"

    def short(value: float | None) -> str:
        return "" if value is None else f"{value:.4g}"

    return {
        "path": entry["path"],
        "sharpness": short(entry["sharpness"]["mean"]),
        "sharp_fraction": short(entry["sharpness"]["sharp_fraction"]),
        "answer": kind["label"],
        "probability": short(max(kind["answers"].values()) if known else None),
        "sigma_px": short(values.get("sigma")),
        "length_px": short(values.get("length")),
        "angle_degrees": short(math.degrees(values["angle"]) if "angle" in values else None),
        "radius_px": short(values.get("radius")),
        "sigma_map_median_px": short(entry["sigma_map"]["sigma_median"]),
        "kernel_width_px": short(kernel["width"]["value"]),
        "kernel_height_px": short(kernel["height"]["value"]),
        "width": entry["width"],
        "height": entry["height"],
        "sentence": entry["sentence"],
        "page": entry.get("page", ""),
        "error": "",
    }

"""Photographs whose background or foreground is out of focus: what the sigma map makes of them."""

import sys
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np

from blurjax import data, plots, sigma_map
from blurjax import images as files
from blurjax.images import ImageError
from eval import report
from eval.sharpness import auc

Row = dict[str, Any]


def evaluate(
    images: tuple[Path, ...] = (),
    masks: tuple[Path, ...] = (),
    white: Literal["blurred", "sharp"] | None = None,
    out: Path = Path("out/eval_defocus_maps"),
    weights: str | None = None,
    figures: int = 4,
) -> dict[str, Any]:
    """Sigma maps of photographs with a blurred background or foreground.

    The published ones are pictures; nobody knows a sigma that is true. Where masks say which parts
    are sharp, the area under the ROC curve says how well sigma tells them apart: of a sharp and a
    blurred pixel, how often the blurred one has the larger sigma, where both are known.

    Args:
        images: folders of photographs; none for two of those inside scikit-image.
        masks: for each of them the folder of its masks, of the same names; see `data.pairs`.
        white: what white means in the masks: "blurred" or "sharp".
        out: folder for report.json and the figures.
        weights: "published" for the network of 30 classes, or a weights file or checkpoint;
            default the shipped regressor.
        figures: how many photographs to draw.

    Returns:
        What report.json holds.

    Raises:
        ImageError: a folder is missing or holds no image, or a photograph has no mask.
        WeightsError: the weights cannot be read.
        ValueError: an option is out of range, or no photograph can be read.

    Source: Patro, "Blur kernel estimation using deep learning", whose photographs are not public.
    """
    started = time.monotonic()
    if bool(masks) != (white is not None) or (masks and len(masks) != len(images)):
        raise ValueError(
            f"{len(images)} folders of --images, {len(masks)} of --masks and --white {white}; give "
            "a folder of masks for each and say what white means in them, or neither"
        )
    if figures < 0:
        raise ValueError(f"figures is {figures}; give 0 or more")
    variables, config = sigma_map.load(weights)
    rows: list[Row] = []
    written: list[Path] = []
    unreadable: dict[str, str] = {}
    for name, path, sharp in _photographs(images, masks, white):
        try:
            photograph = files.read(path)
            truth = None if sharp is None else sharp()
        except ImageError as error:
            unreadable[name] = str(error)
            print(f"left out: {error}", file=sys.stderr)
            continue
        answer = sigma_map.estimate(photograph, variables, config)
        rows.append({"photograph": name, **_numbers(answer, truth)})
        if len(written) < figures and answer.status == "ok":
            figure = plots.sigma_overlay(photograph, answer.sigma, valid=answer.valid, title=name)
            # Of two folders that have files of one name each keeps its own.
            written.append(plots.save(figure, out / f"{len(written)}_{Path(name).stem}.png"))
    if not rows:
        raise ValueError(f"none of {len(unreadable)} photographs can be read; see the reasons")
    result: dict[str, Any] = {
        "protocol": "defocus_maps",
        "images": [str(root) for root in images] or ["embedded"],
        "weights": weights or "shipped regressor",
        "white": white,
        "unreadable": unreadable,
        "rows": rows,
        "seconds": round(time.monotonic() - started, 1),
    }
    known = [row for row in rows if row["status"] == "ok"]
    report.table(
        f"Sigma maps of n = {len(rows)} photographs ({len(rows) - len(known)} without an answer)",
        ["photograph", "sigma in the sharp part", "in the blurred", "area under ROC", "known, %"],
        [
            [
                row["photograph"],
                *(_shown(row[key]) for key in ("sharp", "blurred", "auc")),
                f"{100 * row['coverage']:.0f}",
            ]
            for row in known
        ],
    )
    report.write(out, result, written)
    return result


def _photographs(images: tuple[Path, ...], masks: tuple[Path, ...], white: str | None) -> Any:
    """Each one's name and path, and what reads where it is sharp, if that is known."""
    if not images:
        for name in ("chelsea.png", "astronaut.png"):
            yield name, data.embedded_path(name), None
        return
    for i, root in enumerate(images):
        if not masks:
            yield from ((f"{root.name}/{path.name}", path, None) for path in files.paths(root))
            continue
        pairs = data.pairs(root, masks[i])
        by_stem = {path.stem: path for path in files.paths(root)}
        for j, name in enumerate(pairs.names):

            def sharp(pairs: data.Pairs = pairs, j: int = j) -> np.ndarray:
                mask = pairs[j].mask
                return mask if white == "sharp" else ~mask

            yield f"{root.name}/{name}", by_stem[Path(name).stem], sharp


def _numbers(answer: sigma_map.Estimate, truth: np.ndarray | None) -> Row:
    row: Row = {
        "status": answer.status,
        "coverage": float(answer.valid.mean()),
        **dict.fromkeys(("sharp", "blurred", "auc")),
    }
    if truth is None or answer.status != "ok":
        return row
    for key, part in (("sharp", truth), ("blurred", ~truth)):
        some = answer.sigma[answer.valid & part]
        row[key] = float(np.median(some)) if some.size else None
    area = auc(-answer.sigma[answer.valid], truth[answer.valid])
    return {**row, "auc": area if np.isfinite(area) else None}


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"

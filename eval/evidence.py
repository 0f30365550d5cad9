"""The tables and figures of the five sources, and what our runs have to set beside each.

Published numbers stand here and nowhere else in the report, each marked with its source; what was
measured comes from the report.json of a run.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from eval import deblurring, kernel_size, sigma_map
from eval.deblurring import bootstrap

Report = dict[str, Any]
Kind = Literal["ours", "published", "baseline", "yardstick"]

SOURCES = {
    "000": "Yan and Shao, Blind Image Blur Estimation via Deep Learning, TIP 2016",
    "001": "Patro, Blur Kernel Estimation using Deep Learning",
    "002": "Zeng et al., A Local Metric for Defocus Blur Detection, TIP 2019",
    "003": "Ye et al., A Coarse-to-fine Classification for Motion Blur Kernel Size Estimation",
    "004": "Yang, Wu and Sun, Select Good Regions for Deblurring",
    "ours": "Beyond the five sources",
}


class Cell(NamedTuple):
    """One number."""

    value: float
    n: int | None = None
    """Of images."""
    interval: tuple[float, float] | None = None
    """95 %, by bootstrap over images."""


class Row(NamedTuple):
    """A line of a table."""

    what: str
    kind: Kind
    cells: Mapping[str, Cell]
    """By column."""
    source: str = ""
    """Of what is published: on what it was measured."""


class Item(NamedTuple):
    """A table or a figure of a source."""

    key: str
    """Its source's, and what the source calls it or shows in it."""
    title: str
    runs: tuple[str, ...]
    """What has to have been run; the first that was is enough unless `rows` asks for more."""
    rows: Callable[[Mapping[str, Report]], list[Row]] | None = None
    """Numbers, from the reports of the runs there are."""
    figures: tuple[str, ...] = ()
    """Patterns of pictures, below the folder of the runs."""
    needs: str = ""
    """What data it takes, said where none was found."""
    note: str = ""
    """What differs from the source."""
    missing: str = ""
    """Why it, or a part of it, cannot be had at all."""


# ---- numbers from rows


def mean(
    values: Sequence[float | None], clusters: Sequence[str], weights: Sequence[float] | None = None
) -> Cell | None:
    """The mean of what is known, over images that err together in clusters."""
    known = [i for i, value in enumerate(values) if value is not None and np.isfinite(value)]
    if not known:
        return None
    some = np.array([values[i] for i in known], float)
    shares = None if weights is None else np.array([weights[i] for i in known], float)
    names = [clusters[i] for i in known]
    interval = bootstrap(some, names, weights=shares)
    return Cell(float(np.average(some, weights=shares)), len(set(names)), interval)


def _row(what: str, kind: Kind, cells: Mapping[str, Cell | None], source: str = "") -> Row:
    # What is published is the source's number; a network built like theirs is ours.
    for name, said in (
        ("published network", "network as published, trained by us"),
        ("blind, published", "one search as published, written by us"),
    ):
        what = what.replace(name, said)
    return Row(what, kind, {name: cell for name, cell in cells.items() if cell}, source)


def _scaled(cell: Cell | None, factor: float) -> Cell | None:
    if cell is None:
        return None
    ends = cell.interval and (factor * cell.interval[0], factor * cell.interval[1])
    return Cell(factor * cell.value, cell.n, ends)


def _merged(rows: Sequence[Row]) -> list[Row]:
    """One line for all rows of one name, with the cells of each."""
    merged: dict[str, Row] = {}
    for row in rows:
        before = merged.get(row.what)
        merged[row.what] = row._replace(cells={**(before.cells if before else {}), **row.cells})
    return list(merged.values())


def _by_photograph(found: Mapping[str, Any]) -> Cell | None:
    """A mean over patches, from the means of photographs."""
    means, counts = found["by_photograph"]["mean"], found["by_photograph"]["n"]
    return mean(means, [str(i) for i in range(len(means))], counts)


# ---- 000


_BLUR_TYPE_RUNS = {
    "blur_type_seed": "default network",
    "blur_type_seed_published": "network as published, trained by us",
}


def _rates(reports: Mapping[str, Report]) -> list[Row]:
    rows = []
    for run, what in _BLUR_TYPE_RUNS.items():
        if run in reports:
            classified = reports[run]["classification"]
            cells = {
                f"{name}, %": _scaled(_by_photograph(found), 100)
                for name, found in classified.items()
            }
            rows.append(_row(what, "ours", cells))
    chance = Cell(100 / 3)
    rows.append(Row("chance", "yardstick", {name: chance for row in rows for name in row.cells}))
    return rows


def _parameters(reports: Mapping[str, Report]) -> list[Row]:
    rows: list[Row] = []
    for run, what in _BLUR_TYPE_RUNS.items():
        if run not in reports:
            continue
        for test, found in reports[run]["parameters"].items():
            cells = {f"{name}, {e['unit']}": _by_photograph(e) for name, e in found.items()}
            rows.append(_row(f"{what}, {test}", "ours", cells))
            constants = {f"{name}, {e['unit']}": Cell(e["constant"]) for name, e in found.items()}
            if run == "blur_type_seed":
                rows.append(_row(f"a constant, {test}", "baseline", constants))
    return rows


def _deblurred(reports: Mapping[str, Report]) -> list[Row]:
    rows: list[Row] = []
    wiener = reports.get("blur_type_seed", {}).get("deblurring")
    if wiener:
        shown = wiener["photographs"]
        for method in wiener["methods"]:
            rows.append(_gains(shown, method, "quality", "blurred input", ", Wiener"))
    for made in reports.get("blur_type_deblurring", {}).get("blurs", {}).values():
        for method in made["methods"]:
            rows.append(_gains(made["rows"], method, "answers", "blurred", ", total variation"))
    return rows


def _gains(
    photographs: Sequence[Mapping[str, Any]], method: str, key: str, before: str, solver: str
) -> Row:
    names = [p.get("name") or p["photograph"] for p in photographs]
    psnr = [p[key][method]["psnr"] for p in photographs]
    gain = [p[key][method]["psnr"] - p[key][before]["psnr"] for p in photographs]
    kind: Kind = "ours"
    if method == before or "control" in method:
        kind = "baseline"
    elif method.startswith("true"):
        kind = "yardstick"
    cells = {"PSNR, dB": mean(psnr, names), "gain, dB": mean(gain, names)}
    return _row(f"{method}{'' if method == before else solver}", kind, cells)


# ---- 001


_SIGMA_RUNS = {
    "sigma_map_textures": "default, unseen textures",
    "sigma_map_published": "network as published, trained by us, unseen textures",
    "sigma_map_seen": "network as published, trained by us, textures seen in training",
    "sigma_map_text": "default, text",
    "sigma_map_photographs": "default, photographs",
}
_ON_BRODATZ = f"{sigma_map.PUBLISHED_ON}; other images than ours"


def _maps(*tests: str, runs: Sequence[str] = ()) -> Callable[[Mapping[str, Report]], list[Row]]:
    def rows(reports: Mapping[str, Report]) -> list[Row]:
        out: list[Row] = []
        for run in runs or _SIGMA_RUNS:
            if run not in reports:
                continue
            made = reports[run]
            cells: dict[str, Cell | None] = {}
            for test in tests:
                some = made["rows"].get(test, ())
                cells |= {
                    f"{test}, RMSE, px": _pooled(some, "rmse", "n"),
                    f"{test}, surest 80 %": _pooled(some, "rmse_surest", "n_surest"),
                }
            out.append(_row(_SIGMA_RUNS[run], "ours", cells))
        first = next((reports[r] for r in runs or _SIGMA_RUNS if r in reports), None)
        if first:
            for name in first["tests"].get(tests[0], {}).get("yardsticks", ()):
                beside: dict[str, Cell | None] = {
                    f"{test}, RMSE, px": Cell(first["tests"][test]["yardsticks"][name])
                    for test in tests
                    if test in first["tests"]
                }
                kind: Kind = "yardstick" if name.startswith("quantised") else "baseline"
                out.append(_row(f"{name}, on the images of the first line", kind, beside))
        return out

    return rows


def _pooled(rows: Sequence[Mapping[str, Any]], key: str, count: str) -> Cell | None:
    """The root of a mean square over pixels."""
    some = [row for row in rows if row.get(count)]
    squares = [row[key] ** 2 for row in some]
    cell = mean(squares, [row["photograph"] for row in some], [row[count] for row in some])
    if cell is None:
        return None
    ends = cell.interval and (cell.interval[0] ** 0.5, cell.interval[1] ** 0.5)
    return Cell(cell.value**0.5, cell.n, ends)


def _published_maps(test: str) -> list[Row]:
    return [
        Row(name, "published", {f"{test}, RMSE, px": Cell(by[test])}, _ON_BRODATZ)
        for name, by in sigma_map.PUBLISHED.items()
        if test in by
    ]


def _ramp(reports: Mapping[str, Report]) -> list[Row]:
    unlabelled = {"ramp, RMSE, px": Cell(1.16e-4)}
    return [
        *_maps("ramp")(reports),
        *_published_maps("ramp"),
        Row("published, a third row without a label", "published", unlabelled, _ON_BRODATZ),
    ]


def _sine(reports: Mapping[str, Report]) -> list[Row]:
    rows = _maps("sine")(reports)
    for run in ("sigma_map_seen", "sigma_map_textures"):
        smoothed = reports.get(run, {}).get("tests", {}).get("sine", {}).get("smoothed", {})
        rows += [
            _row(f"{_SIGMA_RUNS[run]}, {way}", "ours", {"sine, RMSE, px": Cell(rmse)})
            for way, rmse in smoothed.items()
        ]
    return [*rows, *_published_maps("sine")]


def _defocused(reports: Mapping[str, Report]) -> list[Row]:
    rows = reports["defocus_maps"]["rows"]
    names = [row["photograph"] for row in rows]
    cells = {
        "area under ROC": mean([row["auc"] for row in rows], names),
        "sigma where sharp, px": mean([row["sharp"] for row in rows], names),
        "where blurred, px": mean([row["blurred"] for row in rows], names),
        "known, %": _scaled(mean([row["coverage"] for row in rows], names), 100),
    }
    return [_row("default, real photographs", "ours", cells)]


# ---- 002


def _detected(reports: Mapping[str, Report]) -> list[Row]:
    rows = []
    for part in ("pairs", "composites"):
        made = reports["sharpness"][part]
        if not made:
            continue
        for method, some in made["rows"].items():
            names = [row["photograph"] for row in some]
            cells = {
                f"{part}: {column}": mean([row[key] for row in some], names)
                for column, key in (("F", "f_blur"), ("MAE", "mae"), ("AUC", "auc"))
            }
            rows.append(_row(method, _detector_kind(method), cells))
    return _merged(rows)


def _detector_kind(method: str) -> Kind:
    if method.startswith(("detector", "metric")):
        return "ours"
    return "yardstick" if method.startswith("all ") else "baseline"


def _steps(reports: Mapping[str, Report]) -> list[Row]:
    made = reports["sharpness"]["pairs"] or reports["sharpness"]["composites"]
    refinement = made["refinement"] if made else None
    if not refinement:
        return []
    rows = []
    shipped = refinement["rules"]["as shipped"]
    for key, column in (("f_blur", "F"), ("mae", "MAE"), ("auc", "AUC")):
        cells = {
            f"{n} steps": Cell(step["mean"], step["n"])
            for n, step in zip(refinement["iterations"], shipped["single"][key], strict=True)
        }
        mixture = shipped["mixture"][key]
        cells["mixture"] = Cell(mixture["mean"], mixture["n"])
        rows.append(Row(column, "ours", cells))
    return rows


def _times(reports: Mapping[str, Report]) -> list[Row]:
    methods = reports["sharpness"].get("runtime", {}).get("methods", {})
    return [
        Row(method, _detector_kind(method), {"640x457, ms": Cell(some["median_ms"])})
        for method, some in methods.items()
    ]


# ---- 003


def _sizes(reports: Mapping[str, Report]) -> list[Row]:
    rows: list[Row] = []
    for part, made in reports["kernel_size"]["parts"].items():
        for condition, methods in made["conditions"].items():
            column = f"{part}, {condition}: AbE, px"
            for method in methods:
                errors, photographs = _size_errors(made["rows"], condition, method, made["scope"])
                cells = {column: mean(errors, photographs)}
                kind: Kind = "baseline" if method == "automap" else "ours"
                rows.append(_row(method, kind, cells))
            truth = _truths(made["rows"], made["scope"])
            constant = float(np.mean(np.abs(truth - np.median(truth))))
            rows.append(_row("best constant", "yardstick", {column: Cell(constant)}))
    column, alone = "as published: AbE, px", kernel_size.PUBLISHED_CONSTANT
    published = [
        Row(what, "published", {column: Cell(value)}, kernel_size.PUBLISHED_ON)
        for what, value in kernel_size.PUBLISHED.items()
    ]
    beside = f"a constant of {alone['size']:g} px, on the published set"
    return [*_merged(rows), *published, Row(beside, "yardstick", {column: Cell(alone["abe"])})]


def _truths(rows: Sequence[Mapping[str, Any]], scope: str) -> np.ndarray:
    sizes = np.array([row["effective"] for row in rows], float)
    if scope == "stratified":
        return sizes[np.arange(len(rows)), [row["axis"] for row in rows]]
    return sizes.ravel()


def _size_errors(
    rows: Sequence[Mapping[str, Any]], condition: str, method: str, scope: str
) -> tuple[list[float], list[str]]:
    errors, photographs = [], []
    for row in rows:
        answer = row["answers"][condition][method]
        if answer["status"] != "ok":
            continue
        off = np.abs(np.array(answer["size"], float) - np.array(row["effective"], float))
        kept = [off[row["axis"]]] if scope == "stratified" else off.tolist()
        errors += [float(x) for x in kept]
        photographs += [row["photograph"]] * len(kept)
    return errors, photographs


def _by_kernel(reports: Mapping[str, Report]) -> list[Row]:
    """Table 2: of every given kernel the mean answers, height and width."""
    parts = reports["kernel_size"]["parts"]
    made = parts.get("levin") or parts.get("kernels")
    if not made:
        return []
    condition, methods = next(iter(made["conditions"].items()))
    method = next(iter(methods))
    rows = []
    by_kernel: dict[str, list[Mapping[str, Any]]] = {}
    for row in made["rows"]:
        if row["answers"][condition][method]["status"] == "ok":
            # Of Levin's recordings the name is that of the photograph and of the kernel.
            name = row["kernel"].partition("_")[2] or row["kernel"]
            by_kernel.setdefault(name, []).append(row)
    for kernel, some in by_kernel.items():
        names = [row["photograph"] for row in some]
        truth, every = (
            np.array([row[key] for row in some], float) for key in ("effective", "published")
        )
        found = np.array([row["answers"][condition][method]["size"] for row in some], float)
        cells: dict[str, Cell | None] = {}
        for axis, side in ((0, "height"), (1, "width")):
            cells |= {
                f"{side}: true, px": Cell(float(truth[:, axis].mean())),
                f"{side}: every pixel that is not 0": Cell(float(every[:, axis].mean())),
                f"{side}: estimate": mean(found[:, axis].tolist(), names),
            }
        rows.append(_row(f"kernel {kernel}, {method}", "ours", cells))
    return rows


def _table_3(reports: Mapping[str, Report]) -> list[Row]:
    rows: list[Row] = []
    parts = reports["deblurring"]["parts"]
    made = parts.get("pairs") or next(iter(parts.values()))
    column = "PSNR, dB"
    for method in made["methods"]:
        if "size" in method or method in ("blurred", "deblur, as returned"):
            names = [row["photograph"] for row in made["rows"]]
            psnr = [row["answers"][method]["psnr"] for row in made["rows"]]
            kind: Kind = "baseline" if method == "blurred" else "ours"
            rows.append(_row(method, kind, {column: mean(psnr, names)}))
    there = deblurring.PUBLISHED["pairs"]
    return rows + [
        Row(what, "published", {column: Cell(value)}, there["on"])
        for what, value in there["psnr"].items()
    ]


# ---- 004


def _regions(run: str, *columns: str) -> Callable[[Mapping[str, Report]], list[Row]]:
    def rows(reports: Mapping[str, Report]) -> list[Row]:
        out: list[Row] = []
        for part, made in reports[run]["parts"].items():
            prior = next(iter(made["estimators"]))
            for method in made["estimators"][prior]["methods"]:
                answers = [row["answers"][prior][method] for row in made["rows"]]
                names = [row["photograph"] for row in made["rows"]]
                ratios = [a["ratio"] for a in answers]
                every: dict[str, Cell | None] = {
                    "similarity": mean([a["similarity"] for a in answers], names),
                    **{
                        f"ratio <= {bound}, %": _scaled(
                            mean([None if r is None else float(r <= bound) for r in ratios], names),
                            100,
                        )
                        for bound in (2, 3, 5)
                    },
                    "PSNR, dB": mean([a["psnr"] for a in answers], names),
                }
                cells = {name: every[name] for name in columns}
                out.append(_row(f"{method}, {part}", _region_kind(method), cells))
        return out

    return rows


def _region_kind(method: str) -> Kind:
    if "learned" in method:
        return "ours"
    return "yardstick" if method in ("oracle", "random") else "baseline"


def _each_psnr(reports: Mapping[str, Report]) -> list[Row]:
    """Figure 9: the PSNR of every image, by each way to choose."""
    parts = reports["region"]["parts"]
    made = next(iter(parts.values()))
    prior = next(iter(made["estimators"]))
    rows = []
    for method in made["estimators"][prior]["methods"]:
        psnr = [row["answers"][prior][method]["psnr"] for row in made["rows"]]
        cells: dict[str, Cell | None] = {
            str(i + 1): Cell(value) for i, value in enumerate(psnr[:12])
        }
        cells["mean of all"] = mean(psnr, [row["photograph"] for row in made["rows"]])
        rows.append(_row(method, _region_kind(method), cells))
    return rows


# ---- ours


def _blind(reports: Mapping[str, Report]) -> list[Row]:
    made = reports["fit_blind"]["parameters"]
    return [
        Row(
            name,
            "ours",
            {
                f"median error, {p['unit']}": Cell(p["median"], p["n"]),
                f"nine of ten within, {p['unit']}": Cell(p["quantile_90"], p["n"]),
            },
        )
        for name, p in made.items()
    ]


def _patches(reports: Mapping[str, Report]) -> list[Row]:
    rows = []
    for name, by in reports["blur_type"]["classification"].items():
        cells = {
            f"{rule}, %": _scaled(_by_photograph(by[f"{rule}/encoded"]), 100)
            for rule in ("all", "textured")
        }
        kind: Kind = "ours" if "network" in name and "," not in name else "baseline"
        rows.append(_row(name, kind, cells))
    return rows


def _blind_deblurring(reports: Mapping[str, Report]) -> list[Row]:
    rows = []
    for part, made in reports["deblurring"]["parts"].items():
        names = [row["photograph"] for row in made["rows"]]
        for method in made["methods"]:
            answers = [row["answers"][method] for row in made["rows"]]
            cells = {
                "PSNR, dB": mean([a["psnr"] for a in answers], names),
                "SSIM": mean([a["ssim"] for a in answers], names),
                "kernel similarity": mean([a["similarity"] for a in answers], names),
            }
            one_search = method in ("blind, plain", "blind, published")
            kind: Kind = "baseline" if method == "blurred" or one_search else "ours"
            if method in ("wiener", "richardson_lucy", "total_variation", "hyper_laplacian"):
                kind = "yardstick" if part != "pairs" else "ours"
            rows.append(_row(f"{method}, {part}", kind, cells))
    return rows


_LEVIN_WANTED = "Levin et al.'s recordings (levin/)"
_UNREADABLE = "the published values are pictures in our source and could not be read"

ITEMS: tuple[Item, ...] = (
    Item(
        "000 CR1, CR2", "Classification rate on two test sets",
        ("blur_type_seed", "blur_type_seed_published"), _rates, ("blur_type_seed/confusion_*.png",),
        needs="two folders of sharp photographs", missing=_UNREADABLE,
    ),
    Item(
        "000 regression errors", "Mean absolute error of each parameter",
        ("blur_type_seed", "blur_type_seed_published"), _parameters,
        needs="two folders of sharp photographs", missing=_UNREADABLE,
    ),
    Item(
        "000 deblurring", "A motion of length 10 at 45 degrees, deblurred with the estimate",
        ("blur_type_seed", "blur_type_deblurring"), _deblurred,
        ("blur_type_seed/deblurring.png", "blur_type_deblurring/comparison_*.png"),
        needs="sharp photographs", missing=_UNREADABLE,
        note="The source does not say how it deconvolves; the true kernel is the limit.",
    ),
    Item(
        "001 ramp", "Sigma rising over the width (three rows)",
        ("sigma_map_textures", "sigma_map_published", "sigma_map_seen", "sigma_map_photographs"),
        _ramp, ("sigma_map_textures/maps_ramp.png",), needs="textures",
        note="The network of 10 classes is not shipped (preset seed10 trains it): its quantisation "
        "alone is given.",
    ),
    Item(
        "001 sine", "Sigma as a sine along the columns, smoothed (three rows)",
        ("sigma_map_textures", "sigma_map_published", "sigma_map_seen", "sigma_map_photographs"),
        _sine, ("sigma_map_textures/maps_sine.png",), needs="textures",
        note="What the published smoothing iterations are is in no published code; ours are steps "
        "of heat flow.",
    ),
    Item(
        "001 text", "Text under a sine in one and in two dimensions",
        ("sigma_map_text",), _maps("sine", "sine2d", runs=("sigma_map_text",)),
        ("sigma_map_text/maps_sine.png", "sigma_map_text/maps_sine2d.png"),
        needs="photographs or scans of text", note="The source shows pictures, no numbers.",
    ),
    Item(
        "001 photographs", "Photographs with a defocused background or foreground",
        ("defocus_maps",), _defocused, ("defocus_maps/*.png",), needs="such photographs",
        note="The source shows pictures, no numbers.",
    ),
    Item(
        "002 metric kernels", "The kernels K1 and K2", ("sharpness",), None,
        ("sharpness/kernels.png",),
        note="Beside them those of the controls.",
    ),
    Item(
        "002 refinement", "The map after so many steps of refinement", ("sharpness",), _steps,
        ("sharpness/refinement_*.png",), needs="photographs with masks, or sharp ones",
    ),
    Item(
        "002 precision and recall", "Detection of blurred regions against masks",
        ("sharpness",), _detected, ("sharpness/precision_recall_*.png",),
        needs="photographs with masks, or sharp ones to compose",
        missing="the published curves are pictures",
    ),
    Item(
        "002 examples", "Sharpness maps of every method", ("sharpness",), None,
        ("sharpness/sheet_*.png",), needs="photographs with masks, or sharp ones to compose",
    ),
    Item(
        "002 running time", "Time for an image of 640x457", ("sharpness",), _times,
        missing="the published times are of another machine and could not be read",
    ),
    Item(
        "002 thresholds", "How F depends on the threshold", ("sharpness",), None,
        ("sharpness/thresholds_*.png",), needs="photographs with masks, or sharp ones to compose",
    ),
    Item(
        "003 figure 3", "Convergence of the networks", (), None,
        ("../docs/images/kernel_size_convergence.png",),
        note="Of the training that made the shipped weights (python -m train kernel_size --preset "
        "compact); an evaluation trains nothing.",
    ),
    Item(
        "003 table 1", "Average absolute error of the size",
        ("kernel_size",), _sizes, ("kernel_size/scatter_*.png", "kernel_size/errors_*.png"),
        needs="sharp photographs",
        note="A constant answer of 16 px is better than all published methods on the published "
        "set, so that it cannot rank them; here sizes are even from 5 to 95 px.",
    ),
    Item(
        "003 table 2", "Height and width of given kernels",
        ("kernel_size",), _by_kernel, ("kernel_size/sheet_kernels.png",),
        needs=f"kernels (kernels/) or {_LEVIN_WANTED}",
        note="A size is what an image can show: pixels above 1 % of the kernel's maximum; that of "
        "all pixels that are not 0, as published, stands beside it.",
    ),
    Item(
        "003 table 3", "Blind deblurring with the estimated size, and with one given by hand",
        ("deblurring",), _table_3,
        needs="real pairs (motion_pairs/, kohler/), or sharp photographs",
        note="The best of three sizes, or the true one, stands for the hand.",
    ),
    Item(
        "003 figure 4", "Deblurred with the size by hand and with the estimated one",
        ("deblurring",), None, ("deblurring/sheet_*.png",),
        needs="real pairs, or sharp photographs",
    ),
    Item(
        "004 figure 1", "Different windows lead to different kernels and images",
        ("region",), None, ("region/windows_*.png",), needs="sharp photographs of 450 px or more",
    ),
    Item(
        "004 figure 2", "Kernels of windows 20 px apart", ("region",), None,
        ("region/shifted_*.png",), needs="sharp photographs of 450 px or more",
    ),
    Item(
        "004 figures 3 to 6", "The region chosen by us, by a user and by other algorithms",
        ("region",), _regions("region", "similarity", "PSNR, dB"), ("region/windows_*.png",),
        needs="sharp photographs of 450 px or more",
        missing="windows chosen by users are not public: the oracle and the centre stand beside",
    ),
    Item(
        "004 figure 7", "The region chosen in saturated photographs",
        ("region_saturated",), _regions("region_saturated", "similarity", "ratio <= 3, %"),
        ("region_saturated/windows_*.png",), needs="saturated photographs (saturated/)",
    ),
    Item(
        "004 figure 8", "How many images are restored to within an error ratio",
        ("region",),
        _regions("region", "ratio <= 2, %", "ratio <= 3, %", "ratio <= 5, %"),
        ("region/success_curve_*.png",), needs="sharp photographs of 450 px or more",
        missing="the published curves are pictures, of 640 images (80 photographs by Levin's 8 "
        "kernels) that are not at hand",
    ),
    Item(
        "004 figure 9", "PSNR of each image", ("region",), _each_psnr,
        needs="sharp photographs of 450 px or more",
        missing="published on Köhler et al.'s 48 images, as bars",
        note="The first twelve images, and the mean of all.",
    ),
    Item(
        "ours patches", "The type of 32x32 patches, beside baselines", ("blur_type",), _patches,
        ("blur_type/*.png",), needs="sharp photographs",
    ),
    Item(
        "ours fit_blind", "Parameters from a blurred photograph alone, by gradient",
        ("fit_blind",), _blind, ("fit_blind/*.png",), needs="sharp photographs of 104 px or more",
    ),
    Item(
        "ours deblurring", "Non-blind and blind deblurring", ("deblurring",), _blind_deblurring,
        ("deblurring/success_curve_*.png",), needs="sharp photographs",
    ),
)  # fmt: skip


def figures(item: Item, runs: Path, root: Path) -> list[Path]:
    """The pictures of an item that there are.

    Args:
        item: one of `ITEMS`.
        runs: the folder of the runs.
        root: of the checkout, for pictures of what was trained.
    """
    found: list[Path] = []
    for pattern in item.figures:
        base = root if pattern.startswith("../") else runs
        found += sorted(base.glob(pattern.removeprefix("../")))
    return found

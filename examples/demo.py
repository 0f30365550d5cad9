"""What blurjax does, on photographs that everybody has: python examples/demo.py --out demo

A real photograph of a clock, taken while the camera moved about horizontally,
and a photograph of a cup of coffee blurred on purpose by three known blurs, so
that the answers can be held against the truth. Both are installed with
scikit-image; nothing is downloaded. It takes about half a minute on two CPU cores.

It writes into the folder:

    inputs/        the blurred photographs
    *.png          a picture of each answer
    report.json    all answers as numbers
    overview.png   photographs, true and estimated PSFs side by side
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from blurjax import cli, data, images, plots

# The arguments of `blurjax blur`, and the same blur in pixels and radians.
BLURS = {
    "coffee_motion": (
        ["--psf", "motion:9,30deg"],
        plots.Blur("motion", {"length": 9.0, "angle": math.radians(30)}),
    ),
    "coffee_defocus": (["--psf", "defocus:4"], plots.Blur("defocus", {"radius": 4.0})),
    "coffee_gaussian": (["--psf", "gaussian:2"], plots.Blur("gaussian", {"sigma": 2.0})),
}


@dataclass(frozen=True)
class Case:
    """A photograph to analyse and, where it is known, its blur."""

    file: Path
    caption: str
    truth: plots.Blur | None
    detail: tuple[slice, slice]
    """The part that the overview shows: small enough for the blur to be seen."""


def main(
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("demo"),
    weights: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None,
) -> int:
    """Analyse a real and three synthetically blurred photographs.

    Args:
        out: folder for the pictures and the report.
        weights: weights file to use instead of the shipped ones.
    """
    cases = make_cases(out / "inputs")
    options = [] if weights is None else ["--weights", str(weights)]
    files = [str(case.file) for case in cases]
    # From here on the demo is what anybody would type.
    status = cli.main(["analyze", *files, "--out", str(out), *options])
    if status:
        return status
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    answers = [answer(entry["blur_type"]) for entry in report]
    figure = plots.overview(
        [images.read(case.file)[case.detail] for case in cases],
        [case.caption for case in cases],
        [case.truth for case in cases],
        answers,
    )
    plots.save(figure, out / "overview.png")
    console = Console()
    console.print(table(cases, report, answers))
    console.print(f"The pictures are in {out.resolve()}; begin with overview.png.", soft_wrap=True)
    return 0


def make_cases(folder: Path) -> list[Case]:
    """The photographs: one as it was taken, and three blurred copies written into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    clock = data.embedded_path("clock_motion.png")
    coffee = data.embedded_path("coffee.png")
    caption = "clock_motion.png (detail)\nmoved about horizontally"
    cases = [Case(clock, caption, None, np.s_[50:260, 65:345])]
    for name, (arguments, truth) in BLURS.items():
        file = folder / f"{name}.png"
        if cli.main(["blur", str(coffee), *arguments, "--out", str(file), "--overwrite"]):
            raise SystemExit(1)
        caption = f"coffee.png (detail)\nblurred by {truth.label}"
        cases.append(Case(file, caption, truth, np.s_[225:345, 200:400]))
    return cases


def answer(entry: dict[str, Any]) -> plots.Blur | None:
    """The blur that one object of the report names."""
    if entry["status"] != "ok":
        return None
    values = {name: parameter["value"] for name, parameter in entry["parameters"].items()}
    return plots.Blur(entry["label"], values)


def table(
    cases: list[Case], report: list[dict[str, Any]], answers: list[plots.Blur | None]
) -> Table:
    """True and estimated blurs, a row for each photograph."""
    rows = Table(title="True and estimated blur")
    rows.add_column("photograph", no_wrap=True)
    for heading in ("true blur", "estimated blur", "probability"):
        rows.add_column(heading)
    for case, entry, found in zip(cases, report, answers, strict=True):
        system = entry["blur_type"]
        rows.add_row(
            case.file.name,
            str(case.truth or "not known"),
            str(found or system["status"]),
            f"{max(system['answers'].values()):.3f}" if found else "",
        )
    return rows


if __name__ == "__main__":
    raise SystemExit(tyro.cli(main))

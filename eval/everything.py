"""`python -m eval all`: every protocol that there is data for, and one report of all of it."""

import datetime
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import blurjax
from blurjax import _html
from eval import evidence, layout, report
from eval.evidence import Item, Row

_ROOT = Path(__file__).parents[1]
_PACKAGES = ("jax", "jaxlib", "flax", "numpy", "scipy", "scikit-image", "pillow")
_INTERVAL = "95 % intervals in brackets, by bootstrap over images (10 000 draws, seed 0)"
_REPRODUCED = "reproduced, on the data of this run"
_KINDS = {
    "ours": "ours, measured in this run",
    "published": "published by the source, on its own test set",
    "baseline": "another method, measured in this run",
    "yardstick": "a limit or a constant answer",
}


class Job(NamedTuple):
    """One run of a protocol."""

    name: str
    protocol: str
    options: tuple[str, ...]


class Outcome(NamedTuple):
    """What came of it."""

    job: Job
    command: str
    """As anybody may type it."""
    seconds: float
    failure: str
    """One sentence, or ""."""


def evaluate(
    data: Path | None = None,
    out: Path = Path("out/evidence"),
    quick: bool = False,
    only: tuple[str, ...] = (),
    seed: int = 0,
) -> dict[str, Any]:
    """Every table and figure of the five sources, beside what blurjax reaches: one report.

    Runs every protocol for which it finds data, each in a process of its own, and writes
    report.html (with all pictures inside), report.md and report.json. A protocol that fails is
    reported, and the others go on. Interrupted, it goes on when the same command is given again:
    what was finished by the same code is not run anew.

    Args:
        data: folder of data sets, see docs/evaluation.md for what is looked for in it; without it
            the photographs inside scikit-image.
        out: folder for the report; what each protocol writes goes into runs/ below it.
        quick: with few images, to see what there will be: its numbers say little.
        only: names of runs, as printed, or of protocols, for all their runs; none for all.
        seed: of everything random.

    Returns:
        What report.json holds.

    Raises:
        ImageError: there is no such folder, or no image in it.
        ValueError: no run is called like one of `only`.
    """
    began = datetime.datetime.now(datetime.UTC)
    started = time.monotonic()
    inputs, runs = out / "inputs", out / "runs"
    where = layout.embedded(inputs) if data is None else layout.find(data, inputs)
    every = plan(where, quick=quick, seed=seed)
    if unknown := set(only) - {name for job in every for name in (job.name, job.protocol)}:
        raise ValueError(
            f"no run is called {', '.join(sorted(unknown))}; there is data for "
            f"{', '.join(job.name for job in every)}"
        )
    jobs = [job for job in every if not only or {job.name, job.protocol} & set(only)]
    spared = {job.name for job in every if job not in jobs}
    print(
        f"{len(jobs)} runs on {data or 'the photographs inside scikit-image'}, into {out}",
        file=sys.stderr,
    )
    outcomes: list[Outcome] = []
    try:
        for number, job in enumerate(jobs):
            print(f"[{number + 1}/{len(jobs)}] {job.name}", file=sys.stderr, flush=True)
            outcomes.append(run(job, runs, out / "programs"))
            done = outcomes[-1]
            print(f"    {done.failure or f'done in {done.seconds:.0f} s'}", file=sys.stderr)
    finally:
        # Interrupted too: what there is can be read.
        result = _result(outcomes, runs, data, began, time.monotonic() - started, quick, spared)
        _write(result, outcomes, runs, out)
    failed = [outcome.job.name for outcome in outcomes if outcome.failure]
    print(f"{out / 'report.html'}, report.md and report.json written in {result['seconds']} s")
    if failed:
        raise ValueError(f"{', '.join(failed)} failed; the report says why, and has the rest")
    return result


# ---- what to run


def plan(where: layout.Layout, *, quick: bool, seed: int) -> list[Job]:
    """The runs that there is data for."""
    few = (lambda least, full: least) if quick else (lambda least, full: full)
    jobs: list[Job] = []
    sizes: tuple[object, ...]

    def add(name: str, protocol: str, *options: object) -> None:
        jobs.append(Job(name, protocol, (*map(str, options), "--seed", str(seed))))

    photographs = ("--images", *where.photographs, "--split", where.split)
    published = Path(blurjax.__file__).parent / "weights/blur_type_published.npz"
    if where.first and where.second and where.first != where.second:
        both = ("--first", where.first, "--second", where.second, "--split", where.split)
        sizes = ("--patches", few(900, 6000), "--photographs", few(3, 10))
        add("blur_type_seed", "blur_type_seed", *both, *sizes)
        sizes = ("--patches", few(900, 6000), "--photographs", 0, "--weights", published)
        add("blur_type_seed_published", "blur_type_seed", *both, *sizes)
    if where.photographs:
        sizes = ("--patches", few(6, 30), "--photographs", few(3, 100))
        add("blur_type", "blur_type", *photographs, *sizes)
        add("blur_type_deblurring", "blur_type_deblurring", *photographs, "--count", few(3, 10))
    if where.textures:
        textures = ("--images", *where.textures, "--photographs", few(3, 30))
        unseen = (*textures, "--split", where.texture_split)
        classes = ("--weights", "published", "--decode", "argmax", "--uniform", 0)
        add("sigma_map_textures", "sigma_map", *unseen, "--uniform", few(2, 20))
        add("sigma_map_published", "sigma_map", *unseen, *classes)
        if where.texture_split == "test":
            seen = (*textures, "--split", "train", "--protocol", "seen")
            add("sigma_map_seen", "sigma_map", *seen, *classes)
    if where.text:
        add("sigma_map_text", "sigma_map", "--images", *where.text, "--uniform", 0)
    if where.photographs:
        sizes = ("--photographs", few(4, 60), "--uniform", few(2, 20))
        kind = ("--protocol", "photographs")
        add("sigma_map_photographs", "sigma_map", *photographs, *kind, *sizes)
    masked: tuple[object, ...] = ()
    if where.defocus:
        seen_in, masks = zip(*where.defocus, strict=True)
        masked = ("--images", *seen_in, "--masks", *masks, "--white", where.white)
    # It has nothing random.
    jobs.append(Job("defocus_maps", "defocus_maps", tuple(map(str, masked))))
    sharp: tuple[object, ...] = (
        ("--whole", *where.photographs, "--composite-images", *where.photographs)
        if where.photographs
        else ()
    )
    if where.segmentations and where.photographs:
        sharp = (*sharp, "--segmentations", where.segmentations)
    options: tuple[object, ...] = ("--split", where.split, "--composites", few(8, 64), "--study")
    add("sharpness", "sharpness", *masked, *sharp, *options)
    recorded = ("--levin", where.levin) if where.levin else ()
    if where.photographs or where.levin:
        folders = where.kernels or ((where.levin,) if where.levin else ())
        given = (*photographs, "--kernels", *folders) if folders else photographs
        # Without photographs the recordings alone.
        sizes = (*given, "--count", few(24, 240)) if where.photographs else ("--count", 0)
        add("kernel_size", "kernel_size", *recorded, *sizes, "--runtime")
    if where.photographs or where.levin or where.motion_pairs:
        add("deblurring", "deblurring", *_deblurring(where, few(6, 32)))
    if where.unseen or where.levin:
        options = ("--stride", few(36, 60), "--estimators", "l0")
        if where.unseen:
            # Half a window more than a window leaves a choice.
            side = few(300, 450) if where.lai is None else 450
            crops = ("--images", *where.unseen, "--kernels", "random", "--count", few(3, 24))
            options = (*crops, "--side", side, *options)
        add("region", "region", *recorded, *options)
    if where.saturated:
        sizes = ("--count", few(2, 10), "--stride", few(80, 60), "--estimators", "l0")
        saturated = ("--images", *where.saturated, "--kernels", "random", "--no-timing")
        add("region_saturated", "region", *saturated, *sizes)
    if where.photographs:
        add("fit_blind", "fit_blind", *photographs, "--photographs", few(4, 24))
    if where.photographs and where.split == "test":
        # It splits them itself.
        add("blur_type_recall", "blur_type_recall", "--images", *where.photographs)
    return jobs


def _deblurring(where: layout.Layout, count: int) -> list[object]:
    options: list[object] = []
    if where.levin:
        options += ["--levin", where.levin]
    if where.lai:
        options += ["--proxy", "--images", where.lai / "sharp", "--kernels", where.lai / "kernels"]
    elif where.photographs:
        options += ["--images", *where.photographs, "--split", where.split, "--count", count]
    if where.motion_pairs:
        options += ["--pairs", where.motion_pairs, "--sizes", 15, 27, 39, "--pairs-side", 400]
    return options


# ---- running


def run(job: Job, runs: Path, programs: Path) -> Outcome:
    """Run one job, unless the same code has finished the same before."""
    folder = runs / job.name
    arguments = [job.protocol, *job.options]
    done, stamp = folder / "done.json", {"arguments": arguments, "code": code()}
    command = f"python -m eval {' '.join(arguments)}"
    if done.exists():
        before = json.loads(done.read_text(encoding="utf-8"))
        if {key: before.get(key) for key in stamp} == stamp:
            print("    was finished before", file=sys.stderr)
            return Outcome(job, command, before["seconds"], "")
        done.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    environment = {
        "JAX_COMPILATION_CACHE_DIR": str(programs.resolve()),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        **os.environ,
    }
    with (folder / "log.txt").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "eval", *arguments, "--out", str(folder)],
            cwd=Path.cwd(),
            env={**environment, "PYTHONPATH": _path()},
            stdout=log,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        assert process.stderr is not None, "it was asked for"
        last: list[str] = []
        told = threading.Thread(target=_tell, args=(process.stderr, log, last))
        told.start()
        try:
            process.wait()
        except BaseException:
            process.terminate()
            raise
        finally:
            told.join()
    seconds = round(time.monotonic() - began, 1)
    if process.returncode:
        said = last[-1] if last else "it said nothing"
        return Outcome(job, command, seconds, f"failed ({process.returncode}): {said}")
    report.write_json(done, {**stamp, "seconds": seconds})
    return Outcome(job, command, seconds, "")


def _path() -> str:
    """Where the child finds `eval`, whatever folder this was started in."""
    return os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))


def _tell(source: IO[str], log: IO[str], last: list[str]) -> None:
    """Progress of a run, line by line, onto the terminal and into its log."""
    for line in source:
        log.write(line)
        if line.strip():
            last[:] = [line.strip()]
            print(f"    {line.rstrip()}", file=sys.stderr, flush=True)


def code() -> str:
    """The version of blurjax and the commit of the checkout, with a mark of what was changed."""
    try:
        commit, changed = (
            subprocess.run(
                ["git", "-C", str(_ROOT), *arguments], capture_output=True, check=True
            ).stdout
            for arguments in (("rev-parse", "--short=12", "HEAD"), ("diff", "HEAD"))
        )
    except (OSError, subprocess.CalledProcessError):
        return f"blurjax {blurjax.__version__}, commit not known"
    mark = f", changed ({hashlib.sha256(changed).hexdigest()[:6]})" if changed else ""
    return f"blurjax {blurjax.__version__}, commit {commit.decode().strip()}{mark}"


# ---- the report


def _result(
    outcomes: Sequence[Outcome],
    runs: Path,
    data: Path | None,
    began: datetime.datetime,
    seconds: float,
    quick: bool,
    spared: set[str],
) -> dict[str, Any]:
    reports = {
        o.job.name: json.loads((runs / o.job.name / "report.json").read_text(encoding="utf-8"))
        for o in outcomes
        if not o.failure
    }
    return {
        "protocol": "all",
        "data": str(data) if data else "the photographs inside scikit-image",
        "quick": quick,
        "code": code(),
        "began": began.isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "machine": _machine(),
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "interval": _INTERVAL,
        "kinds": _KINDS,
        "items": [_item(item, reports, outcomes, runs, spared) for item in evidence.ITEMS],
        "runs": [
            {
                "name": o.job.name,
                "command": o.command,
                "seconds": o.seconds,
                "failure": o.failure or None,
            }
            for o in outcomes
        ],
    }


def _item(
    item: Item,
    reports: Mapping[str, Any],
    outcomes: Sequence[Outcome],
    runs: Path,
    spared: set[str],
) -> dict[str, Any]:
    used = [name for name in item.runs if name in reports]
    failures = {o.job.name: o.failure for o in outcomes if o.failure}
    rows: list[Row] = []
    pictures: list[Path] = []
    status = _REPRODUCED
    if item.runs and not used:
        status = f"not run: {_reason(item, failures, spared)}"
    else:
        rows = item.rows(reports) if item.rows else []
        pictures = evidence.figures(item, runs, _ROOT)
        if not rows and not pictures:
            status = f"no data: it takes {item.needs or 'a checkout'}"
    source = item.key.split()[0]
    return {
        "key": item.key,
        "source": f"{source}: {evidence.SOURCES[source]}",
        "title": item.title,
        "status": status,
        "note": item.note,
        "missing": item.missing,
        "runs": used,
        "rows": [
            {
                "what": row.what,
                "kind": row.kind,
                "source": row.source,
                "cells": {name: cell._asdict() for name, cell in row.cells.items()},
            }
            for row in rows
        ],
        "figures": [_beside(path, runs.parent) for path in pictures],
    }


def _beside(path: Path, out: Path) -> str:
    """The name of a picture in the report's folder; one from elsewhere is copied there."""
    if not path.is_relative_to(out):
        copy = out / "figures" / path.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        path = copy
    return path.relative_to(out).as_posix()


def _reason(item: Item, failures: Mapping[str, str], spared: set[str]) -> str:
    for name in item.runs:
        if name in failures:
            return f"{name} {failures[name]}"
    if spared & set(item.runs):
        return "left out by --only"
    return f"it takes {item.needs}" if item.needs else "its run has not been"


def _machine() -> str:
    from eval.deblurring import machine

    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return f"{machine()}, {names[0] if names else platform.processor() or platform.machine()}"


def _write(result: dict[str, Any], outcomes: Sequence[Outcome], runs: Path, out: Path) -> None:
    report.write_json(out / "report.json", result)
    report.write_text(out / "report.md", _markdown(result))
    page = _html.page("blurjax: evidence", _body(result, outcomes, runs, out), _footer(result))
    temporary = out / "report.tmp"
    temporary.write_bytes(page)
    os.replace(temporary, out / "report.html")


def _head(result: Mapping[str, Any]) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    quick = (
        " These are few images, to see the form: the numbers say little." if result["quick"] else ""
    )
    return [
        f"Data: {result['data']}.{quick}",
        f"Code: {result['code']}; Python {platform.python_version()}, {versions}.",
        f"Machine: {result['machine']}. Began {result['began']}, {result['seconds']:.0f} s.",
        f"{_INTERVAL}; n counts photographs, which the draws are of. Numbers that the sources "
        "publish are of their own test sets and stand in lines of their own.",
    ]


def _footer(result: Mapping[str, Any]) -> str:
    return f"{result['code']}, {result['began']}"


def _cell(cell: Mapping[str, Any] | None) -> str:
    if cell is None:
        return ""
    shown = _number(cell["value"])
    if cell["interval"]:
        low, high = map(_number, cell["interval"])
        shown += f" ({low} to {high})"
    return shown


def _number(value: float) -> str:
    if value == 0 or not abs(value) < float("inf"):
        return f"{value:g}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def _columns(item: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(name for row in item["rows"] for name in row["cells"]))


def _lines(item: Mapping[str, Any]) -> list[list[str]]:
    """The table of an item as text: what, kind, n, then the columns."""
    columns, lines = _columns(item), []
    for row in item["rows"]:
        counts = sorted({cell["n"] for cell in row["cells"].values() if cell["n"] is not None})
        n = "-".join(map(str, counts[:1] + counts[-1:] if len(counts) > 1 else counts))
        what = f"{row['what']} [{row['source']}]" if row["source"] else row["what"]
        lines.append([what, row["kind"], n, *(_cell(row["cells"].get(name)) for name in columns)])
    return lines


def _says(item: Mapping[str, Any]) -> list[str]:
    """What there is to know about an item beside its table."""
    said = [item["note"]] if item["note"] else []
    if item["missing"]:
        said.append(f"What cannot be had: {item['missing']}.")
    return said


def _markdown(result: Mapping[str, Any]) -> str:
    lines = ["# blurjax: evidence", "", *(f"{line}  " for line in _head(result)), ""]
    lines += ["| table or figure | | |", "|---|---|---|"]
    lines += [f"| {i['key']} | {i['title']} | {i['status']} |" for i in result["items"]]
    for item in result["items"]:
        lines += ["", f"## {item['key']}: {item['title']}", "", item["source"], ""]
        if item["status"] != _REPRODUCED:
            lines += [f"**{item['status']}**", ""]
        lines += [f"{line}\n" for line in _says(item)]
        if item["rows"]:
            columns = ["", "kind", "n", *_columns(item)]
            lines += [_line(columns), "|---" * len(columns) + "|", *map(_line, _lines(item))]
        lines += [f"\n![{item['title']}]({figure})" for figure in item["figures"]]
    lines += ["", "## Runs", "", "| run | seconds | |", "|---|---|---|"]
    lines += [
        f"| `{run['command']}` | {run['seconds']:.0f} | {run['failure'] or 'done'} |"
        for run in result["runs"]
    ]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _body(
    result: Mapping[str, Any], outcomes: Sequence[Outcome], runs: Path, out: Path
) -> list[str]:
    body = [_html.paragraph(line) for line in _head(result)]
    kinds = [[_html.text(kind), _html.text(what)] for kind, what in _KINDS.items()]
    body.append(_html.table(["kind", "what it is"], kinds, kinds=_KINDS))
    body.append("<h2>Tables and figures of the sources</h2>")
    listed = [
        [f'<a href="#{_anchor(i)}">{_html.text(i["key"])}</a>', _html.text(i["title"]),
         _html.text(i["status"])]
        for i in result["items"]
    ]  # fmt: skip
    body.append(_html.table(["", "what", "status"], listed))
    source = ""
    for item in result["items"]:
        if item["source"] != source:
            source = item["source"]
            body.append(f"<h2>{_html.text(source)}</h2>")
        body.append(f'<h3 id="{_anchor(item)}">{_html.text(item["key"])}: '
                    f"{_html.text(item['title'])}</h3>")  # fmt: skip
        if item["status"] != _REPRODUCED:
            body.append(_html.paragraph(f"{item['status']}."))
        body += [_html.paragraph(line) for line in _says(item)]
        if item["rows"]:
            cells = [[_html.text(cell) for cell in line] for line in _lines(item)]
            columns = ["", "kind", "n", *_columns(item)]
            looks = [row["kind"] for row in item["rows"]]
            body.append(_html.table(columns, cells, kinds=looks))
        body += [
            _html.png((out / figure).read_bytes(), f"{item['key']}: {Path(figure).stem}")
            for figure in item["figures"]
        ]
    body.append("<h2>Runs</h2>")
    for outcome in outcomes:
        body.append(f"<h3>{_html.text(outcome.job.name)}</h3>")
        body.append(f"<pre>{_html.text(outcome.command)}</pre>")
        if outcome.failure:
            body.append(_html.paragraph(outcome.failure))
            continue
        body.append(_html.paragraph(f"{outcome.seconds:.0f} s"))
        tables = json.loads((runs / outcome.job.name / "tables.json").read_text(encoding="utf-8"))
        inside = "".join(
            _html.table(t["columns"], [[_html.text(c) for c in row] for row in t["rows"]],
                        caption=t["title"])
            for t in tables
        )  # fmt: skip
        body.append(f"<details><summary>what it printed</summary>{inside}</details>")
    return body


def _anchor(item: Mapping[str, Any]) -> str:
    return "".join(c if c.isalnum() else "-" for c in item["key"])

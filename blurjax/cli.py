"""The command line: `blurjax analyze`, `blurjax blur` and `blurjax deblur` (host).

Answers go to stdout, everything else to stderr. Exit status: 0 all went well; 1 something could
not be read, answered or written; 2 the command itself is wrong; 130 interrupted.
"""

import contextlib
import gc
import glob
import json
import math
import os
import sys
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Any, Literal, NamedTuple, TypeVar

import numpy as np
import tyro

import blurjax

T = TypeVar("T")

# The rooms are imported by the functions that use them: `--help` answers at once, and an
# interrupt while JAX is loading is caught like any other.

_DESCRIPTION = "Model, measure and undo blur in photographs. `blurjax --version` tells the version."


_COMMANDS = ("analyze", "blur", "deblur")


class Failure(Exception):
    """What ends a command: one sentence for stderr, and the exit status."""

    def __init__(self, sentence: str, status: int = 1):
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True)
class Analyze:
    """Tell what blur is in images: its type, its parameters, where how much, what is sharp, how
    large the kernel of a motion is, where a kernel is estimated best, and how sure that is.

    With --out a page for each image, which also shows what deblurring would make of it, an index
    and a table of all, the sharpest first.

    Example: blurjax analyze photo.jpg holiday/ --out answers
    """

    images: Annotated[
        tuple[Path, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="IMAGE...", help_behavior_hint=""),
    ]
    """Image files, patterns such as "holiday/*.jpg", or folders, of which every image is taken."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """Write into this folder, for each image a page (.html), its picture (.png) and the maps of
    sigma and of sharpness; for all of them index.html, summary.csv and report.json."""
    full: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Deblur the whole images, as `blurjax deblur` does, and write the copies into the folder too:
    it takes ten times as long as the preview of a part."""
    resume: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Take from the folder's report.json what was answered before, and do the rest."""
    json: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Print nothing but a JSON array, an object an image, of the form that is installed as
    blurjax/analyze.schema.json."""
    weights: Annotated[
        tuple[str, ...],
        tyro.conf.UseAppendAction,
        tyro.conf.arg(metavar="[SYSTEM=]FILE", help_behavior_hint="(repeatable)"),
    ] = ()
    """Weights (.npz) or a training checkpoint instead of the shipped ones, for SYSTEM blur_type,
    sigma_map, sharpness, kernel_size or region; without SYSTEM for the blur type."""


@dataclass(frozen=True)
class Blur:
    """Make a blurred copy of an image, with a blur of known form or with a kernel from a file.

    The copy has the bits, the EXIF and the colour profile of the image, as far as its format can.

    Example: blurjax blur photo.jpg --psf motion:9,30deg --out blurred.png
    """

    image: Annotated[
        Path, tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE", help_behavior_hint="")
    ]
    """The image file."""
    psf: Annotated[str, tyro.conf.arg(metavar="PSF", help_behavior_hint="")]
    """The blur: gaussian:SIGMA, motion:LENGTH,ANGLE or defocus:RADIUS, in pixels and in degrees
    counter-clockwise from the horizontal; or a file of a kernel (.png, .npy, .mat)."""
    out: Annotated[Path, tyro.conf.arg(metavar="FILE", help_behavior_hint="")]
    """The PNG, JPEG or TIFF file to write."""
    overwrite: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Replace FILE if it exists."""
    noise: Annotated[float, tyro.conf.arg(metavar="S")] = 0.0
    """Standard deviation of Gaussian noise, where white is 1; always the same noise."""
    linear: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Blur in linear light: undo the sRGB curve before and redo it after."""


@dataclass(frozen=True)
class Deblur:
    """Make a sharper copy of a blurred image, with a kernel that is given or found in the image.

    The copy has the bits, the EXIF and the colour profile of the image, as far as its format can.

    Example: blurjax deblur photo.jpg --size 25 --kernel-out kernel.png
    """

    image: Annotated[
        Path, tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE", help_behavior_hint="")
    ]
    """The image file."""
    size: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="")] = None
    """Search for a kernel of N x N pixels, N odd, whatever the systems say of the blur."""
    psf: Annotated[str | None, tyro.conf.arg(metavar="PSF", help_behavior_hint="")] = None
    """The blur, where it is known: gaussian:SIGMA, motion:LENGTH,ANGLE or defocus:RADIUS, in pixels
    and in degrees counter-clockwise from the horizontal; or a file of a kernel (.png, .npy,
    .mat)."""
    region: Annotated[str | None, tyro.conf.arg(metavar="BOX", help_behavior_hint="")] = None
    """What the kernel is estimated from: auto, the four windows that look best for it; or
    ROW,COLUMN,HEIGHT,WIDTH in pixels. By default the part with the most varied gradients, up to 512
    pixels a side."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """The PNG, JPEG or TIFF file to write; by default IMAGE's name with _deblurred, beside it."""
    solver: Annotated[
        Literal["total_variation", "hyper_laplacian", "wiener", "richardson_lucy"],
        tyro.conf.arg(help_behavior_hint="(default: total_variation)"),
    ] = "total_variation"
    """What undoes the blur once the kernel is known."""
    weight: Annotated[float | None, tyro.conf.arg(metavar="W", help_behavior_hint="")] = None
    """The weight of the solver's prior, above 0: the more, the smoother; by default it follows the
    noise of the image."""
    kernel_out: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """Write the kernel too, as .png, .npy or .mat."""
    suppress_ringing: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Take what looks like ringing out of the copy, and some detail."""
    overwrite: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Replace the files to write if they exist."""
    json: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Print nothing but a JSON object."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command (host).

    Args:
        argv: the arguments without the program's name; by default those of the process.

    Returns:
        The exit status.
    """
    own = argv is None
    if own:
        _keep_programs()
        # Tracing makes many objects, few of them garbage: a seventh of a first answer's time.
        gc.set_threshold(100_000, 50, 20)
    argv = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        # Names of files may hold what the terminal's encoding does not.
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        return _run(argv, greet=own)
    except Failure as failure:
        _complain(str(failure))
        return failure.status
    except KeyboardInterrupt:
        _complain("interrupted")
        if own:
            # JAX compiles in threads of its own, which do not survive the interpreter's end.
            sys.stdout.flush()
            os._exit(130)
        return 130
    except BrokenPipeError:
        # The reader of stdout has left; the interpreter must not try to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


# What may lie in the cache of programs, in bytes. An image of a new shape adds 5 MB.
_PROGRAMS = 2**30


def _keep_programs() -> None:
    """Let JAX keep what it compiles, from one call of the command to the next."""
    # Not `jax.config`: JAX need not be loaded yet. What the user has set stands.
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "blurjax"
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(cache)
    # Even those that compile in less than a second: there are a hundred of them.
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    _forget_programs(cache)


def _forget_programs(cache: Path) -> None:
    """Delete those of a full cache that were not used for longest, until half of it is free."""
    # Another call may delete the same ones.
    with contextlib.suppress(OSError):
        files = [(file.stat(), file) for file in cache.iterdir()]
        size = sum(stat.st_size for stat, _ in files)
        if size <= _PROGRAMS:
            return
        for stat, file in sorted(files, key=lambda pair: max(pair[0].st_atime, pair[0].st_mtime)):
            file.unlink(missing_ok=True)
            size -= stat.st_size
            if size <= _PROGRAMS // 2:
                return


def _greet(names: Sequence[Path]) -> None:
    """Say at once that there is work going on: loading JAX takes a second, compiling longer."""
    if not names:
        return
    cache = Path(os.environ["JAX_COMPILATION_CACHE_DIR"])
    with contextlib.suppress(OSError):
        if cache.is_dir() and any(cache.iterdir()):
            _complain(f"reading {_shown(names[0]) if len(names) == 1 else f'{len(names)} inputs'}")
            return
    _complain("programs are compiled for the first call, which takes about ten seconds longer")


def _run(argv: list[str], *, greet: bool) -> int:
    if argv == ["--version"]:
        print(f"blurjax {blurjax.__version__}")
        return 0
    if argv and not argv[0].startswith("-") and argv[0] not in _COMMANDS:
        raise Failure(
            f"no command is called {argv[0]!r}; there are {', '.join(_COMMANDS)} "
            "(blurjax --help tells what they do)",
            2,
        )
    command: Any = (
        Annotated[Analyze, tyro.conf.subcommand("analyze")]
        | Annotated[Blur, tyro.conf.subcommand("blur")]
        | Annotated[Deblur, tyro.conf.subcommand("deblur")]
    )
    try:
        arguments = tyro.cli(
            command,
            prog="blurjax",
            description=_DESCRIPTION,
            args=argv or ["--help"],
            config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes),
        )
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 2
    if greet and isinstance(arguments, Analyze | Deblur) and not arguments.json:
        _greet(arguments.images if isinstance(arguments, Analyze) else (arguments.image,))
    commands: dict[type, Callable[[Any], int]] = {Analyze: _analyze, Blur: _blur, Deblur: _deblur}
    status = commands[type(arguments)](arguments)
    sys.stdout.flush()
    return status


# ---- analyze


SCHEMA = "blurjax.analyze/1"
"""What the objects of the report are, with the version of their form."""


def _analyze(arguments: Analyze) -> int:
    out = arguments.out
    if not arguments.images:
        raise Failure("no image given; name at least one file or folder", 2)
    for name in ("full", "resume"):
        if getattr(arguments, name) and out is None:
            raise Failure(f"--{name} works on the files that --out writes; give --out DIR too", 2)
    weights = _check_weights(arguments.weights)
    if out is not None:
        _check_folder(out)
    before: dict[str, dict[str, Any]] = {}
    if out is not None and (out / "report.json").exists():
        if arguments.resume:
            before = _answered(out / "report.json")
        elif not arguments.json:
            _complain(
                f"{out} holds an earlier report, which is replaced (--resume goes on from it)"
            )
    jobs = _expand(arguments.images)
    places = _choose_places([file for file, _ in jobs], out)
    report, status = _Report(out, len(jobs)), 0
    try:
        for (file, fault), place in zip(_with_progress(jobs), places, strict=True):
            kept = before.get(str(file), {})
            if kept and _identity(file).items() <= kept.items():
                answer = _as_before(file, kept)
            elif fault:
                answer = _refused(file, fault)
            else:
                answer = _answer(file, weights, place, full=arguments.full)
            report.add(answer)
            if answer.complaint:
                _complain(answer.complaint)
                status = 1
            elif not arguments.json:
                print(answer.line, flush=True)
    except KeyboardInterrupt:
        # So that --resume goes on from here.
        report.write()
        raise
    report.write()
    if arguments.json:
        print(_as_json(report.entries))
    elif out is not None:
        print(f"{_counted(report.pages, 'page')}, {', '.join(report.files)} in {out}")
    return status


class _Report:
    """What was found in all images, and the files of it that are written into a folder, if any."""

    # Seconds from one writing of report.json to the next: it is there to go on from.
    _EVERY = 10.0

    def __init__(self, folder: Path | None, expected: int) -> None:
        self.entries: list[dict[str, Any]] = []
        self.files: list[str] = []
        self._folder = folder
        self._expected = expected
        self._thumbnails: dict[str, str] = {}
        self._written = time.monotonic()

    @property
    def pages(self) -> int:
        return sum("page" in entry for entry in self.entries)

    def add(self, answer: "_Answer") -> None:
        self.entries.append(answer.entry)
        if answer.thumbnail:
            self._thumbnails[answer.entry["path"]] = answer.thumbnail
        if time.monotonic() - self._written > self._EVERY:
            self._write_report()

    def write(self) -> None:
        """Everything; the index only where there are several images to choose from."""
        if self._folder is None:
            return
        from blurjax import _pages

        contents = {"summary.csv": _pages.table(self.entries)}
        if self._expected > 1:
            contents["index.html"] = _pages.index(self.entries, self._thumbnails)
        else:
            # Of an earlier report, whose other images are not in this one.
            (self._folder / "index.html").unlink(missing_ok=True)
        for name, content in contents.items():
            _write_bytes(self._folder / name, content)
        self._write_report()
        self.files = [*sorted(contents), "report.json"]

    def _write_report(self) -> None:
        if self._folder is not None:
            _write_bytes(self._folder / "report.json", (_as_json(self.entries) + "\n").encode())
        self._written = time.monotonic()


def _answered(report: Path) -> dict[str, dict[str, Any]]:
    """The objects of an earlier report, by path, but those of images that could not be read."""
    try:
        entries = json.loads(report.read_text(encoding="utf-8"))
        return {
            entry["path"]: entry
            for entry in entries
            if entry["schema"] == SCHEMA and "error" not in entry
        }
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise Failure(
            f"{report}: cannot be gone on from ({_one_line(error)}); leave out --resume, or "
            "choose another --out"
        ) from error


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _check_weights(choices: Sequence[str]) -> dict[str, Path]:
    """The weights to pass on, after loading them once: their fault is not the images'."""
    from blurjax._analyze import LOADERS

    files: dict[str, Path] = {}
    for choice in choices:
        system, equals, name = choice.partition("=")
        # The name of a file may hold "=" too.
        if not equals or system not in LOADERS:
            if equals and not os.path.exists(choice):
                raise Failure(
                    f"--weights {choice}: no system is called {system!r}; there are "
                    f"{', '.join(LOADERS)}",
                    2,
                )
            system, name = "blur_type", choice
        if system in files:
            raise Failure(f"--weights names two files for {system}; give one", 2)
        files[system] = Path(name)
    try:
        for system, file in files.items():
            LOADERS[system](file)
    except (ValueError, TypeError, OSError) as error:
        raise Failure(_one_line(error)) from error
    return files


def _check_folder(folder: Path) -> None:
    """Make the folder for the output and try it before there is anything to lose."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise Failure(
            f"{folder}: cannot write there ({error.strerror or error}); choose another --out"
        ) from error


def _expand(inputs: Iterable[Path]) -> list[tuple[Path, str]]:
    """All files that are meant, each with "" or with what is wrong with it already."""
    from blurjax import images

    jobs: list[tuple[Path, str]] = []
    for path in inputs:
        pattern = glob.has_magic(str(path)) and not os.path.lexists(path)
        # Shells that leave patterns alone, and patterns in quotes.
        matches = sorted(map(Path, glob.glob(str(path), recursive=True))) if pattern else [path]
        if not matches:
            jobs.append((path, f"{path}: no file is called like that; check the pattern"))
        for match in matches:
            try:
                jobs += [(file, "") for file in images.paths(match)]
            except (ValueError, OSError) as error:
                jobs.append((match, _one_line(error)))
    return jobs


class _Place(NamedTuple):
    """Where what is found in one image goes."""

    picture: Path
    array: Path
    """Its sigma map for programs that read NumPy's files."""
    plane: Path
    """The same for programs that read images."""
    sharpness: Path
    """Its sharpness map."""
    page: Path
    """All of it for people."""
    deblurred: Path
    """Its deblurred copy, if it is asked for."""

    @staticmethod
    def called(folder: Path, stem: str) -> "_Place":
        ends = (
            *(".png", "_sigma.npy", "_sigma.png", "_sharpness.png"),
            *(".html", "_deblurred.png"),
        )
        return _Place(*(folder / f"{stem}{end}" for end in ends))


def _choose_places(files: Sequence[Path], folder: Path | None) -> list[_Place | None]:
    """Names after each file's stem, numbered where one would overwrite another, or an input."""
    if folder is None:
        return [None] * len(files)

    # The index is no image's page.
    taken = {_spelt(file) for file in (*files, folder / "index.html")}
    places: list[_Place | None] = []
    for file in files:
        place, count = _Place.called(folder, file.stem), 1
        while taken & set(map(_spelt, place)):
            count += 1
            place = _Place.called(folder, f"{file.stem}-{count}")
        taken |= set(map(_spelt, place))
        places.append(place)
    return places


def _spelt(path: Path) -> str:
    """What two names of one file have in common."""
    # Some file systems do not tell upper from lower case.
    return str(path.resolve()).casefold()


class _Answer(NamedTuple):
    """What is to be said about one file."""

    entry: dict[str, Any]
    """Its object in the report."""
    line: str
    """For people; unused if there is a complaint."""
    complaint: str
    """One sentence for stderr, or ""."""
    thumbnail: str = ""
    """For the index."""


def _answer(file: Path, weights: dict[str, Path], place: _Place | None, *, full: bool) -> _Answer:
    from blurjax import _analyze, _deblur, _pages
    from blurjax.weights import WeightsError

    as_read = _identity(file)
    try:
        image = _read(file)
        if place is None or full:
            analysis, part = _analyze.analyze(image, weights=weights), None
        else:
            analysis, part = _deblur.analyze_and_preview(image, weights=weights)
    except WeightsError as error:
        # Those that are shipped; the others have been tried. It is not the image's fault.
        raise Failure(_one_line(error)) from error
    except ValueError as error:
        return _refused(file, _one_line(error))
    height, width = image.shape[:2]
    about = {"schema": SCHEMA, **as_read, "width": width, "height": height}
    entry = {**about, **_analyze.summary(analysis)}
    thumbnail = ""
    if place is not None:
        entry["sigma_map"] |= _write_sigma(place, analysis.sigma_map)
        entry["sharpness"] |= _write_sharpness(place, analysis.sharpness)
        entry |= _write_page(place, file, image, analysis, part, entry)
        thumbnail = _pages.thumbnail(image)
    if min(height, width) < _analyze.MIN_SIZE:
        # Of all the reasons, that of the system that would do with the fewest pixels.
        return _Answer(entry, "", f"{_shown(file)}: {analysis.sigma_map.status}", thumbnail)
    lines = [
        f"{_shown(file)}: {_analyze.sentence(analysis)}",
        f"  blur type: {_blur_type_words(analysis.blur_type)}",
        f"  sigma map: {_analyze.sigma_phrase(analysis.sigma_map)}",
        f"  sharpness: {_analyze.sharpness_phrase(analysis.sharpness)}",
        f"  kernel, if it is motion: {_analyze.kernel_size_phrase(analysis.kernel_size)}",
        f"  best region: {_analyze.region_phrase(analysis.region)}",
    ]
    return _Answer(entry, "\n".join(lines), "", thumbnail)


def _identity(file: Path) -> dict[str, Any]:
    """The name of a file, and what tells whether it has changed since."""
    try:
        stat = file.stat()
    except OSError:
        return {"path": str(file)}
    return {"path": str(file), "bytes": stat.st_size, "modified": stat.st_mtime}


def _as_before(file: Path, entry: dict[str, Any]) -> _Answer:
    """What an earlier report says of a file."""
    from blurjax import _pages

    thumbnail = ""
    # It may have gone since.
    with contextlib.suppress(ValueError):
        thumbnail = _pages.thumbnail(_read(file))
    line = f"{_shown(file)}: {entry['sentence']} (as answered before)"
    return _Answer(entry, line, "", thumbnail)


def _blur_type_words(estimate: Any) -> str:
    from blurjax import _analyze

    if estimate.status != "ok":
        return str(estimate.status)
    certainty = _analyze.percent(float(estimate.answers.max()))
    found = _analyze.parameter_phrase(estimate.parameters, estimate.spread)
    read = f"probability {certainty}, n = {len(estimate.boxes)} patches"
    return f"{', '.join(filter(None, (estimate.label, found)))} ({read})"


def _write_page(
    place: _Place,
    file: Path,
    image: np.ndarray,
    analysis: Any,
    part: Any,
    entry: dict[str, Any],
) -> dict[str, Any]:
    """Write an image's picture and page, with a part of it deblurred, of which `part` is a preview;
    without one the whole is. What the report says of them."""
    from blurjax import _deblur, _pages, plots

    copy: dict[str, Any] = {}
    if part is None:
        found = _deblur.deblur(image)
        part = _deblur.part_of(found, image, analysis.region)
        if found.status == "ok":
            _check_target(place.deblurred, [file], overwrite=True)
            bits = _write_like(place.deblurred, found.image, file)
            copy = {"file": place.deblurred.name, "bits": bits}
    figure = plots.analysis(image, analysis, preview=part, title=file.name)
    try:
        plots.save(figure, place.picture)
    except OSError as error:
        raise Failure(f"{place.picture}: cannot be written ({error.strerror or error})") from error
    beside = [
        *(entry["sigma_map"][form]["file"] for form in _MAP_FORMS if form in entry["sigma_map"]),
        *(entry["sharpness"][form]["file"] for form in _MAP_FORMS if form in entry["sharpness"]),
        *([copy["file"]] if copy else []),
    ]
    drawn = place.picture.read_bytes()
    page = _pages.page(file.name, image, analysis, drawn, part, [place.picture.name, *beside])
    _write_bytes(place.page, page)
    sure = None if math.isnan(part.confidence) else part.confidence
    return {
        "picture": place.picture.name,
        "page": place.page.name,
        "deblurred": {
            "status": part.status,
            "found": part.path,
            "size": len(part.kernel),
            "confidence": sure,
            "box": {**dict(zip(_BOX, part.box, strict=True)), "unit": "pixel"},
            **copy,
        },
    }


_MAP_FORMS = ("array", "picture")
# Levels of the 16-bit picture of a sigma map for one pixel of sigma.
_LEVELS = 1000


def _write_sigma(place: _Place, estimate: Any) -> dict[str, Any]:
    """Write a sigma map, unless nothing of it is known; what the report says of its files."""
    known = estimate.valid
    if not np.any(known):
        return {}
    sigma = np.where(known, estimate.sigma, np.float32(np.nan))
    _write(place.array, lambda file: np.save(file, sigma))
    # 0 means unknown, and nothing else does.
    levels = np.where(known, np.clip(np.rint(_LEVELS * estimate.sigma), 1, 65535), 0)
    _write_plane(place.plane, levels / 65535, bits=16)
    return {
        "array": {"file": place.array.name, "unit": "pixel", "unknown": "NaN"},
        "picture": {"file": place.plane.name, "unit": f"pixel / {_LEVELS}", "unknown": 0},
    }


def _write_sharpness(place: _Place, estimate: Any) -> dict[str, Any]:
    """Write a sharpness map, if there is one; what the report says of its file."""
    if estimate.status != "ok":
        return {}
    _write_plane(place.sharpness, estimate.sharpness, bits=8)
    return {"picture": {"file": place.sharpness.name, "unit": "1 / 255"}}


def _write_plane(path: Path, plane: np.ndarray, *, bits: int) -> None:
    from blurjax import images

    try:
        images.write(path, plane, bits=bits)
    except ValueError as error:
        raise Failure(_one_line(error)) from error


def _refused(file: Path, fault: str) -> _Answer:
    name = _one_line(file)
    sentence = f"{_shown(file)}: {fault.removeprefix(name).removeprefix(': ')}"
    return _Answer({"schema": SCHEMA, "path": str(file), "error": sentence}, "", sentence)


def _with_progress(jobs: Sequence[T]) -> Iterator[T]:
    """The jobs, with a bar on the terminal while several are worked on."""
    if len(jobs) < 2 or not sys.stderr.isatty():
        yield from jobs
        return
    from rich.console import Console
    from rich.progress import Progress

    # Where stdout is a file, nothing of it may be led to the terminal.
    with Progress(
        console=Console(stderr=True, soft_wrap=True),
        transient=True,
        redirect_stdout=sys.stdout.isatty(),
    ) as progress:
        yield from progress.track(jobs, description="analysing")


# ---- blur


def _blur(arguments: Blur) -> int:
    if not 0 <= arguments.noise <= 1:
        raise Failure(
            f"--noise is {arguments.noise}; white is 1, so give 0 to 1, such as 0.02 (5 of 255)", 2
        )
    blur = _parse_psf(arguments.psf)
    sources = [arguments.image, *([blur] if isinstance(blur, Path) else [])]
    _check_target(arguments.out, sources, overwrite=arguments.overwrite)
    try:
        image = _read(arguments.image, linear=arguments.linear)
        kernel = _kernel(blur, min(image.shape[:2]))
        blurred = _blurred(image, kernel.values, arguments.noise, arguments.linear)
        bits = _write_like(arguments.out, blurred, arguments.image)
    except ValueError as error:
        raise Failure(_one_line(error)) from error
    light = "linear light" if arguments.linear else "values as stored"
    noise = f", noise {arguments.noise:g}" if arguments.noise else ""
    size = len(kernel.values)
    print(
        f"{arguments.out}: {arguments.image.name} blurred by {kernel.phrase} "
        f"({size} x {size} kernel, {light}{noise}), {bits} bits a channel"
    )
    return 0


def _blurred(image: np.ndarray, kernel: np.ndarray, noise: float, linear: bool) -> np.ndarray:
    import jax

    from blurjax import imaging

    blurred = imaging.blur(image, kernel, channel_axis=-1 if image.ndim == 3 else None)
    if linear:
        blurred = imaging.encode(blurred)
    if noise:
        planes = jax.numpy.moveaxis(blurred, -1, 0) if image.ndim == 3 else blurred
        noisy = imaging.add_noise(jax.random.key(0), planes, noise)
        blurred = jax.numpy.moveaxis(noisy, 0, -1) if image.ndim == 3 else noisy
    return np.asarray(blurred)


# ---- deblur


# What `images.write` and `images.write_psf` can write.
_IMAGE_FILES = (".jpeg", ".jpg", ".png", ".tif", ".tiff")
_KERNEL_FILES = (".mat", ".npy", ".png")


def _deblur(arguments: Deblur) -> int:
    from blurjax import _analyze, images
    from blurjax._deblur import deblur

    began = time.perf_counter()
    _check_choices(arguments)
    region = _parse_region(arguments.region)
    blur = None if arguments.psf is None else _parse_psf(arguments.psf)
    file, out = arguments.image, arguments.out
    try:
        if out is None:
            # First: of an image that is not there, its copy is not the trouble.
            images.depth(file)
            suffix = file.suffix if file.suffix.lower() in _IMAGE_FILES else ".png"
            out = file.with_name(f"{file.stem}_deblurred{suffix}")
        sources = [file, *([blur] if isinstance(blur, Path) else [])]
        _check_target(out, sources, overwrite=arguments.overwrite)
        if arguments.kernel_out is not None:
            _check_kernel_target(arguments.kernel_out, out, sources, overwrite=arguments.overwrite)
        image = _read(file)
        psf = None if blur is None else _kernel(blur, min(image.shape[:2]))
        with _saying(file.name) as say:
            found = deblur(
                image,
                size=arguments.size,
                psf=None if psf is None else psf.values,
                region=region,
                solver=arguments.solver,
                weight=arguments.weight,
                suppress_ringing=arguments.suppress_ringing,
                progress=say,
            )
        if found.status != "ok":
            raise Failure(f"{file}: {found.status}")
        with _kernel_file(arguments.kernel_out, found.kernel):
            bits = _write_like(out, found.image, file)
    except ValueError as error:
        raise Failure(_one_line(error)) from error
    seconds = time.perf_counter() - began
    if arguments.json:
        entry: dict[str, Any] = {
            "path": str(file),
            "out": str(out),
            "found": found.path,
            "size": found.size,
            "confidence": found.confidence,
            "given": psf is not None,
            "boxes": [dict(zip(_BOX, box, strict=True)) for box in found.boxes],
            "bits": bits,
            "seconds": round(seconds, 2),
        }
        if arguments.kernel_out is not None:
            entry["kernel_out"] = str(arguments.kernel_out)
        print(_as_json(entry))
        return 0
    how = found.path if psf is None else f"{found.path}: {psf.phrase}"
    sure = "given" if psf is not None else _analyze.percent(found.confidence)
    print(
        f"{out}: {file.name} deblurred ({how}; {found.size} x {found.size} kernel, "
        f"confidence {sure}), {bits} bits a channel, {seconds:.1f} s"
    )
    return 0


def _check_choices(arguments: Deblur) -> None:
    """Refuse what no image could be deblurred with."""
    size, weight = arguments.size, arguments.weight
    if size is not None and arguments.psf is not None:
        raise Failure("--size and --psf exclude each other; give --psf if the blur is known", 2)
    if size is not None and (size < 3 or size % 2 == 0):
        odd = max(3, size + 1)
        raise Failure(f"--size is {size}; a kernel has an odd side, 3 or more, such as {odd}", 2)
    if arguments.region is not None and arguments.psf is not None:
        raise Failure("--region is where a kernel is looked for, and --psf gives it; leave one", 2)
    if weight is not None and not 0 < weight < math.inf:
        raise Failure(f"--weight is {weight}; it must be finite and above 0", 2)
    if weight is not None and arguments.solver == "richardson_lucy":
        raise Failure("--weight is for a prior, and richardson_lucy has none; leave it out", 2)


_BOX = ("row", "column", "height", "width")


def _parse_region(text: str | None) -> str | tuple[int, int, int, int] | None:
    if text is None or text == "auto":
        return text
    try:
        row, column, height, width = (int(part) for part in text.split(","))
    except ValueError:
        raise Failure(
            f"--region is {text!r}; give auto, or ROW,COLUMN,HEIGHT,WIDTH in whole pixels", 2
        ) from None
    return row, column, height, width


@contextlib.contextmanager
def _saying(name: str) -> Iterator[Callable[[str], None] | None]:
    """What tells the steps on the terminal; None where stderr is none."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.markup import escape

    label = escape(name)
    with Console(stderr=True).status(label) as status:
        yield lambda words: status.update(f"{label}: {escape(words)}")


def _check_kernel_target(
    path: Path, image: Path, sources: Iterable[Path], *, overwrite: bool
) -> None:
    """As `_check_target`, for the kernel that is written beside `image`."""
    if path.suffix.lower() not in _KERNEL_FILES:
        raise Failure(
            f"{path}: cannot write a kernel with the extension {path.suffix!r}; use "
            f"{', '.join(_KERNEL_FILES)}"
        )
    if _spelt(path) == _spelt(image):
        raise Failure(f"{path}: is what the image is written to; choose another --kernel-out")
    _check_free(path, sources, option="--kernel-out", overwrite=overwrite)
    try:
        trial = _beside(path)
        trial.touch(exist_ok=False)
        trial.unlink()
    except OSError as error:
        raise Failure(
            f"{path}: cannot be written ({error.strerror or error}); choose another --kernel-out"
        ) from error


@contextlib.contextmanager
def _kernel_file(path: Path | None, kernel: np.ndarray) -> Iterator[None]:
    """Write a kernel, which takes its name only if what is done meanwhile goes well."""
    from blurjax import images

    if path is None:
        yield
        return
    temporary = _beside(path)
    try:
        images.write_psf(temporary, kernel)
        yield
        os.replace(temporary, path)
    except OSError as error:
        raise Failure(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    """A name for a file that is going to be `path`, with its extension."""
    return path.with_name(f".{path.stem}.{uuid.uuid4().hex}.part{path.suffix}")


# ---- blurs, as they are spelt


class _Named(NamedTuple):
    """A blur of known form."""

    label: str
    parameters: dict[str, float]
    """In pixels and radians."""


class _Kernel(NamedTuple):
    """The kernel that --psf asks for."""

    values: np.ndarray
    phrase: str
    """What it is, for people."""


# What each blur takes after the colon, under the names of `blurjax.psf`.
_SPELT = {
    "gaussian": {"sigma": "SIGMA"},
    "motion": {"length": "LENGTH", "angle": "ANGLE"},
    "defocus": {"radius": "RADIUS"},
}
# How many pixels a blur of parameter 1 extends over, nearly.
_EXTENT = {"gaussian": 8, "motion": 1, "defocus": 2}


def _parse_psf(text: str) -> _Named | Path:
    """A blur as --psf spells it, or the file that holds its kernel."""
    label, colon, rest = text.partition(":")
    # A name with a colon is a blur, whatever files there are; ./gaussian:2 would be a file.
    if label not in _SPELT or not colon:
        if os.path.exists(text):
            return Path(text)
        if label not in _SPELT:
            known = ", ".join(_spelling(name) for name in _SPELT)
            raise Failure(
                f"--psf {text}: neither a known blur nor a file; use {known} or a file of a kernel",
                2,
            )
    names = list(_SPELT[label])
    words = rest.split(",")
    if len(words) != len(names) or not all(word.strip() for word in words):
        count = "one number" if len(names) == 1 else f"{len(names)} numbers"
        raise Failure(f"--psf {text}: {label} takes {count}; write {_spelling(label)}", 2)
    parameters = {
        name: _parse_number(text, name, word.strip())
        for name, word in zip(names, words, strict=True)
    }
    if "angle" in parameters:
        parameters["angle"] = math.radians(parameters["angle"])
    return _Named(label, parameters)


def _spelling(label: str) -> str:
    return f"{label}:{','.join(_SPELT[label].values())}"


def _parse_number(text: str, name: str, word: str) -> float:
    """One parameter; angles in degrees, whether they say so or not."""
    unit = "degrees" if name == "angle" else "pixels"
    digits = word.removesuffix("deg") if name == "angle" else word
    try:
        value = float(digits)
    except ValueError:
        raise Failure(f"--psf {text}: {name} is {word!r}; give a number of {unit}", 2) from None
    if not math.isfinite(value):
        raise Failure(f"--psf {text}: {name} is {value}; it must be finite, in {unit}", 2)
    if value < 0 and name != "angle":
        raise Failure(f"--psf {text}: {name} is {value:g}; it must be 0 or more, in {unit}", 2)
    return value


def _kernel(blur: _Named | Path, side: int) -> _Kernel:
    """The kernel of a blur, for an image of which `side` is the shorter side.

    Raises:
        ValueError: it is larger than the image, or its file cannot be read.
    """
    if isinstance(blur, Path):
        from blurjax import images

        with _warnings_as_lines():
            values = images.read_psf(blur)
        _check_fits(f"the {len(values)} x {len(values)} kernel in {blur}", len(values), side)
        return _Kernel(values.astype(np.float32), f"the kernel in {blur.name}")

    from blurjax import psf
    from blurjax._analyze import blur_phrase

    label, parameters = blur
    numbers = tuple(parameters.values())
    _check_fits(f"a {label} blur of {numbers[0]:g} px", _EXTENT[label] * numbers[0], side)
    size = psf.support(label, *numbers, mass=0.9999 if label == "gaussian" else 1.0)
    values = np.asarray(getattr(psf, label)(*numbers, size=size))
    return _Kernel(values, blur_phrase(label, parameters))


def _check_fits(what: str, extent: float, side: int) -> None:
    if extent > side:
        raise ValueError(f"{what} does not fit in {side} px; less is more")


# ---- images in and out


def _check_target(out: Path, sources: Iterable[Path], *, overwrite: bool) -> None:
    """Refuse, before the work, a file that cannot or must not be written."""
    from blurjax import images

    _check_free(out, sources, option="--out", overwrite=overwrite)
    try:
        images.check_writable(out)
    except ValueError as error:
        raise Failure(_one_line(error)) from error


def _check_free(path: Path, sources: Iterable[Path], *, option: str, overwrite: bool) -> None:
    """Refuse to write over an input, a folder, or what is not to be overwritten."""
    if os.path.lexists(path):
        there = (source for source in sources if os.path.exists(source) and os.path.exists(path))
        if any(os.path.samefile(path, source) for source in there):
            raise Failure(f"{path}: is the input itself; choose another {option}")
        if path.is_dir():
            raise Failure(f"{path}: is a folder; name a file in it")
        if not overwrite:
            raise Failure(f"{path}: exists already; choose another {option}, or add --overwrite")


def _write_like(out: Path, image: np.ndarray, source: Path) -> int:
    """Write what was made of the image in `source`, with its EXIF, colour profile and depth.

    Returns the bits a channel: 16 where the source has more than 8, unless `out` is a JPEG.

    Raises:
        ValueError: it cannot be written.
    """
    from blurjax import images

    bits = 8 if out.suffix.lower() in (".jpg", ".jpeg") else images.depth(source)
    images.write(out, image, bits=bits, like=source)
    return bits


def _read(file: Path, *, linear: bool = False) -> np.ndarray:
    """An image, with the reader's warnings as plain lines."""
    from blurjax import images

    if file.is_dir():
        raise images.ImageError(f"{file}: a folder, not an image; name one of its files")
    with _warnings_as_lines():
        return images.read(file, linear=linear)


@contextlib.contextmanager
def _warnings_as_lines() -> Iterator[None]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        _complain(_one_line(warning.message))


# ---- all


def _as_json(report: list[dict[str, Any]] | dict[str, Any]) -> str:
    return json.dumps(report, indent=2, allow_nan=False)


def _write_bytes(path: Path, content: bytes) -> None:
    _write(path, lambda file: file.write(content))


def _write(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """A file, whole or not at all."""
    temporary = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        with temporary.open("wb") as file:
            write(file)
        os.replace(temporary, path)
    except OSError as error:
        raise Failure(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _one_line(error: object) -> str:
    return " ".join(str(error).split())


def _shown(file: Path) -> str:
    """The name of a file on one line, whatever is in it."""
    # What is no character at all is for the stream to show.
    return "".join(
        c if c.isprintable() or "\ud800" <= c <= "\udfff" else repr(c)[1:-1] for c in str(file)
    )


def _complain(sentence: str) -> None:
    print(f"blurjax: {sentence}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

"""Data sets for TFDS, each from the files its authors hand out (host).

The one file that imports TFDS at module level: its classes derive from TFDS's. Import it inside
functions only.
"""

import contextlib
import functools
import hashlib
import io
import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core.utils import tqdm_utils

from blurjax import images
from blurjax.data._levin import levin
from blurjax.data._tfds import official, reason
from blurjax.data._without_tensorflow import without_tensorflow
from blurjax.images import ImageError

_VERSION = "1.0.0"
# Keys of records have 128 bits.
_KEYS = 2**128
_MASKS = ("gt", "mask", "masks", "groundtruth", "ground_truth")
_DETAIL = tfds.features.Tensor(shape=(None, None), dtype=np.float32, encoding="zlib")
_COLOUR, _GRAY = (tfds.features.Image(shape=(None, None, n)) for n in (3, 1))


class Item(NamedTuple):
    """One record that has not been read yet."""

    name: str
    """For `blurjax.data.split`: parts of one scene differ by "-<digits>" at the end alone."""
    example: Callable[[], dict[str, Any]]
    """Its features but the name; raises ImageError."""


class _FromFiles(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """A data set of files that somebody has unpacked; each class below is one."""

    VERSION = tfds.core.Version(_VERSION)
    MANUAL_DOWNLOAD_INSTRUCTIONS = "docs/datasets.md of blurjax says which files are needed."

    # Whether images that cannot be read are left out.
    skips = False

    def __init_subclass__(cls) -> None:
        # Not in TFDS's own list, where a name can be taken once.
        super().__init_subclass__(skip_registration=True)

    def describe(self) -> tuple[str, str, dict[str, Any]]:
        """A sentence, the home page or nothing, and the features but the name."""
        raise NotImplementedError

    def index(self, root: Path) -> dict[str, list[Item]]:
        """The records of each split below a folder; raises ImageError."""
        raise NotImplementedError

    def _info(self) -> tfds.core.DatasetInfo:
        sentence, homepage, features = self.describe()
        return tfds.core.DatasetInfo(
            builder=self,
            description=sentence,
            homepage=homepage,
            features=tfds.features.FeaturesDict({**features, "name": tfds.features.Text()}),
            # In the order of the files, so that a record's place is that of its name.
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict(),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, Any]]]:
        root = Path(dl_manager.manual_dir)
        self.skipped: list[str] = []
        self.info.metadata.update(photographs={}, manual=_fingerprint(root))
        return {
            split: self._generate_examples(root, split, items)
            for split, items in self.index(root).items()
        }

    def _generate_examples(
        self, root: Path, split: str, items: list[Item]
    ) -> Iterator[tuple[int, Any]]:
        names = self.info.metadata["photographs"].setdefault(split, [])
        for i, item in enumerate(items):
            try:
                example = item.example()
            except ImageError:
                if not self.skips:
                    raise
                self.skipped.append(item.name)
                continue
            names.append(item.name)
            # TFDS sorts by key in a thousand heaps: keys over the whole range fill all alike.
            yield i * (_KEYS // len(items)), {**example, "name": item.name}
        if not names:
            raise ImageError(
                f"{root}: none of its {len(items)} images can be read; copy them there again"
            )


class Folder(_FromFiles):
    """Any photographs."""

    name = "folder"
    skips = True

    def describe(self) -> tuple[str, str, dict[str, Any]]:
        return "Photographs of a folder.", "", {"image": _COLOUR}

    def index(self, root: Path) -> dict[str, list[Item]]:
        return {
            "train": [
                Item(p.relative_to(root).as_posix(), functools.partial(_plain, p))
                for p in images.paths(root)
            ]
        }


class Mirflickr(_FromFiles):
    """im1.jpg .. im25000.jpg."""

    name = "mirflickr25k"
    skips = True

    def describe(self) -> tuple[str, str, dict[str, Any]]:
        return "MIRFLICKR-25000: photographs of Flickr.", "", {"image": _COLOUR}

    def index(self, root: Path) -> dict[str, list[Item]]:
        found = _numbered(self, root, r"im(\d+)\.jpe?g", "im1.jpg")
        return {"train": [Item(p.name, functools.partial(_plain, p)) for _, p in found]}


class Brodatz(_FromFiles):
    """D1.gif .. D112.gif; some are missing in some releases."""

    name = "brodatz"

    def describe(self) -> tuple[str, str, dict[str, Any]]:
        return (
            "Brodatz: photographs of textures.",
            "",
            {"image": _GRAY, "number": np.int64},
        )

    def index(self, root: Path) -> dict[str, list[Item]]:
        found = _numbered(self, root, r"d0*(\d{1,3})\.\w+", "D1.gif")
        return {
            "train": [
                Item(f"D{n}", functools.partial(_plain, path, number=n)) for (n,), path in found
            ]
        }


class Bsds500(_FromFiles):
    """images/{train,val,test}/*.jpg and groundTruth/{train,val,test}/*.mat."""

    name = "bsds500"

    def describe(self) -> tuple[str, str, dict[str, Any]]:
        return (
            "BSDS500: photographs with segmentations by several people.",
            "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/resources.html",
            {
                "image": _COLOUR,
                # (people, H, W) labels from 1; no people where the file is not there.
                "segmentations": tfds.features.Tensor(
                    shape=(None, None, None), dtype=np.uint16, encoding="zlib"
                ),
            },
        )

    def index(self, root: Path) -> dict[str, list[Item]]:
        folders = {
            "train": "train",
            "val": "validation",
            "validation": "validation",
            "test": "test",
        }
        truths = {
            (p.parent.name, p.stem): p
            for p in _visible(root)
            if p.suffix.lower() == ".mat" and p.parent.name in folders
        }
        found: dict[str, dict[str, Item]] = {}
        for path in _visible(root):
            split = folders.get(path.parent.name)
            if split is None or path.suffix.lower() not in (".jpg", ".jpeg"):
                continue
            truth = truths.get((path.parent.name, path.stem))
            item = Item(path.name, functools.partial(_segmented, path, truth))
            found.setdefault(split, {}).setdefault(path.name, item)
        if not found:
            raise _nothing(self, root, "images/train/*.jpg, images/val/*.jpg or images/test/*.jpg")
        # In the order of the field, whichever are there.
        order = ("train", "validation", "test")
        return {s: [found[s][n] for n in sorted(found[s])] for s in order if s in found}


class Cuhk(_FromFiles):
    """image/{motion,out_of_focus}NNNN.jpg and gt/ the same .png."""

    name = "cuhk"

    def describe(self) -> tuple[str, str, dict[str, Any]]:
        return (
            "CUHK blur detection (Shi et al. 2014): partly blurred photographs; the mask is white "
            "where they are blurred.",
            "",
            {
                "image": _COLOUR,
                "mask": _GRAY,
                "kind": tfds.features.ClassLabel(names=["motion", "out_of_focus"]),
            },
        )

    def index(self, root: Path) -> dict[str, list[Item]]:
        photographs: dict[str, Path] = {}
        masks: dict[str, Path] = {}
        for path in _visible(root):
            if not re.fullmatch(r"(motion|out_of_focus)\d+\.(jpe?g|png)", path.name.lower()):
                continue
            chosen = masks if path.parent.name.lower() in _MASKS else photographs
            chosen.setdefault(path.stem, path)
        if not photographs:
            raise _nothing(self, root, "image/motion0001.jpg or image/out_of_focus0001.jpg")
        items = []
        for stem, path in sorted(photographs.items()):
            if stem not in masks:
                raise ImageError(
                    f"{path}: {self.name} has a mask for each photograph and there is no "
                    f"gt/{stem}.png below {root}; unpack the masks too"
                )
            kind = stem.lower().rstrip("0123456789")
            items.append(Item(path.name, functools.partial(_masked, path, masks[stem], kind)))
        return {"train": items}


class Levin2009(_FromFiles):
    """im05_flit01.mat .. im08_flit08.mat."""

    name = "levin2009"

    def describe(self) -> tuple[str, str, dict[str, Any]]:
        return (
            "Levin et al. 2009: recorded camera shake with its kernels; image is sharp in 8 bits.",
            "",
            {"image": _GRAY, "sharp": _DETAIL, "blurred": _DETAIL, "psf": _DETAIL},
        )

    def index(self, root: Path) -> dict[str, list[Item]]:
        found = [p.parent for p in _visible(root) if re.fullmatch(r"im\d+_flit\d+\.mat", p.name)]
        if not found:
            raise _nothing(self, root, "im05_flit01.mat")
        recordings = levin(found[0])
        return {
            "test": [
                # Kernels of one photograph stay together.
                Item(name.replace("_flit", "-"), functools.partial(_recorded, recordings, i))
                for i, name in enumerate(recordings.names)
            ]
        }


class Koehler2012(_FromFiles):
    """Blurry1_1.png .. Blurry4_12.png and their ground truth, as images or as .mat."""

    name = "koehler2012"

    def describe(self) -> tuple[str, str, dict[str, Any]]:
        return (
            "Köhler et al. 2012: recorded camera shake; image is sharp, of several the middle one.",
            "",
            {"image": _COLOUR, "blurred": _COLOUR, "number": np.int64, "kernel": np.int64},
        )

    def index(self, root: Path) -> dict[str, list[Item]]:
        blurred: dict[tuple[int, ...], Path] = {}
        truths: dict[tuple[int, ...], list[tuple[tuple[int, ...], Path]]] = {}
        pictures = _pictures(root)
        for path in _visible(root):
            if match := re.match(r"blurry[_ -]?(\d+)[_-](\d+)\.", path.name.lower()):
                blurred.setdefault((int(match[1]), int(match[2])), path)
            elif path.suffix.lower() == ".mat" or path in pictures:
                numbers = _truth(path.relative_to(root))
                if numbers:
                    truths.setdefault(numbers[:2], []).append((numbers, path))
        if not blurred:
            raise _nothing(self, root, "Blurry1_1.png")
        items = []
        for (number, kernel), path in sorted(blurred.items()):
            frames = truths.get((number, kernel)) or truths.get((number,))
            if not frames:
                raise ImageError(
                    f"{path}: {self.name} has a ground truth for each image and there is no "
                    f"GroundTruth{number}_{kernel} below {root}; unpack the ground truth too"
                )
            middle = sorted(frames)[len(frames) // 2][1]
            make = functools.partial(_shaken, middle, path, number, kernel)
            items.append(Item(f"{number}-{kernel}", make))
        return {"test": items}


class SunHays80(_FromFiles):
    """img_1_groundtruth.png, img_1_kernel_1.png, .. and kernel_1.png, .."""

    name = "sunhays80"

    def describe(self) -> tuple[str, str, dict[str, Any]]:
        return (
            "Sun et al. 2013 (80 photographs): each sharp and blurred by the same kernels.",
            "",
            {
                "image": _COLOUR,
                "blurred": tfds.features.Sequence(_COLOUR),
                # The number of each blurred image's kernel, and the kernel: (n, k, k), of sum 1;
                # no rows where the kernels' files are not there.
                "kernels": tfds.features.Sequence(np.int64),
                "psf": tfds.features.Tensor(
                    shape=(None, None, None), dtype=np.float32, encoding="zlib"
                ),
            },
        )

    def index(self, root: Path) -> dict[str, list[Item]]:
        sharp: dict[int, Path] = {}
        blurred: dict[int, dict[int, Path]] = {}
        kernels: dict[int, Path] = {}
        pictures = _pictures(root)
        for path in _visible(root):
            stem, picture = path.stem.lower(), path in pictures
            if picture and (match := re.match(r"(?:img)?_?(\d+)_?ground_?truth", stem)):
                sharp.setdefault(int(match[1]), path)
            elif picture and (match := re.match(r"(?:img)?_?(\d+)_?kernel_?(\d+)", stem)):
                blurred.setdefault(int(match[1]), {}).setdefault(int(match[2]), path)
            elif (picture or path.suffix.lower() == ".mat") and (
                match := re.fullmatch(r"kernel_?(\d+)", stem)
            ):
                kernels.setdefault(int(match[1]), path)
        if not sharp:
            raise _nothing(self, root, "img_1_groundtruth.png")
        items = []
        for number, path in sorted(sharp.items()):
            mine = blurred.get(number)
            if not mine:
                raise ImageError(
                    f"{path}: {self.name} has blurred images of each photograph and there is no "
                    f"img_{number}_kernel_1.png below {root}; unpack these too"
                )
            absent = sorted(set(mine) - set(kernels))
            if kernels and absent:
                raise ImageError(
                    f"{mine[absent[0]]}: there is no kernel_{absent[0]}.png below {root} and "
                    "other kernels are there; unpack all of them, or none"
                )
            make = functools.partial(_blurred_by, path, mine, kernels)
            items.append(Item(f"{number:02d}", make))
        return {"test": items}


_CLASSES = (
    *(Folder, Bsds500, Brodatz, Cuhk, Mirflickr),
    *(Levin2009, Koehler2012, SunHays80),
)
CLASSES: dict[str, type[_FromFiles]] = {one.name: one for one in _CLASSES}


def prepare(name: str, root: Path, data_dir: Path) -> Path:
    """`blurjax.data.build`, of a name and a folder that are there."""
    own, _, config = name.partition("/")
    if ":" in name or (config and own != Folder.name) or not re.fullmatch(r"[\w.-]*", config):
        raise ValueError(
            f"{name}: write it without a version, and a name of your own only for photographs of "
            "yours, as folder/NAME with letters, digits, '_', '-' and '.'"
        )
    chosen = tfds.core.BuilderConfig(name=config, version=_VERSION) if config else None
    builder = CLASSES[own](data_dir=data_dir, config=chosen, file_format="array_record")
    place = Path(builder.data_dir)
    if place.exists():
        metadata = place / "metadata.json"
        known = json.loads(metadata.read_text()).get("manual") if metadata.exists() else None
        if known != _fingerprint(root):
            other = " or write folder/NAME," if own == Folder.name else ""
            raise ValueError(
                f"{name}: other files than those in {root} are prepared in {place}; remove that "
                f"folder,{other} or give another data_dir"
            )
        return place
    made = [folder for folder in place.parents if not folder.exists()]
    try:
        with _quiet(), tempfile.TemporaryDirectory() as scratch:
            _run(builder, root, Path(scratch))
    except BaseException:
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise
    if builder.skipped:
        total = len(builder.skipped) + builder.info.splits.total_num_examples
        print(
            f"{name}: left out what cannot be read, {len(builder.skipped)} of {total} images: "
            f"{', '.join(builder.skipped)}",
            file=sys.stderr,
        )
    return place


def fetch(name: str, manual: Path | None, data_dir: Path) -> Path:
    """`blurjax.data.download`."""
    builder = official(name, data_dir)
    place = Path(builder.data_dir)
    if place.exists() and any(place.glob("*tfrecord*")):
        raise ImageError(
            f"{name}: prepared in {place} as tfrecord, which cannot be read without TensorFlow; "
            "remove that folder, or give another data_dir"
        )
    try:
        with contextlib.redirect_stdout(sys.stderr):
            _run(builder, manual, data_dir / "downloads")
    except ModuleNotFoundError as error:
        raise ImageError(
            f"{name}: TFDS cannot prepare it without the package {error.name} ({reason(error)}); "
            'prepare it where that is installed, with file_format="array_record", and copy '
            f"{place} here"
        ) from error
    except Exception as error:
        raise ImageError(
            f"{name}: TFDS could not prepare it ({type(error).__name__}: {reason(error)}); check "
            f"the network and the space in {data_dir}, and give a folder with --manual where TFDS "
            "asks for files"
        ) from error
    return place


def _run(builder: Any, manual: Path | None, downloads: Path) -> None:
    options = tfds.download.DownloadConfig(
        manual_dir=manual,
        extract_dir=downloads / "extracted",
        # There are prepared data sets in the cloud, but as tfrecord.
        try_download_gcs=False,
    )
    with without_tensorflow():
        builder.download_and_prepare(
            download_dir=downloads, download_config=options, file_format="array_record"
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    # TFDS can be asked to switch its bars on and off, but not whether they are.
    before = tqdm_utils._active
    tfds.display_progress_bar(False)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        tfds.display_progress_bar(before)


def _plain(path: Path, **others: Any) -> dict[str, Any]:
    return {"image": _checked(path), **others}


def _segmented(path: Path, truth: Path | None) -> dict[str, Any]:
    labels = np.zeros((0, 0, 0), np.uint16) if truth is None else _labels(truth)
    return {"image": _checked(path), "segmentations": labels}


def _labels(path: Path) -> np.ndarray:
    try:
        cells = _load(path)["groundTruth"].ravel()
        return np.stack([np.asarray(cell["Segmentation"][0, 0], np.uint16) for cell in cells])
    except ImageError:
        raise
    except Exception as error:
        raise ImageError(
            f"{path}: expected BSDS500's cells groundTruth with a Segmentation each "
            f"({reason(error)}); unpack it again"
        ) from error


def _masked(path: Path, mask: Path, kind: str) -> dict[str, Any]:
    photograph, white = images.read(path), images.gray(images.read(mask))
    if photograph.shape[:2] != white.shape:
        raise ImageError(
            f"{mask}: the mask has shape {white.shape} and its photograph {photograph.shape[:2]}; "
            "both must have the same, so unpack them again"
        )
    return {"image": str(path), "mask": _png(white), "kind": kind}


def _recorded(recordings: Any, i: int) -> dict[str, Any]:
    one = recordings[i]
    return {
        "image": _png(one.sharp),
        "sharp": one.sharp,
        "blurred": one.blurred,
        "psf": one.psf,
    }


def _shaken(truth: Path, path: Path, number: int, kernel: int) -> dict[str, Any]:
    image = _frame(truth) if truth.suffix.lower() == ".mat" else _checked(truth)
    return {"image": image, "blurred": _checked(path), "number": number, "kernel": kernel}


def _frame(path: Path) -> bytes:
    """The middle one of the images in a .mat file, as PNG."""
    arrays = [v for k, v in _load(path).items() if not k.startswith("__")]
    # Cells hold one image each.
    arrays = [v.ravel()[v.size // 2] if v.dtype == object and v.size else v for v in arrays]
    arrays = [v for v in arrays if np.ndim(v) in (2, 3, 4) and v.dtype.kind in "uf" and v.size > 1]
    if not arrays:
        raise ImageError(f"{path}: no variable in it is an image; unpack it again")
    values = max(arrays, key=lambda v: v.size)
    if values.ndim == 4 or (values.ndim == 3 and values.shape[-1] != 3):
        values = values[..., values.shape[-1] // 2]
    if values.dtype.kind == "u":
        return _png(values / np.iinfo(values.dtype).max)
    return _png(values / (255 if values.max() > 2 else 1))


def _truth(path: Path) -> tuple[int, ...]:
    """Image, kernel and frame of a ground truth, as far as its path numbers them."""
    for i, part in enumerate(path.parts):
        if re.search(r"ground[_ -]?truth|latent|sharp|original", part.lower()):
            return tuple(int(n) for n in re.findall(r"\d+", "/".join(path.parts[i:])))
    return ()


def _blurred_by(path: Path, blurred: dict[int, Path], kernels: dict[int, Path]) -> dict[str, Any]:
    numbers = sorted(blurred)
    return {
        "image": _checked(path),
        "blurred": [_checked(blurred[n]) for n in numbers],
        "kernels": numbers,
        "psf": _stack([images.read_psf(kernels[n]) for n in numbers if n in kernels]),
    }


def _stack(kernels: list[np.ndarray]) -> np.ndarray:
    """Odd kernels, each in the middle of zeros."""
    side = max((len(k) for k in kernels), default=0)
    stack = np.zeros((len(kernels), side, side), np.float32)
    for whole, kernel in zip(stack, kernels, strict=True):
        start = (side - len(kernel)) // 2
        whole[start : start + len(kernel), start : start + len(kernel)] = kernel
    return stack


def _checked(path: Path) -> str:
    """The path of an image, which can be read."""
    images.read(path)
    return str(path)


def _png(image: np.ndarray) -> bytes:
    """Floats (H, W) or (H, W, 3), nominally in [0, 1], as a file of 8 bits."""
    from PIL import Image

    levels = np.rint(255 * np.clip(np.asarray(image, np.float64), 0, 1)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(levels).save(file, "PNG")
    return file.getvalue()


def _load(path: Path) -> dict[str, Any]:
    from scipy.io import loadmat

    try:
        found: dict[str, Any] = loadmat(path)
        return found
    except NotImplementedError as error:
        raise ImageError(
            f"{path}: saved by MATLAB as -v7.3, which is not read here; save it as -v7"
        ) from error
    except Exception as error:
        raise ImageError(
            f"{path}: damaged, or no .mat file ({reason(error)}); unpack it again"
        ) from error


def _numbered(
    builder: _FromFiles, root: Path, pattern: str, example: str
) -> list[tuple[tuple[int, ...], Path]]:
    """The images whose name has a number, in its order; of several of one number the first."""
    found: dict[tuple[int, ...], Path] = {}
    pictures = _pictures(root)
    for path in _visible(root):
        match = re.fullmatch(pattern, path.name.lower())
        if match and path in pictures:
            found.setdefault(tuple(int(n) for n in match.groups()), path)
    if not found:
        raise _nothing(builder, root, example)
    return sorted(found.items())


def _nothing(builder: _FromFiles, root: Path, example: str) -> ImageError:
    return ImageError(
        f"{root}: no file of {builder.name}, such as {example}, below this folder; unpack the data "
        "set into it (docs/datasets.md says which files)"
    )


def _pictures(root: Path) -> set[Path]:
    try:
        return set(images.paths(root))
    except ImageError:
        return set()


def _visible(root: Path) -> list[Path]:
    """All files below a folder that are not hidden, the nearest first."""
    found = [
        path
        for path in root.rglob("*")
        if path.is_file() and not any(p.startswith(".") for p in path.relative_to(root).parts)
    ]
    return sorted(found, key=lambda path: (len(path.parts), path))


def _fingerprint(root: Path) -> str:
    """Which files these are, by path and size."""
    listed = [[p.relative_to(root).as_posix(), p.stat().st_size] for p in _visible(root)]
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()

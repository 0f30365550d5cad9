"""Which data sets lie in a folder, for `python -m eval all`: docs/evaluation.md has the layouts."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from blurjax import data, images
from eval.blurred import shake

# Of each role the folders it may have, the best first; all that are there are used where several
# may be. A star stands for anything.
_PHOTOGRAPHS = (
    "photographs", "bsds500/images", "BSDS500/data/images", "urban100*", "div2k*", "DIV2K*",
    "imagenet*", "voc2007", "VOCdevkit/VOC2007/JPEGImages",
)  # fmt: skip
# Those that the shipped weights learned from, all but a tenth of each.
_LEARNED = ("bsds500", "urban100_half", "div2k_gray_crops", "imagenet_half")
_FIRST = ("cr1", "bsds500/images", "BSDS500/data/images")
_SECOND = ("cr2", "voc2007", "VOCdevkit/VOC2007/JPEGImages", "urban100*")
_TEXTURES = ("textures", "brodatz*", "Brodatz*", "dtd*")
_KERNELS = ("kernels", "lai2016/kernels")
_SEGMENTATIONS = ("segmentations", "bsds500/groundTruth", "BSDS500/data/groundTruth")
_MOTION_PAIRS = ("motion_pairs", "kohler*", "gopro_pairs")
# Photographs, masks, and what white means in the masks.
_DEFOCUS = (
    ("defocus/images", "defocus/masks_white_sharp", "sharp"),
    ("defocus/images", "defocus/masks_white_blurred", "blurred"),
    ("dbd_samples/xu100-source", "dbd_samples/xu100-gt", "sharp"),
    ("dbd_samples/dut500-source", "dbd_samples/dut500-gt", "sharp"),
)


# Sizes in pixels of the kernels that stand for given ones where there are none.
_SHAKES = (11, 17, 27, 41)


class Layout(NamedTuple):
    """What is there, role by role; empty or None where nothing is."""

    photographs: tuple[Path, ...] = ()
    """Sharp ones."""
    split: str = "all"
    """Which of them the shipped weights have not learned from."""
    first: Path | None = None
    """Those of CR1."""
    second: Path | None = None
    """Those of CR2."""
    textures: tuple[Path, ...] = ()
    texture_split: str = "all"
    text: tuple[Path, ...] = ()
    unseen: tuple[Path, ...] = ()
    """Sharp photographs of which region's weights have learned from none."""
    saturated: tuple[Path, ...] = ()
    kernels: tuple[Path, ...] = ()
    levin: Path | None = None
    segmentations: Path | None = None
    defocus: tuple[tuple[Path, Path], ...] = ()
    """Folders of photographs and of their masks."""
    white: str | None = None
    """What white means in the masks."""
    motion_pairs: Path | None = None
    lai: Path | None = None
    """The folder of Lai et al.'s sharp photographs and kernels."""


def find(root: Path, scratch: Path) -> Layout:
    """What lies in a folder.

    Args:
        root: the folder.
        scratch: where links may be put that make folders of some files of another.

    Raises:
        ImageError: there is no such folder, or nothing in it that any protocol can use.
    """
    if not root.is_dir():
        raise images.ImageError(f"{root}: no such folder; give --data DIR, or leave it out")
    photographs = _there(root, _PHOTOGRAPHS)
    lai = next(iter(_there(root, ("lai2016",))), None)
    sharp = lai / "sharp" if lai and (lai / "sharp").is_dir() else None
    text, saturated = (tuple(_there(root, (name,))) for name in ("text", "saturated"))
    if sharp:
        text = text or _some(sharp, "text_", scratch)
        saturated = saturated or _some(sharp, "saturated_", scratch)
    learned = any(part in _LEARNED for folder in photographs for part in folder.parts)
    textures = _there(root, _TEXTURES)
    pairs = [
        (root / seen, root / mask, white)
        for seen, mask, white in _DEFOCUS
        if (root / seen).is_dir() and (root / mask).is_dir()
    ]
    levin = next(iter(sorted(root.rglob("im05_flit01.mat"))), None)
    found = Layout(
        photographs=photographs,
        split="test" if learned else "all",
        first=next(iter(_there(root, _FIRST)), None),
        second=next(iter(_there(root, _SECOND)), None),
        textures=textures,
        texture_split="test" if any("dtd_subset" in t.parts for t in textures) else "all",
        text=text,
        unseen=(sharp,) if sharp else _there(root, ("photographs",)),
        saturated=saturated,
        kernels=_there(root, _KERNELS),
        levin=levin.parent if levin else None,
        segmentations=next(iter(_there(root, _SEGMENTATIONS)), None),
        defocus=tuple((seen, mask) for seen, mask, white in pairs if white == pairs[0][2]),
        white=pairs[0][2] if pairs else None,
        motion_pairs=next(iter(_there(root, _MOTION_PAIRS)), None),
        lai=lai if sharp and lai and (lai / "kernels").is_dir() else None,
    )
    if found == Layout():
        # Whatever images there are: sharp ones, one hopes.
        images.paths(root)
        return Layout(photographs=(root,), unseen=(root,))
    return found


def embedded(scratch: Path) -> Layout:
    """The photographs inside scikit-image, none of which the shipped weights have learned from, and
    four random camera shakes."""
    roles = {
        "photographs": ("astronaut", "camera", "coffee", "coins", "motorcycle_left", "rocket"),
        "first": ("astronaut", "camera", "coins"),
        "second": ("coffee", "motorcycle_left", "rocket"),
        "textures": ("brick", "grass", "gravel"),
        "text": ("page",),
        "soft": ("chelsea", "astronaut"),
    }
    source = data.embedded()
    sharp = {Path(name).stem: source[i] for i, name in enumerate(source.names)}
    folders = {}
    for role, names in roles.items():
        folders[role] = scratch / role
        folders[role].mkdir(parents=True, exist_ok=True)
        for name in names:
            file = folders[role] / f"{name}.png"
            if file.exists():
                continue
            if role == "soft":
                images.write(file, images.read(data.embedded_path(f"{name}.png")))
            else:
                images.write(file, np.asarray(sharp[name], np.float32))
    kernels = scratch / "kernels"
    kernels.mkdir(exist_ok=True)
    for size in _SHAKES:
        file = kernels / f"shake_{size}.npy"
        if not file.exists():
            images.write_psf(file, shake(jax.random.key(0), size).psf)
    return Layout(
        photographs=(folders["photographs"],),
        kernels=(kernels,),
        first=folders["first"],
        second=folders["second"],
        textures=(folders["textures"],),
        text=(folders["text"],),
        unseen=(folders["photographs"],),
    )


def _there(root: Path, names: Iterable[str]) -> tuple[Path, ...]:
    found = (folder for name in names for folder in sorted(root.glob(name)) if folder.is_dir())
    return tuple(dict.fromkeys(found))


def _some(folder: Path, prefix: str, scratch: Path) -> tuple[Path, ...]:
    """A folder of links to the files that begin so; nothing where none does."""
    files: Sequence[Path] = [p for p in images.paths(folder) if p.name.startswith(prefix)]
    if not files:
        return ()
    place = scratch / prefix.rstrip("_")
    place.mkdir(parents=True, exist_ok=True)
    for file in files:
        link = place / file.name
        if not os.path.lexists(link):
            link.symlink_to(file.resolve())
    return (place,)

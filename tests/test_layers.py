"""Who may import whom (docs/architecture.md), read from the source files themselves."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SYSTEMS = {"blur_type", "sigma_map", "sharpness", "kernel_size", "region"}
GROUND = {"_numerics", "_typing"}
PHYSICS = GROUND | {"psf"}
PERCEPTION = GROUND | {"features", "nn", "metrics", "weights", "images", "data"}
BELOW_SYSTEMS = PHYSICS | PERCEPTION | {"imaging"}

# Room -> the rooms it may import; a room may always import itself.
ALLOWED = {
    "_typing": set(),
    "_numerics": {"_typing"},
    "psf": GROUND,
    "imaging": PHYSICS,
    "deconvolution": PHYSICS | {"imaging", "features", "metrics"},
    "features": GROUND,
    "nn": GROUND,
    "metrics": GROUND,
    "weights": GROUND,
    "images": GROUND,
    "data": GROUND | {"images"},
    "checkpoint": GROUND,
    "_load": {"weights", "checkpoint"},
    **{system: BELOW_SYSTEMS | {"_load", "_fit_blind"} for system in SYSTEMS},
    # Its labels are kernels that were estimated.
    "region": BELOW_SYSTEMS | {"_load", "deconvolution"},
    "_analyze": BELOW_SYSTEMS | SYSTEMS | {"_programs"},
    "_deblur": BELOW_SYSTEMS | SYSTEMS | {"deconvolution", "_analyze", "_programs"},
    "_fit": PHYSICS | {"imaging"},
    "_fit_blind": PHYSICS | {"_fit"},
    "plots": BELOW_SYSTEMS | SYSTEMS | {"_analyze", "_deblur", "deconvolution"},
    "_html": set(),
    "_programs": set(),
    "_pages": {"_analyze", "_deblur", "_html"},
    "cli": BELOW_SYSTEMS | SYSTEMS | {"_analyze", "_deblur", "_pages", "deconvolution", "plots"},
    "__init__": None,
    "__main__": {"cli"},
}
# Heavy packages, and the only files that may name them at module level.
HEAVY = {
    "flax": {
        "blurjax/blur_type/_conv.py",
        "blurjax/kernel_size/_networks.py",
        "blurjax/nn/_conv.py",
        "blurjax/nn/resnet.py",
        "blurjax/sharpness/_networks.py",
        "blurjax/sigma_map/_networks.py",
    },
    "orbax": set(),
    "grain": set(),
    "tensorboardX": set(),
    "tensorflow_datasets": {"blurjax/data/_builders.py"},
    "matplotlib": set(),
    "skimage": set(),
    "tensorflow": set(),
    "torch": set(),
}


def files(package):
    return sorted((ROOT / package).rglob("*.py"))


def imports(path, *, top_level_only=False):
    """Dotted names a file imports; those under `if TYPE_CHECKING` do not count."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = set()
    for node in ast.walk(tree):
        typing_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if typing_only or (top_level_only and function):
            skipped.update(id(child) for child in ast.walk(node))
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the room"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(path):
    part = path.relative_to(ROOT / "blurjax").parts[0]
    return part.removesuffix(".py")


@pytest.mark.parametrize("path", files("blurjax"), ids=lambda p: str(p.relative_to(ROOT)))
def test_rooms_import_only_what_lies_below(path):
    allowed = ALLOWED[room(path)]
    for name in imports(path):
        top, *rest = name.split(".")
        assert top not in ("train", "eval", "tests"), f"{path} imports the application {top}"
        if top == "blurjax" and rest and allowed is not None:
            assert rest[0] == room(path) or rest[0] in allowed | {"__version__"}, (
                f"{path.relative_to(ROOT)} imports blurjax.{rest[0]}, which is not below it"
            )


@pytest.mark.parametrize("package", ["blurjax", "train", "eval"])
def test_heavy_packages_are_imported_inside_functions(package):
    for path in files(package):
        own = str(path.relative_to(ROOT))
        for name in imports(path, top_level_only=True):
            top = name.split(".")[0]
            assert top not in HEAVY or own in HEAVY[top], f"{own} imports {top} at module level"


def test_only_checkpoint_imports_orbax():
    for package in ("blurjax", "train", "eval"):
        for path in files(package):
            if any(name.split(".")[0] == "orbax" for name in imports(path)):
                assert path.name == "checkpoint.py", f"{path} imports orbax"


@pytest.mark.parametrize(("one", "other"), [("train", "eval"), ("eval", "train")])
def test_applications_do_not_import_each_other(one, other):
    for path in files(one):
        assert not any(name.split(".")[0] == other for name in imports(path)), path


def test_no_room_is_called_what_nobody_can_find_it_by():
    names = {path.stem.strip("_") for path in files("blurjax")}
    assert not names & {"utils", "util", "helpers", "misc", "common"}

"""Every public name means what it says, whatever is imported first."""

import json
import subprocess
import sys

import pytest

import blurjax

ROOMS = [
    "blur_type", "data", "deconvolution", "features", "images", "imaging", "kernel_size", "metrics",
    "nn", "psf", "region", "sharpness", "sigma_map", "weights",
]  # fmt: skip

# Others build on these: removing one breaks scripts outside this repository.
PROMISED = {
    "psf": {
        "gaussian", "motion", "defocus", "trajectory", "sample_trajectory", "support", "moments",
        "gaussian_transfer", "motion_transfer", "defocus_transfer",
    },
    "deconvolution": {
        "wiener", "richardson_lucy", "total_variation", "hyper_laplacian", "estimate_kernel",
    },
    "metrics": {
        "psnr", "ssim", "kernel_similarity", "error_ratio", "f_measure", "precision_recall",
    },
    "imaging": {"blur", "blur_adjoint", "blur_varying", "add_noise", "quantise", "random_blur"},
    "blur_type": {
        "LABELS", "Config", "init", "apply", "loss", "sample", "predict", "estimate", "load",
    },
    "sigma_map": {"Config", "init", "apply", "loss", "sample", "predict", "estimate", "load"},
    "sharpness": {"Config", "init", "apply", "loss", "sample", "predict", "estimate", "load"},
    "kernel_size": {"Config", "init", "apply", "loss", "sample", "predict", "estimate", "load"},
    "region": {"Config", "init", "apply", "loss", "sample", "predict", "estimate", "load"},
    "data": {"embedded", "folder", "split", "dead_leaves"},
}  # fmt: skip

READ_TWICE = """
import importlib, json, random, sys
seed, rooms = int(sys.argv[1]), json.loads(sys.argv[2])
import blurjax
names = [(blurjax, n) for n in blurjax.__all__]
for room in rooms:
    module = importlib.import_module(f"blurjax.{room}")
    names += [(module, n) for n in module.__all__]
seen = {}
for turn in range(2):
    random.Random(seed + turn).shuffle(names)
    for module, name in names:
        value = getattr(module, name)
        first = seen.setdefault((module.__name__, name), value)
        assert first is value, f"{module.__name__}.{name} changed its meaning"
print(json.dumps({f"{m}.{n}": type(v).__name__ for (m, n), v in seen.items()}))
"""


@pytest.mark.parametrize("seed", [0, 1])
def test_every_name_is_the_same_twice_in_any_order(seed):
    done = subprocess.run(
        [sys.executable, "-c", READ_TWICE, str(seed), json.dumps(ROOMS)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    kinds = json.loads(done.stdout)
    for room, names in PROMISED.items():
        for name in names:
            assert f"blurjax.{room}.{name}" in kinds
            assert kinds[f"blurjax.{room}.{name}"] != "module", f"{room}.{name} is a module"
    for name in ("analyze", "deblur", "fit"):
        assert kinds[f"blurjax.{name}"] == "function"


def test_unknown_names_say_what_there_is():
    with pytest.raises(AttributeError, match=r"no attribute .sharpen.; public: .*psf"):
        blurjax.sharpen  # noqa: B018
    assert set(ROOMS) <= set(dir(blurjax))


LIGHT = """
import sys
import blurjax
{statement}
heavy = ["flax", "orbax", "tensorflow_datasets", "matplotlib", "skimage", "optax", "chex", "tyro",
         "rich", "PIL", "tifffile"]
print([name for name in heavy if name in sys.modules])
"""


@pytest.mark.parametrize(
    ("statement", "allowed"),
    [
        ("", []),
        ("blurjax.psf.gaussian", []),
        ("blurjax.imaging.blur", []),
        ("blurjax.data.embedded; blurjax.images.read", ["PIL"]),
        ("blurjax.blur_type.estimate", ["PIL"]),
        ("import blurjax.cli", ["tyro", "rich"]),
    ],
)
def test_importing_stays_cheap(statement, allowed):
    done = subprocess.run(
        [sys.executable, "-c", LIGHT.format(statement=statement)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(eval(done.stdout)) <= set(allowed)

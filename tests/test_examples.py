"""The examples and the benchmarks that show what the library does run, and say what is true."""

import importlib.util
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted(p.stem for p in (ROOT / "examples").glob("*.py"))


def load(name, folder="examples"):
    """The script as a module, without running it."""
    spec = importlib.util.spec_from_file_location(name, ROOT / folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    # A dataclass looks its own module up.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[name]
    return module


def assert_is_picture(path, *, width):
    from PIL import Image

    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert picture.size[0] >= width
        # Something was drawn.
        assert np.asarray(picture.convert("L")).std() > 10


def test_the_examples_are_those_documented():
    assert EXAMPLES == [
        "blur_tour",
        "custom_family",
        "deblur",
        "defocus_map",
        "demo",
        "kernel_size",
        "motion_descent",
        "region",
        "sharpness",
        "varying_ramp",
        "where_they_fail",
    ]


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_explains_itself(name, capsys):
    import tyro

    module = load(name)
    assert f"python examples/{name}.py" in module.__doc__
    with pytest.raises(SystemExit) as stopped:
        tyro.cli(module.main, args=["--help"])
    assert stopped.value.code == 0
    assert "--out" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.usefixtures("float32")
def test_the_clock_is_made_sharp(tmp_path, capsys):
    found = load("deblur").main(tmp_path)
    assert found.status == "ok" and found.path in capsys.readouterr().out
    # It moved along the columns, by 36 px or so.
    places = np.nonzero(found.kernel > 0.1 * found.kernel.max())
    height, width = (np.ptp(axis) + 1 for axis in places)
    assert 30 <= width <= 42 and height <= 10
    assert_is_picture(tmp_path / "deblur.png", width=1000)


@pytest.mark.slow
@pytest.mark.usefixtures("float32")
def test_the_background_is_seen_to_be_out_of_focus(tmp_path):
    answers = load("defocus_map").main(tmp_path)
    cat = answers["chelsea"]
    face, behind = cat.sigma[100:200, 120:260], cat.sigma[120:250, 400:]
    assert np.median(behind) > 3 * np.median(face)
    for name in ("astronaut", "chelsea"):
        for what in ("measured", "filled_in"):
            assert_is_picture(tmp_path / f"{name}_{what}.png", width=600)


@pytest.mark.slow
@pytest.mark.usefixtures("float32")
def test_the_face_is_sharp_and_what_is_behind_it_is_not(tmp_path, capsys):
    module = load("sharpness")
    answers = module.main(tmp_path)
    assert tuple(answers) == module.METHODS
    said = capsys.readouterr().out
    for method, found in answers.items():
        face, behind = found.mask[100:200, 120:260], found.mask[120:250, 400:]
        assert face.mean() > 0.9 and behind.mean() < 0.1, method
        assert f"{found.sharp_fraction:.0%} of the pixels are sharp" in said
        assert_is_picture(tmp_path / f"chelsea_{method}.png", width=600)


@pytest.mark.slow
@pytest.mark.usefixtures("float32")
def test_the_sizes_of_known_shakes_are_found(tmp_path, capsys):
    module = load("kernel_size")
    cases = module.main(tmp_path)
    said = capsys.readouterr().out
    assert [max(case.truth) for case in cases] == [extent for _, extent in module.SHAKES]
    errors, held = [], []
    for case in cases:
        assert case.answer.status == "ok"
        found = (case.answer.width, case.answer.height)
        for true, size, side in zip(case.truth, found, ("width", "height"), strict=True):
            low, high = case.answer.interval[side]
            errors.append(abs(size - true))
            # A kernel has whole pixels.
            held.append(low - 0.5 <= true <= high + 0.5)
            assert f"{size:.1f} ({low:.0f}-{high:.0f})" in said
    # By guessing the middle, 48, the median error is about 25.
    assert np.median(errors) < 4 and sum(held) >= 5
    assert_is_picture(tmp_path / "kernel_size.png", width=1000)


@pytest.mark.slow
@pytest.mark.usefixtures("float32")
def test_the_best_windows_agree_on_a_known_shake(tmp_path, capsys):
    module = load("region")
    found = module.main(tmp_path)
    said = capsys.readouterr().out
    answer, scored = found.answer, found.scored
    assert answer.status == scored.status == "ok"
    assert len(answer.boxes) == len(answer.kernels) == 4
    # Of the windows shown the best is among those that are looked into, or next to it.
    assert answer.scores[0] >= scored.score_map.max() > scored.score_map.min()
    alike = [found.similarities[str(i + 1)] for i in range(4)]
    together = found.similarities[module.TOGETHER]
    # Unrelated kernels have 0.35.
    assert together > 0.6 and together > np.median(alike) - 0.05
    for value in (*alike, together):
        assert f": {value:.2f}\n" in said
    assert f"{scored.score_map.size} windows" in said and "region.png" in said
    assert_is_picture(tmp_path / "region.png", width=1000)


@pytest.mark.slow
@pytest.mark.usefixtures("float32")
def test_what_is_said_to_fail_does(tmp_path, capsys):
    found = load("where_they_fail").main(tmp_path)
    said = capsys.readouterr().out
    assert list(found) == ["blur_type", "sigma_map", "sharpness", "kernel_size", "region"]
    for system, cases in found.items():
        assert len(cases) == 3
        for case in cases:
            assert f"{case.condition}: true {case.truth}; answered {case.answer}" in said
        assert_is_picture(tmp_path / f"where_{system}_fails.png", width=900)
    labels = [int(np.argmax(case.probabilities)) for case in found["blur_type"]]
    assert labels == [0, 1, 0]  # neither of two blurs, no straight motion, and no Gaussian
    medians = [np.nanmedian(case.map) for case in found["sigma_map"]]
    assert np.all(np.array(medians) < (1.0, 2.5, 0.5))
    moved, enlarged, noisy = (np.mean(case.map > 0.5) for case in found["sharpness"])
    assert moved > 0.2 and enlarged < 0.5 and noisy > 0.9
    for case in found["kernel_size"]:
        off = np.subtract(case.sizes["answered"], case.sizes["true"])
        assert np.abs(off).max() > 4


@pytest.mark.slow
@pytest.mark.usefixtures("float32")
def test_descending_the_gradient_finds_the_motion(tmp_path, capsys):
    module = load("motion_descent")
    found = module.main(tmp_path)
    length, angle = (float(value) for value in module.TRUTH)
    assert abs(found["length"] - length) < 0.1
    assert abs(math.degrees(found["angle"] - angle)) < 0.5
    # Noise of 0.005 and the rounding to 8 bits are all that is left.
    assert found["loss"] == pytest.approx(0.005**2 + 1 / 255**2 / 12, rel=0.05)
    said = capsys.readouterr().out
    assert f"{found['length']:.3f} px" in said and "motion_descent.png" in said
    assert_is_picture(tmp_path / "motion_descent.png", width=1000)


@pytest.mark.slow
@pytest.mark.usefixtures("float32")
def test_the_tour_visits_every_psf(tmp_path, capsys):
    from blurjax import psf

    found = load("blur_tour").main(tmp_path)
    kernels = ("gaussian", "motion", "defocus", "polygon", "moffat", "airy", "trajectory")
    for name in kernels:
        assert hasattr(psf, name)
        assert any(title.startswith(name) for title in found), f"{name} is not on the tour"
    assert found["no blur"] == (math.inf, math.inf)
    # exp(-2 pi^2 sigma^2 f^2) = 1/2, with the pixel's variance added to sigma^2.
    expected = math.sqrt(math.log(2) / 2) / math.pi / math.sqrt(4 + 1 / 12)
    assert found["gaussian sigma 2 px"] == pytest.approx((expected, expected), rel=2e-3)
    across, down = found["motion length 14 px, 30°"]
    assert across < down  # it moves more along the columns than along the rows
    assert f"{down:.3f}" in capsys.readouterr().out
    assert_is_picture(tmp_path / "blur_tour.png", width=1000)


@pytest.mark.slow
@pytest.mark.usefixtures("float32")
def test_the_bank_comes_near_the_exact_blur(tmp_path, capsys):
    results = load("varying_ramp").main(tmp_path)
    assert list(results) == ["ramp", "sine"]
    said = capsys.readouterr().out
    for found in results.values():
        assert float(found.sigma.max()) == pytest.approx(3.0, abs=0.01)
        assert 0 < found.rms_error < 0.001
        assert found.rms_error < found.largest_error < 0.01
        assert found.exact_seconds > 0 and found.bank_seconds > 0
        assert f"{found.largest_error:.4f}" in said
    # The left end of the ramp is nearly sharp, the right end is not.
    ramp = np.asarray(results["ramp"].exact)
    left, right = (np.abs(np.diff(part)).mean() for part in (ramp[:, :60], ramp[:, -60:]))
    assert left > 2 * right
    assert_is_picture(tmp_path / "varying_ramp.png", width=1000)


@pytest.mark.slow
@pytest.mark.usefixtures("float32")
def test_a_family_of_ones_own_is_fitted(tmp_path, capsys):
    module = load("custom_family")
    found = module.main(tmp_path)
    ring, disc = found["ring"], found["disc"]
    for name, truth in module.TRUTH.items():
        error = float(ring.standard_errors[name])
        assert 0 < error < 0.01
        assert abs(float(ring.parameters[name]) - truth) < 5 * error
    assert module.steps(ring) == pytest.approx(math.sqrt(1 / 12), rel=0.1)
    assert module.steps(disc) > 3 * module.steps(ring)
    said = capsys.readouterr().out
    for name, value in ring.parameters.items():
        assert f"{name}: {float(value):.4f} ± {float(ring.standard_errors[name]):.4f}" in said
    assert_is_picture(tmp_path / "custom_family.png", width=1000)


def test_the_ring_is_a_kernel():
    import jax.numpy as jnp

    ring = load("custom_family").ring
    kernels = np.asarray(ring(jnp.array([3.0, 7.3]), jnp.array([0.5, 0.45]), size=21))
    assert kernels.shape == (2, 21, 21) and kernels.min() > -1e-12
    np.testing.assert_allclose(kernels.sum((-2, -1)), 1, atol=1e-12)
    assert kernels[1, 10, 10] == pytest.approx(0, abs=1e-12)  # the hidden middle


@pytest.mark.slow
def test_the_benchmark_runs(tmp_path):
    # A process of its own, without the devices that conftest simulates: as users run.
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    script = ROOT / "benchmarks" / "forward.py"
    done = subprocess.run(
        [sys.executable, script, "--quick", "--out", tmp_path],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "forward.json").read_text(encoding="utf-8"))
    assert report["quick"] and report["cores"] >= 1 and report["versions"]["jax"]
    timed = [row for row in report["rows"] if row["milliseconds"]]
    assert {row["panel"][0] for row in timed} == set("abcd")
    assert {"blurjax", "NumPy", "SciPy"} <= {row["library"] for row in timed}
    assert not any("DISAGREES" in row["note"] for row in report["rows"])
    said = (tmp_path / "forward.md").read_text(encoding="utf-8")
    for name in ("cv2", "torch", "kornia", "deepinv"):
        assert name in said  # its version, or why it is missing
    assert "blurjax / best peer" in said
    assert_is_picture(tmp_path / "forward.png", width=1000)


def test_a_contender_that_disagrees_is_not_timed():
    forward = load("forward", "benchmarks")
    right, wrong = np.ones((9, 9)), np.full((9, 9), 1.1)
    contenders = [
        forward.Contender("blurjax", lambda: right),
        forward.Contender("same", lambda: right.copy()),
        forward.Contender("other", lambda: wrong),
        forward.Contender("broken", lambda: 1 / 0),
    ]
    contest = forward.Contest("p", "k = 3", 3, contenders, forward.same(1e-4, 1))
    rows = {row.library: row for row in forward.race(contest, 1, [])}
    assert rows["blurjax"].milliseconds and rows["same"].milliseconds
    assert rows["other"].milliseconds is None and "DISAGREES" in rows["other"].note
    assert rows["broken"].milliseconds is None and "ZeroDivisionError" in rows["broken"].note

"""The command line: what it prints where, what it writes, and how it ends."""

import json
import math
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import tifffile
from PIL import Image

import blurjax
from blurjax import blur_type, cli, data, images, imaging, psf, weights

RNG = np.random.default_rng(7)
TEXTURE = RNG.integers(0, 256, (128, 160, 3)).astype(np.uint8)


@pytest.fixture
def analyze(stand_in, sigma_stand_in, sharpness_stand_in, kernel_size_stand_in, capsys):
    """Runs `blurjax analyze` with those weights: exit status, stdout, stderr."""

    def run(*arguments):
        others = (
            f"sigma_map={sigma_stand_in}",
            f"sharpness={sharpness_stand_in}",
            f"kernel_size={kernel_size_stand_in}",
        )
        chosen = [part for one in (str(stand_in), *others) for part in ("--weights", one)]
        status = cli.main(["analyze", *chosen, *map(str, arguments)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def picture(path, pixels=TEXTURE, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(path, **options)
    return path


def one_sentence(text):
    """Exactly one line, from blurjax, and no traceback."""
    lines = text.strip().splitlines()
    return len(lines) == 1 and lines[0].startswith("blurjax: ")


# ---- help and usage


def test_without_arguments_it_helps(capsys):
    assert cli.main([]) == 0
    shown = capsys.readouterr().out
    assert "analyze" in shown and "blur" in shown


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"blurjax {blurjax.__version__}\n"


@pytest.mark.parametrize(
    "arguments", [["no-such"], ["analyze"], ["analyze", "--no-such"], ["blur", "a.png"]]
)
def test_a_wrong_command_ends_with_2(capsys, arguments):
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err != ""


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from blurjax import cli; status = cli.main(['--help']); "
        "heavy = {'matplotlib', 'flax', 'orbax', 'skimage', 'tensorflow'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_as_a_module_in_a_process_of_its_own(tmp_path):
    missing = tmp_path / "missing.png"
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "blurjax.cli",
            "blur",
            missing,
            "--psf",
            "defocus:2",
            "--out",
            "o.png",
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 1 and done.stdout == ""
    assert f"blurjax: {missing}: no such file" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_console_script_is_this_main():
    script = shutil.which("blurjax", path=os.path.dirname(sys.executable))
    assert script, "install the package: pip install -e ."
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("blurjax ")


# ---- analyze: answers


FORMATS = {
    "rgb.png": TEXTURE,
    "gray.jpg": TEXTURE[..., 0],
    "rgb.tif": TEXTURE,
    "deep_gray.png": TEXTURE[..., 0].astype(np.uint16) * 257,
    "rgba.png": np.concatenate([TEXTURE, np.full((128, 160, 1), 200, np.uint8)], axis=-1),
    "palette.png": Image.fromarray(TEXTURE).quantize(32),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_kind_of_file_gets_an_answer(tmp_path, analyze, name):
    file = picture(tmp_path / name, FORMATS[name])
    status, out, err = analyze(file, "--json")
    assert (status, err) == (0, "")
    (entry,) = json.loads(out)
    assert entry["path"] == str(file)
    assert (entry["width"], entry["height"]) == (160, 128)
    row = entry["blur_type"]
    assert row["status"] == "ok" and row["label"] in blur_type.LABELS
    assert list(row["probabilities"]) == list(blur_type.LABELS)
    assert math.isclose(sum(row["probabilities"].values()), 1)
    assert sum(row["votes"].values()) == row["patches"] > 0
    for parameter in row["parameters"].values():
        assert parameter["unit"] in ("pixel", "radian") and parameter["spread"] >= 0
    assert entry["sigma_map"]["status"] == "ok" and entry["sigma_map"]["unit"] == "pixel"
    assert math.isclose(entry["sigma_map"]["sigma_median"], 1.5, abs_tol=0.01)
    assert entry["sharpness"] == {"status": "ok", "sharp_fraction": 0.5}
    assert entry["kernel_size"]["status"] == "ok" and entry["kernel_size"]["size"] == 15
    assert entry["kernel_size"]["width"]["value"] == pytest.approx(13.4)


def test_text_names_file_type_parameters_and_patches(tmp_path, analyze):
    file = picture(tmp_path / "a.png")
    status, out, err = analyze(file)
    assert (status, err) == (0, "")
    answer, parameters, sigma, sharp, kernel = out.splitlines()
    assert answer.startswith(f"{file}: ")
    label, probability = answer.removeprefix(f"{file}: ").split(", ")
    assert label in blur_type.LABELS
    assert "%" in probability and "patches" in probability
    assert "±" in parameters and "px" in parameters
    assert sigma == (
        "  sigma map: 0.6 to 2.4 px (median 1.5, 5 to 95 %), known in > 99 % of the pixels"
    )
    assert sharp == "  sharpness: 50 % of the pixels are sharp"
    assert kernel == "  motion kernel: 13.4 x 8.1 px (width x height; 80 % within 12-15 x 7-10)"


def test_a_folder_means_every_image_in_it(tmp_path, analyze):
    files = [picture(tmp_path / name) for name in ("a.png", "sub/b.tif", "z.png")]
    (tmp_path / "notes.txt").write_text("not an image")
    status, out, _ = analyze(tmp_path, "--json")
    assert status == 0
    assert [entry["path"] for entry in json.loads(out)] == [str(file) for file in files]


def test_too_little_texture_is_an_answer(tmp_path, analyze):
    file = picture(tmp_path / "flat.png", np.full((130, 130), 128, np.uint8))
    status, out, err = analyze(file)
    assert (status, err) == (0, "")
    assert out.startswith(f"{file}: blur type unknown\n") and out.count("too little texture") == 4


def test_an_image_too_small_for_one_system_is_answered_by_the_others(tmp_path, analyze):
    file = picture(tmp_path / "small.png", TEXTURE[:40, :50])
    status, out, err = analyze(file)
    assert (status, err) == (0, "")
    first, reason, sigma, sharp, kernel = out.splitlines()
    assert first == f"{file}: blur type unknown"
    assert "40x50 pixels; blur_type needs at least 64x64" in reason
    assert "known in" in sigma and "of the pixels are sharp" in sharp
    assert "40x50 pixels; kernel_size needs at least 128x128" in kernel


def test_sixteen_bit_colour_is_read(tmp_path, analyze):
    file = tmp_path / "deep.tif"
    tifffile.imwrite(file, TEXTURE.astype(np.uint16) * 257, photometric="rgb")
    status, _, err = analyze(file)
    assert (status, err) == (0, "")


def test_a_warning_of_the_reader_is_a_line_and_no_error(tmp_path, analyze, monkeypatch):
    def warning_reader(path, *, linear=False):
        warnings.warn(f"{path}: read with 8 bits", stacklevel=2)
        return TEXTURE / np.float32(255)

    monkeypatch.setattr(images, "read", warning_reader)
    status, out, err = analyze(picture(tmp_path / "a.png"))
    assert status == 0 and out != ""
    assert one_sentence(err) and "read with 8 bits" in err


def test_shipped_weights_recognise_uniform_motion_blur(
    tmp_path, capsys, sigma_stand_in, sharpness_stand_in, kernel_size_stand_in
):
    """With the shipped weights: a real photograph, blurred by a motion of known length."""
    photograph, file = data.embedded_path("coffee.png"), tmp_path / "moved.png"
    assert cli.main(["blur", str(photograph), "--psf", "motion:9,30deg", "--out", str(file)]) == 0
    capsys.readouterr()
    others = (
        f"sigma_map={sigma_stand_in}",
        f"sharpness={sharpness_stand_in}",
        f"kernel_size={kernel_size_stand_in}",
    )
    chosen = [part for one in others for part in ("--weights", one)]
    assert cli.main(["analyze", str(file), "--json", *chosen]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["blur_type"]["status"] == "ok"
    assert entry["blur_type"]["label"] == "motion"


# ---- analyze: what cannot be read


def broken(folder, kind):
    """A file (or path) of a kind that has no answer, and a word of its complaint."""
    path = folder / f"{kind}.png"
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("no image at all")
    elif kind == "cut":
        whole = picture(folder / "whole.bmp", TEXTURE)
        path.write_bytes(whole.read_bytes()[:2000])
        whole.unlink()
    elif kind == "tiny":
        picture(path, TEXTURE[:20, :20])
    elif kind == "nan":
        path = folder / "nan.tif"
        tifffile.imwrite(path, np.full((80, 80), np.nan, np.float32))
    elif kind == "hollow":
        path = folder / "hollow"
        path.mkdir()
    return path


BROKEN = {
    "empty": "empty",
    "text": "not an image",
    "cut": "damaged",
    "tiny": "20x20 pixels",
    "nan": "NaN or infinite",
    "missing": "no such file",
    "hollow": "no image below this folder",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_one_sentence_for_what_cannot_be_read(tmp_path, analyze, kind):
    file = broken(tmp_path, kind)
    status, out, err = analyze(file)
    assert status == 1 and out == ""
    assert one_sentence(err), err
    assert err.startswith(f"blurjax: {file}: ") and BROKEN[kind] in err


def test_the_others_are_still_analysed_and_keep_their_order(tmp_path, analyze):
    good = [picture(tmp_path / "good" / name) for name in ("a.png", "b.png")]
    bad = [broken(tmp_path, kind) for kind in BROKEN]
    out_dir = tmp_path / "out"
    status, out, err = analyze(good[0], *bad, good[1], "--json", "--out", out_dir)
    assert status == 1
    assert len(err.splitlines()) == len(bad) and "Traceback" not in err
    entries = json.loads(out)
    assert [e["path"] for e in entries] == [str(p) for p in (good[0], *bad, good[1])]
    assert entries == json.loads((out_dir / "report.json").read_text())
    for entry, kind in zip(entries[1:-1], BROKEN, strict=True):
        if kind == "tiny":
            for system in ("blur_type", "sigma_map", "sharpness", "kernel_size"):
                assert BROKEN[kind] in entry[system]["status"]
        else:
            assert BROKEN[kind] in entry["error"] and "blur_type" not in entry
    assert all(entry["blur_type"]["status"] == "ok" for entry in (entries[0], entries[-1]))


@pytest.mark.parametrize("kind", ["missing", "text"])
def test_weights_that_cannot_be_read(tmp_path, capsys, kind):
    file = tmp_path / "w.npz"
    if kind == "text":
        file.write_text("no weights")
    assert cli.main(["analyze", str(picture(tmp_path / "a.png")), "--weights", str(file)]) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and one_sentence(captured.err) and str(file) in captured.err


def test_weights_are_named_by_their_system(
    tmp_path, capsys, stand_in, sigma_stand_in, sharpness_stand_in, kernel_size_stand_in
):
    every = {
        "blur_type": stand_in,
        "sigma_map": sigma_stand_in,
        "sharpness": sharpness_stand_in,
        "kernel_size": kernel_size_stand_in,
    }
    chosen = [part for pair in every.items() for part in ("--weights", "=".join(map(str, pair)))]
    file = str(picture(tmp_path / "a.png"))
    # What follows a file of weights is an image, not another one.
    assert cli.main(["analyze", *chosen, file]) == 0
    capsys.readouterr()
    assert cli.main(["analyze", file, *chosen, "--weights", str(stand_in)]) == 2
    assert "two files for blur_type" in capsys.readouterr().err
    # The map's weights cannot be the type's, nor can a name that is no system's; sharpness is
    # judged by its network.
    metric = weights.path("sharpness_metric")
    for wrong in (
        f"blur_type={sigma_stand_in}", f"sigma={sigma_stand_in}", f"sharpness={metric}"
    ):  # fmt: skip
        assert cli.main(["analyze", file, "--weights", wrong]) == 1
        captured = capsys.readouterr()
        assert captured.out == "" and one_sentence(captured.err)


def test_an_interrupt_ends_with_130_and_one_line(tmp_path, analyze, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(images, "read", interrupted)
    status, out, err = analyze(picture(tmp_path / "a.png"))
    assert (status, out) == (130, "") and one_sentence(err)


# ---- analyze --out


def test_out_holds_pictures_and_a_report(tmp_path, analyze):
    files = [picture(tmp_path / "in" / name) for name in ("a.png", "b.jpg")]
    out_dir = tmp_path / "new" / "out"
    status, out, err = analyze(*files, "--out", out_dir)
    assert (status, err) == (0, "")
    assert f"2 pictures, 2 sigma maps, 2 sharpness maps and report.json in {out_dir}" in out
    assert sorted(p.name for p in out_dir.iterdir()) == [
        *("a.png", "a_sharpness.png", "a_sigma.npy", "a_sigma.png"),
        *("b.png", "b_sharpness.png", "b_sigma.npy", "b_sigma.png"),
        "report.json",
    ]
    report = json.loads((out_dir / "report.json").read_text())
    assert [entry["picture"] for entry in report] == ["a.png", "b.png"]
    with Image.open(out_dir / "a.png") as drawn:
        assert drawn.width > 800
    row = report[0]["sigma_map"]
    assert row["array"] == {"file": "a_sigma.npy", "unit": "pixel", "unknown": "NaN"}
    assert row["picture"] == {"file": "a_sigma.png", "unit": "pixel / 1000", "unknown": 0}
    assert report[0]["sharpness"]["picture"] == {"file": "a_sharpness.png", "unit": "1 / 255"}
    with Image.open(out_dir / "a_sharpness.png") as plane:
        assert plane.mode == "L"
        expected = np.tile(np.linspace(0, 255, 160), (128, 1))
        np.testing.assert_allclose(np.asarray(plane), expected, atol=0.51)


def test_sigma_maps_are_written_with_what_is_unknown(tmp_path, analyze):
    half = TEXTURE.copy()
    half[:, 64:] = 128
    out_dir = tmp_path / "out"
    file = picture(tmp_path / "half.png", half)
    flat = picture(tmp_path / "flat.png", np.full((90, 90), 128, np.uint8))
    status, out, _ = analyze(file, flat, "--out", out_dir)
    assert status == 0 and "2 pictures, 1 sigma map, 1 sharpness map and report.json" in out
    sigma = np.load(out_dir / "half_sigma.npy")
    assert sigma.dtype == np.float32 and sigma.shape == (128, 160)
    known = np.isfinite(sigma)
    assert known[:, :60].all() and not known[:, 80:].any()
    with Image.open(out_dir / "half_sigma.png") as plane:
        assert plane.mode.startswith("I")
        levels = np.asarray(plane)
    np.testing.assert_array_equal(levels > 0, known)
    np.testing.assert_allclose(levels[known] / 1000, sigma[known], atol=0.00051)
    np.testing.assert_allclose(
        known.mean(), json.loads((out_dir / "report.json").read_text())[0]["sigma_map"]["coverage"]
    )
    # Of a flat image nothing is known, and nothing written.
    assert sorted(path.name for path in out_dir.glob("flat*")) == ["flat.png"]


def test_equal_stems_do_not_overwrite_one_another(tmp_path, analyze):
    names = ("one/a.png", "two/a.jpg", "two/A.tif", "a-2.png", "a_sigma.png")
    files = [picture(tmp_path / name) for name in names]
    out_dir = tmp_path / "out"
    analyze(*files, "--out", out_dir)
    report = json.loads((out_dir / "report.json").read_text())
    written = [entry["picture"] for entry in report]
    for form in ("array", "picture"):
        written += [entry["sigma_map"][form]["file"] for entry in report]
    written += [entry["sharpness"]["picture"]["file"] for entry in report]
    assert len({name.casefold() for name in written}) == 20
    assert {p.name for p in out_dir.iterdir()} == {*written, "report.json"}


def test_an_input_is_never_overwritten(tmp_path, analyze):
    files = [picture(tmp_path / name) for name in ("a.png", "b.jpg", "b_sigma.png")]
    before = [file.read_bytes() for file in files]
    assert analyze(*files, "--out", tmp_path)[0] == 0
    assert [file.read_bytes() for file in files] == before
    assert (tmp_path / "a-2.png").exists() and (tmp_path / "b-2_sigma.png").exists()


def test_a_map_that_cannot_be_written_ends_with_one_line(tmp_path, analyze, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    out_dir = tmp_path / "out"
    status, _, err = analyze(picture(tmp_path / "a.png"), "--out", out_dir)
    assert status == 1 and one_sentence(err) and "No space left" in err
    assert [p.name for p in out_dir.iterdir()] == ["a.png"]


def test_an_unwritable_folder_is_found_before_the_work(tmp_path, analyze, monkeypatch):
    file = picture(tmp_path / "a.png")
    monkeypatch.setattr(images, "read", lambda *_, **__: pytest.fail("work was begun"))
    for folder in (file, file / "below"):
        status, out, err = analyze(file, "--out", folder)
        assert (status, out) == (1, "")
        assert one_sentence(err) and "cannot write there" in err


# ---- blur


BLURS = {
    "gaussian": ("gaussian:1.5", lambda: psf.gaussian(1.5, size=13)),
    "motion": ("motion:9,-30deg", lambda: psf.motion(9.0, math.radians(-30), size=11)),
    "defocus": ("defocus:3.2", lambda: psf.defocus(3.2, size=7)),
}


def blur(*arguments):
    return cli.main(["blur", *map(str, arguments)])


@pytest.mark.parametrize("linear", [False, True], ids=["stored", "linear"])
@pytest.mark.parametrize("colour", [False, True], ids=["gray", "rgb"])
@pytest.mark.parametrize("family", BLURS)
def test_blur_agrees_with_imaging_blur(tmp_path, capsys, family, colour, linear):
    spelt, kernel = BLURS[family]
    file = picture(tmp_path / "a.png", TEXTURE if colour else TEXTURE[..., 0])
    out = tmp_path / "out.png"
    flags = ["--linear"] if linear else []
    assert blur(file, "--psf", spelt, *flags, "--out", out) == 0
    said = capsys.readouterr().out
    assert str(out) in said and family in said and "8 bits" in said

    values = jnp.asarray(images.read(file, linear=linear))
    expected = imaging.blur(values, kernel(), channel_axis=-1 if colour else None)
    expected = imaging.encode(expected) if linear else expected
    # Half a level of the 8-bit file, and the tails that the sizes leave out.
    np.testing.assert_allclose(images.read(out), np.clip(expected, 0, 1), atol=0.5 / 255 + 2e-4)


@pytest.mark.parametrize("extension", ["png", "npy", "mat"])
def test_blur_takes_a_kernel_from_a_file(tmp_path, capsys, extension):
    kernel = RNG.uniform(size=(5, 5)) / 12.5
    kernel /= kernel.sum()
    file, out = picture(tmp_path / "a.png"), tmp_path / "out.png"
    images.write_psf(tmp_path / f"kernel.{extension}", kernel)
    assert blur(file, "--psf", tmp_path / f"kernel.{extension}", "--out", out) == 0
    said = capsys.readouterr().out
    assert f"the kernel in kernel.{extension} (5 x 5 kernel" in said
    expected = imaging.blur(images.read(file), jnp.asarray(kernel), channel_axis=-1)
    np.testing.assert_allclose(images.read(out), expected, atol=0.5 / 255 + 1e-4)


@pytest.mark.parametrize("spelt", ["motion:9,-30", "motion: 9, -30 deg", "motion:9.0,330"])
def test_spellings_of_one_blur(spelt):
    label, parameters = cli._parse_psf(spelt)
    assert label == "motion" and parameters["length"] == 9
    assert math.remainder(parameters["angle"] + math.radians(30), math.tau) == pytest.approx(0)


def test_a_file_may_be_called_like_a_blur(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("gaussian", "gaussian:2", "odd:name.npy"):
        images.write_psf(f"{name}.npy", np.ones((3, 3)) / 9)
        os.rename(f"{name}.npy", name)
    assert cli._parse_psf("gaussian") == Path("gaussian")
    assert cli._parse_psf("gaussian:2") == ("gaussian", {"sigma": 2.0})
    assert cli._parse_psf("./gaussian:2") == Path("gaussian:2")
    assert cli._parse_psf("odd:name.npy") == Path("odd:name.npy")


def test_blur_adds_the_noise_it_was_asked_for(tmp_path):
    file = picture(tmp_path / "a.png", np.full((96, 128, 3), 128, np.uint8))
    first, second = tmp_path / "one.png", tmp_path / "two.png"
    for out in (first, second):
        assert blur(file, "--psf", "defocus:2", "--noise", "0.05", "--out", out) == 0
    noise = images.read(first) - np.float32(128 / 255)
    assert noise.std() == pytest.approx(0.05, rel=0.05)
    assert np.abs(np.corrcoef(noise.reshape(-1, 3).T) - np.eye(3)).max() < 0.05
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("options", [[], ["--psf"], ["--gaussian", "1"]])
def test_blur_needs_a_psf(tmp_path, capsys, options):
    file = picture(tmp_path / "a.png")
    assert blur(file, *options, "--out", tmp_path / "o.png") == 2
    captured = capsys.readouterr()
    assert captured.out == "" and "psf" in captured.err
    assert not (tmp_path / "o.png").exists()


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (["gaussian:-1"], 2, "sigma is -1; it must be 0 or more"),
        (["gaussian:"], 2, "gaussian takes one number; write gaussian:SIGMA"),
        (["gaussian"], 2, "gaussian takes one number"),
        (["gaussian:1,2"], 2, "gaussian takes one number"),
        (["gaussian:two"], 2, "sigma is 'two'; give a number of pixels"),
        (["gaussian:2deg"], 2, "sigma is '2deg'"),
        (["motion:9"], 2, "motion takes 2 numbers; write motion:LENGTH,ANGLE"),
        (["motion:9,"], 2, "motion takes 2 numbers"),
        (["motion:9,deg"], 2, "angle is 'deg'; give a number of degrees"),
        (["motion:9,inf"], 2, "angle is inf; it must be finite"),
        (["defocus:nan"], 2, "radius is nan; it must be finite"),
        (["blurry:2"], 2, "neither a known blur nor a file; use gaussian:SIGMA, motion"),
        (["no-such.png"], 2, "neither a known blur nor a file"),
        (["x" * 300], 2, "neither a known blur nor a file"),
        (["defocus:1e9"], 1, "does not fit"),
        (["defocus:2", "--noise", "-1"], 2, "--noise"),
        (["defocus:2", "--noise", "inf"], 2, "--noise"),
    ],
)
def test_blur_refuses_what_it_cannot_make(tmp_path, capsys, options, status, words):
    file = picture(tmp_path / "a.png")
    assert blur(file, "--psf", *options, "--out", tmp_path / "o.png") == status
    captured = capsys.readouterr()
    assert captured.out == "" and one_sentence(captured.err) and words in captured.err
    assert list(tmp_path.iterdir()) == [file]


def test_blur_refuses_kernels_that_cannot_be_used(tmp_path, capsys):
    file = picture(tmp_path / "a.png")
    (tmp_path / "kernel.txt").write_text("1 2 3")
    images.write_psf(tmp_path / "large.npy", np.ones((129, 129)))
    for name, words in (("kernel.txt", "extension"), ("large.npy", "does not fit in 128 px")):
        assert blur(file, "--psf", tmp_path / name, "--out", tmp_path / "o.png") == 1
        captured = capsys.readouterr()
        assert captured.out == "" and one_sentence(captured.err) and words in captured.err
        assert str(tmp_path / name) in captured.err
    assert not (tmp_path / "o.png").exists()


def test_blur_refuses_unusable_files(tmp_path, capsys):
    file = picture(tmp_path / "a.png")
    before = file.read_bytes()
    for source, target in (
        (tmp_path / "missing.png", tmp_path / "o.png"),
        (file, tmp_path / "o.xyz"),
        (file, tmp_path / "nowhere" / "o.png"),
        (file, tmp_path),
        (file, tmp_path / ("x" * 300 + ".png")),
        (tmp_path, tmp_path / "o.png"),
    ):
        assert blur(source, "--psf", "defocus:2", "--out", target) == 1
        captured = capsys.readouterr()
        assert captured.out == "" and one_sentence(captured.err), captured.err
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_blur_finds_an_unwritable_target_before_the_work(tmp_path, capsys, monkeypatch):
    file = picture(tmp_path / "a.png")
    monkeypatch.setattr(images, "read", lambda *_, **__: pytest.fail("work was begun"))
    for target in (tmp_path / "o.xyz", tmp_path / "nowhere" / "o.png", file):
        assert blur(file, "--psf", "defocus:2", "--out", target) == 1
        assert one_sentence(capsys.readouterr().err)


def test_blur_overwrites_only_what_it_is_told_to_and_never_an_input(tmp_path, capsys):
    file, out = picture(tmp_path / "a.png"), tmp_path / "o.png"
    images.write_psf(tmp_path / "kernel.png", np.ones((3, 3)))
    out.write_text("dear to somebody")
    arguments = (file, "--psf", tmp_path / "kernel.png", "--out")
    assert blur(*arguments, out) == 1
    err = capsys.readouterr().err
    assert one_sentence(err) and "--overwrite" in err and out.read_text() == "dear to somebody"
    assert blur(*arguments, out, "--overwrite") == 0
    assert images.read(out).shape == TEXTURE.shape
    capsys.readouterr()

    link = tmp_path / "link.png"
    link.symlink_to(file)
    for target in (file, link, tmp_path / "kernel.png"):
        before = target.read_bytes()
        assert blur(*arguments, target, "--overwrite") == 1
        err = capsys.readouterr().err
        assert one_sentence(err) and "the input itself" in err
        assert target.read_bytes() == before
    link.unlink()
    link.symlink_to(tmp_path / "nothing.png")
    assert blur(*arguments, link) == 1 and "--overwrite" in capsys.readouterr().err


@pytest.mark.parametrize("colour", [False, True], ids=["gray", "rgb"])
@pytest.mark.parametrize("extension", ["png", "tif", "jpg"])
def test_blur_keeps_the_bits_of_the_image(tmp_path, capsys, extension, colour):
    deep = TEXTURE.astype(np.uint16) * 255 + 77
    file, out = tmp_path / "a.tif", tmp_path / f"o.{extension}"
    tifffile.imwrite(
        file, deep if colour else deep[..., 0], photometric="rgb" if colour else "minisblack"
    )
    assert blur(file, "--psf", "defocus:0", "--out", out) == 0
    bits = 8 if extension == "jpg" else 16
    captured = capsys.readouterr()
    assert f", {bits} bits a channel" in captured.out and captured.err == ""
    assert images.depth(out) == bits
    if bits == 16:
        np.testing.assert_allclose(images.read(out), images.read(file), atol=1e-7)


def test_blur_keeps_what_the_file_says_of_the_photograph(tmp_path):
    exif = Image.Exif()
    exif[271], exif[274] = "Maker", 6
    file = picture(tmp_path / "a.jpg", exif=exif)
    for name in ("o.jpg", "o.png", "o.tif"):
        assert blur(file, "--psf", "gaussian:1", "--out", tmp_path / name) == 0
        with Image.open(tmp_path / name) as written:
            assert written.getexif()[271] == "Maker" and written.getexif().get(274, 1) == 1
            assert written.size == (128, 160)


def test_no_blur_is_a_copy(tmp_path):
    file = picture(tmp_path / "a.png")
    assert blur(file, "--psf", "motion:0,0", "--out", tmp_path / "o.png") == 0
    np.testing.assert_array_equal(images.read(tmp_path / "o.png"), images.read(file))


# ---- the demo, which is made of these commands


@pytest.mark.slow
def test_the_demo_runs(tmp_path, stand_in):
    demo = Path(__file__).parents[1] / "examples" / "demo.py"
    done = subprocess.run(
        [sys.executable, demo, "--out", tmp_path / "demo", "--weights", stand_in],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "True and estimated blur" in done.stdout
    written = {path.name for path in (tmp_path / "demo").iterdir()}
    assert {"overview.png", "report.json", "clock_motion.png", "inputs"} <= written

"""The command line: what it prints where, what it writes, and how it ends."""

import csv
import html
import json
import math
import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from urllib.parse import unquote

import jax.numpy as jnp
import jsonschema
import numpy as np
import pytest
import tifffile
from PIL import Image

import blurjax
from blurjax import (
    _analyze,
    _deblur,
    _pages,
    blur_type,
    cli,
    data,
    images,
    imaging,
    psf,
    sharpness,
    weights,
)

RNG = np.random.default_rng(7)
TEXTURE = RNG.integers(0, 256, (128, 160, 3)).astype(np.uint8)
# Large enough for every system.
LARGE = np.tile(TEXTURE, (2, 2, 1))


@pytest.fixture
def analyze(
    stand_in, sigma_stand_in, sharpness_stand_in, kernel_size_stand_in, region_stand_in, capsys
):
    """Runs `blurjax analyze` with those weights: exit status, stdout, stderr."""

    def run(*arguments):
        others = (
            f"sigma_map={sigma_stand_in}",
            f"sharpness={sharpness_stand_in}",
            f"kernel_size={kernel_size_stand_in}",
            f"region={region_stand_in}",
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
    assert "analyze" in shown and "blur" in shown and "deblur" in shown


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"blurjax {blurjax.__version__}\n"


@pytest.mark.parametrize(
    "arguments", [["no-such"], ["analyze"], ["analyze", "--no-such"], ["blur", "a.png"], ["deblur"]]
)
def test_a_wrong_command_ends_with_2(capsys, arguments):
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err != ""


def test_a_command_that_is_none_is_one_sentence(capsys):
    for arguments in (["analyse", "a.png"], ["analyse", "--help"]):
        assert cli.main(arguments) == 2
        captured = capsys.readouterr()
        assert captured.out == "" and one_sentence(captured.err) and "analyze, blur" in captured.err


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


def test_a_process_says_at_once_that_it_works_and_keeps_its_programs(tmp_path):
    missing = tmp_path / "missing.png"
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    command = [sys.executable, "-m", "blurjax", "analyze", str(missing)]

    def lines(*options):
        done = subprocess.run([*command, *options], capture_output=True, text=True, env=environment)
        assert done.returncode == 1 and "Traceback" not in done.stderr
        return done.stderr.splitlines()

    first, sentence = lines()
    assert "first call" in first and sentence.startswith(f"blurjax: {missing}: ")
    (tmp_path / "blurjax").mkdir(exist_ok=True)
    (tmp_path / "blurjax" / "a program").write_bytes(b"")
    assert lines() == [f"blurjax: reading {missing}", sentence]
    # For programs nothing but what is wrong.
    assert lines("--json") == [sentence]


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
    half = pytest.approx(0.5, abs=0.01)
    assert entry["sharpness"] == {"status": "ok", "sharp_fraction": 0.5, "mean": half}
    assert entry["kernel_size"]["status"] == "ok" and entry["kernel_size"]["size"] == 15
    assert entry["kernel_size"]["width"]["value"] == pytest.approx(13.4)
    assert entry["region"]["box"] is entry["region"]["score"] is None


def test_text_names_file_type_parameters_and_patches(tmp_path, analyze):
    file = picture(tmp_path / "a.png")
    status, out, err = analyze(file)
    assert (status, err) == (0, "")
    sentence, answer, sigma, sharp, kernel, region = out.splitlines()
    assert sentence.startswith(f"{file}: ") and "; confidence 0." in sentence
    label, *parameters = answer.removeprefix("  blur type: ").split(", ")
    assert label in blur_type.LABELS
    assert "±" in parameters[0] and "px" in parameters[0]
    assert "probability" in answer and answer.endswith(" patches)")
    assert sigma == (
        "  sigma map: 0.6 to 2.4 px (median 1.5, 5 to 95 %), known in > 99 % of the pixels"
    )
    assert sharp == "  sharpness: 50 % of the pixels are sharp"
    said = "13.4 x 8.1 px (width x height; 80 % within 12-15 x 7-10)"
    assert kernel == f"  kernel, if it is motion: {said}"
    # Not even large enough for a window; the others go on.
    assert region == "  best region: image is 128x160 pixels; region needs at least 228x228"


def test_the_best_region_is_said_and_reported(tmp_path, analyze):
    file, out_dir = picture(tmp_path / "large.png", LARGE), tmp_path / "out"
    status, out, err = analyze(file, "--out", out_dir)
    assert (status, err) == (0, "")
    line = "  best region: 228x228 px at row 0, column 92 (score 0.63)"
    assert line in out.splitlines()
    (entry,) = json.loads((out_dir / "report.json").read_text())
    box = {"row": 0, "column": 92, "height": 228, "width": 228, "unit": "pixel"}
    assert entry["region"] == {"status": "ok", "box": box, "score": pytest.approx(0.63)}
    assert (out_dir / "large.png").exists()


def test_a_folder_means_every_image_in_it(tmp_path, analyze):
    files = [picture(tmp_path / name) for name in ("a.png", "sub/b.tif", "z.png")]
    (tmp_path / "notes.txt").write_text("not an image")
    status, out, _ = analyze(tmp_path, "--json")
    assert status == 0
    assert [entry["path"] for entry in json.loads(out)] == [str(file) for file in files]


def test_too_little_texture_is_an_answer(tmp_path, analyze):
    file = picture(tmp_path / "flat.png", np.full((230, 230), 128, np.uint8))
    status, out, err = analyze(file)
    assert (status, err) == (0, "")
    # The sentence, and every system for itself.
    assert out.startswith(f"{file}: no answer: ") and out.count("too little texture") == 6


def test_an_image_too_small_for_one_system_is_answered_by_the_others(tmp_path, analyze):
    file = picture(tmp_path / "small.png", TEXTURE[:40, :50])
    status, out, err = analyze(file)
    assert (status, err) == (0, "")
    first, reason, sigma, sharp, kernel, region = out.splitlines()
    assert first.startswith(f"{file}: ") and first.endswith("the type of the blur is unknown")
    assert "40x50 pixels; blur_type needs at least 64x64" in reason
    assert "known in" in sigma and "of the pixels are sharp" in sharp
    assert "40x50 pixels; kernel_size needs at least 128x128" in kernel
    assert "40x50 pixels; region needs at least 228x228" in region


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
    tmp_path, capsys, sigma_stand_in, sharpness_stand_in, kernel_size_stand_in, region_stand_in
):
    """With the shipped weights: a real photograph, blurred by a motion of known length."""
    photograph, file = data.embedded_path("coffee.png"), tmp_path / "moved.png"
    assert cli.main(["blur", str(photograph), "--psf", "motion:9,30deg", "--out", str(file)]) == 0
    capsys.readouterr()
    others = (
        f"sigma_map={sigma_stand_in}",
        f"sharpness={sharpness_stand_in}",
        f"kernel_size={kernel_size_stand_in}",
        f"region={region_stand_in}",
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
            for system in ("blur_type", "sigma_map", "sharpness", "kernel_size", "region"):
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


def test_damaged_shipped_weights_are_not_the_images_fault(tmp_path, analyze, monkeypatch):
    def damaged(*_):
        raise weights.WeightsError("blur_type.npz does not match its checksum; reinstall blurjax")

    monkeypatch.setitem(_analyze._SYSTEMS, "blur_type", damaged)
    files = [picture(tmp_path / name) for name in ("a.png", "b.png")]
    status, out, err = analyze(*files)
    assert (status, out) == (1, "") and one_sentence(err) and "does not match" in err


def test_weights_are_named_by_their_system(
    tmp_path,
    capsys,
    stand_in,
    sigma_stand_in,
    sharpness_stand_in,
    kernel_size_stand_in,
    region_stand_in,
):
    every = {
        "blur_type": stand_in,
        "sigma_map": sigma_stand_in,
        "sharpness": sharpness_stand_in,
        "kernel_size": kernel_size_stand_in,
        "region": region_stand_in,
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
    for wrong, ends in (
        (f"blur_type={sigma_stand_in}", 1), (f"sigma={sigma_stand_in}", 2),
        (f"sharpness={metric}", 1),
    ):  # fmt: skip
        assert cli.main(["analyze", file, "--weights", wrong]) == ends
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
    assert f"2 pages, index.html, summary.csv, report.json in {out_dir}" in out
    assert sorted(p.name for p in out_dir.iterdir()) == [
        *("a.html", "a.png", "a_sharpness.png", "a_sigma.npy", "a_sigma.png"),
        *("b.html", "b.png", "b_sharpness.png", "b_sigma.npy", "b_sigma.png"),
        *("index.html", "report.json", "summary.csv"),
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
    assert status == 0 and "2 pages, " in out
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
    assert sorted(path.name for path in out_dir.glob("flat*")) == ["flat.html", "flat.png"]


@pytest.mark.slow
def test_equal_stems_do_not_overwrite_one_another(tmp_path, analyze):
    names = ("one/a.png", "two/a.jpg", "two/A.tif", "a-2.png", "a_sigma.png")
    files = [picture(tmp_path / name) for name in names]
    out_dir = tmp_path / "out"
    analyze(*files, "--out", out_dir)
    report = json.loads((out_dir / "report.json").read_text())
    written = [entry[form] for entry in report for form in ("page", "picture")]
    for form in ("array", "picture"):
        written += [entry["sigma_map"][form]["file"] for entry in report]
    written += [entry["sharpness"]["picture"]["file"] for entry in report]
    assert len({name.casefold() for name in written}) == 25
    others = {"index.html", "report.json", "summary.csv"}
    assert {p.name for p in out_dir.iterdir()} == {*written, *others}


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
    assert not list(out_dir.iterdir())


def test_an_unwritable_folder_is_found_before_the_work(tmp_path, analyze, monkeypatch):
    file = picture(tmp_path / "a.png")
    monkeypatch.setattr(images, "read", lambda *_, **__: pytest.fail("work was begun"))
    for folder in (file, file / "below"):
        status, out, err = analyze(file, "--out", folder)
        assert (status, out) == (1, "")
        assert one_sentence(err) and "cannot write there" in err


# ---- analyze: pages, tables, patterns, going on


def test_the_json_has_the_form_that_is_documented(tmp_path, analyze):
    files = [picture(tmp_path / "large.png", LARGE), picture(tmp_path / "small.png", TEXTURE[:40])]
    bad = broken(tmp_path, "text")
    _, out, _ = analyze(*files, bad, "--json")
    _, _, _ = analyze(*files, bad, "--out", tmp_path / "out")
    form = json.loads(Path(blurjax.__file__).with_name("analyze.schema.json").read_text())
    validator = jsonschema.Draft202012Validator(form)
    for report in (out, (tmp_path / "out" / "report.json").read_text()):
        entries = json.loads(report)
        assert [error.message for error in validator.iter_errors(entries)] == []
        assert {entry["schema"] for entry in entries} == {cli.SCHEMA} == {form["title"]}
        # It says something: without a field, or with one it does not know, nothing is valid.
        del entries[0]["blur_type"]["votes"]
        entries[1]["other"] = 1
        assert len(list(validator.iter_errors(entries))) == 2


def test_a_page_holds_everything_and_fetches_nothing(tmp_path, analyze):
    file, out_dir = picture(tmp_path / "a <b> & c.png", LARGE), tmp_path / "out"
    assert analyze(file, "--out", out_dir)[0] == 0
    (entry,) = json.loads((out_dir / "report.json").read_text())
    page = (out_dir / entry["page"]).read_text(encoding="utf-8")
    assert html.escape(entry["sentence"]) in page and "a &lt;b&gt; &amp; c.png" in page
    assert "<b>" not in page and "http" not in page and "src=" in page
    assert set(re.findall(r'src="([^:]*):', page)) == {"data"}
    for link in re.findall(r'href="([^"]*)"', page):
        assert (out_dir / unquote(link)).exists(), link
    # A part of the image, before and after, or why there is none.
    deblurred = entry["deblurred"]
    assert ("as it is" in page) == (deblurred["status"] == "ok") or deblurred["status"] in page


def test_a_table_and_an_index_rank_photographs_by_sharpness(tmp_path, analyze, monkeypatch):
    def as_bright(image, *_, **__):
        seen = np.full(image.shape, image.mean(), np.float32)
        return sharpness.Estimate("ok", seen, seen > 0.5, float(image.mean() > 0.5))

    monkeypatch.setitem(_analyze._SYSTEMS, "sharpness", as_bright)
    for name, level in (("dim.png", 0.4), ("bright.png", 1.0), ("darker.png", 0.2)):
        picture(tmp_path / "in" / name, (level * TEXTURE).astype(np.uint8))
    broken(tmp_path / "in", "text")
    out_dir = tmp_path / "out"
    assert analyze(tmp_path / "in", "--out", out_dir)[0] == 1
    with (out_dir / "summary.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = [Path(row["path"]).name for row in rows]
    assert names[:3] == ["bright.png", "dim.png", "darker.png"]
    assert _pages.ranked([{"error": ""}, moved(0.9), moved(0.95), still(0.1), still(0.2)]) == [
        *(still(0.2), still(0.1), moved(0.95), moved(0.9), {"error": ""})
    ]
    numbers = [float(row["sharpness"]) for row in rows[:3]]
    assert numbers == sorted(numbers, reverse=True) and rows[3]["sharpness"] == ""
    assert rows[3]["error"] and not any(row["error"] for row in rows[:3])
    assert all(row["sentence"] and row["page"] for row in rows[:3])
    index = (out_dir / "index.html").read_text(encoding="utf-8")
    assert [index.index(name) for name in names] == sorted(index.index(name) for name in names)
    assert index.count("data:image/jpeg") == 3


def moved(mean):
    return {"blur_type": {"everywhere": True}, "sharpness": {"mean": mean}}


def still(mean):
    return {"blur_type": {"everywhere": False}, "sharpness": {"mean": mean}}


def test_patterns_are_files(tmp_path, analyze):
    for name in ("a.png", "b.png", "c.jpg", "deep/er/d.png", "[1].png"):
        picture(tmp_path / name)
    for pattern, count in (("*.png", 3), ("**/*.png", 4), ("[ab].png", 2), ("[1].png", 1)):
        status, out, _ = analyze(tmp_path / pattern, "--json")
        assert status == 0 and len(json.loads(out)) == count, pattern
    status, out, err = analyze(tmp_path / "*.gif")
    assert (status, out) == (1, "") and one_sentence(err) and "*.gif" in err


def test_an_interrupted_analysis_goes_on(tmp_path, analyze, monkeypatch):
    files = [picture(tmp_path / f"{name}.png") for name in "abc"]
    out_dir = tmp_path / "out"
    read, asked = images.read, []

    def until_b(path, **options):
        asked.append(Path(path).name)
        if Path(path).name == "b.png":
            raise KeyboardInterrupt
        return read(path, **options)

    monkeypatch.setattr(images, "read", until_b)
    assert analyze(*files, "--out", out_dir)[0] == 130
    before = json.loads((out_dir / "report.json").read_text())
    assert [Path(entry["path"]).name for entry in before] == ["a.png"]
    monkeypatch.setattr(images, "read", read)
    asked.clear()
    answered = []
    begin = _deblur.begin
    monkeypatch.setattr(
        _deblur, "begin", lambda *image, **more: answered.append(1) or begin(*image, **more)
    )
    status, out, err = analyze(*files, "--out", out_dir, "--resume")
    assert (status, err) == (0, "") and len(answered) == 2 and "answered before" in out
    after = json.loads((out_dir / "report.json").read_text())
    assert after[0] == before[0] and len(after) == 3
    # What has changed since is read again, and without the option all is.
    picture(files[1], TEXTURE[::-1])
    answered.clear()
    assert analyze(*files, "--out", out_dir, "--resume")[0] == 0 and len(answered) == 1
    status, _, err = analyze(files[0], "--out", out_dir)
    assert status == 0 and one_sentence(err) and "earlier report, which is replaced" in err
    assert len(answered) == 2 and not (out_dir / "index.html").exists()
    (out_dir / "report.json").write_text("[{}]")
    status, _, err = analyze(*files, "--out", out_dir, "--resume")
    assert status == 1 and one_sentence(err) and "--resume" in err


def test_options_that_need_a_folder_say_so(tmp_path, analyze):
    for option in ("--full", "--resume"):
        status, out, err = analyze(picture(tmp_path / "a.png"), option)
        assert (status, out) == (2, "") and one_sentence(err) and "--out" in err


def test_full_writes_the_deblurred_copy(tmp_path, analyze, monkeypatch):
    kernel = np.full((3, 3), 1 / 9, np.float32)

    def found(image, **_):
        return blurjax.Deblurred(1 - image, kernel, 3, "by the test", 0.7, "ok")

    monkeypatch.setattr("blurjax._deblur.deblur", found)
    deep = np.tile(TEXTURE[..., :1].astype(np.uint16) * 257, (1, 1, 3))
    file, out_dir = tmp_path / "deep.tif", tmp_path / "out"
    tifffile.imwrite(file, deep)
    assert analyze(file, "--out", out_dir, "--full")[0] == 0
    (entry,) = json.loads((out_dir / "report.json").read_text())
    assert entry["deblurred"]["file"] == "deep_deblurred.png" and entry["deblurred"]["bits"] == 16
    assert entry["deblurred"]["confidence"] == 0.7
    written = images.read(out_dir / "deep_deblurred.png")
    np.testing.assert_allclose(written, 1 - deep / np.float32(65535), atol=1e-4)


def test_a_full_cache_of_programs_is_emptied_to_the_half(tmp_path, monkeypatch):
    monkeypatch.setattr(cli, "_PROGRAMS", 1000)
    for number in range(12):
        file = tmp_path / f"{number}-cache"
        file.write_bytes(bytes(100))
        os.utime(file, (number, number))
    cli._forget_programs(tmp_path)
    left = sorted(int(file.name.partition("-")[0]) for file in tmp_path.iterdir())
    assert left == [7, 8, 9, 10, 11]
    cli._forget_programs(tmp_path)
    assert len(list(tmp_path.iterdir())) == 5
    cli._forget_programs(tmp_path / "not there")


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


# ---- deblur


def deblur(*arguments):
    return cli.main(["deblur", *map(str, arguments)])


@pytest.fixture
def undone(monkeypatch):
    """Stands in for the work: the image in negative, by a kernel of 5 pixels; lists its calls."""
    from blurjax import _deblur

    calls = []

    def work(image, **options):
        calls.append(options)
        if options["progress"] is not None:
            options["progress"]("deconvolving")
        kernel = options["psf"]
        if kernel is None:
            kernel = np.pad(np.full((3, 3), 1 / 9, np.float32), 1)
        path = "blind, size 5 px by kernel_size" if options["psf"] is None else "kernel as given"
        boxes = ((0, 0, 100, 90), (28, 70, 100, 90)) if options["psf"] is None else ()
        return _deblur.Deblurred(1 - image, kernel, len(kernel), path, 0.72, "ok", boxes)

    monkeypatch.setattr(_deblur, "deblur", work)
    return calls


def test_deblur_writes_beside_the_image_and_says_how(tmp_path, capsys, undone):
    file = picture(tmp_path / "a.jpg")
    assert deblur(file) == 0
    out = tmp_path / "a_deblurred.jpg"
    captured = capsys.readouterr()
    assert captured.err == ""
    line, seconds = captured.out.removesuffix(" s\n").rsplit(", ", 1)
    assert line == (
        f"{out}: a.jpg deblurred (blind, size 5 px by kernel_size; 5 x 5 kernel, "
        "confidence 72 %), 8 bits a channel"
    )
    assert float(seconds) >= 0
    np.testing.assert_allclose(images.read(out), 1 - images.read(file), atol=0.1)
    (options,) = undone
    for name in ("size", "psf", "region", "weight", "progress"):
        assert options[name] is None, name
    assert options["suppress_ringing"] is False
    assert sorted(tmp_path.iterdir()) == [file, out]


def test_deblur_has_the_solvers_and_the_default_of_the_library(tmp_path, undone):
    import inspect
    import typing

    from blurjax import _deblur

    file = picture(tmp_path / "a.png")
    for solver in _deblur.SOLVERS:
        assert deblur(file, "--solver", solver, "--overwrite") == 0
        assert undone[-1]["solver"] == solver
    assert deblur(file, "--overwrite") == 0
    choices = typing.get_args(typing.get_type_hints(cli.Deblur)["solver"])
    assert choices == _deblur.SOLVERS and cli.Deblur(file).solver == undone[-1]["solver"]
    source = inspect.getsource(sys.modules["blurjax._deblur"])
    assert f'solver: str = "{undone[-1]["solver"]}"' in source
    assert deblur(file, "--solver", "magic", "--overwrite") == 2


def test_deblur_passes_its_options_on(tmp_path, undone):
    file, out = picture(tmp_path / "a.png"), tmp_path / "o.tif"
    options = ("--size", 9, "--weight", 0.5, "--suppress-ringing")
    assert deblur(file, *options, "--out", out) == 0
    assert out.exists()
    assert (undone[0]["size"], undone[0]["weight"]) == (9, 0.5)
    assert undone[0]["suppress_ringing"] is True


@pytest.mark.parametrize(
    ("spelt", "meant"),
    [
        ("auto", "auto"),
        ("10,20,100,120", (10, 20, 100, 120)),
        (" 10, 20 ,100, 120", (10, 20, 100, 120)),
    ],
)
def test_deblur_takes_the_region_that_is_asked_for(tmp_path, undone, spelt, meant):
    file = picture(tmp_path / "a.png")
    assert deblur(file, "--region", spelt) == 0
    assert undone[0]["region"] == meant and undone[0]["size"] is None
    assert deblur(file, "--region", spelt, "--size", 9, "--overwrite") == 0
    assert undone[1]["region"] == meant and undone[1]["size"] == 9


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("a.bmp", "a_deblurred.png"),
        ("a.webp", "a_deblurred.png"),
        ("a.b.TIF", "a.b_deblurred.TIF"),
        ("a.jpeg", "a_deblurred.jpeg"),
    ],
)
def test_deblur_writes_png_where_the_format_cannot_be_written(tmp_path, undone, name, written):
    file = picture(tmp_path / name)
    assert deblur(file) == 0
    assert images.read(tmp_path / written).shape == TEXTURE.shape


def test_deblur_with_a_known_blur(tmp_path, capsys, undone):
    file = picture(tmp_path / "a.png")
    assert deblur(file, "--psf", "motion:9,30deg", "--overwrite") == 0
    said = capsys.readouterr().out
    assert "(kernel as given: motion, length 9.0 px, angle 30°; " in said
    assert "confidence given" in said
    kernel = undone[-1]["psf"]
    np.testing.assert_allclose(
        kernel, psf.motion(9.0, math.radians(30), size=len(kernel)), atol=1e-6
    )
    images.write_psf(tmp_path / "k.npy", np.ones((3, 3)) / 9)
    assert deblur(file, "--psf", tmp_path / "k.npy", "--overwrite") == 0
    assert "(kernel as given: the kernel in k.npy; 3 x 3 kernel" in capsys.readouterr().out
    np.testing.assert_allclose(undone[-1]["psf"], np.full((3, 3), 1 / 9))


@pytest.mark.parametrize("given", [False, True])
def test_deblur_says_the_same_as_json(tmp_path, capsys, undone, given):
    file, kernel = picture(tmp_path / "a.png"), tmp_path / "k.mat"
    known = ("--psf", "gaussian:1") if given else ("--kernel-out", kernel)
    assert deblur(file, "--json", *known) == 0
    captured = capsys.readouterr()
    entry = json.loads(captured.out)
    assert captured.err == "" and entry.pop("seconds") >= 0
    expected = {
        "path": str(file),
        "out": str(tmp_path / "a_deblurred.png"),
        "found": "kernel as given" if given else "blind, size 5 px by kernel_size",
        "size": len(undone[0]["psf"]) if given else 5,
        "confidence": 0.72,
        "given": given,
        "boxes": []
        if given
        else [
            {"row": 0, "column": 0, "height": 100, "width": 90},
            {"row": 28, "column": 70, "height": 100, "width": 90},
        ],
        "bits": 8,
    }
    assert entry == (expected if given else {**expected, "kernel_out": str(kernel)})


@pytest.mark.parametrize("extension", ["png", "npy", "mat"])
def test_deblur_writes_the_kernel(tmp_path, capsys, undone, extension):
    file, kernel = picture(tmp_path / "a.png"), tmp_path / f"k.{extension}"
    assert deblur(file, "--kernel-out", kernel) == 0
    np.testing.assert_allclose(
        images.read_psf(kernel), np.pad(np.full((3, 3), 1 / 9), 1), atol=1e-6
    )
    assert sorted(tmp_path.iterdir()) == [file, tmp_path / "a_deblurred.png", kernel]
    # Neither is replaced unasked.
    (tmp_path / "a_deblurred.png").unlink()
    assert deblur(file, "--kernel-out", kernel) == 1
    err = capsys.readouterr().err
    assert one_sentence(err) and str(kernel) in err and "--overwrite" in err
    assert not (tmp_path / "a_deblurred.png").exists()
    assert deblur(file, "--kernel-out", kernel, "--overwrite") == 0


def test_deblur_says_when_there_is_nothing_to_undo(tmp_path, capsys, monkeypatch):
    from blurjax import _deblur

    def nothing(image, **_):
        kernel = np.ones((1, 1), np.float32)
        return _deblur.Deblurred(image, kernel, 1, "nothing to undo", 0.0, "it looks sharp")

    monkeypatch.setattr(_deblur, "deblur", nothing)
    file = picture(tmp_path / "a.png")
    for options in ((), ("--json",), ("--kernel-out", tmp_path / "k.png")):
        assert deblur(file, *options) == 1
        captured = capsys.readouterr()
        assert captured.out == "" and captured.err == f"blurjax: {file}: it looks sharp\n"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (["--size", "8"], 2, "--size is 8; a kernel has an odd side, 3 or more, such as 9"),
        (["--size", "-4"], 2, "--size is -4; a kernel has an odd side"),
        (["--size", "1"], 2, "such as 3"),
        (["--size", "65"], 1, "a kernel of 65 is seen in no less than 130x130"),
        (["--size", "9", "--psf", "gaussian:1"], 2, "exclude each other"),
        (["--region", "auto", "--psf", "gaussian:1"], 2, "--psf gives it; leave one"),
        (["--region", "best"], 2, "--region is 'best'; give auto, or ROW,COLUMN,HEIGHT,WIDTH"),
        (["--region", ""], 2, "--region is ''; give auto"),
        (["--region", "1,2,3"], 2, "--region is '1,2,3'; give auto"),
        (["--region", "1,2,3,4,5"], 2, "give auto"),
        (["--region", "1,2,3,4.5"], 2, "in whole pixels"),
        (["--size", "9", "--region", "0,0,129,50"], 1, "and the image 128x160; a box is inside it"),
        (["--size", "9", "--region=-1,0,50,50"], 1, "a box is inside it"),
        (["--size", "9", "--region", "0,0,17,50"], 1, "is seen in no less than 18x18"),
        (["--psf", "gaussian"], 2, "gaussian takes one number"),
        (["--psf", "nothing.png"], 2, "neither a known blur nor a file"),
        (["--psf", "defocus:100"], 1, "does not fit in 128 px"),
        (["--weight", "0"], 2, "--weight is 0.0; it must be finite and above 0"),
        (["--weight", "nan"], 2, "--weight is nan"),
        (["--weight", "1", "--solver", "richardson_lucy"], 2, "richardson_lucy has none"),
        (["--kernel-out", "k.jpg"], 1, "cannot write a kernel with the extension '.jpg'"),
        (["--kernel-out", "nowhere/k.png"], 1, "cannot be written"),
        (["--kernel-out", "x" * 250 + ".npy"], 1, "cannot be written"),
        (["--out", "o.xyz"], 1, "cannot write the extension"),
        (["--out", "nowhere/o.png"], 1, "cannot be written"),
        (["--out", "o.png", "--kernel-out", "O.png"], 1, "is what the image is written to"),
        (["--out", "a.png"], 1, "a.png: is the input itself; choose another --out"),
        (["--kernel-out", "a.png"], 1, "is the input itself; choose another --kernel-out"),
    ],
)
def test_deblur_refuses_what_it_cannot_do(tmp_path, capsys, monkeypatch, options, status, words):
    monkeypatch.chdir(tmp_path)
    file = picture(tmp_path / "a.png")
    before = file.read_bytes()
    assert deblur(file, "--overwrite", *options) == status
    captured = capsys.readouterr()
    assert captured.out == "" and one_sentence(captured.err) and words in captured.err
    assert list(tmp_path.iterdir()) == [file] and file.read_bytes() == before


@pytest.mark.parametrize("kind", ["missing", "text", "hollow"])
def test_deblur_names_the_image_that_cannot_be_read(tmp_path, capsys, kind):
    file = broken(tmp_path, kind)
    before = list(tmp_path.iterdir())
    assert deblur(file) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and one_sentence(captured.err) and f"{file}: " in captured.err
    assert list(tmp_path.iterdir()) == before


def test_deblur_finds_an_unwritable_target_before_the_work(tmp_path, capsys, monkeypatch):
    file, out = picture(tmp_path / "a.png"), tmp_path / "a_deblurred.png"
    out.write_text("dear to somebody")
    monkeypatch.setattr(images, "read", lambda *_, **__: pytest.fail("work was begun"))
    for options in (
        (),
        ("--out", tmp_path / "o.xyz"),
        ("--out", file, "--overwrite"),
        ("--overwrite", "--kernel-out", tmp_path / "k.xyz"),
    ):
        assert deblur(file, *options) == 1
        assert one_sentence(capsys.readouterr().err)
    assert out.read_text() == "dear to somebody"


@pytest.mark.parametrize("colour", [False, True], ids=["gray", "rgb"])
def test_deblur_keeps_bits_and_channels(tmp_path, capsys, undone, colour):
    deep = TEXTURE.astype(np.uint16) * 255 + 77
    file = tmp_path / "a.tif"
    tifffile.imwrite(
        file, deep if colour else deep[..., 0], photometric="rgb" if colour else "minisblack"
    )
    assert deblur(file) == 0
    assert ", 16 bits a channel, " in capsys.readouterr().out
    out = tmp_path / "a_deblurred.tif"
    assert images.depth(out) == 16
    np.testing.assert_allclose(images.read(out), 1 - images.read(file), atol=1e-5)


def test_deblur_keeps_what_the_file_says_of_the_photograph(tmp_path, undone):
    exif = Image.Exif()
    exif[271], exif[274] = "Maker", 6
    file = picture(tmp_path / "a.jpg", exif=exif)
    assert deblur(file) == 0
    with Image.open(tmp_path / "a_deblurred.jpg") as written:
        assert written.getexif()[271] == "Maker" and written.getexif().get(274, 1) == 1
        assert written.size == (128, 160)


@pytest.mark.parametrize("where", ["work", "write"])
def test_deblur_leaves_nothing_behind_when_interrupted(
    tmp_path, capsys, monkeypatch, undone, where
):
    from blurjax import _deblur

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    place, name = (_deblur, "deblur") if where == "work" else (images, "depth")
    file, out = picture(tmp_path / "a.png"), tmp_path / "o.png"
    monkeypatch.setattr(place, name, interrupted)
    assert deblur(file, "--out", out, "--kernel-out", tmp_path / "k.npy") == 130
    captured = capsys.readouterr()
    assert captured.out == "" and one_sentence(captured.err)
    assert list(tmp_path.iterdir()) == [file]


def test_deblur_leaves_no_kernel_of_an_image_that_cannot_be_written(
    tmp_path, capsys, monkeypatch, undone
):
    def full(*_, **__):
        raise images.ImageError("o.png: cannot be written (No space left on device)")

    file = picture(tmp_path / "a.png")
    monkeypatch.setattr(images, "write", full)
    assert deblur(file, "--kernel-out", tmp_path / "k.npy") == 1
    err = capsys.readouterr().err
    assert one_sentence(err) and "No space left" in err
    assert list(tmp_path.iterdir()) == [file]


def test_deblur_tells_its_steps_on_a_terminal_only(tmp_path, capsys, monkeypatch, undone):
    file = picture(tmp_path / "[b]a.png")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert deblur(file) == 0
    assert callable(undone[0]["progress"])
    captured = capsys.readouterr()
    assert captured.out.startswith(str(tmp_path)) and captured.out.count("\n") == 1
    assert "[b]a.png: deconvolving" in captured.err


def test_deblur_undoes_a_known_blur(tmp_path, capsys):
    """With the real work: a photograph, blurred by the same program."""
    sharp, moved = tmp_path / "sharp.png", tmp_path / "moved.png"
    images.write(sharp, images.read(data.embedded_path("coffee.png"))[100:228, 200:360])
    assert blur(sharp, "--psf", "motion:7,30deg", "--out", moved) == 0
    assert deblur(moved, "--psf", "motion:7,30deg", "--kernel-out", tmp_path / "k.npy") == 0
    assert "confidence given" in capsys.readouterr().out
    restored = images.read(tmp_path / "moved_deblurred.png")
    true, seen = images.read(sharp), images.read(moved)
    before, after = (np.mean((x - true)[8:-8, 8:-8] ** 2) for x in (seen, restored))
    # 4.4 dB measured.
    assert restored.shape == true.shape and after < before / 2
    kernel = images.read_psf(tmp_path / "k.npy")
    np.testing.assert_allclose(kernel.sum(), 1, atol=1e-6)


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

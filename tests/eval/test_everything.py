"""`python -m eval all`: what it finds, runs and reports; its runs have tests of their own."""

import functools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tyro
from PIL import Image

from blurjax import images
from blurjax.images import ImageError
from eval import everything, evidence, layout, report
from eval.__main__ import PROTOCOLS

ROOT = Path(__file__).parents[2]
SPECIFIED = {
    "000": ("CR1", "regression errors", "deblurring"),
    "001": ("ramp", "sine", "text", "photographs"),
    "002": ("metric kernels", "refinement", "precision and recall", "running time", "thresholds"),
    "003": ("figure 3", "table 1", "table 2", "table 3", "figure 4"),
    "004": ("figure 1", "figure 2", "figures 3 to 6", "figure 7", "figure 8", "figure 9"),
}


def picture(path, shape=(40, 50)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(str(path))).integers(0, 256, shape)
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


# ---- what lies where


def test_every_role_is_found_by_its_name(tmp_path):
    data = tmp_path / "data"
    for name in ("photographs", "cr1", "cr2", "textures", "text", "saturated", "motion_pairs"):
        picture(data / name / "a.png")
    for name in ("defocus/images", "defocus/masks_white_blurred"):
        picture(data / name / "a.png")
    (data / "kernels").mkdir()
    (data / "deep" / "levin").mkdir(parents=True)
    (data / "deep" / "levin" / "im05_flit01.mat").write_bytes(b"")
    found = layout.find(data, tmp_path / "scratch")
    assert found.photographs == found.unseen == (data / "photographs",)
    assert (found.first, found.second) == (data / "cr1", data / "cr2")
    assert (found.split, found.texture_split) == ("all", "all")
    assert found.textures == (data / "textures",) and found.text == (data / "text",)
    assert found.saturated == (data / "saturated",) and found.kernels == (data / "kernels",)
    assert found.levin == data / "deep" / "levin" and found.motion_pairs == data / "motion_pairs"
    assert found.defocus == ((data / "defocus/images", data / "defocus/masks_white_blurred"),)
    assert found.white == "blurred" and found.lai is None


def test_of_what_training_learned_from_only_the_test_tenth_is_used(tmp_path):
    for name in ("bsds500/images", "urban100_half", "dtd_subset", "lai2016/kernels"):
        picture(tmp_path / name / "a.png")
    for name in ("text_01", "saturated_01", "natural_01"):
        picture(tmp_path / "lai2016" / "sharp" / f"{name}.png")
    found = layout.find(tmp_path, tmp_path / "scratch")
    assert found.photographs == (tmp_path / "bsds500/images", tmp_path / "urban100_half")
    assert (found.split, found.texture_split) == ("test", "test")
    # Some files of a folder are made a folder of their own, of links.
    for role, name in ((found.text, "text_01"), (found.saturated, "saturated_01")):
        assert [path.stem for path in images.paths(role[0])] == [name]
    assert found.unseen == (tmp_path / "lai2016/sharp",) and found.lai == tmp_path / "lai2016"
    # Once more, with the links there already.
    assert layout.find(tmp_path, tmp_path / "scratch") == found


def test_a_folder_without_names_is_photographs_and_one_without_images_an_error(tmp_path):
    picture(tmp_path / "some" / "a.png")
    found = layout.find(tmp_path / "some", tmp_path / "scratch")
    assert found.photographs == (tmp_path / "some",) and found.split == "all"
    (tmp_path / "none").mkdir()
    for name in ("none", "not there"):
        with pytest.raises(ImageError, match=name):
            layout.find(tmp_path / name, tmp_path / "scratch")


def test_without_data_there_are_the_photographs_inside_scikit_image(tmp_path):
    found = layout.embedded(tmp_path)
    assert len(images.paths(found.photographs[0])) == 6
    first, second = (
        {path.name for path in images.paths(folder)} for folder in (found.first, found.second)
    )
    assert len(first) == len(second) == 3 and not first & second
    assert all(images.read(path).ndim == 2 for path in images.paths(found.textures[0]))
    kernels = [images.read_psf(path) for path in sorted(found.kernels[0].iterdir())]
    assert [len(kernel) for kernel in kernels] == [11, 17, 27, 41]
    assert layout.embedded(tmp_path) == found


# ---- what is run


def test_the_plan_runs_what_there_is_data_for(tmp_path):
    jobs = {job.name: job for job in everything.plan(layout.embedded(tmp_path), quick=True, seed=3)}
    assert "region_saturated" not in jobs and "sigma_map_seen" not in jobs
    # What each takes is known to its command line.
    for job in jobs.values():
        if job.protocol != "defocus_maps":
            assert job.options[-2:] == ("--seed", "3")
    nothing = everything.plan(layout.Layout(), quick=True, seed=0)
    # These have images of their own.
    assert {job.name for job in nothing} == {"defocus_maps", "sharpness"}
    needed = {name for item in evidence.ITEMS for name in item.runs}
    assert needed - {"region_saturated", "sigma_map_seen"} <= jobs.keys()


def test_recordings_alone_are_enough(tmp_path):
    where = layout.Layout(levin=tmp_path)
    jobs = {job.name: job for job in everything.plan(where, quick=False, seed=0)}
    for name in ("kernel_size", "deblurring", "region"):
        assert jobs[name].options[:2] == ("--levin", str(tmp_path))
        assert "--images" not in jobs[name].options


@pytest.mark.parametrize("quick", [True, False])
def test_every_option_of_the_plan_is_one_that_the_protocol_has(tmp_path, quick):
    data = tmp_path / "data"
    for name in ("photographs", "cr1", "cr2", "textures", "text", "saturated", "motion_pairs",
                 "defocus/images", "defocus/masks_white_sharp", "segmentations", "kernels",
                 "levin"):  # fmt: skip
        picture(data / name / "a.png")
    (data / "levin" / "im05_flit01.mat").write_bytes(b"")
    jobs = everything.plan(layout.find(data, tmp_path / "scratch"), quick=quick, seed=0)
    assert len(jobs) > 12
    for job in jobs:
        seen = []

        @functools.wraps(PROTOCOLS[job.protocol])
        def keep(*arguments, seen=seen, **options):
            seen.append((arguments, options))

        # Parsed as on the command line, and not run.
        tyro.cli(keep, args=list(job.options), prog=job.name)
        assert seen


def test_a_run_that_fails_is_one_sentence_and_is_run_again(tmp_path, capsys):
    job = everything.Job("bad", "blur_type", ("--patches", "4"))
    outcome = everything.run(job, tmp_path / "runs", tmp_path / "programs")
    assert outcome.failure.startswith("failed (1): ") and "multiple of 3" in outcome.failure
    assert not (tmp_path / "runs" / "bad" / "done.json").exists()
    assert "multiple of 3" in (tmp_path / "runs" / "bad" / "log.txt").read_text()
    assert "multiple of 3" in capsys.readouterr().err


def test_a_run_that_is_done_is_not_repeated_by_the_same_code(tmp_path, monkeypatch):
    job = everything.Job("maps", "defocus_maps", ("--figures", "0"))
    folder = tmp_path / "maps"
    monkeypatch.setattr(everything, "code", lambda: "this")
    stamp = {"arguments": [job.protocol, *job.options], "code": "this"}
    report.write_json(folder / "done.json", {**stamp, "seconds": 7.0})
    started = []
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: started.append(a) or 1 / 0)
    assert everything.run(job, tmp_path, tmp_path / "programs").seconds == 7.0 and not started
    monkeypatch.setattr(everything, "code", lambda: "another")
    with pytest.raises(ZeroDivisionError):
        everything.run(job, tmp_path, tmp_path / "programs")
    assert started and not (folder / "done.json").exists()


# ---- the numbers


def test_a_mean_has_its_interval_over_images():
    values = np.random.default_rng(0).normal(size=40)
    cell = evidence.mean(values.tolist(), [str(i) for i in range(40)])
    assert cell.value == pytest.approx(values.mean()) and cell.n == 40
    expected = 1.96 * values.std(ddof=1) / 40**0.5
    low, high = cell.interval
    assert (high - low) / 2 == pytest.approx(expected, rel=0.1) and low < cell.value < high
    # All values of one image err together: as many more of the same tell nothing.
    again = evidence.mean(np.repeat(values, 5).tolist(), np.repeat(np.arange(40), 5).astype(str))
    assert again.n == 40 and again.interval == pytest.approx(cell.interval)
    weighted = evidence.mean([1.0, 3.0], ["a", "b"], [3, 1])
    assert weighted.value == 1.5 and weighted.interval == (1, 3)
    assert evidence.mean([None, np.nan], ["a", "b"]) is None
    assert evidence.mean([2.0, None], ["a", "b"]) == evidence.Cell(2.0, 1, None)


def test_every_table_and_figure_of_the_sources_is_there():
    keys = [item.key for item in evidence.ITEMS]
    assert len(keys) == len(set(keys))
    for source, parts in SPECIFIED.items():
        for part in parts:
            assert any(key.startswith(source) and part in key for key in keys), (source, part)
    for item in evidence.ITEMS:
        # Each says where its numbers or pictures come from.
        assert item.rows or item.figures
        assert item.key.split()[0] in evidence.SOURCES


def test_published_numbers_stand_in_lines_of_their_own():
    made = {"ramp": {"rmse": 0.2, "n": 10, "rmse_surest": 0.1, "n_surest": 8, "photograph": "a"}}
    reports = {"sigma_map_textures": {"rows": {k: [v] for k, v in made.items()}, "tests": {}}}
    rows = {row.what: row for row in evidence._ramp(reports)}
    ours, theirs = rows["default, unseen textures"], rows["published, 30 classes"]
    assert (ours.kind, theirs.kind) == ("ours", "published")
    assert ours.cells["ramp, RMSE, px"].value == pytest.approx(0.2)
    assert theirs.cells["ramp, RMSE, px"].value == 0.1645 and "Brodatz" in theirs.source
    assert not theirs.cells["ramp, RMSE, px"].interval


# ---- the report


@pytest.fixture
def reported(tmp_path, monkeypatch):
    """A report of two runs, one of which fails, without running anything."""
    jobs = [
        everything.Job("sigma_map_text", "sigma_map", ("--uniform", "0")),
        everything.Job("region", "region", ()),
    ]
    picture(tmp_path / "out" / "runs" / "sigma_map_text" / "maps_sine.png")
    row = {"rmse": 0.25, "n": 10, "rmse_surest": 0.125, "n_surest": 8}
    rows = [{**row, "photograph": name} for name in "ab"]
    made = {"rows": {"sine": rows, "sine2d": rows}, "tests": {}}
    folder = tmp_path / "out" / "runs" / "sigma_map_text"
    report.write_json(folder / "report.json", made)
    report.write_json(
        folder / "tables.json", [{"title": "a <table>", "columns": ["x"], "rows": [["1"]]}]
    )

    def run(job, runs, programs):
        failure = "failed (1): out of <memory>" if job.name == "region" else ""
        return everything.Outcome(job, f"python -m eval {job.name}", 2.0, failure)

    monkeypatch.setattr(everything, "plan", lambda *_, **__: jobs)
    monkeypatch.setattr(everything, "run", run)
    with pytest.raises(ValueError, match="region failed; the report says why"):
        everything.evaluate(out=tmp_path / "out")
    return tmp_path / "out"


def test_the_report_has_what_ran_what_failed_and_what_has_no_data(reported):
    made = json.loads((reported / "report.json").read_text())
    items = {item["key"]: item for item in made["items"]}
    assert items["001 text"]["status"].startswith("reproduced")
    (line,) = [row for row in items["001 text"]["rows"] if row["kind"] == "ours"]
    assert line["cells"]["sine, RMSE, px"] == {"value": 0.25, "n": 2, "interval": [0.25, 0.25]}
    assert items["001 text"]["figures"] == ["runs/sigma_map_text/maps_sine.png"]
    assert "out of <memory>" in items["004 figure 8"]["status"]
    assert items["001 text"]["source"].startswith("001: Patro")
    assert items["004 figure 7"]["status"].startswith("not run: it takes saturated photographs")
    # Made by training, and there without any run.
    (figure,) = items["003 figure 3"]["figures"]
    assert (reported / figure).exists() and not figure.startswith("..")
    assert made["versions"]["jax"] and "commit" in made["code"] and made["machine"]
    text = (reported / "report.md").read_text()
    assert "| default, text | ours | 2 | 0.25 (0.25 to 0.25) | 0.125 (0.125 to 0.125) |" in text
    assert "out of <memory>" in text


def test_the_page_is_one_file_and_fetches_nothing(reported):
    page = (reported / "report.html").read_text()
    assert "a &lt;table&gt;" in page and "out of &lt;memory&gt;" in page
    assert page.count("data:image/png;base64,") == 2
    assert 'src="data:' in page and 'src="http' not in page and "<link" not in page
    for item in evidence.ITEMS:
        assert item.title.split("'")[0] in page


def test_what_only_leaves_out_is_said_to_be(tmp_path, monkeypatch):
    ran = []

    def run(job, *_):
        ran.append(job.name)
        return everything.Outcome(job, "", 1.0, "failed (1): not here")

    monkeypatch.setattr(everything, "run", run)
    with pytest.raises(ValueError, match="failed"):
        # A protocol's name means all its runs.
        everything.evaluate(out=tmp_path, quick=True, only=("sigma_map", "fit_blind"))
    assert set(ran) == {
        *("sigma_map_textures", "sigma_map_published", "sigma_map_text"),
        *("sigma_map_photographs", "fit_blind"),
    }
    items = {i["key"]: i for i in json.loads((tmp_path / "report.json").read_text())["items"]}
    assert items["000 CR1, CR2"]["status"] == "not run: left out by --only"
    assert "saturated" in items["004 figure 7"]["status"]


def test_a_run_that_nobody_knows_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no run is called nonsense; there is data for blur_type"):
        everything.evaluate(out=tmp_path, only=("nonsense",))


@pytest.mark.slow
def test_one_run_from_the_command_line_goes_on_where_it_was(tmp_path):
    command = [sys.executable, "-m", "eval", "all", "--quick", "--only", "defocus_maps", "--out"]
    first, second = (
        subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, cwd=ROOT)
        for _ in range(2)
    )
    assert first.returncode == second.returncode == 0, first.stderr
    assert "was finished before" in second.stderr and "was finished" not in first.stderr
    made = json.loads((tmp_path / "report.json").read_text())
    items = {item["key"]: item for item in made["items"]}
    assert len(items["001 photographs"]["figures"]) == 2

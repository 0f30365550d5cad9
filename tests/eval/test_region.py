"""The evaluation of region counts by the rules it names, whatever chooses and estimates."""

import functools
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
from scipy.io import savemat

from blurjax import deconvolution, images, plots, psf, region
from eval import __main__ as command
from eval import deblurring, report
from eval import region as protocol
from tests.eval import scenes
from tests.eval.scenes import hook

WINDOW = 40
METHODS = [
    "oracle", "random", "centre", "gradient std", "contrast", "useful edges", "gabor", "learned",
    "learned, refined", "4 windows, random", "4 windows, gradient std", "4 windows, learned",
    "whole image",
]  # fmt: skip


photograph = functools.partial(scenes.photograph, scales=(1, 2, 8))


@pytest.fixture
def stand_ins(monkeypatch):
    """The brighter a window, the better its kernel; with minimal_pixels the darker. The learned
    method knows it, gabor has it upside down, and contrast mostly does not know."""
    calls = SimpleNamespace(labelled=[], restored=0, whole=[], estimates=0, saved=[])

    def label(windows, truth, *, size, prior="l0"):
        assert len(windows) == 8 and windows.dtype == jnp.float32 and truth.shape == (15, 15)
        assert size == 15
        calls.labelled.append((prior, windows.shape[1:]))
        bright = np.asarray(windows.mean((1, 2)))
        similarity = bright if prior == "l0" else 1 - bright
        centre = np.pad(np.ones((1, 1), np.float32), 7)
        weight = similarity[:, None, None]
        return region.Label(similarity, weight * np.asarray(truth) + (1 - weight) * centre)

    def estimate_kernel(image, *, size, starts, prior):
        assert starts == "plain" and size == 15
        calls.whole.append((prior, image.shape))
        return SimpleNamespace(kernel=jnp.pad(jnp.ones((1, 1)), 7))

    def restored(solver, image, kernel):
        calls.restored += 1
        return scenes.wiener(image, kernel, 0.01)

    def scores(gray, corners, variables, config, *, size):
        assert gray.dtype == np.float32 and config == "its configuration"
        return variables["sign"] * protocol._windows(gray, corners, size).mean((1, 2))

    def estimate(image, variables=None, config=None, *, size, top=1):
        assert variables["sign"] == 1
        calls.estimates += 1
        return SimpleNamespace(
            status="ok", boxes=np.array([[5, 7, size, size]]), scores=np.array([0.9])
        )

    def load(name=None):
        assert name in (None, "gabor", Path("mine.npz"))
        return {"sign": -1 if name == "gabor" else 1}, "its configuration"

    def contrast(windows):
        return jnp.full(len(windows), jnp.nan).at[4].set(-1.0)

    def save(figure, path):
        calls.saved.append(path.name)
        return path

    for name, function in (("label", label), ("scores", scores), ("estimate", estimate)):
        monkeypatch.setattr(region, name, function, raising=False)
    monkeypatch.setattr(region, "estimate_kernel", lambda *a, **k: None)
    monkeypatch.setattr(region, "load", load, raising=False)
    monkeypatch.setattr(region, "SHIPPED", {None: "a", "gabor": "b"}, raising=False)
    monkeypatch.setattr(region, "gradient_std", lambda w: w[:, 0, 0], raising=False)
    monkeypatch.setattr(region, "contrast", contrast, raising=False)
    monkeypatch.setattr(region, "useful_edges", lambda w: jnp.zeros(len(w)), raising=False)
    monkeypatch.setattr(region, "WINDOW", WINDOW)
    monkeypatch.setattr(region, "MIN_SIZE", 8)
    monkeypatch.setattr(deblurring, "restored", restored)
    monkeypatch.setattr(deconvolution, "estimate_kernel", estimate_kernel)
    monkeypatch.setattr(plots, "save", save)
    return calls


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    images.write(tmp_path / "in" / "a.png", photograph((170, 190)))
    images.write(tmp_path / "in" / "b.png", photograph((180, 160), 1))
    images.write(tmp_path / "in" / "small.png", photograph((110, 300)))
    (tmp_path / "in" / "wrong.png").write_bytes(b"no image")
    (tmp_path / "kernels").mkdir()
    images.write_psf(tmp_path / "kernels" / "hook.npy", hook())
    return tmp_path


def run(folder, **options):
    settings = {"count": 3, "side": 110, "window": WINDOW, "stride": 20}
    settings |= {"timing": False, "out": folder / "out"}
    return protocol.evaluate((folder / "in",), (folder / "kernels",), **settings | options)


@pytest.mark.slow
def test_every_method_on_crops(folder, stand_ins, capsys):
    result = run(folder)
    made = result["parts"]["crops"]
    assert list(made["estimators"]) == ["l0", "minimal_pixels"] and made["n"] == 3
    assert list(made["estimators"]["l0"]["methods"]) == METHODS
    assert list(made["estimators"]["minimal_pixels"]["methods"]) == METHODS[1:]
    assert made["refused_as_too_small"] >= 1 and list(made["unreadable"]) == ["wrong.png"]
    for row in made["rows"]:
        assert row["image"] == [110, 110] and row["size"] == 7 and row["array"] == 15
        answers, grid = row["answers"]["l0"], np.array(row["similarities"])
        assert len(grid) == 16
        assert answers["oracle"]["similarity"] == grid.max() and answers["oracle"]["regret"] == 0
        assert answers["random"]["similarity"] == pytest.approx(grid.mean())
        assert answers["random"]["good"] == np.mean(grid > 0.75)
        assert answers["random"]["drawn_similarity"] in grid
        assert answers["learned"]["corners"] == answers["oracle"]["corners"]
        assert answers["learned"]["score"] == pytest.approx(grid.max())
        assert answers["gabor"]["similarity"] == grid.min()
        assert answers["gabor"]["regret"] == pytest.approx(np.ptp(grid))
        # Of scores that are not finite the least is made; of equal ones the first is taken.
        assert answers["contrast"]["corners"] == [[20, 0]]
        assert answers["useful edges"]["corners"] == [[0, 0]]
        # The middle is 55, 55; the window's, 20 px in. Of four as near the first.
        assert answers["centre"]["corners"] in ([[20, 20]], [[40, 40]])
        assert answers["learned, refined"]["corners"] == [[5, 7]]
        assert answers["whole image"]["corners"] == []
        ranks = row["rank_correlation"]
        assert ranks["learned"] == pytest.approx(1) and ranks["gabor"] == pytest.approx(-1)
        assert ranks["useful edges"] is None
        others = row["answers"]["minimal_pixels"]
        assert others["learned"]["similarity"] == pytest.approx(1 - grid.max())
        assert others["random"]["similarity"] == pytest.approx(
            1 - answers["random"]["drawn_similarity"]
        )
        assert others["learned"]["regret"] is None
    assert made["grid"]["windows"] == 48
    pooled = np.concatenate([row["similarities"] for row in made["rows"]])
    assert made["grid"]["median"] == np.median(pooled)
    # 17 windows, in threes of eight; then at most nine of the methods' in two.
    priors = [prior for prior, _ in stand_ins.labelled]
    assert priors.count("l0") in (9, 10) and priors.count("minimal_pixels") <= 6
    assert stand_ins.whole == [("l0", (110, 110)), ("minimal_pixels", (110, 110))] * 3
    written = json.loads((folder / "out" / "report.json").read_text())
    assert written == json.loads(json.dumps(result, default=report._plain))
    assert stand_ins.saved == [
        "success_curve_crops_l0.png", "success_curve_crops_minimal_pixels.png",
        "windows_crops.png", "shifted_crops.png",
    ]  # fmt: skip
    said = capsys.readouterr()
    assert "learned minus whole image" in said.out and "1 files could not be read" in said.out
    assert "crops: 3 of 3 images" in said.err


def test_ratios_are_over_the_true_kernels_error(folder, stand_ins):
    result = run(folder, count=1, estimators=("l0",), methods=("whole image", "learned", "oracle"))
    (row,) = result["parts"]["crops"]["rows"]
    (case,), _ = protocol._crops(
        (folder / "in",), (folder / "kernels",), "all", 1, 110, 2 / 255,
        SimpleNamespace(seed=0, window=WINDOW),
    )  # fmt: skip
    # The kernel that the whole image gives is a point: its image is the blurred one, but darker.
    framed = [np.pad(np.ones((1, 1)), 7), np.pad(case.psf, 4)]
    point, told = (
        deblurring.quality(scenes.wiener(case.blurred, kernel, 0.01), case.sharp)
        for kernel in framed
    )
    answers = row["answers"]["l0"]
    assert answers["whole image"]["ratio"] == pytest.approx(point.ssd / told.ssd, rel=1e-4)
    assert answers["whole image"]["psnr"] == pytest.approx(point.psnr, rel=1e-5)
    assert answers["learned"]["ratio"] == answers["oracle"]["ratio"] > 1
    # The true kernel's, the whole image's, and one for the window that two have chosen.
    assert stand_ins.restored == 3
    assert list(answers) == ["oracle", "learned", "whole image"]


def rows():
    """Two images of each of two photographs."""
    made = []
    for i in range(4):
        x = {
            "status": "ok" if i else "no", "similarity": 0.5 + 0.1 * i, "good": float(i > 2),
            "ratio": float(1 + i), "psnr": 20.0 + i, "regret": 0.1,
        }  # fmt: skip
        y = x | {"similarity": 0.5, "ratio": 2.5, "regret": None}
        ranks = {"x": 0.5 if i else None}
        made.append(
            {
                "photograph": str(i // 2),
                "answers": {"l0": {"x": x, "y": y}},
                "rank_correlation": ranks,
            }
        )
    return made


def test_numbers_of_a_method_by_hand():
    assert protocol.summary(rows(), "l0", "x") == {
        "n": 4, "refused": 1, "similarity": pytest.approx(0.65), "good": 0.25,
        "success": {"2": 0.5, "3": 0.75, "5": 1.0}, "psnr": 21.5, "regret": pytest.approx(0.1),
        "rank_correlation": 0.5,
    }  # fmt: skip
    other = protocol.summary(rows(), "l0", "y")
    assert other["regret"] is None and other["rank_correlation"] is None


def test_paired_differences_by_hand():
    got = protocol.paired(rows(), "l0", "x", "y")
    assert got["n"] == 4 and got["similarity"]["mean"] == pytest.approx(0.15)
    # Of two photographs both may be drawn, or one of them twice.
    assert got["similarity"]["interval"] == pytest.approx((0.05, 0.25))
    # At 2 the first two succeed and none of the other's; at 3 all of the other's.
    assert got["success"]["2"] == {"mean": 0.5, "interval": (0.0, 1.0)}
    assert got["success"]["3"] == {"mean": -0.25, "interval": (-0.5, 0.0)}
    assert protocol.paired(rows()[:2], "l0", "x", "y")["similarity"]["interval"] is None
    perfect = rows()
    for row in perfect:
        row["answers"]["l0"]["x"]["ratio"] = None
    assert protocol.paired(perfect, "l0", "x", "y")["success"] == {"2": None, "3": None}
    assert protocol.summary(perfect, "l0", "x")["success"] is None


def test_rank_correlation_shares_equal_ranks():
    got = protocol.rank_correlation(np.array([1.0, 2.0, 2.0, 9.0]), np.array([0.1, 0.4, 0.3, 0.2]))
    assert got == pytest.approx(scipy.stats.spearmanr([1, 2, 2, 9], [0.1, 0.4, 0.3, 0.2])[0])
    assert protocol.rank_correlation(np.ones(3), np.arange(3.0)) is None


def test_a_refusal_is_counted_and_leaves_the_whole_image(folder, stand_ins, monkeypatch):
    flat = SimpleNamespace(status="flat", boxes=np.zeros((0, 4)), scores=np.zeros(0))
    monkeypatch.setattr(region, "estimate", lambda *a, **k: flat)
    result = run(folder, count=2, methods=("learned, refined", "whole image"))
    made = result["parts"]["crops"]["estimators"]["l0"]
    assert made["methods"]["learned, refined"]["refused"] == 2
    assert made["methods"]["whole image"]["refused"] == 0
    assert list(made["paired"]) == ["learned, refined minus whole image"]
    gain = made["paired"]["learned, refined minus whole image"]
    assert gain["similarity"]["mean"] == gain["success"]["2"]["mean"] == 0


def test_time_is_told_once_a_shape(folder, stand_ins, monkeypatch):
    result = run(folder, count=2, methods=("learned",), estimators=("l0",), timing=True)
    (one,) = result["parts"]["crops"]["timing"]
    assert one["image"] == [110, 110] and one["size"] == 15
    assert one["ratio"] == pytest.approx((one["select"] + one["window"]) / one["whole"])
    # Each once to compile, and three times.
    assert stand_ins.estimates == 4
    assert stand_ins.whole == [("l0", (110, 110))] * 4 + [("l0", (WINDOW, WINDOW))] * 4
    # Nothing is selected: nothing is saved.
    without = run(folder, count=1, methods=("centre",), timing=True)
    assert without["parts"]["crops"]["timing"] == []


def test_shifted_windows_are_the_neighbours_that_differ_most(folder, stand_ins, monkeypatch):
    seen = []
    monkeypatch.setattr(plots, "window_sheet", lambda rows, *, title: seen.append((rows, title)))
    result = run(folder, estimators=("l0",), side=150)
    (sheet, title), (shifted, other) = seen
    assert "n = 3" in title and len(sheet) == len({row.caption for row in sheet}) <= 3
    assert list(sheet[0].kernels) == METHODS and set(sheet[0].boxes) == set(METHODS[:-4])
    answer = next(
        row["answers"]["l0"]
        for row in result["parts"]["crops"]["rows"]
        if sheet[0].caption.startswith(row["name"])
    )
    drawn = answer["random"]["drawn_similarity"]
    assert sheet[0].notes["random"].startswith(f"similarity {drawn:.2f}")
    assert "20 px apart" in other
    (row,) = shifted
    assert list(row.boxes) == list("abcd") == list(row.kernels)
    corners = np.array([box[:2] for box in row.boxes.values()])
    steps = np.diff(corners, axis=0)
    assert sorted(steps[0]) == [0, 20] and np.all(steps == steps[0])
    image = np.asarray(row.blurred)
    similar = [image[r : r + 40, c : c + 40].mean() for r, c in corners]
    assert [row.notes[name] for name in "abcd"] == [f"similarity {s:.2f}" for s in similar]
    # The pair that differs most is one of these, for the grid has the same stride.
    spreads = []
    for made in result["parts"]["crops"]["rows"]:
        grid = np.array(made["similarities"]).reshape(6, 6)
        spreads += [np.abs(np.diff(grid, axis=axis)).max() for axis in (0, 1)]
    assert np.ptp(similar) >= max(spreads) - 1e-6


def test_without_room_no_windows_are_shifted(folder, stand_ins):
    run(folder, count=1, side=90)
    assert stand_ins.saved[-1] == "windows_crops.png"


def test_levin_has_smaller_windows(folder, stand_ins):
    sharp = photograph((170, 180))
    blurred = scipy.signal.correlate2d(sharp, hook(), mode="same", boundary="symm")
    contents = {"x": sharp.astype(float), "y": blurred, "f": hook().astype(float)}
    savemat(folder / "im05_flit01.mat", contents)
    tiny = {name: part[:100, :100] for name, part in contents.items()}
    savemat(folder / "im05_flit02.mat", tiny)
    (folder / "im05_flit03.mat").write_bytes(b"no recording")
    result = protocol.evaluate(
        levin=folder, out=folder / "out", timing=False, weights=Path("mine.npz")
    )
    assert list(result["parts"]) == ["levin"]
    made = result["parts"]["levin"]
    assert made["n"] == 1 and made["window"] == 128 and len(made["rows"][0]["similarities"]) == 4
    assert list(made["unreadable"]) == ["im05_flit03"] and made["refused_as_too_small"] == 1
    assert {shape for _, shape in stand_ins.labelled} == {(128, 128)}
    (folder / "im05_flit01.mat").unlink()
    with pytest.raises(ValueError, match="128 px a side"):
        protocol.evaluate(levin=folder, out=folder / "out")


def test_random_is_a_word_for_no_folder(folder, stand_ins, monkeypatch):
    asked = []

    def random(count, seed):
        asked.append((count, seed))
        return [protocol.Kernel("shaken", hook())]

    monkeypatch.setattr(protocol, "_random", random)
    monkeypatch.chdir(folder)
    options = {"count": 1, "side": 90, "window": WINDOW, "timing": False, "seed": 5}
    options["methods"] = ("centre",)
    for kernels in ((Path("random"),), ()):
        result = protocol.evaluate((folder / "in",), kernels, out=folder / "out", **options)
        assert result["parts"]["crops"]["kernels"] == ["random"]
    assert asked == [(1, 5)] * 2
    # A folder of that name is a folder.
    (folder / "kernels").rename(folder / "random")
    result = protocol.evaluate((folder / "in",), (Path("random"),), out=folder / "out", **options)
    assert result["parts"]["crops"]["rows"][0]["kernel"] == "hook" and len(asked) == 2


@pytest.mark.slow
def test_random_kernels_have_every_size_in_turn():
    kernels = protocol._random(3, 1)
    sizes = [max(psf.extent(jnp.asarray(k.psf)).tolist()) for k in kernels]
    assert len(set(sizes)) == 3 and set(sizes) <= set(range(11, 56, 2))
    for kernel, size in zip(kernels, sizes, strict=True):
        assert kernel.psf.shape == (size, size) and kernel.name.endswith(f"trajectory {size}")
    again = protocol._random(2, 1)
    np.testing.assert_array_equal(again[1].psf, kernels[1].psf)


@pytest.mark.parametrize(("size", "array"), [(3, 15), (15, 15), (17, 23), (55, 55), (83, 95)])
def test_kernels_are_estimated_in_few_arrays(size, array):
    assert protocol._array(size) == array
    framed = protocol._framed(np.ones((size, size)))
    assert framed.shape == (array, array) and framed.sum() == size**2
    margin = (array - size) // 2
    assert framed[margin, margin] == 1 and framed.dtype == np.float32


def test_a_kernel_too_large_for_the_windows_is_left_out(folder, stand_ins, capsys):
    images.write_psf(folder / "kernels" / "vast.npy", np.ones((17, 17)))
    result = run(folder, count=2)
    assert result["parts"]["crops"]["kernels_too_large"] == 1
    assert "vast has 17 px, too many for windows of 40 px" in capsys.readouterr().err


def test_no_photograph_is_large_enough(folder, stand_ins, capsys):
    with pytest.raises(ValueError, match="leave 400 px a side; give larger photographs"):
        run(folder, side=400)
    assert "every photograph is too small for hook" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"count": 0}, "count is 0"),
        ({"side": 130}, "side is 130; a window has 228 px"),
        ({"window": 7}, "window is 7"),
        ({"stride": 0}, "stride is 0"),
        ({"noise": 1.0}, "noise is 1.0"),
        ({"estimators": ()}, "give at least one"),
        ({"estimators": ("l1",)}, "estimators are"),
        ({"methods": ("guess",)}, "no method is called"),
        ({"solver": "magic"}, "solver is 'magic'"),
    ],
)
def test_options_that_do_not_fit(stand_ins, options, reason):
    with pytest.raises(ValueError, match=reason):
        protocol.evaluate(**options)


def test_it_is_a_protocol(stand_ins, monkeypatch, capsys):
    options = ["--count", "0", "--kernels", "random", "--methods", "learned, refined"]
    monkeypatch.setattr(sys, "argv", ["eval", "region", *options])
    assert command.main() == 1
    assert capsys.readouterr().err == "eval: count is 0; give 1 or more\n"


@pytest.mark.slow
def test_a_network_and_the_real_estimator(float32, monkeypatch, tmp_path):
    import jax

    from blurjax import weights

    needed = ("init", "load", "scores", "estimate", "SHIPPED")
    missing = [name for name in needed if not hasattr(region, name)]
    if missing:
        pytest.skip(f"blurjax.region has no {', '.join(missing)} yet")
    config = region.Config(depth=10, width=4, reduced=2)
    file = weights.save(
        tmp_path / "region.npz", region.init(jax.random.key(0), config), config, {"note": "random"}
    )
    monkeypatch.setattr(region, "SHIPPED", {None: "region"})
    result = protocol.evaluate(
        out=tmp_path / "out", count=1, side=260, stride=32, estimators=("l0",), weights=file
    )
    made = result["parts"]["crops"]
    methods = made["estimators"]["l0"]["methods"]
    assert len(made["rows"][0]["similarities"]) == 4
    assert methods["oracle"]["similarity"] >= methods["learned"]["similarity"] > 0
    assert made["timing"][0]["ratio"] > 0
    assert (tmp_path / "out" / "windows_crops.png").exists()

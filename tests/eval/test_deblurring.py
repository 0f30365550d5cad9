"""The evaluation of deblurring counts by the rules it names, whatever restores."""

import json
import math
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
from scipy.io import savemat

import blurjax
from blurjax import deconvolution, images, metrics, plots, psf
from blurjax.images import ImageError
from eval import deblurring as protocol
from eval import report
from tests.eval import scenes
from tests.eval.scenes import hook, photograph


def wiener(solver, image, kernel):
    """Stand-in for the solvers, which gets worse from one to the next."""
    return scenes.wiener(image, kernel, 1e-3 * 4.0 ** protocol.SOLVERS.index(solver))


@pytest.fixture
def stand_ins(monkeypatch):
    """Kernels that are a box of the size asked for; `deblur` refuses what is dark. No drawing."""
    calls = []

    def estimate_kernel(image, *, size, starts="several"):
        assert image.dtype == jnp.float32 and size % 2
        calls.append((size, starts))
        wide = size if starts == "several" else max(size - 4, 1)
        box = np.zeros((size, size), np.float32)
        margin = (size - wide) // 2
        box[size // 2, margin : size - margin] = 1 / wide
        return SimpleNamespace(kernel=jnp.asarray(box))

    def deblur(image):
        calls.append("deblur")
        if image.mean() < 0.2:
            nothing = np.ones((1, 1), np.float32)
            return SimpleNamespace(
                image=image, kernel=nothing, size=1, path="nothing", confidence=0.0, status="dark"
            )
        kernel = np.full((1, 1), 1.0, np.float32)
        return SimpleNamespace(
            image=np.clip(image + 0.01, 0, 1), kernel=np.pad(kernel, 2), size=5, path="a guess",
            confidence=0.5, status="ok",
        )  # fmt: skip

    def save(figure, path):
        path.parent.mkdir(exist_ok=True)
        path.touch()
        return path

    monkeypatch.setattr(protocol, "restored", wiener)
    monkeypatch.setattr(deconvolution, "estimate_kernel", estimate_kernel, raising=False)
    monkeypatch.setattr(blurjax, "deblur", deblur, raising=False)
    monkeypatch.setattr(plots, "save", save)
    return calls


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    images.write(tmp_path / "in" / "a.png", photograph((170, 190)))
    images.write(tmp_path / "in" / "b.png", photograph((180, 160), 1))
    images.write(tmp_path / "in" / "small.png", photograph((90, 300)))
    (tmp_path / "kernels").mkdir()
    images.write_psf(tmp_path / "kernels" / "hook.npy", hook())
    return tmp_path


def answer(psnr, **more):
    plain = {
        "status": "ok", "psnr": psnr, "ssim": 0.5, "ratio": None, "similarity": None, "size": None,
        "seconds": 1.0, "first": False,
    }  # fmt: skip
    return plain | more


@pytest.mark.parametrize("shift", [(0.0, 0.0), (2.0, -3.0), (-1.75, 0.5), (4.5, -5.0)])
def test_moved_is_bilinear(shift):
    image = photograph((70, 80)).astype(float)
    got = protocol.moved(image, np.array(shift), 15)
    expected = scipy.ndimage.shift(image, [-s for s in shift], order=1)[15:-15, 15:-15]
    np.testing.assert_allclose(got, expected, atol=1e-12)


@pytest.mark.slow
def test_quality_is_that_of_the_metrics():
    sharp = photograph((90, 100))
    # Little enough for the mean of four pixels not to gain by it.
    noise = np.random.default_rng(1).normal(size=sharp.shape) * 0.005
    near = np.clip(np.roll(sharp, (2, -1), (0, 1)) + noise, 0, 1).astype(np.float32)
    far = np.clip(sharp + 3 * noise, 0, 1).astype(np.float32)
    one, other = (protocol.quality(image, sharp) for image in (near, far))
    assert one.shift == (2, -1) and other.shift == (0, 0)
    assert one.psnr == pytest.approx(float(metrics.aligned_psnr(near, sharp)), abs=1e-3)
    ratio = float(metrics.error_ratio(far, sharp, near))
    assert other.ssd / one.ssd == pytest.approx(ratio, rel=1e-3)
    middle = near[17:-13, 14:-16]
    assert one.ssim == pytest.approx(float(metrics.ssim(middle, sharp[15:-15, 15:-15])), abs=1e-5)
    # What a file cannot hold does not count.
    assert protocol.quality(np.where(sharp > 0.99, 9, sharp), sharp).psnr > 40
    assert protocol.quality(sharp, sharp).psnr == math.inf


def test_summary_by_hand():
    rows = [{"size": size} for size in (11, 13, 21, None)]
    answers = [
        answer(20.0, ratio=1.0, similarity=0.9, size=11, seconds=9.0, first=True),
        answer(22.0, ratio=2.0, similarity=0.7, size=17),
        answer(30.0, ratio=4.5, size=11, seconds=3.0),
        answer(28.0, status="too dark", ssim=0.9),
    ]
    got = protocol.summary(answers, rows)
    assert (got["n"], got["refused"]) == (4, 1)
    assert got["psnr"] == {"mean": 25, "median": 25, "least": 20}
    assert got["ssim"] == pytest.approx(0.6) and got["similarity"] == pytest.approx(0.8)
    assert got["ratio"] == {"mean": 2.5, "median": 2.0, "worst": 4.5}
    assert got["success"] == pytest.approx({"2": 2 / 3, "3": 2 / 3, "5": 1})
    assert got["size_off"] == 4 and got["seconds"] == {"first": 9, "later": 1}
    bare = protocol.summary([answer(1.0, seconds=None)], rows[:1])
    assert bare["ratio"] is bare["success"] is bare["similarity"] is bare["size_off"] is None
    assert bare["seconds"] == {"first": None, "later": None}


def test_the_interval_is_over_photographs():
    values = np.array([0.0, 0.0, 1.0, 1.0])
    # Two photographs: half of the draws hold one of them twice.
    assert protocol.bootstrap(values, ["a", "a", "b", "b"]) == (0, 1)
    assert protocol.bootstrap(values, ["a"] * 4) is None
    many = np.random.default_rng(0).normal(2, 1, 400)
    alone = protocol.bootstrap(many, [str(i) for i in range(400)])
    together = protocol.bootstrap(many, [str(i // 40) for i in range(400)])
    assert alone == protocol.bootstrap(many, [str(i) for i in range(400)])
    for low, high in (alone, together):
        assert low < many.mean() < high
    assert alone[1] - alone[0] == pytest.approx(2 * 1.96 / 20, rel=0.1)


def test_paired_differences_are_of_the_same_images():
    rows = [
        {"photograph": str(i // 2), "answers": {"x": answer(20.0 + i), "y": answer(21.0 - i)}}
        for i in range(4)
    ]
    got = protocol.paired(rows, "x", "y")
    assert got["mean"] == np.mean([-1, 1, 3, 5]) and got["better"] == 0.75 and got["n"] == 4
    assert got["interval"] == (0, 4)


@pytest.mark.parametrize("shape", [(170, 190), (150, 120)])
def test_a_crop_is_blurred_with_its_surroundings(shape):
    whole, kernel, key = photograph(shape), hook(), jax.random.key(0)
    blurred, sharp = protocol.crop_and_blur(whole, kernel, 140, 0.0, key)
    side = tuple(min(140, n - 8) for n in shape)
    assert blurred.shape == sharp.shape == side and blurred.dtype == sharp.dtype == np.float32
    expected = scipy.signal.convolve2d(whole, kernel, mode="valid")
    row, column = ((n - 8 - s) // 2 for n, s in zip(shape, side, strict=True))
    inside = slice(row, row + side[0]), slice(column, column + side[1])
    np.testing.assert_allclose(blurred, expected[inside], atol=0.5 / 255 + 1e-5)
    np.testing.assert_allclose(255 * blurred, np.round(255 * blurred), atol=1e-3)
    np.testing.assert_array_equal(sharp, whole[4:-4, 4:-4][inside])
    noisy, same = protocol.crop_and_blur(whole, kernel, 140, 0.05, key)
    np.testing.assert_array_equal(same, sharp)
    assert np.std(noisy - blurred) == pytest.approx(0.05, rel=0.1)
    rng = np.random.default_rng
    crops = [protocol.crop_and_blur(whole, kernel, 100, 0.0, key, rng(s))[1] for s in (1, 1, 2)]
    np.testing.assert_array_equal(crops[0], crops[1])
    assert np.any(crops[0] != crops[2])


@pytest.mark.slow
def test_random_kernels_have_every_size_in_turn():
    kernels = protocol._random(10, 3)
    sizes = [max(psf.extent(jnp.asarray(k.psf)).tolist()) for k in kernels]
    assert sorted(sizes[:8]) == list(range(13, 28, 2)) and set(sizes[8:]) <= set(sizes[:8])
    for kernel, size in zip(kernels, sizes, strict=True):
        assert kernel.psf.shape == (size, size) and kernel.name.endswith(f"trajectory {size}")
        assert kernel.psf.sum() == pytest.approx(1, abs=1e-5)
    again = protocol._random(10, 3)
    assert all(np.array_equal(a.psf, b.psf) for a, b in zip(kernels, again, strict=True))
    assert not np.array_equal(protocol._random(1, 4)[0].psf, kernels[0].psf)


def test_levin_kernels_are_turned(tmp_path):
    sharp, kernel = photograph((120, 110)), hook(7)
    blurred = scipy.signal.correlate2d(sharp, kernel, mode="same", boundary="wrap")
    contents = {"x": sharp.astype(float), "y": blurred, "f": kernel.astype(float)}
    savemat(tmp_path / "im06_flit03.mat", contents)
    (tmp_path / "im06_flit04.mat").write_bytes(b"no recording")
    (case,), about = protocol.recorded(tmp_path)
    assert (case.photograph, case.kernel) == ("im06", "flit03")
    assert list(about["unreadable"]) == ["im06_flit04"]
    again = scipy.signal.convolve2d(sharp, case.psf, mode="same", boundary="wrap")
    # Cut to its box a kernel may move by whole pixels, as Levin's own are displaced.
    assert protocol.quality(again, case.blurred).psnr > 60
    wrong = scipy.signal.convolve2d(sharp, kernel, mode="same", boundary="wrap")
    assert protocol.quality(wrong, case.blurred).psnr < 40
    assert case.size == 5


@pytest.mark.slow
def test_the_proxy_is_always_the_same(tmp_path, capsys):
    (tmp_path / "sharp").mkdir()
    for i, name in enumerate(("manmade_01", "natural_02", "people_03", "other_04")):
        shape = (300, 310) if name != "people_03" else (140, 300)
        images.write(tmp_path / "sharp" / f"{name}.png", photograph(shape, i))
    (tmp_path / "kernels").mkdir()
    images.write_psf(tmp_path / "kernels" / "k1.npy", hook(11))
    folders = (tmp_path / "sharp",), (tmp_path / "kernels",)
    cases, about = protocol._proxy(*folders)
    # One photograph is missing, and one too small for the larger kernels.
    assert list(about["unreadable"]) == ["natural_04"] and "natural_04" in capsys.readouterr().err
    assert len(cases) == 2 * 5 + 2 and len(about["too_small"]) == 3
    names = ["k1", *(f"trajectory {size}" for size in (13, 17, 21, 27))]
    assert list(dict.fromkeys(case.kernel for case in cases)) == names
    assert [case.size for case in cases if case.photograph == "manmade_01"] == [9, 13, 17, 21, 27]
    assert cases[0].blurred.shape == (255, 255) == cases[0].sharp.shape
    sharp = images.read(tmp_path / "sharp" / "manmade_01.png")
    np.testing.assert_array_equal(cases[0].sharp, sharp[22:277, 27:282])
    again = protocol._proxy(*folders)[0]
    assert all(np.array_equal(a.blurred, b.blurred) for a, b in zip(cases, again, strict=True))
    clean = scipy.signal.convolve2d(sharp, cases[0].psf, mode="same")[22:277, 27:282]
    assert np.std(cases[0].blurred - clean) == pytest.approx(0.01, rel=0.1)


def test_crops_take_photographs_and_kernels_by_turns(folder, capsys):
    images.write_psf(folder / "kernels" / "vast.npy", np.ones((71, 71)))
    (folder / "kernels" / "wrong.mat").write_bytes(b"no kernel")
    where = (folder / "in",), (folder / "kernels",)
    cases, about = protocol._crops(*where, "all", 6, 130, 0.01, 0)
    assert [case.kernel for case in cases] == ["hook"] * 3
    assert about["kernels_without_photograph"] == ["vast"] * 3
    assert {case.photograph for case in cases} == {"a.png", "b.png"}
    assert {case.blurred.shape for case in cases} == {(130, 130)}
    assert about["refused_as_too_small"] >= 1 and len(about["unreadable_kernels"]) == 1
    assert "too small for the kernel vast" in capsys.readouterr().err
    # What an image is does not depend on how many there are.
    fewer = protocol._crops(*where, "all", 1, 130, 0.01, 0)[0]
    np.testing.assert_array_equal(fewer[0].blurred, cases[0].blurred)


def test_pairs_are_found_by_name(folder):
    root = folder / "pairs"
    root.mkdir()
    sharp = photograph((140, 160))
    colour = np.stack([sharp] * 3, -1)
    for name in ("one", "two", "alone", "odd", "tiny"):
        images.write(root / f"{name}.png", colour)
        if name != "alone":
            images.write(root / f"{name}_gt.png", sharp)
    images.write(root / "odd_gt.png", sharp[:100])
    (root / "two.png").write_bytes(b"no image")
    images.write(root / "tiny.png", sharp[:50])
    images.write(root / "tiny_gt.png", sharp[:50])
    cases, about = protocol._pairs(root, None)
    assert [case.name for case in cases] == ["one"] and about["alone"] == ["alone"]
    assert set(about["unreadable"]) == {"two", "odd", "tiny"}
    assert cases[0].psf is None and cases[0].blurred.shape == sharp.shape
    np.testing.assert_allclose(cases[0].blurred, sharp, atol=1e-6)
    assert protocol._pairs(root, None, 150)[0] == []
    middle = protocol._pairs(root, 100)[0][0]
    np.testing.assert_array_equal(middle.sharp, sharp[20:120, 30:130])
    with pytest.raises(ImageError, match="no such folder"):
        protocol._pairs(folder / "none", None)


@pytest.mark.slow
def test_all_methods_on_crops(folder, stand_ins, capsys):
    result = protocol.evaluate(
        (folder / "in",), (folder / "kernels",), out=folder / "out", count=3, side=130, noise=0.0
    )
    made = result["parts"]["crops"]
    methods = made["methods"]
    assert list(methods) == [
        "blurred", "total_variation", "wiener", "richardson_lucy", "hyper_laplacian",
        "blind, given size", "blind, plain", "blind, published", "blind, estimated size",
        "deblur, as returned",
    ]  # fmt: skip
    for row in made["rows"]:
        answers = row["answers"]
        assert row["size"] == 7 and row["image"] == [130, 130]
        assert answers["total_variation"]["ratio"] == 1
        assert answers["wiener"]["ratio"] < 1 < answers["hyper_laplacian"]["ratio"]
        blurred, told = answers["blurred"], answers["total_variation"]
        ratio = 10 ** ((told["psnr"] - blurred["psnr"]) / 10)
        assert blurred["ratio"] == pytest.approx(ratio, rel=1e-6)
        assert answers["blind, given size"]["size"] == 7 == answers["blind, plain"]["size"]
        assert 0 < answers["blind, plain"]["similarity"] < 1
        given, returned = answers["blind, estimated size"], answers["deblur, as returned"]
        # The same kernel, a single pixel: the common solver's image is not deblur's.
        assert given["similarity"] == returned["similarity"]
        assert given["size"] == 5 and given["path"] == "a guess" and given["confidence"] == 0.5
        assert given["psnr"] != returned["psnr"]
        assert blurred["similarity"] is None and blurred["size"] is None
    assert stand_ins[:4] == [(7, "several"), (7, "plain"), (7, "published"), "deblur"]
    assert methods["blind, estimated size"]["size_off"] == 2
    gain = made["paired"]["blind, estimated size minus blind, given size"]
    answers = [row["answers"] for row in made["rows"]]
    differences = [
        a["blind, estimated size"]["psnr"] - a["blind, given size"]["psnr"] for a in answers
    ]
    assert gain["mean"] == pytest.approx(np.mean(differences)) and len(gain["interval"]) == 2
    assert all(some["seconds"]["later"] is not None for some in methods.values())
    written = json.loads((folder / "out" / "report.json").read_text())
    assert written == json.loads(json.dumps(result, default=report._plain))
    drawn = {path.name for path in (folder / "out").glob("*.png")}
    assert drawn == {"success_curve_crops.png", "sheet_crops.png"}
    shown = capsys.readouterr().out
    assert "PMP, published" in shown and "total_variation with the true kernel" in shown
    assert "blind, estimated size minus blind, given size" in shown


@pytest.mark.slow
def test_a_refusal_scores_the_image_as_it_is(folder, stand_ins):
    images.write(folder / "in" / "a.png", 0.1 * photograph((170, 190)))
    (folder / "in" / "b.png").write_bytes(b"no image")
    result = protocol.evaluate(
        (folder / "in",), (folder / "kernels",), out=folder / "out", count=3, side=130,
        methods=("blind, estimated size", "blurred"), solver="wiener",
    )  # fmt: skip
    made = result["parts"]["crops"]
    # The solver is called for the ratio, and is not listed.
    assert list(made["methods"]) == ["blurred", "blind, estimated size"]
    answers = made["rows"][0]["answers"]
    assert answers["blind, estimated size"]["psnr"] == answers["blurred"]["psnr"]
    assert answers["blind, estimated size"]["status"] == "dark"
    assert made["methods"]["blind, estimated size"]["refused"] == 3
    assert made["methods"]["blind, estimated size"]["size_off"] is None
    assert list(made["unreadable"]) == ["b.png"] and made["paired"] == {}


@pytest.mark.slow
def test_a_single_call_is_repeated_to_tell_its_time(folder, stand_ins):
    result = protocol.evaluate(
        (folder / "in",), (folder / "kernels",), out=folder / "out", count=1, side=130,
        methods=("deblur, as returned",),
    )  # fmt: skip
    seconds = result["parts"]["crops"]["methods"]["deblur, as returned"]["seconds"]
    assert stand_ins == ["deblur", "deblur"]
    assert seconds["first"] > 0 and seconds["later"] > 0


@pytest.mark.slow
def test_levin_and_pairs_with_stand_ins(folder, stand_ins, capsys):
    sharp = photograph((130, 140))
    blurred = scipy.signal.correlate2d(sharp, hook(), mode="same", boundary="symm")
    contents = {"x": sharp.astype(float), "y": blurred, "f": hook().astype(float)}
    savemat(folder / "im05_flit01.mat", contents)
    root = folder / "pairs"
    root.mkdir()
    for name in ("one", "two"):
        images.write(root / f"{name}.png", np.clip(blurred, 0, 1))
        images.write(root / f"{name}_gt.png", sharp)
    result = protocol.evaluate(
        levin=folder, pairs=root, out=folder / "out", sizes=(3, 9, 15), pairs_side=120
    )
    assert set(result["parts"]) == {"levin", "pairs"}
    pairs = result["parts"]["pairs"]
    names = ["blurred", "blind, 3 px", "blind, 9 px", "blind, 15 px", "blind, estimated size"]
    assert list(pairs["methods"]) == [*names, "deblur, as returned", "blind, best of sizes"]
    for row in pairs["rows"]:
        answers = row["answers"]
        tried = [answers[name]["psnr"] for name in names[1:4]]
        assert answers["blind, best of sizes"]["psnr"] == max(tried)
        assert answers["blind, best of sizes"]["size"] == (3, 9, 15)[int(np.argmax(tried))]
        assert row["size"] is None and answers["blind, 3 px"]["ratio"] is None
        assert row["image"] == [120, 120]
    assert set(pairs["paired"]) == {"blind, estimated size minus blind, best of sizes"}
    shown = capsys.readouterr().out
    assert "size by hand, published" in shown and "Cho-Lee, published" in shown
    drawn = {path.name for path in (folder / "out").glob("*.png")}
    assert drawn == {"success_curve_levin.png", "sheet_levin.png", "sheet_pairs.png"}


def test_the_best_median_and_worst_are_drawn(folder, stand_ins, monkeypatch):
    seen = []

    def sheet(rows, *, title):
        seen.extend(rows)
        return title

    monkeypatch.setattr(plots, "deblurring_sheet", sheet)
    result = protocol.evaluate(
        (folder / "in",), (folder / "kernels",), out=folder / "out", count=5, side=128,
        methods=("blind, given size",),
    )  # fmt: skip
    rows = sorted(
        result["parts"]["crops"]["rows"], key=lambda r: r["answers"]["blind, given size"]["ratio"]
    )
    assert [row.caption for row in seen] == [rows[i]["name"] for i in (0, 2, 4)]
    assert (
        seen[0].notes[1].endswith(f"ratio {rows[0]['answers']['blind, given size']['ratio']:.2f}")
    )
    assert seen[0].kernel.shape == (7, 7) and seen[0].truth.shape == (7, 7)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"count": 0}, "count is 0"),
        ({"side": 32}, "side is 32"),
        ({"pairs_side": 10}, "pairs_side is 10"),
        ({"noise": -0.1}, "noise is -0.1"),
        ({"methods": ("guess",)}, "no method is called"),
        ({"sizes": (4,)}, "give odd numbers"),
        ({"sizes": ()}, "give odd numbers"),
        ({"pairs_side": 90}, "twice its kernel's side"),
        ({"proxy": True}, "give --images and --kernels"),
    ],
)
def test_options_that_do_not_fit(options, reason):
    with pytest.raises(ValueError, match=reason):
        protocol.evaluate(**options)


def test_nothing_left_is_said(folder):
    images.write_psf(folder / "kernels" / "hook.npy", np.ones((99, 99)))
    with pytest.raises(ValueError, match="crops: no image is left"):
        protocol.evaluate((folder / "in",), (folder / "kernels",), out=folder / "out", count=2)


@pytest.mark.slow
def test_the_real_solvers_restore(float32, tmp_path):
    result = protocol.evaluate(
        out=tmp_path / "out", count=1, side=160, noise=0.0,
        methods=("blurred", *protocol.SOLVERS, "blind, plain"),
    )  # fmt: skip
    methods = result["parts"]["crops"]["methods"]
    for solver in protocol.SOLVERS:
        assert methods[solver]["psnr"]["mean"] > methods["blurred"]["psnr"]["mean"] + 3
    assert methods["blind, plain"]["similarity"] > 0.3
    assert (tmp_path / "out" / "sheet_crops.png").exists()

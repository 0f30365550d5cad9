"""Photographs restored with what blur_type says of them: kernels, scores and tables."""

import json
import math
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

import blurjax
from blurjax import blur_type, images, plots, psf
from blurjax.weights import WeightsError
from eval import blur_type_deblurring as protocol
from eval import deblurring, report

TRUE = {"length": 10.0, "angle": math.pi / 4}


def shrink(solver, image, kernel):
    """Stand-in for the solvers: the nearer to the true kernel, the nearer to the sharp image."""
    near = deblurring.similarity(protocol._true_kernel("motion"), kernel)
    return image * (1 - 0.2 * (1 - near))


@pytest.fixture
def stand_ins(monkeypatch):
    """blur_type sees a motion that is a little off, the published weights a Gaussian, fit_blind
    nothing; and there is no drawing."""
    said = {
        "ours": ("ok", "motion", {"length": 11.0, "angle": math.pi / 4 - math.radians(3)}),
        "published": ("ok", "gaussian", {"sigma": 1.5}),
    }

    def estimate(image, variables, config):
        assert image.dtype == np.float32 and image.ndim == 2
        # Only the published network has to do without the judge.
        assert ("judge" in variables) == (variables["name"] == "ours")
        status, label, parameters = said[variables["name"]]
        return SimpleNamespace(status=status, label=label, parameters=parameters)

    def fit_blind(image, *, family, size):
        assert family == "all" and size % 2
        return SimpleNamespace(family="defocus", parameters={"radius": jnp.asarray(jnp.nan)})

    def estimated_kernel(image, size):
        assert size == protocol.psf.extent(jnp.asarray(protocol._true_kernel("motion"))).max()
        return np.ones((size, size), np.float32) / size**2

    drawn = []

    def comparison(shown, captions, detail, *, title):
        drawn.append((captions, title))
        assert len(shown) == len(captions) and len({image.shape for image in shown}) == 1

    def save(figure, path):
        path.parent.mkdir(exist_ok=True)
        return path

    monkeypatch.setattr(blur_type, "estimate", estimate)

    def load(name=None):
        return {"name": name or "ours", "judge": None}, None

    monkeypatch.setattr(blur_type, "load", load)
    monkeypatch.setattr(blurjax, "fit_blind", fit_blind)
    monkeypatch.setattr(deblurring, "estimated_kernel", estimated_kernel)
    monkeypatch.setattr(deblurring, "restored", shrink)
    monkeypatch.setattr(plots, "comparison", comparison)
    monkeypatch.setattr(plots, "save", save)
    return SimpleNamespace(said=said, drawn=drawn)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    rng = np.random.default_rng(0)
    for name, shape in (("a", (160, 170)), ("b", (150, 150)), ("small", (100, 300))):
        images.write(tmp_path / "in" / f"{name}.png", 0.2 + 0.6 * rng.uniform(size=shape))
    (tmp_path / "in" / "broken.png").write_bytes(b"no image")
    return tmp_path


def test_stated_kernels_have_one_of_a_few_sizes():
    for label, parameters, size in (
        ("motion", TRUE, 17),
        ("gaussian", {"sigma": 4.0}, 33),
        ("defocus", {"radius": 25.0}, 65),
        ("motion", {"length": 70.0, "angle": 0.0}, 71),
    ):
        kernel = protocol.stated_kernel(label, parameters)
        assert kernel.shape == (size, size) and kernel.dtype == np.float32
    expected = psf.motion(10.0, math.pi / 4, size=17)
    np.testing.assert_allclose(protocol.stated_kernel("motion", TRUE), expected, atol=1e-6)
    # One size holds all that blur here.
    for label, parameters in protocol._BLURS.items():
        assert psf.support(label, *parameters.values()) <= protocol._KERNEL


def test_all_methods_with_stand_ins(folder, stand_ins, capsys):
    result = protocol.evaluate((folder / "in",), folder / "out", side=128)
    assert (result["photographs"], result["photographs_used"]) == (4, 2)
    assert list(result["unreadable"]) == ["broken.png"] and result["refused_as_too_small"] >= 1
    made = result["blurs"]["motion"]
    assert made["n"] == 2 and made["truth"] == TRUE
    methods = made["methods"]
    assert list(methods) == list(protocol._METHODS)
    for row in made["rows"]:
        answers = row["answers"]
        assert row["image"] == [128, 128]
        assert answers["true parameters"]["similarity"] == pytest.approx(1, abs=1e-5)
        assert answers["blur_type"]["psnr"] > answers["published network"]["psnr"]
        # A parameter that is not finite is no answer.
        assert answers["fit_blind"]["kept"] and answers["fit_blind"]["label"] == "defocus"
        assert answers["fit_blind"]["psnr"] == answers["blurred"]["psnr"]
    assert methods["blur_type"]["errors"] == pytest.approx({"length": 1, "angle": 3})
    assert methods["blur_type"]["right"] == 1 and methods["published network"]["right"] == 0
    assert methods["published network"]["errors"] is None
    assert methods["published network"]["said"] == {"gaussian": 2}
    assert methods["blind kernel"]["right"] is None and methods["blurred"]["right"] is None
    assert methods["fit_blind"]["kept"] == 1 and methods["fit_blind"]["gain"]["mean"] == 0
    assert methods["blurred"]["gain"] is None and len(methods["blur_type"]["gain"]["interval"]) == 2
    written = json.loads((folder / "out" / "report.json").read_text())
    assert json.dumps(written) == json.dumps(result, default=report._plain)
    ((captions, title),) = stand_ins.drawn
    assert captions[0].startswith("ground truth") and "median gain" in title
    assert any(caption.startswith("fit_blind, kept as it is") for caption in captions)
    shown = capsys.readouterr()
    assert "length 1.00 px" in shown.out and "angle 3.0°" in shown.out
    assert "1 unreadable" in shown.out
    assert "broken.png" in shown.err


def test_other_blurs_and_no_answer(folder, stand_ins, monkeypatch):
    stand_ins.said["ours"] = ("too little texture", "unknown", {})
    monkeypatch.setattr(deblurring, "restored", lambda solver, image, kernel: 0.5 * image)
    result = protocol.evaluate(
        (folder / "in",), folder / "out", blurs=("gaussian", "defocus"), count=1, side=128,
        methods=("blurred", "blur_type", "published network"), noise=0.01,
    )  # fmt: skip
    assert list(result["blurs"]) == ["gaussian", "defocus"]
    gaussian = result["blurs"]["gaussian"]["methods"]
    assert gaussian["blur_type"]["kept"] == 1 and gaussian["blur_type"]["gain"]["mean"] == 0
    assert gaussian["blur_type"]["said"] == {"unknown": 1} and gaussian["blur_type"]["right"] == 0
    assert gaussian["published network"]["errors"] == {"sigma": 0.5}
    assert gaussian["published network"]["gain"]["interval"] is None
    assert gaussian["published network"]["gain"]["mean"] < 0
    rows = [result["blurs"][label]["rows"][0] for label in ("gaussian", "defocus")]
    assert rows[0]["photograph"] == rows[1]["photograph"]


def test_weights_that_are_not_there(folder, stand_ins, monkeypatch, capsys):
    def load(name=None):
        raise WeightsError(f"no file for {name}; train it first")

    monkeypatch.setattr(blur_type, "load", load)
    options = {"count": 1, "side": 128, "methods": ("true parameters", "blur_type")}
    result = protocol.evaluate((folder / "in",), folder / "out", **options)
    assert list(result["left_out"]) == ["blur_type"]
    assert "left out, blur_type: no file" in capsys.readouterr().out
    # Without the blurred photograph there is no gain.
    assert result["blurs"]["motion"]["methods"]["true parameters"]["gain"] is None
    with pytest.raises(WeightsError, match="train it first"):
        protocol.evaluate((folder / "in",), folder / "out", **options, weights=folder / "none.npz")
    with pytest.raises(ValueError, match="none of the methods"):
        protocol.evaluate(
            (folder / "in",), folder / "out", count=1, side=128, methods=("blur_type",)
        )


def test_the_angle_is_circular():
    found = [{"length": 9.0, "angle": math.pi / 4 + math.pi - 0.1}]
    assert protocol._errors("motion", found)["angle"] == pytest.approx(math.degrees(0.1))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"blurs": ()}, "no blur was given"),
        ({"count": 0}, "count is 0"),
        ({"side": 100}, "side is 100"),
        ({"noise": 1.0}, "noise is 1"),
        ({"methods": ("guess",)}, "no method is called"),
    ],
)
def test_options_that_do_not_fit(options, reason):
    with pytest.raises(ValueError, match=reason):
        protocol.evaluate(**options)


def test_no_photograph_is_left(folder):
    (folder / "in" / "a.png").unlink()
    (folder / "in" / "b.png").unlink()
    with pytest.raises(ValueError, match="no photograph can be read"):
        protocol.evaluate((folder / "in",), folder / "out", methods=("blurred",))

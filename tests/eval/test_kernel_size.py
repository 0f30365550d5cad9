"""The evaluation of kernel_size counts by the rules it names, whatever estimates."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
from scipy.io import savemat

from blurjax import data, images, kernel_size, plots, psf
from blurjax.images import ImageError
from blurjax.weights import WeightsError
from eval import kernel_size as protocol
from eval import report

# Heights and widths of Levin's kernels as Ye et al. give them: every non-zero pixel.
LEVIN = [(17, 9), (15, 13), (12, 10), (24, 22), (11, 11), (19, 16), (20, 16), (21, 16)]


def row(effective, published=None, axis=None, bright=(True, True)):
    return {
        "axis": axis, "effective": list(effective), "published": list(published or effective),
        "bright": list(bright),
    }  # fmt: skip


def answer(size, low=None, high=None, status="ok"):
    return {"status": status, "size": size, "low": low, "high": high}


def boxes(key, extents, *, n, axis=1, varied=0.0):
    """Stand-in for random kernels: as wide as asked, and three rows high."""
    assert axis == 1 and varied in (0, 0.5)
    wide = np.abs(np.arange(101) - 50) <= np.asarray(extents)[:, None] // 2
    high = np.abs(np.arange(101) - 50) <= 1
    kernels = (wide[:, None, :] & high[None, :, None]).astype(np.float32)
    kernels /= kernels.sum((1, 2), keepdims=True)
    return kernels, np.stack([np.full(n, 3), np.asarray(extents)], axis=1)


@pytest.fixture
def estimator(monkeypatch):
    """Every network says 52 px wide and 48 px high; only the correlation network is shipped."""

    def estimate(image, variables, config, *, margin=0.0, decoding=None):
        assert decoding == {"cascade": "hard", "cascade soft": "expectation"}.get(variables)
        grown = 1 + margin
        return kernel_size.Estimate(
            "ok", 52 * grown, 48 * grown,
            {"width": (42 * grown, 62 * grown), "height": (44 * grown, 49 * grown)}, 53,
        )  # fmt: skip

    def load(name=None):
        if name is None:
            return None, kernel_size.Config()
        raise WeightsError(f"no file for {name}; train it first")

    for name, stand_in in (("estimate", estimate), ("load", load), ("sample_kernels", boxes)):
        monkeypatch.setattr(kernel_size, name, stand_in)
    # What automap is given: the image's own height and width.
    monkeypatch.setattr(protocol, "_automap", lambda padded, *, inside: inside)


@pytest.fixture
def folder(tmp_path):
    """Two photographs, one too small for any kernel."""
    (tmp_path / "in").mkdir()
    rng = np.random.default_rng(0)
    images.write(tmp_path / "in" / "a.png", rng.uniform(size=(240, 260)))
    images.write(tmp_path / "in" / "small.png", rng.uniform(size=(130, 300)))
    return tmp_path


def test_score_by_hand():
    truth = np.array([10.0, 20.0, 30.0, 60.0])
    found = np.array([12.0, 20.0, 24.0, 64.0])
    low, high = np.array([11.0, 15.0, 20.0, np.nan]), np.array([15.0, 20.0, 29.0, np.nan])
    image = np.array([5, 5, 7, 8])
    got = protocol.score(truth, found, low, high, image)
    # Errors 2, 0, 6, 4 of mean 3, whose sums about it are -4, 3 and 1 for the three images.
    assert got["abe"] == 3 and got["median"] == 3 and got["bias"] == 0
    assert (got["n"], got["images"]) == (4, 3)
    assert got["standard_error"] == pytest.approx(math.sqrt(3 / 2 * (16 + 9 + 1)) / 4)
    assert got["constant"] == {"size": 25, "abe": 15, "median": 10}
    assert got["coverage"] == pytest.approx(1 / 3) and got["interval_width"] == 5
    alone = protocol.score(truth[:1], found[:1], low[3:], high[3:], image[:1])
    assert alone["coverage"] is None and math.isnan(alone["standard_error"])
    assert protocol.score(*[np.zeros(0)] * 5) is None


def test_the_best_constant_of_the_published_test():
    rows = [row((1, 1), published=size) for size in LEVIN]
    found = protocol.summary([(some, answer((16.0, 16.0))) for some in rows])
    cell = found["published"]["both"]["all"]
    # As the specification works it out: 3.63 px by answering 16 always.
    assert cell["constant"]["size"] == 16 and cell["constant"]["abe"] == 3.625 == cell["abe"]
    assert found["effective"]["both"]["all"]["abe"] == 15


def test_summary_tells_axes_sizes_and_ends_apart():
    pairs = [
        (row((65, 4), (67, 6), axis=0, bright=(True, False)), answer((64.0, 9.0))),
        (row((20, 19), axis=1), answer((20.0, 22.0), low=(18.0, 23.0), high=(21.0, 30.0))),
        (row((5, 5), axis=1), answer((math.nan, math.nan), status="too flat")),
    ]
    found = protocol.summary(pairs)
    assert (found["n"], found["refused"]) == (2, 1)
    asked, both = (found["effective"][scope] for scope in ("stratified", "both"))
    # The height of the first, the width of the second.
    assert asked["all"]["abe"] == (1 + 3) / 2 and asked["all"]["bias"] == 1
    assert both["all"]["abe"] == (1 + 5 + 0 + 3) / 4 and both["all"]["coverage"] == 0.5
    assert asked["all"]["coverage"] == 0 and asked["all"]["interval_width"] == 7
    sizes = both["by_size"]
    assert [sizes[name] and sizes[name]["abe"] for name in sizes] == [4, 0, None, None, 1]
    assert asked["by_size"]["20-35"] is None and asked["by_size"]["1-19"]["abe"] == 3
    assert both["by_direction"]["height"]["abe"] == 0.5
    assert both["by_direction"]["width"]["abe"] == 4
    assert both["by_ends"]["faint-ended"]["abe"] == 5 and both["by_ends"]["bright-ended"]["n"] == 3
    assert found["published"]["both"]["all"]["abe"] == (3 + 3 + 0 + 3) / 4
    assert protocol.summary(pairs[2:]) == {"n": 0, "refused": 1}


def test_every_size_comes_once_a_cycle_and_in_both_directions_in_two():
    asked = protocol.order(92, seed=1)
    sizes = np.arange(5, 96, 2)
    for part in (asked[:46], asked[46:]):
        np.testing.assert_array_equal(np.sort([size for size, _ in part]), sizes)
        assert sum(axis for _, axis in part) == 23
    assert len(set(asked)) == 92
    assert protocol.order(50, seed=1) == asked[:50] != protocol.order(50, seed=2)


def test_drawn_kernels_have_the_size_asked_for():
    kernel = protocol._drawn(jax.random.key(0), 95, 0.0)
    height, width = np.asarray(psf.extent(jnp.asarray(kernel)))
    assert width == 95 and height <= 95
    tight = protocol.cut(kernel)
    assert len(tight) == 95 and tight.sum() == pytest.approx(kernel.sum())


def test_a_photograph_is_blurred_where_it_sees_nothing_outside():
    rng = np.random.default_rng(0)
    kernel = np.zeros((15, 15), np.float32)
    kernel[2:6, 3:5] = rng.uniform(size=(4, 2))
    sharp = {"tiny": rng.uniform(size=(132, 400)), "large": rng.uniform(size=(140, 133))}
    source = [sharp[name].astype(np.float32) for name in sharp]

    class Source(list):
        names = tuple(sharp)

    pool = protocol._Photographs(Source(source), seed=0)
    given = [protocol._Kernel(name, kernel) for name in "abc"]
    given.append(protocol._Kernel("vast", np.ones((7, 7), np.float32)))
    without = []
    made = list(protocol._blurred(given, pool, without))
    # The kernel is 4 pixels high, which are padded to 5: 132 - 4 = 128 is one too few.
    assert [example.photograph for example in made] == ["large"] * 3
    assert without == ["vast"] and pool.counts()["photographs_used"] == 1
    assert pool.counts()["refused_as_too_small"] >= 4
    square = np.zeros((5, 5))
    square[:4, 1:3] = kernel[2:6, 3:5]
    np.testing.assert_array_equal(protocol.cut(kernel), square.astype(np.float32))
    expected = scipy.signal.convolve2d(sharp["large"], square, mode="valid")
    np.testing.assert_allclose(made[0].blurred, expected, atol=1e-5)


@pytest.mark.slow
def test_all_parts_with_a_stand_in(folder, estimator, monkeypatch, capsys):
    def save(figure, path):
        # Drawing takes most of the time, and is tested where the figures are.
        path.parent.mkdir(exist_ok=True)
        path.touch()
        return path

    monkeypatch.setattr(plots, "save", save)
    (folder / "kernels").mkdir()
    images.write_psf(folder / "kernels" / "a.npy", np.ones((9, 9)) / 81)
    (folder / "kernels" / "b.mat").write_bytes(b"no kernel")
    levin = {"x": np.full((255, 255), 0.5), "y": np.full((255, 255), 0.5), "f": np.ones((17, 9))}
    savemat(folder / "im05_flit01.mat", levin)
    (folder / "im05_flit02.mat").write_bytes(b"no recording")
    result = protocol.evaluate(
        (folder / "in",), (folder / "kernels",), folder, folder / "out", (0.01,), 3
    )
    parts = result["parts"]
    assert set(parts) == {"stratified", "kernels", "levin"}
    stratified = parts["stratified"]
    assert stratified["n"] == 3 and set(stratified["conditions"]) == {"noise 0.01"}
    assert stratified["refused_as_too_small"] >= 2 and stratified["photographs_used"] == 1
    asked = protocol.order(3, 0)
    assert [one["axis"] for one in stratified["rows"]] == [axis for _, axis in asked]
    for one, (size, axis) in zip(stratified["rows"], asked, strict=True):
        assert one["effective"][axis] == size and one["effective"][1 - axis] == 3
        assert one["image"] == [240 - size + 1, 260 - size + 1]
        assert one["answers"]["noise 0.01"]["automap"]["size"] == tuple(one["image"])
    cell = stratified["conditions"]["noise 0.01"]["correlation"]["effective"]["stratified"]["all"]
    said = (48, 52)
    assert cell["abe"] == np.mean([abs(said[axis] - size) for size, axis in asked])
    spans = ((44, 49), (42, 62))
    covered = [spans[axis][0] <= size <= spans[axis][1] for size, axis in asked]
    assert cell["coverage"] == np.mean(covered)
    kernels = parts["kernels"]
    assert kernels["n"] == 3 and list(kernels["unreadable_kernels"]) == [
        str(folder / "kernels" / "b.mat")
    ]
    both = kernels["conditions"]["noise 0.01"]["correlation"]["effective"]["both"]["all"]
    assert both["abe"] == (48 - 9 + 52 - 9) / 2 and both["constant"]["abe"] == 0
    assert parts["levin"]["n"] == 1 and list(parts["levin"]["unreadable"]) == ["im05_flit02"]
    recorded = parts["levin"]["conditions"]["as recorded"]["correlation"]["published"]["both"]
    assert recorded["all"]["abe"] == (48 - 17 + 52 - 9) / 2
    assert "train it first" in result["left_out"]["cascade"] and "runtime" in result["left_out"]
    written = json.loads((folder / "out" / "report.json").read_text())
    assert written == json.loads(json.dumps(result, default=report._plain))
    assert {path.stem for path in (folder / "out").glob("*.png")} == {
        f"{figure}_{part}{condition}"
        for part, conditions in (
            ("stratified", ("_noise_0.01",)),
            ("kernels", ("_noise_0.01",)),
            ("levin", ("_as_recorded",)),
        )
        for figure, which in (("scatter", conditions), ("errors", ("",)), ("sheet", ("",)))
        for condition in which
    }
    shown = capsys.readouterr()
    assert "best constant" in shown.out and "on another test set" in shown.out
    assert "left out, cascade soft" in shown.out and "im05_flit02" in shown.err
    assert "n = 1 images, 1 unreadable" in shown.out and "1 kernels unreadable" in shown.out


@pytest.mark.slow
def test_margin_and_runtime(folder, estimator, monkeypatch):
    monkeypatch.setattr(protocol, "_TIMED", 1)
    monkeypatch.setattr(protocol, "_figures", lambda *args: [])
    result = protocol.evaluate(
        (folder / "in",), out=folder / "out", noise=(0.0, 0.01), count=1, margin=0.25, runtime=True
    )
    assert set(result["parts"]["stratified"]["conditions"]) == {"noise 0", "noise 0.01"}
    answers = result["parts"]["stratified"]["rows"][0]["answers"]["noise 0"]
    assert answers["correlation"]["size"] == (60, 65)
    assert answers["correlation"]["high"] == (61.25, 77.5)
    image = result["parts"]["stratified"]["rows"][0]["image"]
    assert answers["automap"]["size"] == tuple(1.25 * side for side in image)
    assert set(result["runtime"]["methods"]) == {"correlation", "automap"}
    assert set(result["runtime"]["methods"]["automap"]) == {"1024 x 1024", "640 x 480"}


@pytest.mark.slow
def test_the_coarse_stage_is_asked_for_height_then_width(monkeypatch, estimator):
    config = kernel_size.Config(body="cascade")
    monkeypatch.setattr(kernel_size, "load", lambda name=None: ("cascade", config))
    system = protocol._System(("cascade",), (), 0.0)
    assert system.has_coarse

    def patches(x, config, *, inside):
        assert x.shape[1:] == tuple(inside[0] + -inside[0] % 64)
        return jnp.full((1, 128, 128), int(inside[0, 1]))

    def apply(variables, x, config):
        # What is 150 px wide is in range 1, what is 200 in range 3.
        index = jnp.where(x[:, 0, 0] == 150, 1, jnp.where(x[:, 0, 0] == 200, 3, 0))
        return kernel_size.Scores(None, jax.nn.one_hot(index, 5))

    monkeypatch.setattr(protocol, "_patches", patches)
    monkeypatch.setattr(protocol, "_apply", apply)
    assert system.coarse(np.zeros((150, 200), np.float32)) == [1, 3]
    rows = [
        {**row((20, 60), axis=1), "coarse": {"noise 0": [1, 3]}},
        {**row((20, 95), axis=1), "coarse": {"noise 0": [0, 3]}},
    ]
    found = protocol._coarse(rows, "noise 0")
    assert found["stratified"]["right"] == 0.5 == found["both"]["right"]
    assert found["both"]["matrix"][1] == [1, 1, 0, 0, 0]
    assert found["stratified"]["matrix"][4] == [0, 0, 0, 1, 0]


def test_weights_go_to_the_methods_of_their_body(monkeypatch):
    seen = []

    def estimate(image, variables, config, *, margin, decoding):
        seen.append((variables, decoding))
        return kernel_size.Estimate("ok", 1.0, 2.0, {"width": (0.0, 3.0), "height": (1.0, 4.0)}, 3)

    def load(name=None):
        if name in (None, "cascade"):
            return "shipped", kernel_size.Config(body=name or "correlation")
        return name, kernel_size.Config(body=name.split()[0])

    monkeypatch.setattr(kernel_size, "estimate", estimate)
    monkeypatch.setattr(kernel_size, "load", load)
    system = protocol._System((), ("cascade a", "single b"), 0.0)
    assert system.answering == ("correlation", "cascade", "cascade soft", "automap", "single")
    for method in ("correlation", "cascade", "cascade soft", "single"):
        found = system(np.zeros((150, 150)), method)
        assert found.size == (2, 1) and found.low == (1, 0) and found.high == (4, 3)
    assert seen == [
        ("shipped", None), ("cascade a", "hard"), ("cascade a", "expectation"), ("single b", None),
    ]  # fmt: skip
    alone = protocol._System(("single", "automap"), (), 0.0)
    assert alone.answering == ("automap",) and "--weights" in alone.missing["single"]
    with pytest.raises(ValueError, match="'single', which is not among the methods cascade; add"):
        protocol._System(("cascade",), ("single b",), 0.0)
    with pytest.raises(ValueError, match="single b: a second file for 'single'"):
        protocol._System((), ("single a", "single b"), 0.0)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"noise": ()}, "give different levels"),
        ({"noise": (0.0, -0.1)}, "give different levels"),
        ({"count": -1}, "count is -1"),
        ({"count": 0}, "leaves nothing to do"),
        ({"methods": ("guess",)}, "no method is called"),
        ({"margin": -0.1}, "margin is -0.1"),
    ],
)
def test_options_that_do_not_fit(options, reason):
    with pytest.raises(ValueError, match=reason):
        protocol.evaluate(**options)


@pytest.mark.slow
def test_folders_that_hold_nothing_of_use(folder, estimator):
    with pytest.raises(ImageError, match="no kernel that can be read"):
        protocol.evaluate((folder / "in",), (folder / "in" / "none",), count=1, out=folder / "out")
    with pytest.raises(ImageError, match=r"no file im05_flit01\.mat"):
        protocol.evaluate(levin=folder / "in", count=0, out=folder / "out")
    (folder / "in" / "a.png").unlink()
    with pytest.raises(ValueError, match="stratified: none of 2 images can be made"):
        protocol.evaluate((folder / "in",), count=2, out=folder / "out")


def test_unreadable_photographs_are_counted_once(folder, capsys):
    (folder / "in" / "small.png").write_bytes(b"no image")
    pool = protocol._Photographs(data.folder(folder / "in"), seed=0)
    assert [pool.for_kernel(5)[0] for _ in range(3)] == ["a.png"] * 3
    assert list(pool.counts()["unreadable"]) == ["small.png"]
    assert capsys.readouterr().err.count("left out") == 1

"""Every scorer trains: the whole chain, small."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from blurjax import region, weights
from blurjax.region import Config, Labelled, model, samples
from train import loop, region_labels, steps
from train import region as training
from train.configs.region import LABELS, PRESETS

WINDOW = 64
TINY = {"depth": 10, "width": 4, "reduced": 2}


def pairs_of(rng, count, first):
    """Photographs of noise, more of it to the right; the more of it, the better the label."""
    pairs, similarity = [], []
    for i in range(count):
        noise = rng.normal(size=(74, 91)) * np.linspace(5, 60, 91)
        levels = np.clip(np.rint(128 + noise), 0, 255).astype(np.uint8)
        corners = region.grid(levels.shape, WINDOW, 9)[:: 1 + i % 2]
        pairs.append(region_labels.Pair(levels, np.ones((7, 7)) / 49, corners, first + i))
        similarity.append(0.55 + corners[:, 1] / 70 + 0.02 * rng.random(len(corners)))
    return pairs, similarity


def fill(folder):
    """Labels of 6 photographs to learn from and of 3 to validate with."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    region_labels._write(folder / "train-00000.npz", *pairs_of(rng, 4, 0))
    region_labels._write(folder / "train-00001.npz", *pairs_of(rng, 2, 4))
    region_labels._write(folder / "validation-00000.npz", *pairs_of(rng, 3, 6))
    about = {"train": 6, "validation": 3, "sha256": "0" * 64}
    (folder / "files.json").write_text(json.dumps(about))
    return folder


@pytest.fixture
def labels(monkeypatch, float32, tmp_path):
    """A folder of labels; windows of 64 pixels, narrow and shallow networks, small batches."""
    for module in (region, samples, model):
        monkeypatch.setattr(module, "WINDOW", WINDOW)
    for name, plan in PRESETS.items():
        config = dataclasses.replace(plan.config, **TINY)
        plan = dataclasses.replace(plan, config=config, batch=32, validate_every=1)
        monkeypatch.setitem(PRESETS, name, plan)
    monkeypatch.setattr(training, "_CHUNK", 8)
    return fill(tmp_path / "labels")


def lines(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").open()]


def check_a_run(preset, labels, workdir, **options):
    out = training.train(preset, labels=labels, workdir=workdir, steps=2, quiet=True, **options)
    assert out == workdir / "region.npz"
    _, config, record = weights.load(out, Config)
    assert config == PRESETS[preset].config
    assert record["preset"] == preset and record["steps"] == 2
    assert record["files"] == {"train": 6, "validation": 3, "sha256": "0" * 64}
    last = [line for line in lines(workdir) if "loss" in line][-1]
    assert last["step"] == 2 and np.isfinite(last["loss"])
    measured = [line for line in lines(workdir) if "validate/chosen" in line]
    assert len(measured) == 2 and 0.5 < measured[-1]["validate/any"] < 1
    image = np.random.default_rng(1).random((80, 90)).astype(np.float32)
    variables, config = region.load(out)
    found = region.estimate(image, variables, config, size=WINDOW)
    assert found.status == "ok" and 0 <= found.scores[0] <= 1
    return variables


@pytest.mark.slow
def test_gabor_trains_for_two_steps_and_writes_weights(labels, tmp_path):
    variables = check_a_run("gabor", labels, tmp_path / "run")
    # It knows the statistics of the windows it was trained on.
    known = region_labels.read(labels, "train")
    windows = [
        known.images[i, r : r + WINDOW, c : c + WINDOW] / np.float32(255)
        for i, (r, c) in zip(known.image, known.corner, strict=True)
    ]
    found = np.asarray(training._gabor(jnp.asarray(np.stack(windows))))
    features = variables["state"]["features"]
    assert len(found) % training._CHUNK and len(found) < 16 * training._CHUNK
    # In float16.
    np.testing.assert_allclose(features["mean"], found.mean(0), rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(features["deviation"], found.std(0), rtol=2e-3, atol=2e-3)
    assert float(jnp.max(jnp.abs(variables["params"]["gabor"]["kernel"]))) > 0


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["compact", "similarity", "good", "seed"])
def test_a_preset_trains_for_two_steps_and_writes_weights(labels, tmp_path, preset):
    check_a_run(preset, labels, tmp_path / "run")


@pytest.mark.slow
def test_fine_tuning_begins_with_weights_and_keeps_the_first_stages(labels, tmp_path):
    plan = PRESETS["finetuned"]
    first = region.init(jax.random.key(5), plan.config)
    # Something for the head to go by.
    start = weights.save(tmp_path / "start.npz", first, plan.config, {"note": "random"})
    given, _ = region.load(start)
    after = check_a_run("finetuned", labels, tmp_path / "run", start=str(start))
    mask = region.trainable(after, plan.config)
    for name, part in mask["resnet"].items():
        for key, touched in part.items():
            a, b = (np.asarray(v["params"]["resnet"][name][key]) for v in (given, after))
            if not touched:
                np.testing.assert_array_equal(a, b)
    assert np.any(
        np.asarray(given["params"]["resnet"]["head"]["kernel"])
        != np.asarray(after["params"]["resnet"]["head"]["kernel"])
    )


def test_weights_of_another_shape_are_refused(labels, tmp_path, monkeypatch):
    said = "they must have one shape"
    of_gabor = region.init(jax.random.key(0), Config(body="gabor"))
    start = weights.save(tmp_path / "gabor.npz", of_gabor, Config(body="gabor"), {})
    fresh = jax.eval_shape(lambda: region.init(jax.random.key(0), Config(**TINY)))
    monkeypatch.setattr(region, "init", lambda key, config: fresh)
    with pytest.raises(ValueError, match=said):
        training.train(
            "finetuned", labels=labels, workdir=tmp_path / "run", steps=1, quiet=True,
            start=str(start),
        )  # fmt: skip
    wider = Config(**{**TINY, "width": 6})
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), wider))
    zeros = jax.tree.map(lambda x: np.zeros(x.shape, np.float32), shapes)
    start = weights.save(tmp_path / "wider.npz", zeros, wider, {})
    with pytest.raises(ValueError, match=r"wider\.npz: weights of .*width=6.*" + said):
        training._begun(fresh, str(start), Config(**TINY))
    # What it learns and from where on a window is good may differ.
    zeros = jax.tree.map(lambda x: np.zeros(x.shape, np.float32), fresh)
    start = weights.save(tmp_path / "other.npz", zeros, Config(**TINY, target="rank"), {})
    begun = training._begun(fresh, str(start), Config(**TINY))
    assert jax.tree.structure(begun) == jax.tree.structure(fresh)


def test_without_labels_there_is_no_training(float32, tmp_path):
    with pytest.raises(ValueError, match=r"no labels of train.*region_labels"):
        training.train("gabor", labels=tmp_path, workdir=tmp_path / "run", quiet=True)


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["gabor", "compact"])
def test_an_interrupted_run_ends_as_an_uninterrupted_one(labels, tmp_path, monkeypatch, preset):
    train = functools.partial(training.train, preset, labels=labels, steps=3, quiet=True)
    whole = train(workdir=tmp_path / "a")
    run, sittings = loop.run, []

    def stopped(step, state, *args, num_steps, **options):
        sittings.append(num_steps)
        if len(sittings) == 1:
            run(step, state, *args, num_steps=2, **options)
            raise loop.Interrupted
        return run(step, state, *args, num_steps=num_steps, **options)

    monkeypatch.setattr(loop, "run", stopped)
    with pytest.raises(loop.Interrupted):
        train(workdir=tmp_path / "b")
    resumed = train(workdir=tmp_path / "b")
    assert whole.read_bytes() == resumed.read_bytes()


def test_presets_have_labels_and_the_published_ones_their_numbers():
    for plan in PRESETS.values():
        assert plan.labels in LABELS and plan.batch % 8 == 0
    for plan in (PRESETS["seed"], PRESETS["finetuned"]):
        assert plan.config == Config() and (plan.optimizer, plan.momentum) == ("sgd", 0.9)
        assert (plan.labels, plan.rate, plan.batch) == ("seed", 1e-3, 32)
        # 20 times 138 000 windows.
        assert plan.steps * plan.batch == pytest.approx(20 * 960 * 144, rel=0.01)


@pytest.mark.parametrize("preset", ["good", "gabor", "seed", "finetuned"])
def test_presets_take_a_step_at_their_full_width(float32, preset):
    """Its shapes: nothing is computed."""
    plan = PRESETS[preset]

    def take(key):
        store = Labelled(
            jnp.zeros((6, 300, 310), jnp.uint8),
            jnp.repeat(jnp.arange(6), 8),
            jnp.zeros((48, 2), jnp.int32),
            jnp.zeros(48),
            jnp.zeros(48, jnp.int32),
        )
        variables = region.init(key, plan.config)
        optimizer = training.optimizer(plan, variables)
        first = steps.initial_state(variables, optimizer)
        step = steps.gradient_step(
            functools.partial(region.loss, config=plan.config),
            optimizer,
            functools.partial(region.sample, config=plan.config),
            batch=plan.batch,
        )
        return first, *step(first, store, key)

    first, after, metrics = jax.eval_shape(take, jax.random.key(0))
    assert jax.tree.structure(first) == jax.tree.structure(after)
    assert first == after  # Shapes and dtypes.
    assert set(metrics) == {"loss", "accuracy", "good", "order", "gradient_norm"}


def test_published_descent_has_momentum_and_a_constant_rate():
    params = {"resnet": {"stem": {"kernel": jnp.ones(2)}, "head": {"kernel": jnp.ones(2)}}}
    gradient = jax.tree.map(jnp.ones_like, params)
    for preset, moved in (("seed", True), ("finetuned", False)):
        optimizer = training.optimizer(PRESETS[preset], {"params": params})
        state = optimizer.init(params)
        for expected in (-1e-3, -1.9e-3, -2.71e-3):
            updates, state = optimizer.update(gradient, state, params)
            np.testing.assert_allclose(updates["resnet"]["head"]["kernel"], expected, rtol=1e-5)
            stem = expected if moved else 0
            np.testing.assert_allclose(updates["resnet"]["stem"]["kernel"], stem, rtol=1e-5)


# ---- what is measured


def labelled(similarity, image):
    n = len(similarity)
    images = np.zeros((max(image) + 1, 230, 250), np.uint8)
    return Labelled(
        images, np.array(image), np.zeros((n, 2), int), np.float32(similarity), np.full(n, 15)
    )


@pytest.fixture
def saying(monkeypatch):
    """The scorer says what it is told to."""
    said = []
    monkeypatch.setattr(training, "said", lambda variables, labelled, config: np.array(said))
    return said


def answer(scale, offset):
    return {"state": {"answer": {"scale": jnp.float32(scale), "offset": jnp.float32(offset)}}}


def test_measures_are_counted_by_photographs(saying):
    some = labelled([0.9, 0.5, 0.7, 0.2, 0.8, 0.4, 0.1], [0, 0, 0, 2, 2, 2, 2])
    saying += [1.0, 3.0, 2.0, -1.0, 5.0, 0.5, 0.0]
    found = training.measure(answer(1.0, -1.5), some, Config())
    # Chosen are numbers 1 and 4.
    assert found["chosen"] == pytest.approx((0.5 + 0.8) / 2)
    assert found["any"] == pytest.approx((0.7 + 0.375) / 2)
    assert found["best"] == pytest.approx((0.9 + 0.8) / 2)
    # Upside down; and ranks 1, 4, 3, 2 for 2, 4, 3, 1: 1 - 6 * 2 / (4 * 15).
    assert found["order"] == pytest.approx((-1 + 0.8) / 2)
    # Good are 0 and 4; said to be above 1.5 are 1, 2 and 4.
    assert found["accuracy"] == pytest.approx(4 / 7)
    # Of the 10 pairs of a good one and another, 0 is ahead of 3, 5 and 6, and 4 of all 5.
    assert found["area"] == pytest.approx(8 / 10)
    assert all(isinstance(value, float) for value in found.values())


def test_measures_of_scores_that_say_nothing(saying):
    some = labelled([0.9, 0.5, 0.8, 0.8], [0, 0, 1, 1])
    saying += [0.3] * 4
    found = training.measure(answer(1.0, 0.0), some, Config())
    assert found["order"] == 0 and found["area"] == 0.5 and found["accuracy"] == 0.75
    all_good = training.measure(answer(1.0, 0.0), some, Config(threshold=0.1))
    assert all_good["accuracy"] == 1 and np.isfinite(all_good["area"])


def test_calibrated_scores_are_as_sure_as_labels_are_often_good(saying):
    rng = np.random.default_rng(0)
    scores = rng.normal(size=4000)
    good = rng.random(4000) < 1 / (1 + np.exp(-(2.0 * scores - 1.0)))
    some = labelled(np.where(good, 0.9, 0.3), [0] * 4000)
    saying += scores.tolist()
    line = training.calibrated(answer(1.0, 0.0), some, Config())["state"]["answer"]
    assert float(line["scale"]) == pytest.approx(2.0, rel=0.1)
    assert float(line["offset"]) == pytest.approx(-1.0, abs=0.15)
    saying[:] = [0.7] * 4000
    line = training.calibrated(answer(1.0, 0.0), some, Config())["state"]["answer"]
    odds = float(line["scale"]) * 0.7 + float(line["offset"])
    assert 1 / (1 + np.exp(-odds)) == pytest.approx(good.mean(), abs=1e-4)


def test_all_windows_are_scored_each_in_its_place(monkeypatch):
    """However many there are, and wherever in the photograph."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 240, 250)).astype(np.uint8)
    seen = []

    def mean(variables, windows, *, config):
        assert windows.dtype == jnp.float32 and windows.shape == (8, 228, 228)
        seen.append(len(windows))
        return windows.mean((1, 2))

    monkeypatch.setattr(training, "_apply", mean)
    monkeypatch.setattr(training, "_CHUNK", 8)
    for n in (1, 8, 11):
        corner = rng.integers(0, 12, (n, 2))
        image = np.sort(rng.integers(0, 3, n))
        some = Labelled(images, image, corner, np.zeros(n, np.float32), np.full(n, 15))
        expected = [
            images[i, r : r + 228, c : c + 228].mean() / 255
            for i, (r, c) in zip(image, corner, strict=True)
        ]
        np.testing.assert_allclose(training.said({}, some, Config()), expected, atol=1e-5)
    assert len(seen) == 1 + 1 + 2

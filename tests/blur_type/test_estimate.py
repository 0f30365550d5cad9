import jax.numpy as jnp
import numpy as np
import pytest

from blurjax import blur_type, checkpoint, data, imaging, psf, weights


@pytest.fixture(scope="module")
def photograph():
    return jnp.asarray(data.embedded("test")[0])


@pytest.mark.parametrize(
    ("kernel", "label", "parameters"),
    [
        (psf.gaussian(2.0, size=17), "gaussian", {"sigma": (2.02, 0.5)}),
        (psf.motion(10.0, 0.6, size=13), "motion", {"length": (10, 1.5), "angle": (0.6, 0.15)}),
        (psf.defocus(4.0, size=9), "defocus", {"radius": (4, 0.6)}),
    ],
    ids=["gaussian", "motion", "defocus"],
)
def test_a_uniformly_blurred_photograph(photograph, kernel, label, parameters):
    blurred = imaging.quantise(imaging.blur(photograph, kernel.astype(photograph.dtype)))
    answer = blur_type.estimate(blurred)
    assert answer.status == "ok" and answer.label == label
    assert answer.probabilities.argmax() == blur_type.LABELS.index(label)
    np.testing.assert_allclose(answer.probabilities.sum(), 1)
    assert answer.parameters.keys() == answer.spread.keys() == parameters.keys()
    for name, (truth, tolerance) in parameters.items():
        assert abs(answer.parameters[name] - truth) < tolerance, answer.parameters
        assert 0 < answer.spread[name] < 3
    assert answer.votes.sum() == len(answer.boxes) == len(answer.choices) > 8
    assert answer.boxes[:, :2].min() >= 0
    assert np.all(answer.boxes[:, :2] + answer.boxes[:, 2:] <= photograph.shape)


def test_every_kind_of_array_gives_the_same_answer(photograph):
    blurred = imaging.quantise(imaging.blur(photograph, psf.motion(np.float32(9), 0.4, size=11)))
    gray = np.asarray(blurred)
    answers = [
        blur_type.estimate(x)
        for x in (
            gray,
            np.round(gray * 255).astype(np.uint8),
            np.round(gray * 65535).astype(np.uint16),
            np.stack([gray] * 3, axis=-1),
            gray.astype(np.float64),
        )
    ]
    for other in answers[1:]:
        assert other.label == answers[0].label
        np.testing.assert_allclose(
            other.parameters["length"], answers[0].parameters["length"], rtol=0.02
        )


def test_refusing_is_an_answer():
    flat = blur_type.estimate(np.full((100, 120), 0.5, np.float32))
    assert flat.status.startswith("too little texture: 0 of") and flat.label == "unknown"
    np.testing.assert_allclose(flat.probabilities, 1 / 3)
    assert flat.parameters == {} and len(flat.boxes) == 0
    small = blur_type.estimate(np.random.default_rng(0).uniform(size=(40, 200)))
    assert small.status == "image is 40x200 pixels; blur_type needs at least 64x64"


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((64, 64, 4)), r"shape \(64, 64, 4\)"),
        (np.zeros(64), r"shape \(64,\)"),
        (np.zeros((0, 64)), r"shape \(0, 64\)"),
        (np.full((64, 64), np.nan), "not finite"),
        (np.full((64, 64), 200.0), r"\[200, 200\]; scale it"),
        (np.zeros((64, 64), np.int32), "int32"),
    ],
)
def test_arrays_that_are_no_image(image, message):
    with pytest.raises(ValueError, match=message):
        blur_type.estimate(image)


def test_large_photographs_stay_bounded():
    rng = np.random.default_rng(1)
    large = np.asarray(
        imaging.blur(
            jnp.asarray(rng.uniform(size=(1500, 2000)), jnp.float32),
            psf.gaussian(np.float32(1.0), size=9),
        )
    )
    answer = blur_type.estimate(np.clip(large, 0, 1))
    assert len(answer.boxes) <= 256


def test_a_file_written_again_is_read_again(tmp_path):
    config = blur_type.Config(hidden=(), recall="feature")
    for value in (1.0, 2.0):
        file = weights.save(tmp_path / "w.npz", {"params": {"a": np.array(value)}}, config, {})
        assert blur_type.load(file)[0]["params"]["a"] == value


def test_load_shipped_file_and_checkpoint_agree(tmp_path):
    variables, config = blur_type.load()
    file = weights.path("blur_type")
    again, _ = blur_type.load(str(file))
    np.testing.assert_array_equal(
        variables["params"]["dense0"]["kernel"], again["params"]["dense0"]["kernel"]
    )
    import dataclasses

    checkpoint.save(tmp_path, 7, {"variables": variables}, {"config": dataclasses.asdict(config)})
    restored, same = blur_type.load(tmp_path)
    assert same == config
    np.testing.assert_array_equal(
        restored["recall"]["motion"]["points"], variables["recall"]["motion"]["points"]
    )
    with pytest.raises(weights.WeightsError, match=r"nowhere.npz does not exist"):
        blur_type.load("nowhere.npz")


def test_patches_are_spread_over_the_image():
    rng = np.random.default_rng(3)
    image = 0.5 + 0.1 * rng.uniform(-1, 1, (320, 320))
    image[:96, :96] = rng.uniform(size=(96, 96))
    answer = blur_type.estimate(image)
    cells = {tuple(c) for c in answer.boxes[:, :2] // 32}
    # One patch each before any cell gives a second, though one corner is steeper than all else.
    assert len(answer.boxes) == 256 and len(cells) >= 80
    first = answer.boxes[: len(cells), :2] // 32
    assert len({tuple(c) for c in first}) == len(cells)

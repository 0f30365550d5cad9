import jax
import jax.numpy as jnp
import numpy as np
import pytest

from blurjax import blur_type, checkpoint, data, imaging, psf, weights


@pytest.fixture(scope="module")
def photograph():
    return jnp.asarray(data.embedded("test")[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kernel", "label", "parameters"),
    [
        (psf.gaussian(2.0, size=17), "gaussian", {"sigma": (2.02, 0.2)}),
        (psf.motion(10.0, 0.6, size=13), "motion", {"length": (10, 0.1), "angle": (0.6, 0.02)}),
        (psf.defocus(4.0, size=9), "defocus", {"radius": (4, 0.05)}),
    ],
    ids=["gaussian", "motion", "defocus"],
)
def test_a_uniformly_blurred_photograph(photograph, kernel, label, parameters):
    blurred = imaging.quantise(imaging.blur(photograph, kernel.astype(photograph.dtype)))
    answer = blur_type.estimate(blurred)
    assert answer.status == "ok" and answer.label == label
    assert answer.probabilities.argmax() == blur_type.LABELS.index(label)
    assert answer.answers.argmax() == blur_type.ANSWERS.index(label)
    np.testing.assert_allclose([answer.probabilities.sum(), answer.answers.sum()], 1, rtol=1e-5)
    assert answer.parameters.keys() == answer.spread.keys() == parameters.keys()
    for name, (truth, tolerance) in parameters.items():
        assert abs(answer.parameters[name] - truth) < tolerance, answer.parameters
        assert 0 < answer.spread[name] < 3
    assert answer.votes.sum() == len(answer.boxes) == len(answer.choices) > 8
    assert answer.boxes[:, :2].min() >= 0
    assert np.all(answer.boxes[:, :2] + answer.boxes[:, 2:] <= photograph.shape)


def test_a_sharp_photograph_is_called_sharp(photograph):
    answer = blur_type.estimate(imaging.quantise(photograph))
    assert answer.status == "ok" and answer.label == "sharp"
    assert answer.answers[blur_type.ANSWERS.index("sharp")] > 0.9
    assert answer.parameters == answer.spread == {}


@pytest.mark.slow
@pytest.mark.parametrize("quality", [None, 75], ids=["noise", "jpeg"])
def test_noise_compression_colour_and_size_do_not_matter_much(quality):
    from blurjax import images

    sharp = jnp.asarray(images.read(data.embedded_path("motorcycle_left.png")), jnp.float32)
    kernel = psf.motion(np.float32(13), np.float32(2.0), size=15)
    blurred = imaging.blur(sharp, kernel, channel_axis=-1)
    key = jax.random.key(0)
    seen = imaging.add_noise(key, blurred, 0 if quality else 4 / 255)
    if quality:
        seen = jnp.moveaxis(imaging.jpeg(jnp.moveaxis(seen, -1, 0), quality), 0, -1)
    answer = blur_type.estimate(imaging.quantise(seen))
    assert answer.label == "motion"
    assert abs(answer.parameters["length"] - 13) < 0.7
    assert abs(answer.parameters["angle"] - 2.0) < 0.05


@pytest.mark.slow
def test_a_longer_motion_than_any_patch_shows_is_measured(photograph):
    kernel = psf.motion(np.float32(26), np.float32(0.9), size=31)
    answer = blur_type.estimate(imaging.quantise(imaging.blur(photograph, kernel)))
    assert answer.label == "motion" and abs(answer.parameters["length"] - 26) < 1


def test_two_blurs_are_less_sure_than_one(photograph):
    kernels = psf.gaussian(np.float32(3), size=25), psf.motion(np.float32(14), 0.6, size=25)
    one, other = (np.asarray(imaging.quantise(imaging.blur(photograph, k))) for k in kernels)
    half = photograph.shape[1] // 2
    answer = blur_type.estimate(np.concatenate([one[:, :half], other[:, half:]], axis=1))
    assert answer.answers.max() < 0.9 or answer.label == "no dominant blur"
    if answer.label == "no dominant blur":
        assert answer.parameters == {}


def test_without_a_judge_the_patches_decide(photograph):
    variables, config = blur_type.load("published")
    patches_alone = {name: value for name, value in variables.items() if name != "judge"}
    answer = blur_type.estimate(imaging.quantise(photograph), patches_alone, config)
    assert answer.label in blur_type.LABELS and answer.parameters
    np.testing.assert_array_equal(answer.answers[3:], 0)
    np.testing.assert_allclose(answer.answers[:3], answer.probabilities)


@pytest.mark.slow
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
    assert flat.status.startswith("too little texture: fewer than 8") and flat.label == "unknown"
    np.testing.assert_allclose(flat.probabilities, 1 / 3)
    assert flat.parameters == {} and len(flat.boxes) == 0
    small = blur_type.estimate(np.random.default_rng(0).uniform(size=(40, 200)))
    assert small.status == "image is 40x200 pixels; blur_type needs at least 64x64"


def test_arrays_that_are_no_image():
    with pytest.raises(ValueError, match=r"\[200, 200\]; scale it"):
        blur_type.estimate(np.full((64, 64), 200.0))


@pytest.mark.slow
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

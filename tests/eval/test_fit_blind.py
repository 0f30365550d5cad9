"""The evaluation of fit_blind blurs as it says, and counts and summarises right."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import blurjax
from blurjax import data, images
from eval import fit_blind as protocol
from eval import photographs, report


def case(label="motion", length=10.0, found=10.1, angle=0.02, said="motion", stated=0.2):
    families = {"gaussian": {"sigma": 1.0}, "defocus": {"radius": 2.0}}
    return protocol._Case(
        photograph="a.png",
        label=label,
        truth={"length": length, "angle": angle} if label == "motion" else families[label],
        found={**families, "motion": {"length": found, "angle": np.pi - 0.01}},
        errors={
            "gaussian": {"sigma": 0.1},
            "defocus": {"radius": 0.1},
            "motion": {"length": stated, "angle": 0.02},
        },
        loss={name: 1.0 - 0.5 * (name == said) for name in protocol.LABELS},
        seconds=dict.fromkeys(protocol.LABELS, 1.0),
    )


@pytest.fixture
def folder(tmp_path):
    """Two photographs, one of them too small for what the tests ask."""
    (tmp_path / "in").mkdir()
    for i, side in enumerate((130, 90)):
        images.write(tmp_path / "in" / f"{i}.png", data.embedded("test")[i][:side, :side])
    return tmp_path / "in"


def test_a_source_is_chosen_and_split(folder):
    assert photographs.chosen((), "all").names == data.embedded("test").names
    assert photographs.chosen((folder, folder), "all").names == ("0.png", "1.png") * 2
    held_out = data.split(data.folder(folder))[2].names
    assert photographs.chosen((folder,), "test").names == held_out
    for name in held_out:
        (folder / name).unlink()
    with pytest.raises(ValueError, match="no photograph is left"):
        photographs.chosen((folder,), "test")
    with pytest.raises(images.ImageError):
        photographs.chosen((folder / "missing",), "all")


def test_errors_are_relative_and_angles_circular():
    cases = [
        case(found=10.1),
        case(found=10.3),
        case(found=20.0, said="gaussian"),
        case("gaussian", said="defocus"),
        case("defocus", said="defocus"),
    ]
    result = protocol._parameters(cases)
    length, angle = result["length"], result["angle"]
    np.testing.assert_allclose([length["median"], length["worst"]], [0.03, 1.0])
    np.testing.assert_allclose(length["within_1_standard_error"], 1 / 3)
    np.testing.assert_allclose(length["within_2_standard_errors"], 2 / 3)
    np.testing.assert_allclose(angle["worst"], np.degrees(0.03), rtol=1e-6)
    assert angle["within_1_standard_error"] == 0 and angle["within_2_standard_errors"] == 1
    assert result["sigma"]["median"] == 0 and result["sigma"]["n"] == 1
    types = protocol._types(cases)
    np.testing.assert_allclose(types["rate"], 3 / 5)
    np.testing.assert_array_equal(types["confusion"], [[0, 0, 1], [1, 2, 0], [0, 0, 1]])


def test_a_fit_without_a_loss_is_not_the_answer():
    one = case(said="defocus")
    assert one._replace(loss={**one.loss, "gaussian": float("nan")}).said == "defocus"


@pytest.mark.parametrize("turn", [0, 1, 2])
def test_blurs_lie_in_the_ranges_and_are_8_bit(turn, float32):
    sharp = jnp.asarray(data.embedded("test")[1][:80, :80])
    label = protocol.LABELS[turn]
    seen = []
    for i in range(5):
        key = jax.random.key(i)
        image, truth = protocol._blurred(key, sharp, turn, 0.0)
        assert image.shape == (40, 40)
        np.testing.assert_allclose(image * 255, np.rint(image * 255), atol=1e-4)
        for name, (low, high) in protocol._RANGES[label].items():
            assert low <= truth[name] < high
        seen.append(truth)
        noisy, same = protocol._blurred(key, sharp, turn, 4.0)
        assert same == truth
        assert 3 < 255 * float(jnp.std(noisy - image)) < 5
    assert len({tuple(truth.values()) for truth in seen}) == 5


def test_the_protocol_with_an_oracle(tmp_path, folder, float32, monkeypatch, capsys):
    """Everything but the fits themselves, which name their family by the order of asking."""

    def oracle(image, *, family, size):
        assert image.shape == (80, 80) and size == 63
        names = protocol._RANGES[family]
        values = {name: jnp.float32(np.mean(bounds)) for name, bounds in names.items()}
        return blurjax.Fit(family, values, values, jnp.float32(1), jnp.ones((3, 3), jnp.float32))

    monkeypatch.setattr(blurjax, "fit_blind", oracle)
    result = protocol.evaluate((folder,), tmp_path / "out", crop=120)
    assert result["photographs"] == 1 and result["skipped"]["too_small"] == ["1.png"]
    assert result["types"]["n"] == 3
    written = json.loads((tmp_path / "out" / "report.json").read_text())
    assert written == json.loads(json.dumps(result, default=report._plain))
    assert "22 development photographs" in written["prior"]
    assert (tmp_path / "out" / "parameters.png").is_file()
    said = capsys.readouterr()
    assert "1 of 2 photographs fitted" not in said.err and "Type by least loss" in said.out


@pytest.mark.parametrize("option", [{"crop": 103}, {"noise": -1.0}, {"photographs": 0}])
def test_options_out_of_range(folder, option):
    with pytest.raises(ValueError, match="give"):
        protocol.evaluate((folder,), **option)


def test_nothing_large_enough(folder):
    with pytest.raises(ValueError, match="smaller --crop"):
        protocol.evaluate((folder,), crop=200)


@pytest.mark.slow
def test_the_whole_protocol(tmp_path, folder, float32):
    result = protocol.evaluate((folder,), tmp_path / "out", crop=128, photographs=1)
    errors = result["parameters"]
    assert errors["length"]["median"] < 0.1 and errors["angle"]["median"] < 3
    assert errors["radius"]["median"] < 0.1 and errors["sigma"]["median"] < 0.5

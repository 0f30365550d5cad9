import dataclasses
import hashlib
from dataclasses import dataclass

import numpy as np
import pytest

from blurjax import blur_type, weights


@dataclass(frozen=True)
class Config:
    widths: tuple[int, ...] = (3, 2)
    name: str = "x"


TREE = {"params": {"a": np.linspace(0, 1, 6).reshape(2, 3), "b": np.arange(4)}, "state": {}}


def test_round_trip_in_float16(tmp_path):
    file = weights.save(tmp_path / "w.npz", TREE, Config(), {"note": "hello"})
    tree, config, record = weights.load(file, Config)
    assert config == Config() and record == {"note": "hello"}
    a = tree["params"]["a"]
    assert a.dtype == np.float32
    np.testing.assert_array_equal(a, TREE["params"]["a"].astype(np.float16))
    np.testing.assert_array_equal(tree["params"]["b"], np.arange(4))


def test_the_same_weights_are_the_same_file(tmp_path):
    first = weights.save(tmp_path / "1.npz", TREE, Config(), {})
    second = weights.save(tmp_path / "2.npz", TREE, Config(), {})
    assert first.read_bytes() == second.read_bytes()


def test_every_damaged_byte_is_noticed(tmp_path):
    file = weights.save(tmp_path / "w.npz", TREE, Config(), {})
    content = bytearray(file.read_bytes())
    for position in range(40, len(content), max(1, len(content) // 50)):
        damaged = content.copy()
        damaged[position] ^= 0x10
        file.write_bytes(damaged)
        try:
            tree, *_ = weights.load(file, Config)
        except weights.WeightsError as error:
            assert str(file) in str(error)
        else:  # a byte of the archive that carries nothing, such as a date
            np.testing.assert_array_equal(
                tree["params"]["a"], TREE["params"]["a"].astype(np.float16)
            )


def test_a_changed_value_fails_the_checksum(tmp_path):
    file = weights.save(tmp_path / "w.npz", TREE, Config(), {})
    with np.load(file) as archive:
        arrays = dict(archive)
    arrays["params/a"] = arrays["params/a"] + np.float16(1)
    np.savez(file, **arrays)
    with pytest.raises(weights.WeightsError, match="checksum"):
        weights.load(file, Config)


def test_refusals(tmp_path):
    with pytest.raises(weights.WeightsError, match="does not exist"):
        weights.load(tmp_path / "no.npz", Config)
    with pytest.raises(weights.WeightsError, match="float16 cannot"):
        weights.save(tmp_path / "w.npz", {"a": np.array([1e6])}, Config(), {})
    assert list(tmp_path.iterdir()) == []
    other = dataclasses.make_dataclass("Other", [("depth", int, 1)], frozen=True)
    file = weights.save(tmp_path / "w.npz", TREE, Config(), {})
    with pytest.raises(weights.WeightsError, match="has no name, widths"):
        weights.load(file, other)


@pytest.mark.parametrize(
    ("name", "hidden", "most"),
    [("blur_type", (768, 768, 768), 4e6), ("blur_type_published", (500, 30, 10), 1.3e6)],
)
def test_shipped_weights_are_the_ones_the_readme_describes(name, hidden, most):
    file = weights.path(name)
    readme = file.with_name("README.md").read_text(encoding="utf-8")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert digest in readme, "the README's hash is of other weights"
    assert file.stat().st_size <= most
    variables, config, record = weights.load(file, blur_type.Config)
    assert config.hidden == hidden and "judge" in variables
    assert record["files"]["sha256"][:16] in readme

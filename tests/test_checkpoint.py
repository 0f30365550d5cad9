"""Checkpoints: round trips, damage, mistakes, other numbers of devices."""

import signal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from blurjax import checkpoint


def _tree():
    params = {
        "dense": {"kernel": jnp.arange(48.0).reshape(8, 6), "bias": jnp.ones(6, jnp.bfloat16)},
        "scale": jnp.float32(2.5),
    }
    return {
        "params": params,
        "opt": optax.adamw(1e-3).init(params),
        "key": jax.random.key(5),
        "counts": np.arange(3, dtype=np.int64),
        "none": jnp.zeros((0, 4), jnp.float32),
        "flag": jnp.array(True),
    }


def _equal(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype and x.shape == y.shape
        if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))


def test_round_trip(tmp_path):
    tree = _tree()
    checkpoint.save(tmp_path / "c", 7, tree, {"stage": "train", "losses": [1.5, 2]})
    restored, meta, step = checkpoint.restore(tmp_path / "c", tree)
    _equal(restored, tree)
    assert isinstance(restored["opt"][0], type(tree["opt"][0]))
    assert meta == {"stage": "train", "losses": [1.5, 2]} and step == 7
    shapes = jax.eval_shape(lambda: tree)
    _equal(checkpoint.restore(str(tmp_path / "c"), shapes)[0], tree)


def test_without_a_target_everything_is_a_dictionary(tmp_path):
    tree = _tree()
    checkpoint.save(tmp_path, 0, tree)
    restored, meta, step = checkpoint.restore(tmp_path)
    assert (meta, step) == ({}, 0)
    _equal(restored["params"], tree["params"])
    _equal(restored["opt"]["0"]["mu"], tree["opt"][0].mu)
    assert isinstance(restored["params"]["dense"]["kernel"], np.ndarray)


def test_only_the_last_steps_stay(tmp_path):
    assert checkpoint.latest_step(tmp_path / "none") is None
    assert checkpoint.latest_step(tmp_path) is None
    for step in (1, 5, 9):
        checkpoint.save(tmp_path, step, {"w": np.full(3, step)})
    assert checkpoint.latest_step(tmp_path) == 9
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_dir()) == ["5", "9"]
    assert checkpoint.restore(tmp_path, step=5)[0]["w"][0] == 5
    with pytest.raises(checkpoint.CheckpointError, match=r"no step 1; it holds \[5, 9\]"):
        checkpoint.restore(tmp_path, step=1)
    with pytest.raises(checkpoint.CheckpointError, match="already holds step 9"):
        checkpoint.save(tmp_path, 9, {"w": np.zeros(3)})


def test_leftovers_of_an_interrupted_save_are_ignored(tmp_path):
    checkpoint.save(tmp_path, 1, {"w": np.zeros(3)})
    (tmp_path / "2.orbax-checkpoint-tmp").mkdir()
    (tmp_path / "2.orbax-checkpoint-tmp-17").mkdir()
    assert checkpoint.latest_step(tmp_path) == 1
    assert checkpoint.restore(tmp_path)[2] == 1


def test_a_flipped_byte_is_noticed(tmp_path, flip_a_byte):
    # Noise does not compress: the middle of the largest file lies inside the array.
    w = np.random.default_rng(0).random(50_000)
    for step in (1, 2, 3):
        checkpoint.save(tmp_path, step, {"w": w + step}, keep=3)
    flip_a_byte(tmp_path / "3")
    with pytest.raises(checkpoint.CheckpointError, match=r"step 3: the array.*step 2 is whole"):
        checkpoint.restore(tmp_path)
    flip_a_byte(tmp_path / "2")
    with pytest.raises(checkpoint.CheckpointError, match="step 1 is whole: give step=1"):
        checkpoint.restore(tmp_path)
    assert checkpoint.restore(tmp_path, step=1)[0]["w"][0] == w[0] + 1
    flip_a_byte(tmp_path / "1")
    with pytest.raises(checkpoint.CheckpointError, match="no earlier step is whole"):
        checkpoint.restore(tmp_path, step=1)


def test_every_flipped_bit_of_the_meta_is_noticed_or_harmless(tmp_path):
    checkpoint.save(tmp_path, 1, {"w": np.ones(3)}, {"temperature": 1.25})
    (path,) = (tmp_path / "1" / "meta").glob("metadata")
    original = path.read_bytes()
    for position in range(0, len(original), 7):
        data = bytearray(original)
        data[position] ^= 0x01
        path.write_bytes(data)
        try:
            tree, meta, _ = checkpoint.restore(tmp_path)
        except checkpoint.CheckpointError:
            continue
        assert meta == {"temperature": 1.25} and np.array_equal(tree["w"], np.ones(3))


def test_mistakes_are_named(tmp_path):
    with pytest.raises(checkpoint.CheckpointError, match="holds no checkpoint"):
        checkpoint.restore(tmp_path / "missing")
    checkpoint.save(tmp_path, 4, {"params": {"w": np.zeros((2, 3), np.float32)}})
    for target, message in (
        (
            {"params": {"w": jnp.zeros((3, 2), jnp.float32)}},
            r"'params/w' is float32\[2, 3\].*\[3, 2\]",
        ),
        ({"params": {"w": jnp.zeros((2, 3), jnp.float64)}}, r"wants float64\[2, 3\]"),
        ({"params": {"v": jnp.zeros((2, 3), jnp.float32)}}, "checkpoint lacks 'params/v'"),
        ({"params": {}}, "target lacks 'params/w'"),
    ):
        with pytest.raises(checkpoint.CheckpointError, match="step 4: .*" + message):
            checkpoint.restore(tmp_path, target)
    with pytest.raises(checkpoint.CheckpointError, match="no unique name"):
        checkpoint.save(tmp_path, 5, {"a/b": np.zeros(2)})


def test_restore_on_another_number_of_devices(tmp_path):
    mesh = Mesh(np.array(jax.devices()), ("data",))
    split = NamedSharding(mesh, PartitionSpec("data"))
    whole = NamedSharding(mesh, PartitionSpec())
    alone = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    tree = {"x": jax.device_put(jnp.arange(16.0), split), "w": jax.device_put(jnp.ones(3), whole)}
    checkpoint.save(tmp_path, 1, tree)

    on_eight, _, _ = checkpoint.restore(tmp_path, tree, shardings={"x": split, "w": whole})
    assert len(on_eight["x"].sharding.device_set) == 8 and on_eight["x"].sharding == split
    _equal(on_eight, tree)
    on_one, _, _ = checkpoint.restore(tmp_path, tree, shardings=alone)
    assert on_one["w"].devices() == {jax.devices()[0]}
    _equal(on_one, tree)


def test_a_part_is_read_alone(tmp_path):
    tree = _tree()
    checkpoint.save(tmp_path, 1, {"state": tree, "totals": {"loss": np.float32(1)}})
    restored, _, _ = checkpoint.restore(tmp_path, tree["params"], part="state/params")
    _equal(restored, tree["params"])
    scale, _, _ = checkpoint.restore(tmp_path, part="state/params/scale")
    assert scale == np.float32(2.5)
    # What is not asked for is not read: its damage is not noticed, that of the part is.
    with pytest.raises(checkpoint.CheckpointError, match="there is no 'state/param'; there are"):
        checkpoint.restore(tmp_path, part="state/param")


def test_the_best_step_stays_beside_the_last(tmp_path):
    with checkpoint.Checkpoints(tmp_path, keep=1, keep_best=1) as checkpoints:
        for step, score in enumerate((0.5, 0.2, None, 0.4, None)):
            checkpoints.save(step, {"w": np.full(3, step)}, score=score)
    assert checkpoint.steps(tmp_path) == [1, 4]
    assert checkpoint.best_step(tmp_path) == 1
    # Another sitting knows what the first one found.
    with checkpoint.Checkpoints(tmp_path, keep=1, keep_best=1) as checkpoints:
        checkpoints.save(5, {"w": np.full(3, 5)}, score=0.3)
    assert checkpoint.steps(tmp_path) == [1, 5]
    assert checkpoint.best_step(tmp_path / "none") is None
    # What is no number is no score.
    with checkpoint.Checkpoints(tmp_path, keep=1, keep_best=1) as checkpoints:
        checkpoints.save(6, {"w": np.full(3, 6)}, score=float("nan"))
    assert checkpoint.best_step(tmp_path) == 1
    with pytest.raises(ValueError, match="keep is 0"):
        checkpoint.Checkpoints(tmp_path, keep=0)


def test_what_is_saved_may_be_overwritten_at_once(tmp_path):
    w = np.arange(200_000.0)
    with checkpoint.Checkpoints(tmp_path) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, {"w": w, "on_device": jnp.asarray(w)})
            w += 1
    for step in (1, 2):
        saved = checkpoint.restore(tmp_path, step=step)[0]
        np.testing.assert_array_equal(saved["w"], np.arange(200_000.0) + step - 1)
        np.testing.assert_array_equal(saved["on_device"], saved["w"])


def test_damaged_steps_are_passed_over_and_set_aside(tmp_path, flip_a_byte):
    w = np.random.default_rng(0).random(50_000)
    for step in (1, 2, 3):
        checkpoint.save(tmp_path, step, {"w": w + step}, keep=3)
    flip_a_byte(tmp_path / "3")
    (tmp_path / "2" / "meta" / "metadata").unlink()
    said = []
    tree, _, step = checkpoint.restore(tmp_path, pass_over=lambda *about: said.append(about))
    assert step == 1 and tree["w"][0] == w[0] + 1
    assert [number for number, _ in said] == [3, 2]
    assert "does not match its checksum; passed over for step 1" in said[0][1]
    for number, _ in said:
        assert checkpoint.set_aside(tmp_path, number).is_dir()
    assert checkpoint.steps(tmp_path) == [1]
    checkpoint.save(tmp_path, 3, {"w": w}, keep=3)
    assert checkpoint.steps(tmp_path) == [1, 3]


@pytest.fixture
def small_disk():
    """No file may grow beyond 100 kB, as if the disk were full."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, before)
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_says_so_and_spares_what_is_there(tmp_path, small_disk):
    noise = np.random.default_rng(0).random(100_000)
    checkpoint.save(tmp_path, 1, {"w": noise[:100]})
    with pytest.raises(checkpoint.CheckpointError, match=r"could not be written.*step 1 is there"):
        checkpoint.save(tmp_path, 2, {"w": noise})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1"]
    assert checkpoint.restore(tmp_path)[2] == 1
    small_disk()
    checkpoint.save(tmp_path, 2, {"w": noise})
    np.testing.assert_array_equal(checkpoint.restore(tmp_path)[0]["w"], noise)

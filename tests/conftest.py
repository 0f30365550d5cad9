"""Strict by default: float64 on, no silent dtype promotion, no silent rank promotion."""

import functools
import os

# Eight simulated devices for the sharding and pmap tests; must be set before jax starts.
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=8")

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# The same examples in every run, and no time limit for one: the first of a shape compiles.
_EVERY = {
    "derandomize": True,
    "deadline": None,
    "database": None,
    "suppress_health_check": list(HealthCheck),
    # Not `explain`, which takes long and tells little of what is compiled.
    "phases": (Phase.explicit, Phase.generate, Phase.shrink),
}
settings.register_profile("fast", max_examples=5, **_EVERY)
settings.register_profile("thorough", max_examples=60, **_EVERY)
settings.load_profile("fast")


@pytest.fixture
def getkey():
    """A fresh random key at each call; the same sequence in every run."""
    count = iter(range(1_000_000))
    return lambda: jax.random.fold_in(jax.random.key(20261120), next(count))


@pytest.fixture(autouse=True, scope="module")
def _forget_programs():
    yield
    from blurjax import _programs

    _programs.make_room()


@functools.cache
def _derivatives(f, count):
    arguments = tuple(range(count))
    first = jax.jacfwd(f, arguments)
    return (
        jax.jit(f),
        jax.jit(first),
        jax.jit(jax.jacrev(f, arguments)),
        jax.jit(jax.jacfwd(first, arguments)),
    )


@pytest.fixture
def check_derivatives():
    """First (forward and reverse) and second derivatives against central differences.

    For functions of float64 scalars. What `jax.test_util.check_grads` checks along random
    directions, checked in full, and compiled once a function instead of run op by op. The first
    derivative must also not vanish.
    """

    def check(f, *values, tolerance=1e-6):
        plain, forward, reverse, second = _derivatives(f, len(values))
        jacobian, hessian = forward(*values), second(*values)
        for a, b in zip(jacobian, reverse(*values), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-11)
            assert jnp.abs(a).max() > 1e-3, "the gradient vanishes: nothing was checked"
        for i in range(len(values)):
            ahead, behind = (
                [v + sign * 1e-6 * (i == j) for j, v in enumerate(values)] for sign in (1, -1)
            )
            difference = (plain(*ahead) - plain(*behind)) / 2e-6
            np.testing.assert_allclose(jacobian[i], difference, atol=tolerance)
            for j, (a, b) in enumerate(zip(forward(*ahead), forward(*behind), strict=True)):
                np.testing.assert_allclose(hessian[j][i], (a - b) / 2e-6, atol=100 * tolerance)

    return check


@pytest.fixture
def flip_a_byte():
    """Damages a checkpoint: one byte in the middle of the largest file below a folder."""

    def flip(folder):
        path = max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(content)

    return flip


@pytest.fixture
def float32():
    """As users run: float64 off, promotion as jax comes."""
    names = ("jax_enable_x64", "jax_numpy_dtype_promotion", "jax_numpy_rank_promotion")
    before = {name: getattr(jax.config, name) for name in names}
    for name, value in zip(names, (False, "standard", "allow"), strict=True):
        jax.config.update(name, value)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.fixture(scope="session")
def stand_in(tmp_path_factory):
    """A weights file that answers something: where only the answer's form matters."""
    from blurjax import blur_type, weights

    config = blur_type.Config(hidden=(8, 4), memory=6)
    k_init, k_patches = jax.random.split(jax.random.key(1))
    patches = jax.random.uniform(k_patches, (18, 32, 32), jnp.float32)
    label = jnp.arange(18) % 3
    batch = blur_type.Batch(
        patches=patches,
        label=label,
        size=jnp.linspace(2, 5, 18, dtype=jnp.float32),
        angle=jnp.where(label == 1, 1.0, 0.0).astype(jnp.float32),
        weight=jnp.ones(18, jnp.float32),
        image=jnp.zeros(18, int),
        rejected=jnp.zeros((), jnp.float32),
    )
    variables = jax.tree.map(
        lambda x: x.astype(jnp.float32),
        blur_type.standardise(blur_type.init(k_init, config), patches, config),
    )
    variables = blur_type.remember(variables, batch, config)
    file = tmp_path_factory.mktemp("weights") / "blur_type.npz"
    return weights.save(file, variables, config, {"note": "random"})


@pytest.fixture
def sigma_stand_in(monkeypatch, tmp_path):
    """A weights file for sigma_map whose network sees sigma rise from 0.5 px at the left to 2.5 px
    at the right, to within 0.1 px: where only what is made of the map matters."""
    from blurjax import sigma_map, weights
    from blurjax.sigma_map import _estimate

    def rising(variables, gray, config, *, stride=4, way="expectation"):
        ramp = np.linspace(0.5, 2.5, gray.shape[1], dtype=np.float32)
        sigma = np.broadcast_to(ramp, (1, *gray.shape))
        return sigma_map.Prediction(sigma, np.full(sigma.shape, 0.1, np.float32))

    monkeypatch.setattr(_estimate, "tiled", rising)
    return weights.save(
        tmp_path / "weights" / "sigma_map.npz",
        {"params": {"none": np.zeros(1)}},
        sigma_map.Config(),
        {"note": "no network"},
    )


@pytest.fixture
def kernel_size_stand_in(monkeypatch, tmp_path):
    """A weights file for kernel_size whose network sees a kernel 13.4 px wide and 8.1 px high in
    every image, within 12 to 15 and 7 to 10 px."""
    from blurjax import kernel_size, weights
    from blurjax.kernel_size import _estimate

    def fixed(variables, seen, config, *, decoding=None):
        return kernel_size.Prediction(*np.float32([[[8.1, 13.4]], [[7, 12]], [[10, 15]]]))

    monkeypatch.setattr(_estimate, "_views", lambda images, config, *, inside: images)
    monkeypatch.setattr(_estimate, "_read", fixed)
    return weights.save(
        tmp_path / "weights" / "kernel_size.npz",
        {"params": {"none": np.zeros(1)}},
        kernel_size.Config(),
        {"note": "no network"},
    )


@pytest.fixture
def region_stand_in(monkeypatch, tmp_path):
    """A weights file for region whose network says that a good kernel is estimated the likelier,
    the further to the right a window is; at the right edge with 63 %."""
    from blurjax import region, weights
    from blurjax.region import _estimate

    def rising(gray, corners, variables, config, *, size=region.WINDOW):
        return (0.63 * (corners[:, 1] + size) / gray.shape[1]).astype(np.float32)

    monkeypatch.setattr(_estimate, "scores", rising)
    return weights.save(
        tmp_path / "weights" / "region.npz",
        {"params": {"none": np.zeros(1)}},
        region.Config(),
        {"note": "no network"},
    )


@pytest.fixture
def sharpness_stand_in(monkeypatch, tmp_path):
    """A weights file for sharpness whose network sees it rise from 0 at the left to 1 at the
    right: where only what is made of the map matters."""
    from blurjax import sharpness, weights
    from blurjax.sharpness import _estimate

    def rising(variables, gray, config):
        return np.broadcast_to(np.linspace(0, 1, gray.shape[1], dtype=np.float32), gray.shape)

    monkeypatch.setattr(_estimate, "_detect", rising)
    return weights.save(
        tmp_path / "weights" / "sharpness.npz",
        {"params": {"none": np.zeros(1)}},
        sharpness.Config(),
        {"note": "no network"},
    )

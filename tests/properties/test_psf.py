"""Kernels and what is said of them, over all parameters."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blurjax import psf
from tests.properties.common import (
    SEEDS,
    angles,
    close,
    dear,
    finite,
    magnitudes,
    quiet,
    refused,
    same_batched,
)  # fmt: skip

HUGE = 1e30
# Of each kernel: the function of its parameters, and where these may lie.
KERNELS = {
    "gaussian": (psf.gaussian, [magnitudes(HUGE)]),
    "gaussian, points": (functools.partial(psf.gaussian, sampling="point"), [magnitudes(HUGE)]),
    "gaussian, anisotropic": (
        lambda sigma, ratio, angle, **o: psf.gaussian(sigma, ratio=ratio, angle=angle, **o),
        [magnitudes(HUGE), magnitudes(4.0), angles()],
    ),
    "gaussian, cut": (
        lambda sigma, radius, **o: psf.gaussian(sigma, radius=radius, **o),
        [magnitudes(HUGE), magnitudes(9.0)],
    ),
    "motion": (psf.motion, [magnitudes(HUGE), angles()]),
    "motion, points": (
        functools.partial(psf.motion, sampling="point"),
        [magnitudes(HUGE), angles()],
    ),
    "defocus": (psf.defocus, [magnitudes(HUGE)]),
    "polygon": (
        lambda radius, rotation, **o: psf.polygon(radius, rotation=rotation, **o),
        [magnitudes(HUGE), angles()],
    ),
    "triangle": (
        lambda radius, rotation, **o: psf.polygon(radius, rotation=rotation, blades=3, **o),
        [magnitudes(HUGE), angles()],
    ),
    "moffat": (psf.moffat, [magnitudes(HUGE), st.floats(1.01, 30.0)]),
    "airy": (psf.airy, [magnitudes(HUGE)]),
}
FORMS = ((9, "float64"), (1, "float32"), (5, "bfloat16"))
TOLERANCE = {"float64": 1e-9, "float32": 2e-5, "bfloat16": 0.05}


@functools.cache
def compiled(name, size):
    """The kernel of each row of parameters, and the gradient of a sum over it."""
    f, _ = KERNELS[name]
    weights = jnp.asarray(np.random.default_rng(0).random((size, size)))

    def kernels(*parameters):
        return f(*parameters, size=size)

    def gradient(*parameters):
        def total(*row):
            kernel = f(*row, size=size)
            return jnp.sum(kernel * weights.astype(kernel.dtype))

        return jax.vmap(jax.grad(total, tuple(range(len(parameters)))))(*parameters)

    return kernels, jax.jit(kernels), jax.jit(gradient)


@pytest.mark.parametrize("form", dear(FORMS, FORMS[:1]), ids=str)
@pytest.mark.parametrize("name", KERNELS)
@given(data=st.data())
def test_kernels_are_kernels(name, form, data):
    """Non-negative, of sum 1, in the dtype of the parameters, finite with finite gradients."""
    size, dtype = form
    rows = data.draw(st.lists(st.tuples(*KERNELS[name][1]), min_size=4, max_size=4))
    parameters = [jnp.asarray(np.array(column), dtype) for column in zip(*rows, strict=True)]
    eager, jitted, gradient = compiled(name, size)
    kernels = quiet(eager, *parameters)
    assert kernels.shape == (4, size, size)
    assert kernels.dtype == jnp.dtype(dtype)
    wide = np.asarray(kernels, np.float64)
    assert np.isfinite(wide).all() and (wide >= 0).all()
    np.testing.assert_allclose(wide.sum((-2, -1)), 1, atol=TOLERANCE[dtype])
    close(kernels, jitted(*parameters), atol=TOLERANCE[dtype])
    if dtype != "bfloat16":
        slopes = gradient(*parameters)
        assert finite(slopes)
        assert all(slope.dtype == jnp.dtype(dtype) for slope in slopes)


def test_motions_on_the_diagonals_have_no_negative_values():
    lengths = jnp.linspace(0.0, 8.0, 65)[:, None]
    kernels = psf.motion(lengths, jnp.arange(8.0)[None] * (np.pi / 4), size=11)
    assert float(kernels.min()) >= 0


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["gaussian", "polygon"])
def test_widths_without_end_give_flat_kernels(name, dtype):
    widths = jnp.array([300.0, 1e4, 1e9, 1e30], dtype)
    kernels = quiet(getattr(psf, name), widths, size=5)
    np.testing.assert_allclose(np.asarray(kernels, np.float64), 1 / 25, rtol=0.02)


@pytest.mark.parametrize("name", KERNELS)
@given(data=st.data())
def test_one_by_one_or_together(name, data):
    rows = data.draw(st.lists(st.tuples(*KERNELS[name][1]), min_size=3, max_size=3))
    eager, _, _ = compiled(name, 9)
    together = quiet(eager, *map(jnp.asarray, zip(*rows, strict=True)))
    alone = jnp.stack([quiet(eager, *row) for row in rows])
    np.testing.assert_allclose(together, alone, atol=1e-12)


@pytest.mark.parametrize(
    ("f", "others"),
    [
        (psf.gaussian, ()), (psf.motion, (0.3,)), (psf.defocus, ()), (psf.polygon, ()),
        (psf.moffat, (2.0,)), (psf.airy, ()),
    ],
)  # fmt: skip
@given(value=magnitudes(12.0), bad=st.floats(-1e9, -1e-9))
def test_parameters_out_of_range_are_refused(f, others, value, bad):
    for size in (2, 0, -3, 4):
        refused(f, value, *others, size=size)
    for wrong in (bad, np.nan, np.inf, -np.inf, np.array([value, bad]), np.array([np.nan, value])):
        refused(f, wrong, *others, size=5)
    refused(psf.gaussian, value, size=5, sampling="box")
    refused(psf.gaussian, value, size=5, ratio=bad)
    refused(psf.gaussian, value, size=5, radius=bad)
    refused(psf.motion, value, np.nan, size=5)
    refused(psf.motion, value, 0.0, size=5, sampling="box")
    refused(psf.polygon, value, size=5, blades=2)
    refused(psf.moffat, value, 1.0, size=5)


@given(value=magnitudes(6.0), angle=angles(), ratio=magnitudes(3.0))
def test_symmetries(value, angle, ratio):
    """A half turn changes no kernel but that of an odd polygon; a quarter turn turns it."""
    kernels = [
        quiet(psf.gaussian, value, size=9, ratio=jnp.asarray(ratio), angle=angle),
        quiet(psf.motion, value, angle, size=9),
        quiet(psf.defocus, value, size=9),
        quiet(psf.polygon, value, size=9, rotation=angle),
        quiet(psf.moffat, value, 2.5, size=9),
        quiet(psf.airy, value, size=9),
    ]
    turned = [
        quiet(psf.gaussian, value, size=9, ratio=jnp.asarray(ratio), angle=angle + np.pi / 2),
        quiet(psf.motion, value, angle + np.pi / 2, size=9),
        kernels[2],
        quiet(psf.polygon, value, size=9, rotation=angle + np.pi / 2),
        *kernels[4:],
    ]
    for kernel, quarter in zip(kernels, turned, strict=True):
        np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-7)
        np.testing.assert_allclose(np.rot90(kernel), quarter, atol=1e-7)
        centre = psf.moments(kernel)
        np.testing.assert_allclose(centre.mean, 0, atol=1e-6)
        np.testing.assert_allclose(centre.mass, 1, atol=1e-12)
        assert np.all(np.linalg.eigvalsh(np.asarray(centre.covariance)) >= -1e-12)


@given(
    name=st.sampled_from(sorted(psf.FAMILIES)), part=st.floats(0, 1), size=st.sampled_from([3, 31])
)
def test_families_span_what_they_say(name, part, size):
    family = psf.as_family(name)
    assert family is psf.FAMILIES[name] and psf.as_family(family) is family
    values = [p.low + part * (p.high - p.low) for p in family.parameters]
    assert all(p.low < p.high for p in family.parameters) and len(set(family.names)) == len(values)
    kernel = quiet(family.kernel, *values, size=size)
    np.testing.assert_allclose(kernel.sum(), 1, atol=1e-9)
    for place, parameter in enumerate(family.parameters):
        if parameter.period is not None:
            again = [v + parameter.period * (i == place) for i, v in enumerate(values)]
            np.testing.assert_allclose(kernel, quiet(family.kernel, *again, size=size), atol=1e-7)
    refused(psf.as_family, name + "s")


TRANSFERS = {
    "gaussian": (psf.gaussian_transfer, [magnitudes(HUGE)]),
    "motion": (psf.motion_transfer, [magnitudes(HUGE), angles()]),
    "defocus": (psf.defocus_transfer, [magnitudes(1e3)]),
}


@pytest.mark.parametrize("name", TRANSFERS)
@given(data=st.data(), u=st.floats(-3, 3), v=st.floats(-3, 3), footprint=st.booleans())
def test_transfers_of_the_families(name, data, u, v, footprint):
    """At most 1, which it is at 0, even, real and finite with its slopes."""
    f, strategies = TRANSFERS[name]
    values = [data.draw(strategy) for strategy in strategies]
    u, v = jnp.array([0.0, u, -u, u]), jnp.array([0.0, v, -v, 1e-9])
    answer = f(*values, u, v, footprint=footprint)
    assert answer.shape == (4,) and answer.dtype == jnp.float64
    assert np.all(np.abs(answer) <= 1 + 1e-12)
    np.testing.assert_allclose(answer[0], 1, atol=1e-12)
    np.testing.assert_allclose(answer[1], answer[2], atol=1e-9)
    slopes = slope_of_transfer(name, footprint)(*map(jnp.asarray, values), u[1], v[1])
    assert finite(slopes)
    for wrong in (np.nan, np.inf):
        refused(f, *values, wrong)
        refused(f, wrong, *values[1:], 0.1)
    refused(f, -1.0 - values[0], *values[1:], 0.1)


@functools.cache
def slope_of_transfer(name, footprint):
    f, strategies = TRANSFERS[name]
    count = len(strategies) + 2
    return jax.jit(jax.grad(lambda *a: f(*a, footprint=footprint), tuple(range(count))))


@given(seed=SEEDS, u=st.floats(-1, 1), v=st.floats(-1, 1), angle=angles())
def test_what_kernels_are(seed, u, v, angle):
    """`transfer`, `moments`, `extent` and `mtf50` of any kernel."""
    rng = np.random.default_rng(seed)
    raw = rng.random((2, 7, 7)) ** 8 * (rng.random((2, 7, 7)) < 0.5)
    raw[:, 3, 3] += 1e-3
    kernel = jnp.asarray(raw / raw.sum((-2, -1), keepdims=True))
    answer = psf.transfer(kernel, jnp.array([0.0, u, -u, u + 1]), jnp.array([0.0, v, -v, v]))
    assert answer.shape == (2, 4)
    np.testing.assert_allclose(answer[:, 0], 1, atol=1e-12)
    assert np.all(np.abs(answer) <= 1 + 1e-12)
    np.testing.assert_allclose(answer[:, 1], np.conj(answer[:, 2]), atol=1e-12)
    np.testing.assert_allclose(answer[:, 1], answer[:, 3], atol=1e-9)
    found = psf.moments(kernel)
    assert np.all(np.abs(found.mean) <= 3) and finite(found)
    factor = psf.moments(kernel * 7.0)
    np.testing.assert_allclose(factor.mass, 7 * found.mass, rtol=1e-12)
    close(factor[1:], found[1:])
    box = psf.extent(kernel, fraction=0.0)
    assert box.shape == (2, 2) and np.all((box >= 1) & (box <= 7))
    assert np.all(psf.extent(kernel, fraction=0.5) <= box)
    assert np.all(psf.extent(jnp.zeros((7, 7))) == 0)
    half = psf.mtf50(kernel, angle)
    assert half.shape == (2,) and np.all(half > 0) and not np.isnan(half).any()
    known = np.where(np.isfinite(half), half, 0)
    there = psf.transfer(kernel, known * np.cos(angle), -known * np.sin(angle))
    for i in np.flatnonzero(known):
        np.testing.assert_allclose(np.abs(there[i, i]), 0.5, atol=1e-6)
    assert finite(slope_of_mtf50(kernel))
    for f in (psf.transfer, psf.mtf50, psf.moments):
        refused(f, jnp.ones((4, 4)), *([0.1] if f is not psf.moments else []))
    for wrong in (np.nan, np.inf):
        refused(psf.transfer, kernel, wrong)
        refused(psf.mtf50, kernel, wrong)
    for wrong in (-0.1, 1.0, np.nan):
        refused(psf.extent, kernel, fraction=wrong)


@jax.jit
@jax.grad
def slope_of_mtf50(kernel):
    half = psf.mtf50(kernel)
    return jnp.sum(jnp.where(jnp.isfinite(half), half, 0))


@given(
    value=st.lists(magnitudes(40.0), min_size=1, max_size=3), angle=angles(),
    mass=st.sampled_from([1e-9, 0.5, 0.9, 0.999, 1 - 1e-9]),
)  # fmt: skip
def test_support_holds_the_mass(value, angle, mass):
    for name, parameters in (("gaussian", []), ("motion", [angle]), ("defocus", [])):
        size = psf.support(name, np.array(value), *parameters, mass=mass)
        assert isinstance(size, int) and size % 2 == 1 and size >= 1
        assert size >= psf.support(name, np.array(value), *parameters, mass=mass / 2)
        assert size == max(psf.support(name, v, *parameters, mass=mass) for v in value)
    assert psf.support("defocus", np.array(value), mass=1.0) >= 2 * max(value) - 1
    refused(psf.support, "gaussian", value[0], mass=1.0)
    for wrong in (0.0, -1.0, 1.1, np.nan):
        refused(psf.support, "defocus", value[0], mass=wrong)
    refused(psf.support, "airy", value[0])
    refused(psf.support, "motion", value[0])
    refused(psf.support, "defocus", -1.0 - value[0])
    refused(psf.support, "defocus", np.nan)


POINTS = st.floats(-3, 3) | st.integers(-9, 9).map(float) | st.sampled_from([1e9, -1e9, 1e-300])


@given(
    points=st.lists(st.tuples(POINTS, POINTS), min_size=5, max_size=5),
    # Weights below 1e-150 have no finite gradient: the square of their sum is 0.
    weights=st.lists(
        st.sampled_from([0.0, 1e-9, 1.0, 1e6]) | st.floats(1e-3, 10), min_size=5, max_size=5
    ),
)
def test_trajectories(points, weights):
    path, time = jnp.array(points), jnp.array(weights)
    inside = np.all(np.abs(points) < 3, axis=-1)
    for given_weights in (None, time):
        kernel = quiet(psf.trajectory, path, size=5, weights=given_weights)
        assert kernel.shape == (5, 5) and finite(kernel) and np.all(kernel >= 0)
        total = float(kernel.sum())
        seen = inside.any() if given_weights is None else (time[inside] > 1e-200).any()
        assert abs(total - 1) < 1e-9 or (not seen and total == 0), total
        order = np.array([3, 1, 4, 0, 2])
        again = quiet(
            psf.trajectory, path[order], size=5,
            weights=None if given_weights is None else time[order],
        )  # fmt: skip
        np.testing.assert_allclose(kernel, again, atol=1e-9)
    assert finite(slope_of_trajectory(path, time))
    stacked = jnp.stack([path, path[::-1] * 0.5])
    same_batched(lambda p: quiet(psf.trajectory, p, size=5), stacked)
    assert psf.trajectory(path.astype(jnp.bfloat16) * 0, size=3).dtype == jnp.bfloat16
    for size in (0, 2, -1):
        refused(psf.trajectory, path, size=size)
    refused(psf.trajectory, path.at[0, 0].set(np.nan), size=5)
    refused(psf.trajectory, path, size=5, weights=time.at[2].set(-1.0))
    refused(psf.trajectory, path, size=5, weights=time.at[2].set(np.inf))


@jax.jit
@functools.partial(jax.grad, argnums=(0, 1))
def slope_of_trajectory(path, time):
    return jnp.sum(psf.trajectory(path, size=5, weights=time) * jnp.arange(5.0)[:, None])


@pytest.mark.slow
@given(
    seed=SEEDS, length=magnitudes(300.0), anxiety=magnitudes(1.0), exposure=st.floats(0.01, 1.0),
    extent=st.none() | st.floats(1, 30) | st.integers(1, 30).map(float),
)  # fmt: skip
def test_random_trajectories(seed, length, anxiety, exposure, extent):
    key = jax.random.key(seed)
    options = {"path_length": length, "anxiety": anxiety, "exposure": exposure, "num_samples": 50}
    extents = {} if extent is None else {"extent": extent}
    path = psf.sample_trajectory(key, **options, **extents)
    assert path.shape == (50, 2) and finite(path)
    again = psf.sample_trajectory(key, **options, **extents, shape=(3,))
    np.testing.assert_allclose(path, again[0], atol=1e-9)
    steps = np.linalg.norm(np.diff(path, axis=0), axis=-1)
    if extent is None:
        assert steps.sum() <= length * exposure * (1 + 1e-6) + 1e-12
    elif length > 1:
        np.testing.assert_allclose(np.ptp(path, axis=0).max(), extent - 1, atol=1e-3)
    box = (path.min(0) + path.max(0)) / 2
    assert np.all(np.abs(box) <= 0.5 + 1e-9)
    centred = psf.sample_trajectory(key, **options, **extents, centre="centroid")
    np.testing.assert_allclose(centred.mean(0), 0, atol=1e-9)
    started = psf.sample_trajectory(key, **options, **extents, centre="start")
    np.testing.assert_allclose(started[0], 0, atol=1e-9)


@given(seed=SEEDS, bad=st.floats(-1e9, -1e-9))
def test_random_trajectories_refuse(seed, bad):
    key = jax.random.key(seed)
    for name in ("path_length", "anxiety", "centripetal", "gaussian", "big_shake", "exposure"):
        for wrong in (bad, np.nan, np.inf):
            refused(psf.sample_trajectory, key, **{name: wrong})
    refused(psf.sample_trajectory, key, extent=0.5)
    refused(psf.sample_trajectory, key, exposure=1.5)
    refused(psf.sample_trajectory, key, num_samples=1)
    refused(psf.sample_trajectory, key, centre="middle")
    refused(psf.sample_trajectory, key, axis=2)
    refused(psf.sample_trajectory, key, shape=(2,), path_length=np.ones(3))

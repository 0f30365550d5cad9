import functools
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from blurjax.nn import rbm

VISIBLE, HIDDEN = 4, 3


@pytest.fixture
def params(getkey):
    keys = [getkey() for _ in range(3)]
    return {
        "kernel": jax.random.normal(keys[0], (VISIBLE, HIDDEN)),
        "visible": 0.5 * jax.random.normal(keys[1], (VISIBLE,)),
        "hidden": 0.5 * jax.random.normal(keys[2], (HIDDEN,)),
    }


ALL_VISIBLE = jnp.array(list(itertools.product([0.0, 1.0], repeat=VISIBLE)))
ALL_HIDDEN = jnp.array(list(itertools.product([0.0, 1.0], repeat=HIDDEN)))


def log_likelihood(params, data):
    """By enumeration of all 2^4 x 2^3 states."""
    energy = -(
        (ALL_VISIBLE @ params["visible"])[:, None]
        + (ALL_HIDDEN @ params["hidden"])[None, :]
        + ALL_VISIBLE @ params["kernel"] @ ALL_HIDDEN.T
    )
    log_partition = jax.nn.logsumexp(-energy)
    return jnp.mean(-rbm.free_energy(params, data) - log_partition)


DATA = jnp.array([[1.0, 1, 0, 0], [1, 0, 0, 0], [0, 1, 1, 1], [1, 1, 0, 1]])


def test_free_energy_is_the_sum_over_hidden_states(params):
    visible = ALL_VISIBLE[5]
    energies = -(
        visible @ params["visible"]
        + ALL_HIDDEN @ params["hidden"]
        + ALL_HIDDEN @ (visible @ params["kernel"])
    )
    expected = -jax.nn.logsumexp(-energies)
    np.testing.assert_allclose(rbm.free_energy(params, visible[None])[0], expected, rtol=1e-12)


def expected_gradient(params, steps, copies, key):
    """Of many copies of the data: each row has a chain of its own."""
    estimate = jax.jit(
        functools.partial(rbm.contrastive_divergence, steps=steps, sample_visible=True)
    )
    return estimate(key, params, jnp.tile(DATA, (copies, 1)))[0]


def gap(a, b):
    return max(
        float(jnp.abs(x - y).max()) for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True)
    )


@pytest.mark.slow
def test_cd_approaches_the_exact_gradient_as_k_grows(params, getkey):
    params = {**params, "kernel": 2 * params["kernel"]}  # slower to mix
    exact = jax.grad(log_likelihood)(params, DATA)
    key = getkey()
    gaps = [gap(expected_gradient(params, k, 10_000, key), exact) for k in (1, 3, 20)]
    # Monte Carlo alone leaves about 0.5 / sqrt(40 000) = 0.0025 in each of 19 numbers.
    assert gaps[2] < 0.01 < gaps[1] < gaps[0] and gaps[0] > 0.05, gaps


def test_cd_1_points_uphill(params, getkey):
    exact = jax.grad(log_likelihood)(params, DATA)
    estimate = expected_gradient(params, 1, 5_000, getkey())
    dot = sum(jnp.vdot(a, b) for a, b in zip(*map(jax.tree.leaves, (exact, estimate)), strict=True))
    norms = [
        jnp.sqrt(sum(jnp.vdot(a, a) for a in jax.tree.leaves(tree))) for tree in (exact, estimate)
    ]
    assert dot / (norms[0] * norms[1]) > 0.8


def sampled_rows(key, params, n):
    """Exact samples of the visible states."""
    index = jax.random.categorical(key, -rbm.free_energy(params, ALL_VISIBLE), shape=(n,))
    return ALL_VISIBLE[index]


PLACES = jnp.array([8.0, 4, 2, 1])


def frequencies(rows):
    code = (rows @ PLACES).astype(int)
    return jnp.bincount(code, length=2**VISIBLE).astype(float) / len(rows)


@pytest.mark.parametrize("steps", [1, 5])
def test_gibbs_leaves_the_model_distribution_as_it_is(params, getkey, steps):
    n = 200_000
    expected = jnp.exp(-rbm.free_energy(params, ALL_VISIBLE))
    expected = expected / expected.sum()
    walk = jax.jit(functools.partial(rbm.gibbs, steps=steps))
    rows = walk(getkey(), params, sampled_rows(getkey(), params, n))
    chi_square = float(n * jnp.sum((frequencies(rows) - expected) ** 2 / expected))
    # 15 degrees of freedom: exceeded once in 10 000.
    assert chi_square < 44, chi_square
    # From anywhere else it takes more than a step to come there.
    away = walk(getkey(), params, jnp.zeros((n, VISIBLE)))
    distance = float(jnp.abs(frequencies(away) - expected).sum())
    assert distance > 0.1 if steps == 1 else distance < 0.1, distance


def test_one_gibbs_step_has_the_enumerated_transitions(params, getkey):
    n = 100_000
    row = ALL_VISIBLE[6]
    on = rbm.hidden_mean(params, row[None])[0]
    hidden = jnp.prod(jnp.where(ALL_HIDDEN == 1, on[None], 1 - on[None]), axis=1)
    expected = hidden @ rbm.visible_mean(params, ALL_HIDDEN)
    rows = rbm.gibbs(getkey(), params, jnp.tile(row, (n, 1)))
    np.testing.assert_allclose(rows.mean(axis=0), expected, atol=0.007)


def test_units_that_share_random_bits_are_independent(getkey):
    mean = jnp.tile(jnp.array([0.3, 1.0, 0.5, 0.3, 0.0]), (200_000, 1))
    drawn = rbm._bernoulli(getkey(), mean)
    assert set(np.unique(drawn)) == {0, 1}
    np.testing.assert_allclose(drawn.mean(axis=0), mean[0], atol=0.005)
    # 0 and 3 read the same words.
    assert abs(np.corrcoef(drawn[:, 0], drawn[:, 3])[0, 1]) < 0.01


@pytest.mark.slow
def test_pcd_is_exact_once_its_chains_are_stationary(params, getkey):
    exact = jax.grad(log_likelihood)(params, DATA)
    chains = rbm.hidden_mean(params, sampled_rows(getkey(), params, 100_000))
    step = jax.jit(rbm.persistent_contrastive_divergence, static_argnames="steps")
    for steps in (1, 3):
        gradient, chains, metrics = step(getkey(), params, DATA, chains, steps=steps)
        assert gap(gradient, exact) < 0.007
    np.testing.assert_allclose(metrics.free_energy, rbm.free_energy(params, DATA).mean())
    # And its chains come there from anywhere.
    chains = rbm.hidden_mean(params, jnp.zeros((50_000, VISIBLE)))
    gaps = []
    for _ in range(2):
        gradient, chains, _ = step(getkey(), params, DATA, chains, steps=10)
        gaps.append(gap(gradient, exact))
    assert gaps[1] < 0.01, gaps


def gaussian_log_likelihood(params, data):
    """p(v) is a mixture of one Gaussian a hidden state, with a partition function of its own.

    exp(c'h) integrates over v to exp(c'h + b'W h + |W h|^2 / 2) (2 pi)^(V/2).
    """
    push = ALL_HIDDEN @ params["kernel"].T
    log_weight = ALL_HIDDEN @ params["hidden"] + push @ params["visible"] + jnp.sum(push**2, -1) / 2
    centre = params["visible"][None] + push
    distance = jnp.sum((data[:, None] - centre[None]) ** 2, axis=-1)
    log_joint = log_weight[None] - distance / 2
    normal = data.shape[1] / 2 * jnp.log(2 * jnp.pi)
    return jnp.mean(jax.nn.logsumexp(log_joint, axis=1) - jax.nn.logsumexp(log_weight) - normal)


def gaussian_samples(key, params, n):
    k_component, k_noise = jax.random.split(key)
    push = ALL_HIDDEN @ params["kernel"].T
    log_weight = ALL_HIDDEN @ params["hidden"] + push @ params["visible"] + jnp.sum(push**2, -1) / 2
    which = jax.random.categorical(k_component, log_weight, shape=(n,))
    noise = jax.random.normal(k_noise, (n, VISIBLE))
    return params["visible"][None] + push[which] + noise


GAUSSIAN = {"units": "gaussian", "sample_visible": True}
GAUSSIAN_DATA = jnp.array([[1.0, -1, 0.5, 0], [0.2, 0.1, -2, 1], [-1, -1, 1, 2]])


def test_gaussian_free_energy_is_that_of_the_mixture(params):
    """Up to one constant, the partition function."""
    own = [-rbm.free_energy(params, v[None], units="gaussian")[0] for v in GAUSSIAN_DATA]
    other = [gaussian_log_likelihood(params, v[None]) for v in GAUSSIAN_DATA]
    np.testing.assert_allclose(np.diff(own), np.diff(other), rtol=1e-10)


@pytest.mark.slow
def test_gaussian_gradients_are_exact_by_cd_k_and_by_pcd(params, getkey):
    params = {**params, "kernel": 0.5 * params["kernel"]}
    exact = jax.grad(gaussian_log_likelihood)(params, GAUSSIAN_DATA)
    data = jnp.tile(GAUSSIAN_DATA, (10_000, 1))
    estimate = jax.jit(rbm.contrastive_divergence, static_argnames=("steps", *GAUSSIAN))
    gaps = [gap(estimate(getkey(), params, data, steps=k, **GAUSSIAN)[0], exact) for k in (1, 10)]
    # The spread of v is about 1.5: Monte Carlo leaves 0.01 in each number.
    assert gaps[1] < 0.04 and gaps[0] > 0.1, gaps
    start = gaussian_samples(getkey(), params, 50_000)
    gradient, _, _ = rbm.persistent_contrastive_divergence(
        getkey(), params, GAUSSIAN_DATA, rbm.hidden_mean(params, start), units="gaussian"
    )
    assert gap(gradient, exact) < 0.03
    after = rbm.gibbs(getkey(), params, start, steps=2, units="gaussian")
    np.testing.assert_allclose(after.mean(axis=0), start.mean(axis=0), atol=0.03)
    np.testing.assert_allclose(np.cov(after.T), np.cov(start.T), atol=0.06)


def test_pcd_epochs_raise_the_likelihood(getkey):
    data = jnp.tile(DATA, (100, 1))
    state = rbm.start(rbm.init(getkey(), VISIBLE, HIDDEN), chains=data[:50])
    before = log_likelihood(state.params, DATA)
    for _ in range(60):
        state, metrics = rbm.epoch(getkey(), state, data, rate=0.1, momentum=0.5, batch_size=20)
    after = log_likelihood(state.params, DATA)
    assert before < -2.7 and after > -1.9, (before, after)
    assert 0 < metrics.reconstruction < 0.25
    np.testing.assert_allclose(
        metrics.free_energy, rbm.free_energy(state.params, DATA).mean(), atol=0.5
    )
    assert state.chains.shape == (50, HIDDEN)
    assert state.chains.min() > 0 and state.chains.max() < 1


@pytest.mark.slow
def test_pcd_goes_where_cd_1_does_not(getkey):
    """Two far modes, 0000 and 1111: chains that start at the data never see what lies between.

    CD-1's fixed point is then not the likelihood's; the persistent chains' is.
    """
    data = jnp.tile(jnp.array([[0.0, 0, 0, 0], [1, 1, 1, 1], [1, 1, 0, 0]]), (200, 1))
    first = rbm.init(getkey(), VISIBLE, HIDDEN, scale=0.1)
    ends = {}
    for name, chains in (("cd", None), ("pcd", data)):
        state = rbm.start(first, chains=chains)
        for rate in [0.1] * 150 + [0.02] * 150:
            state, _ = rbm.epoch(
                getkey(), state, data, rate=rate, momentum=0.5, decay=0.0, batch_size=60
            )
        ends[name] = float(log_likelihood(state.params, data))
    # No model exceeds -log 3 = -1.0986.
    assert ends["cd"] + 0.02 < ends["pcd"] < -1.0986, ends


def test_exact_pseudo_likelihood_is_the_enumerated_one(params):
    log_p = -rbm.free_energy(params, ALL_VISIBLE)
    number = {tuple(v): i for i, v in enumerate(ALL_VISIBLE.tolist())}

    def enumerated(v):
        flips = [[*v[:i], 1 - v[i], *v[i + 1 :]] for i in range(VISIBLE)]
        own = log_p[number[tuple(v)]]
        return sum(own - jnp.logaddexp(own, log_p[number[tuple(flip)]]) for flip in flips)

    expected = [enumerated(v) for v in ALL_VISIBLE.tolist()]
    np.testing.assert_allclose(
        rbm.pseudo_likelihood(None, params, ALL_VISIBLE, exact=True), expected, rtol=1e-12
    )


def test_stochastic_pseudo_likelihood_is_unbiased(params, getkey):
    exact = rbm.pseudo_likelihood(None, params, DATA, exact=True)
    drawn = rbm.pseudo_likelihood(getkey(), params, jnp.tile(DATA, (50_000, 1)))
    drawn = drawn.reshape(-1, len(DATA))
    error = drawn.std(axis=0) / np.sqrt(len(drawn))
    assert error.max() < 0.02
    assert (jnp.abs(drawn.mean(axis=0) - exact) < 4 * error).all()


def test_pseudo_likelihood_of_many_units_in_blocks(getkey):
    """17 units: the last block is not full. And its gradient is that of differences."""
    params = rbm.init(getkey(), 17, 5, scale=0.5)
    rows = jax.random.bernoulli(getkey(), 0.5, (6, 17)).astype(float)
    own = rbm.free_energy(params, rows)
    expected = sum(
        jax.nn.log_sigmoid(rbm.free_energy(params, rows.at[:, i].set(1 - rows[:, i])) - own)
        for i in range(17)
    )

    score = jax.jit(lambda p: rbm.pseudo_likelihood(None, p, rows, exact=True))
    np.testing.assert_allclose(score(params), expected, rtol=1e-10)
    slope = jax.grad(lambda p: score(p).sum())(params)["kernel"][3, 2]
    ahead, behind = (
        score({**params, "kernel": params["kernel"].at[3, 2].add(d)}).sum() for d in (1e-6, -1e-6)
    )
    np.testing.assert_allclose(slope, (ahead - behind) / 2e-6, rtol=1e-6)
    assert abs(slope) > 1e-3


def test_free_energy_gap_grows_with_overfitting(getkey):
    """Many hidden units and eight rows of noise."""
    rows = jax.random.bernoulli(getkey(), 0.5, (16, 20)).astype(float)
    seen, unseen = rows[:8], rows[8:]
    state = rbm.start(rbm.init(getkey(), 20, 40))
    gaps = [rbm.free_energy_gap(state.params, seen, unseen)]
    for _ in range(2):
        for _ in range(100):
            state, _ = rbm.epoch(getkey(), state, seen, rate=0.1, momentum=0.5, batch_size=8)
        gaps.append(rbm.free_energy_gap(state.params, seen, unseen))
    assert abs(gaps[0]) < 0.5 and 2 < gaps[1] < gaps[2], gaps
    other = rbm.free_energy_gap(state.params, unseen, seen)
    np.testing.assert_allclose(other, -gaps[2])
    assert rbm.free_energy_gap(state.params, seen, seen, units="gaussian") == 0


@pytest.mark.parametrize("steps", [1, 2])
def test_epochs_raise_the_likelihood(getkey, steps):
    data = jnp.tile(DATA, (100, 1))
    state = rbm.start(rbm.init(getkey(), VISIBLE, HIDDEN))
    before = log_likelihood(state.params, DATA)
    for _ in range(60):
        state, metrics = rbm.epoch(
            getkey(), state, data, rate=0.1, momentum=0.5, batch_size=20, steps=steps
        )
    after = log_likelihood(state.params, DATA)
    # Four different rows at best have log-likelihood -log 4; uniform states -4 log 2.
    assert before < -2.7 and after > -1.9, (before, after)
    assert 0 < metrics.reconstruction < 0.25


def test_gaussian_units_find_a_direction(getkey):
    side = jnp.where(jax.random.bernoulli(getkey(), 0.5, (500, 1)), 1.0, -1.0)
    data = side * jnp.array([[1.0, -1.0, 0.0]]) + 0.3 * jax.random.normal(getkey(), (500, 3))
    state = rbm.start(rbm.init(getkey(), 3, 2))
    errors = []
    for _ in range(30):
        state, metrics = rbm.epoch(
            getkey(), state, data, rate=0.02, momentum=0.5, batch_size=50, units="gaussian"
        )
        errors.append(float(metrics.reconstruction))
    assert errors[-1] < 0.8 * errors[0]
    assert jnp.abs(state.params["kernel"][:2]).max() > 5 * jnp.abs(state.params["kernel"][2]).max()


@pytest.mark.slow
@pytest.mark.parametrize(("persistent", "units"), [(True, "binary"), (False, "gaussian")])
def test_same_key_same_epoch_and_float32_stays(getkey, persistent, units):
    data = jnp.tile(DATA, (10, 1)).astype(jnp.float32)
    params = jax.tree.map(lambda x: x.astype(jnp.float32), rbm.init(getkey(), VISIBLE, HIDDEN))
    begin = rbm.start(params, chains=data[:7] if persistent else None)
    key = getkey()

    def run(key):
        return rbm.epoch(
            key, begin, data, rate=0.1, momentum=0.5, batch_size=10, steps=2, units=units
        )

    first = run(key)
    chex.assert_trees_all_equal(first, run(key))
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(first))
    assert gap(first[0].params, run(getkey())[0].params) > 0
    assert (first[0].chains is not None) == persistent
    if units == "binary":
        assert rbm.pseudo_likelihood(key, params, data).dtype == jnp.float32
        assert rbm.pseudo_likelihood(None, params, data, exact=True).dtype == jnp.float32
    assert rbm.gibbs(key, params, data, steps=2, units=units).dtype == jnp.float32


@pytest.mark.slow
def test_everything_maps_over_rbms(params, getkey):
    """As many RBMs side by side give what each gives alone."""
    several = jax.tree.map(lambda x: jnp.stack([x, -x]), params)
    keys = jax.random.split(getkey(), 2)
    chains = jnp.full((5, HIDDEN), 0.5)
    data = jnp.tile(DATA, (3, 1))

    def persistent(key, params, data):
        return rbm.persistent_contrastive_divergence(key, params, data, chains, steps=2)

    for f in (rbm.pseudo_likelihood, persistent):
        mapped = jax.jit(jax.vmap(f, (0, 0, None)))(keys, several, data)
        alone = jax.jit(f)(keys[1], jax.tree.map(lambda x: x[1], several), data)
        chex.assert_trees_all_close(jax.tree.map(lambda x: x[1], mapped), alone, rtol=1e-9)


def test_the_program_does_not_grow_with_k(params):
    def length(f, **options):
        text = jax.jit(functools.partial(f, **options)).lower(jax.random.key(0), params, DATA)
        return len(text.as_text())

    for f in (rbm.contrastive_divergence, rbm.gibbs):
        few, many = (length(f, steps=k) for k in (3, 200))
        assert many < 1.02 * few


def test_refusals(params, getkey):
    with pytest.raises(ValueError, match="steps is 0"):
        rbm.contrastive_divergence(getkey(), params, DATA, steps=0)
    with pytest.raises(ValueError, match="units is 'poisson'"):
        rbm.free_energy(params, DATA, units="poisson")
    with pytest.raises(ValueError, match="4 rows do not fill one batch of 100"):
        rbm.epoch(getkey(), rbm.start(params), DATA, rate=0.1, momentum=0.5)
    with pytest.raises(ValueError, match="steps is 0"):
        rbm.epoch(getkey(), rbm.start(params), DATA, rate=0.1, momentum=0.5, batch_size=2, steps=0)
    with pytest.raises(ValueError, match=r"chains are \(5, 3\); .* visible states, \(m, 4\)"):
        rbm.start(params, chains=jnp.zeros((5, HIDDEN)))
    with pytest.raises(ValueError, match=r"units is 'gaussian'; .*`free_energy_gap`"):
        rbm.pseudo_likelihood(getkey(), params, DATA, units="gaussian")
    with pytest.raises(ValueError, match=r"key is None; .*exact=True"):
        rbm.pseudo_likelihood(None, params, DATA)

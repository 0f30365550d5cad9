"""Ringing suppression against a bilateral filter written as loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from blurjax.deconvolution._ringing import suppress_ringing


def bilateral(image):
    padded = np.pad(image, 9, "symmetric")
    total, shares = np.zeros_like(image), np.zeros_like(image)
    for i in range(-9, 10):
        for j in range(-9, 10):
            if i * i + j * j > 81:
                continue
            moved = padded[9 + i : 9 + i + image.shape[0], 9 + j : 9 + j + image.shape[1]]
            share = np.exp(-(i * i + j * j) / 18 - (moved - image) ** 2 / 0.02)
            total += share * moved
            shares += share
    return total / shares


def pair(shape=(20, 17), seed=0):
    rng = np.random.default_rng(seed)
    return tuple(jnp.asarray(rng.uniform(size=shape)) for _ in range(2))


def test_against_loops():
    restored, plain = pair()
    taken = bilateral(np.asarray(restored - plain))
    for strength in (0.0, 0.4, 1.0):
        np.testing.assert_allclose(
            suppress_ringing(restored, plain, strength=strength),
            np.asarray(restored) - strength * taken,
            atol=1e-12,
        )


def test_ringing_goes_and_texture_stays():
    rows, columns = jnp.mgrid[:48, :48]
    edge = jnp.where(columns < 24, 0.2, 0.8)
    ringing = 0.04 * jnp.cos((columns - 24) / 3) * jnp.exp(-jnp.abs(columns - 24) / 12)
    texture = jnp.where((rows + columns) % 2 == 0, 0.03, -0.03)
    for extra in (0.0, texture):
        left = suppress_ringing(edge + ringing + extra, edge) - edge - extra
        assert jnp.std(left) < 0.6 * jnp.std(ringing)


def test_gradients(check_derivatives):
    restored, plain = pair((12, 11))
    rng = np.random.default_rng(2)
    along = [jnp.asarray(rng.normal(size=(12, 11))) for _ in range(3)]

    def f(s, t, strength):
        cleaned = suppress_ringing(restored + s * along[0], plain + t * along[1], strength=strength)
        return (cleaned * along[2]).sum() / 10

    check_derivatives(f, jnp.asarray(0.0), jnp.asarray(0.0), jnp.asarray(0.7), tolerance=1e-5)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_colours_batches_vmap_and_dtypes(dtype):
    restored, plain = (z.astype(dtype) for z in pair((3, 12, 11)))
    each = jnp.stack([suppress_ringing(a, b) for a, b in zip(restored, plain, strict=True)])
    assert each.dtype == dtype
    for other in (
        suppress_ringing(restored, plain),
        jax.vmap(suppress_ringing)(restored, plain),
        jnp.moveaxis(
            suppress_ringing(
                jnp.moveaxis(restored, 0, -1), jnp.moveaxis(plain, 0, -1), channel_axis=-1
            ),
            -1,
            0,
        ),
    ):
        np.testing.assert_allclose(
            np.asarray(other, np.float32), np.asarray(each, np.float32), atol=1e-6
        )


def test_what_is_refused():
    with pytest.raises(ValueError, match="restore both from the same"):
        suppress_ringing(jnp.ones((9, 9)), jnp.ones((9, 8)))
    with pytest.raises(ValueError, match="strength="):
        suppress_ringing(jnp.ones((9, 9)), jnp.ones((9, 9)), strength=float("inf"))

"""What the tests of properties draw from and check with."""

import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

import blurjax

LIBRARY = Path(blurjax.__file__).parent
SEEDS = st.integers(0, 2**31 - 1)

KINDS = (
    "noise", "zeros", "ones", "constant", "impulse", "checker", "ramp", "steps", "tiny", "nearly",
)  # fmt: skip


def picture(kind, shape, seed=0, dtype=np.float64):
    """An image in [0, 1] of one of `KINDS`, (..., H, W)."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: shape[-2], : shape[-1]]
    plane = {
        "noise": lambda: rng.random(shape),
        "zeros": lambda: np.zeros(shape),
        "ones": lambda: np.ones(shape),
        "constant": lambda: np.full(shape, rng.random()),
        "impulse": lambda: (rows == shape[-2] // 2) & (columns == shape[-1] // 2),
        "checker": lambda: (rows + columns) % 2,
        "ramp": lambda: columns / max(shape[-1] - 1, 1),
        "steps": lambda: (rows // 3 + columns // 4) % 3 / 2,
        # Below the smallest normal number of float32, some of it.
        "tiny": lambda: 1e-38 * rng.random(shape),
        # A constant, but for rounding.
        "nearly": lambda: 0.5 + 1e-7 * rng.random(shape),
    }[kind]()
    return np.broadcast_to(plane, shape).astype(dtype)


def pictures(shape, dtype=np.float64, kinds=KINDS):
    """A strategy of images of one shape."""
    return st.builds(
        lambda kind, seed: jnp.asarray(picture(kind, shape, seed), dtype),
        st.sampled_from(kinds),
        SEEDS,
    )


def magnitudes(largest, *ends):
    """Numbers from 0 to `largest`, and often its ends, whole and half numbers, or nearly 0."""
    special = [0.0, 1e-300, 1e-9, 1e-3, 0.05, 0.5, 1.0, 1.5, 2.0, largest, *ends]
    return st.sampled_from([x for x in special if x <= largest]) | st.floats(0, largest)


def angles():
    turns = [0.0, np.pi / 4, np.pi / 2, np.pi, -np.pi / 2, 2 * np.pi, 1e-12, 1e3]
    return st.sampled_from(turns) | st.floats(-7, 7)


def dear(values, cheap):
    """Parameters of a test, of which the others than the cheap ones are left to `make test-all`."""
    return [v if v in cheap else pytest.param(v, marks=pytest.mark.slow) for v in values]


def quiet(f, *args, **options):
    """What f returns, without the warnings of kernels that are cut off."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return f(*args, **options)


def finite(tree):
    leaves = jax.tree.leaves(tree)
    floats = [x for x in leaves if jnp.issubdtype(jnp.asarray(x).dtype, jnp.floating)]
    return all(bool(jnp.all(jnp.isfinite(x))) for x in floats)


def close(a, b, *, atol=1e-12, rtol=1e-9):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(
            np.asarray(x, np.float64), np.asarray(y, np.float64), atol=atol, rtol=rtol
        )


def same_batched(f, *stacks, atol=1e-12, rtol=1e-9):
    """vmap equals a loop, and jit changes nothing; returns what vmap gave."""
    mapped = jax.jit(jax.vmap(f))(*stacks)
    looped = [f(*row) for row in zip(*stacks, strict=True)]
    close(mapped, jax.tree.map(lambda *rows: jnp.stack(rows), *looped), atol=atol, rtol=rtol)
    return mapped


# What only jax, numpy or the checks of types say.
_INSIDE = (
    "XLA", "broadcast_in_dim", "dot_general", "could not be broadcast", "concatenate",
    "ShapedArray", "Incompatible shapes", "TypeCheckError", "Traced", "lax.",
)  # fmt: skip


def refused(f, *args, error=ValueError, **options):
    """f refuses its arguments itself, in one sentence; returns the sentence."""
    with pytest.raises(error) as caught:
        quiet(f, *args, **options)
    sentence = str(caught.value)
    assert "\n" not in sentence and 10 < len(sentence) < 300, sentence
    assert not any(word in sentence for word in _INSIDE), sentence
    last = caught.traceback[-1].path
    assert LIBRARY in Path(last).parents, f"raised in {last}, not by blurjax: {sentence}"
    return sentence

"""Richardson-Lucy: the likeliest non-negative image under Poisson noise, stopped early."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from blurjax._typing import Array, ArrayLike
from blurjax.deconvolution._result import (
    Deconvolution,
    as_mask,
    per_plane,
    root_mean_square,
    wrap_up,
)
from blurjax.deconvolution._torus import extend, filtered, planes, torus, transfer, widen
from blurjax.imaging._arrays import as_image
from blurjax.imaging._boundary import channel_from_end

# What stands for 0 in a denominator, of the greatest value of the image: transforms in float32
# err by about a tenth of it.
_FLOOR = 1e-6
# Trust in "no change" where the mask hides all that a pixel was blurred into.
_STILL = 1e-3


def richardson_lucy(
    image: ArrayLike,
    psf: ArrayLike,
    *,
    steps: int = 50,
    accelerate: bool = False,
    mask: ArrayLike | None = None,
    noise: ArrayLike | None = None,
    channel_axis: int | None = None,
) -> Deconvolution:
    """Deconvolve by Richardson and Lucy's multiplicative steps, accelerated or plain.

    From x = y, with m the mask and K' the adjoint of the blur K,

        x <- x K'(m y / K x) / K'm,

    each of which makes y likelier if it counts photons. Noise grows with the steps: to stop early
    is the regularisation. With `accelerate` a step starts not from x but from
    `max(x + a (x - last x), 0)`, where a (in [0, 1]) is the correlation of the last two
    changes: some five times as fast, and noise grows as much sooner. On a photograph in [0, 1]
    with 1 % of noise 10 accelerated steps are best (50 plain ones), with 0.3 % 20 [measured]:
    give `noise` where it is known.

    Values below 0 in the image count as 0. Where K x is below 1e-6 of the greatest value it counts
    as that; a black image stays black, and nothing becomes NaN.

    Args:
        image: (..., H, W) floats, nominally non-negative; with `channel_axis` one more axis.
            bfloat16 and float16 are computed in float32.
        psf: (..., k, k), k odd, non-negative with sum 1 (another sum scales the result). Its
            leading axes broadcast against those of the image (the channel axis not counted).
        steps: how many at most, >= 1. Static.
        accelerate: whether to extrapolate. Static.
        mask: (..., H, W) bool or floats in [0, 1], or with the colours of the image: 0 for pixels
            to leave out, such as saturated ones; None to trust all. Pixels that are blurred
            into masked ones alone stay as they were.
        noise: the standard deviation of the noise in the units of the image, >= 0, one number or
            one an image: each plane stops at the first x with a residual of no more (the
            discrepancy principle). None for `steps` steps.
        channel_axis: the axis of `image` that holds colours, each restored alone; None for gray
            images. Static.

    Returns:
        A `Deconvolution`, non-negative; `num_steps` differs between planes if `noise` is given.

    Raises:
        TypeError: the image is not floating point.
        ValueError: `steps` is no whole number >= 1, the noise is negative or not finite, the
            mask does not fit, or the kernel or the leading axes do not (as `imaging.blur`).

    Gradient: unrolled, with respect to image, psf and mask; 0 for negative pixels, and the floor
        under K x is held fixed. With `noise` only forward mode works (`jax.jvp`, `jax.jacfwd`):
        how many steps there are is known at run time; find the number once, then pass it as
        `steps`.

    Source: Richardson, JOSA 1972; Lucy, Astron. J. 1974. Acceleration: Biggs and Andrews,
        "Acceleration of iterative image restoration algorithms", Applied Optics 1997. The border
        (`imaging.pad`, "smooth") and the floor are our choice.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import imaging, psf
        >>> from blurjax.deconvolution import richardson_lucy
        >>> sharp = jnp.zeros((48, 48)).at[16:32, 16:32].set(1.0)
        >>> kernel = psf.gaussian(1.5, size=13)
        >>> blurred = imaging.blur(sharp, kernel)
        >>> restored = richardson_lucy(blurred, kernel, steps=20).value
        >>> bool(jnp.mean((restored - sharp) ** 2) < 0.5 * jnp.mean((blurred - sharp) ** 2))
        True
        >>> int(richardson_lucy(blurred, kernel, noise=0.01).num_steps) < 10
        True
    """
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
        raise ValueError(f"steps={steps!r}; it is a whole number, 1 or more")
    image = as_image(image)
    y, psf = planes(image, psf, channel_axis)
    axis = None if channel_axis is None else channel_from_end(image, channel_axis)
    trusted = as_mask(mask, y, channel_axis)
    level = None if noise is None else per_plane(noise, "noise", y, channel_axis, zero=True)
    solved = _richardson_lucy(y, psf, trusted, level, steps, bool(accelerate))
    return wrap_up(solved, image.dtype, axis)


class _State(NamedTuple):
    x: Array
    previous: Array
    change: Array
    """What the last step changed."""
    rate: Array
    """How far to extrapolate, (..., 1, 1)."""
    taken: Array
    done: Array


@functools.partial(jax.jit, static_argnames=("steps", "accelerate"))
def _richardson_lucy(
    image: Array,
    psf: Array,
    mask: Array | None,
    noise: Array | None,
    steps: int,
    accelerate: bool,
) -> tuple[Array, ...]:
    height, width = image.shape[-2:]
    shape = torus((height, width), psf.shape[-1])
    k = transfer(psf, shape)
    y = jnp.maximum(extend(image, shape), 0)
    brightest = lax.stop_gradient(y.max((-2, -1), keepdims=True))
    # A black image needs one too, whose square does not underflow backwards.
    floor = _FLOOR * jnp.where(brightest > 0, brightest, 1)

    def inside(x: Array) -> Array:
        return x[..., :height, :width]

    back = k.conj()
    if mask is None:
        seen, scale = y, _reciprocal(psf.sum((-2, -1), keepdims=True))
        still = jnp.zeros_like(scale)
    else:
        trust = widen(mask, shape)
        seen = trust * y
        still = _STILL * psf.sum((-2, -1), keepdims=True)
        scale = _reciprocal(filtered(trust, back) + still)

    def misfit(blurred: Array) -> Array:
        return root_mean_square(inside(blurred) - image, mask)

    def step(state: _State) -> _State:
        x, previous, change, rate, taken, done = state
        point = jnp.maximum(x + rate * (x - previous), 0) if accelerate else x
        blurred = filtered(point, k)
        factor = filtered(seen / jnp.maximum(blurred, floor), back)
        new = point * jnp.maximum((factor + still) * scale, 0)
        if noise is not None:
            # The point itself is what meets the noise.
            done = done | (misfit(blurred) <= noise[..., 0, 0])
            new = jnp.where(done[..., None, None], point, new)
        taken = taken + jnp.where(done, 0, 1).astype(jnp.int32)
        if accelerate:
            moved = new - point
            together = (moved * change).sum((-2, -1), keepdims=True)
            before = (change * change).sum((-2, -1), keepdims=True)
            rate = jnp.clip(together / jnp.where(before > 0, before, 1), 0, 1)
            if noise is not None:
                rate = jnp.where(done[..., None, None], 0, rate)
            return _State(new, x, moved, rate, taken, done)
        return _State(new, previous, change, rate, taken, done)

    lead = image.shape[:-2]
    empty = jnp.zeros((*lead, 1, 1), y.dtype)
    state = _State(
        y,
        y if accelerate else empty,
        jnp.zeros_like(y) if accelerate else empty,
        empty,
        jnp.zeros(lead, jnp.int32),
        jnp.zeros(lead, bool),
    )
    if noise is None:
        state, _ = lax.scan(lambda s, _: (step(s), None), state, None, length=steps)
    else:
        _, state = lax.while_loop(
            lambda s: (s[0] < steps) & ~s[1].done.all(),
            lambda s: (s[0] + 1, step(s[1])),
            (0, state),
        )
    return inside(state.x), state.taken, misfit(filtered(state.x, k))


def _reciprocal(x: Array) -> Array:
    return 1 / jnp.where(x > 0, x, 1)

"""Key and sharp images in, images blurred by kernels of known size out, on the device."""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from blurjax import features, imaging, psf
from blurjax._typing import Array, Float, Int, PRNGKey, Real
from blurjax.data import Frames
from blurjax.kernel_size._config import PATCH, RANGES, Config, members, sizes

LARGEST = 95
"""The largest extent of a kernel, in pixels."""

# Room for the largest kernel after it was softened a little.
_ARRAY = LARGEST + 6
# So many points follow a path of a few hundred pixels.
_POINTS = 1000
# Of so many kernels and photographs the first that suit each other are taken.
_CANDIDATES = 3
# Of the correlation network's slots, at the end, those with other blurs than shake, by turns.
_OTHERS = ("line", "defocus", "line", "gaussian")
# A Gaussian exceeds 1 % of its maximum so many standard deviations on either side.
_GAUSSIAN_REACH = math.sqrt(2 * math.log(100))
# Standard deviation of the noise that is drawn at most, in image units.
_NOISIEST = 0.025


class Batch(NamedTuple):
    """Blurred photographs (or what the residual networks look at), and the kernels' sizes."""

    images: Float[Array, "n h w"]
    """Of the correlation network: as a camera writes them, in [0, 1], in the upper left corner.
    Of the others: patches (n, 128, 128), see `patches`."""
    inside: Int[Array, "n 2"]
    """Height and width of each image."""
    size: Int[Array, "n 2"]
    """Height and width of the kernel's pixels above 1 % of its maximum."""
    weight: Float[Array, " n"]
    """1, or 0 where no candidate was acceptable."""
    image: Int[Array, " n"]
    """Which of the sharp images it shows."""
    rejected: Float[Array, ""]
    """Share of the candidates refused: kernels out of range, photographs too small for them."""


@functools.partial(jax.jit, static_argnames=("n", "axis", "varied"))
def sample_kernels(
    key: PRNGKey,
    extents: Real[Array, " n"],
    *,
    n: int,
    axis: int | None = 1,
    varied: float = 0.0,
) -> tuple[Float[Array, "n k k"], Int[Array, "n 2"]]:
    """Kernels of camera shake of given sizes, (n, 101, 101), and their measured sizes.

    Args:
        key: random key.
        extents: (n,), in pixels, whole numbers from 1 to 95.
        n: how many, static.
        axis: which axis the extents are of, see `psf.sample_trajectory`; the other may come out
            longer than the array, and is then cut and refused by `sample`. Static.
        varied: share of the kernels whose path is not run through evenly, and of those that the
            lens softens by a Gaussian of 0.3 to 1 pixels; their size is no longer what was asked
            for, but what is measured. Static.

    Returns:
        Kernels of sum 1, centred by their box, and their `psf.extent`: 2 integers each, both 202
        where a kernel does not fit.

    Gradient: none is wanted.

    Source: Boracchi & Foi, TIP 2012, rescaled (our choice).
    """
    k_path, k_pace, k_lens = jax.random.split(key, 3)
    points = psf.sample_trajectory(
        k_path,
        shape=(n,),
        num_samples=_POINTS,
        extent=extents.astype(jnp.float32),
        axis=axis,
    )
    span = jnp.max(jnp.ptp(points, axis=1), axis=-1)
    pace = None
    if varied:
        k_waves, k_how = jax.random.split(k_pace)
        time = jnp.arange(_POINTS, dtype=jnp.float32) / _POINTS
        orders = jnp.arange(1, 5, dtype=jnp.float32)
        basis = jnp.cos(jnp.pi * orders[:, None] * time[None, :])
        waves = jax.random.normal(k_waves, (n, 4), jnp.float32) / orders[None, :]
        how = jax.random.uniform(k_how, (n, 1), jnp.float32)
        strength = jnp.where(how < varied, how / varied * 1.5, 0)
        pace = jnp.exp(strength * (waves @ basis))
    kernels = psf.trajectory(points, size=_ARRAY, weights=pace)
    if varied:
        soft, sigma = jax.random.uniform(k_lens, (2, n), jnp.float32)
        lens = psf.gaussian(jnp.where(soft < varied, 0.3 + 0.7 * sigma, 0.0), size=7)
        kernels = imaging.blur(kernels, lens, boundary="constant", method="direct")
        kernels = jnp.maximum(kernels, 0)
        kernels = kernels / jnp.sum(kernels, axis=(1, 2), keepdims=True)
    measured = psf.extent(kernels).astype(int)
    too_long = span > LARGEST + 1
    return kernels, jnp.where(too_long[:, None], 2 * _ARRAY, measured)


def _other_kernels(
    key: PRNGKey, extents: Real[Array, " n"], kind: str
) -> tuple[Float[Array, "n k k"], Int[Array, "n 2"]]:
    """Kernels of another kind, about so many pixels large, and their measured sizes."""
    n = extents.shape[0]
    size = extents.astype(jnp.float32)
    if kind == "line":
        angle = jax.random.uniform(key, (n,), jnp.float32, 0.0, math.pi)
        # Every third along one of the axes, as cars and trains go.
        along = jnp.round(angle / (math.pi / 2)) * (math.pi / 2)
        angle = jnp.where(jnp.arange(n) % 3 == 0, along, angle)
        turn = jnp.stack([jnp.sin(angle), jnp.cos(angle)], axis=-1)
        turn = turn / jnp.max(jnp.abs(turn), axis=-1, keepdims=True)
        time = jnp.linspace(-0.5, 0.5, _POINTS, dtype=jnp.float32)
        reach = (size[:, None] - 1) * turn
        kernels = psf.trajectory(time[None, :, None] * reach[:, None, :], size=_ARRAY)
    elif kind == "defocus":
        # Discs and Gaussians of the largest sizes leave nothing to see.
        kernels = psf.defocus(0.5 + 0.3 * (size - 1), size=_ARRAY)
    else:
        kernels = psf.gaussian(0.3 + 0.3 * (size - 1) / _GAUSSIAN_REACH, size=_ARRAY)
    return kernels, psf.extent(kernels).astype(int)


@functools.partial(
    jax.jit, static_argnames=("config", "n", "light", "degraded", "varied", "others", "noise")
)
def sample(
    key: PRNGKey,
    sharp: Frames | Real[Array, "m h w"],
    config: Config,
    *,
    n: int = 20,
    light: str = "mixed",
    degraded: float = 0.8,
    varied: float = 0.4,
    others: float = 0.2,
    noise: float | None = None,
) -> Batch:
    """Blurred photographs for training, each by a kernel of its own.

    The kernel's width is drawn evenly: from 1 to 95 pixels for the correlation network (of every
    second kernel it is the height), from the classes' sizes for the others, as many in each of the
    five ranges, in the order of the slots. Only pixels that see nothing outside the photograph are
    kept, so a photograph must exceed the kernel by 128 pixels.

    Args:
        key: random key.
        sharp: the photographs, from `data.frames`; an array (m, h, w), uint8 or float in [0, 1],
            if all fill it.
        config: which network it is for.
        n: batch size, static; for the residual networks a multiple of 5.
        light: "encoded" blurs the values as they are, "linear" in linear light (sRGB curve undone
            and redone), "mixed" either at random. Static.
        degraded: share of the images with noise (of a standard deviation of up to 0.025), and a
            third of it the share with JPEG of quality 70 to 98. Static.
        varied: see `sample_kernels`; not for the residual networks, whose sizes are exact. Static.
        others: share of the correlation network's slots, the last ones, with straight motion (half
            of them), defocus and Gaussian blur instead of shake. Static.
        noise: its standard deviation, instead of drawn ones and of JPEG. Static.

    Returns:
        `Batch`; slots for which nothing suitable was found have weight 0.

    Raises:
        ValueError: photographs of less than 128 pixels, another `light`, an `n` that is no
            multiple of 5.

    Gradient: none is wanted; the draws are not differentiable.

    Source: Ye et al. (kernels, sizes, patches); noise, light, mixtures: our choice.

    Example:
        >>> import jax
        >>> from blurjax import data, kernel_size
        >>> sharp = data.tiles(data.embedded("validation"), 256).images
        >>> batch = kernel_size.sample(jax.random.key(0), sharp, kernel_size.Config(), n=4)
        >>> batch.images.shape, batch.size.shape
        ((4, 256, 256), (4, 2))
    """
    if light not in ("encoded", "linear", "mixed"):
        raise ValueError(f"light is {light!r}; choose encoded, linear, mixed")
    stack = jnp.asarray(sharp.images if isinstance(sharp, Frames) else sharp)
    height, width = stack.shape[1:]
    if min(height, width) < PATCH:
        raise ValueError(
            f"sharp images are {height}x{width}; kernel_size needs at least {PATCH}x{PATCH}"
        )
    if isinstance(sharp, Frames):
        inside = jnp.asarray(sharp.inside).astype(int)
    else:
        inside = jnp.broadcast_to(jnp.array([height, width]), (len(stack), 2))
    correlates = config.body == "correlation"
    if not correlates and n % len(RANGES):
        raise ValueError(f"n is {n}; the five ranges get equal shares: pass a multiple of 5")
    k_size, k_kernel, k_image, k_turn, k_light, k_noise, k_jpeg, k_crop = jax.random.split(key, 8)

    # Candidates: a size each slot, several kernels and photographs for it.
    wanted = _wanted(k_size, config, n)
    kernels, measured = sample_kernels(
        k_kernel,
        jnp.repeat(wanted, _CANDIDATES),
        n=n * _CANDIDATES,
        varied=varied if correlates else 0.0,
    )
    kernels = kernels.reshape(n, _CANDIDATES, *kernels.shape[1:])
    measured = measured.reshape(n, _CANDIDATES, 2)
    if correlates:
        for i in range(round(others * n)):
            slot, kind = n - 1 - i, _OTHERS[i % len(_OTHERS)]
            again = jnp.broadcast_to(wanted[slot], (_CANDIDATES,))
            one, its = _other_kernels(jax.random.fold_in(k_kernel, i), again, kind)
            kernels, measured = kernels.at[slot].set(one), measured.at[slot].set(its)
    places = jax.random.randint(k_image, (n, _CANDIDATES), 0, len(stack))
    if correlates:
        # The slots' sizes are random: every second is a height.
        turned = (jnp.arange(n) % 2 == 1)[:, None, None]
        kernels = jnp.where(turned[..., None], kernels.swapaxes(-1, -2), kernels)
        measured = jnp.where(turned, measured[..., ::-1], measured)
    room = inside[places] - measured + 1
    fits = jnp.all((measured <= LARGEST + 1) & (measured >= 1) & (room >= PATCH + 1), axis=-1)
    first = jnp.argmax(fits, axis=1)
    slots = jnp.arange(n)
    kernels, measured, places = kernels[slots, first], measured[slots, first], places[slots, first]

    # The photographs, turned, then blurred; where in the array they are is settled at the end.
    crops, corner = _turned(k_turn, _as_float(stack[places]), inside[places])
    share = {"encoded": 0.0, "linear": 1.0, "mixed": 0.5}[light]
    linear = jax.random.bernoulli(k_light, share, (n, 1, 1))
    seen = _blurred(jnp.where(linear, imaging.linearise(crops), crops), kernels)
    seen = jnp.clip(jnp.where(linear, imaging.encode(seen), seen), 0, 1)
    # The kernel's reach on either side sees what is outside.
    reach = psf.extent(kernels, fraction=0.0).astype(int) // 2
    corner, inside = corner + reach, inside[places] - 2 * reach
    if correlates:
        corner, inside = _smaller(k_crop, corner, inside)
    seen = jax.vmap(lambda x, at: jnp.roll(x, (-at[0], -at[1]), (0, 1)))(seen, corner)
    seen = _observed(k_noise, k_jpeg, seen, degraded, noise)
    accepted = jnp.any(fits, axis=1)
    images = seen if correlates else patches(seen, config, inside=inside)
    return Batch(
        images=images,
        inside=inside,
        size=measured,
        weight=accepted.astype(jnp.float32),
        image=places,
        rejected=1 - jnp.mean(fits.astype(jnp.float32)),
    )


def patches(
    images: Float[Array, "n h w"], config: Config, *, inside: Int[Array, "n 2"] | None = None
) -> Float[Array, "n 128 128"]:
    """What a residual network sees of images: the distinct patch of the gradient along the rows.

    For the height of the kernel, pass the images transposed.

    Args:
        images: (n, h, w), at least 129 pixels wide and 128 high.
        config: whether it is the gradient or the intensity there.
        inside: (n, 2), see `features.distinct_patch`.

    Returns:
        (n, 128, 128), of mean 0 and standard deviation 1; 0 for a flat image.

    Gradient: exact but for the choice of the place.

    Source: Ye et al. 2.2; the scale is our choice.
    """
    gradient = images[:, :, 1:] - images[:, :, :-1]
    if inside is not None:
        inside = inside - jnp.array([[0, 1]])
    cut, corner = features.distinct_patch(gradient, size=PATCH, inside=inside)
    if config.input == "intensity":
        cut = jax.vmap(lambda x, at: jax.lax.dynamic_slice(x, (at[0], at[1]), (PATCH, PATCH)))(
            images, corner
        )
    cut = cut - jnp.mean(cut, axis=(1, 2), keepdims=True)
    return cut / (features.contrast(cut)[:, None, None] + 1e-6)


def _wanted(key: Array, config: Config, n: int) -> Array:
    """The size that each slot is to have."""
    if config.body == "correlation":
        return jax.random.randint(key, (n,), 1, LARGEST + 1)
    each = n // len(RANGES)
    classes = sizes(config)
    return jnp.concatenate(
        [
            jax.random.choice(jax.random.fold_in(key, i), jnp.asarray(classes[members(i)]), (each,))
            for i in range(len(RANGES))
        ]
    )


def _as_float(images: Array) -> Array:
    if jnp.issubdtype(images.dtype, jnp.integer):
        return images.astype(jnp.float32) / np.float32(jnp.iinfo(images.dtype).max)
    return images.astype(jnp.float32)


def _turned(key: Array, images: Array, inside: Array) -> tuple[Array, Array]:
    """Mirrored, negative, with other gammas; and where their upper left corners are then.

    Which slots are mirrored is fixed: what is in them is random.
    """
    n, height, width = images.shape
    mirrored = [images[i::4] for i in range(4)]
    mirrored = [
        jnp.flip(x, axes) for x, axes in zip(mirrored, ((), (1,), (2,), (1, 2)), strict=True)
    ]
    order = np.argsort(np.concatenate([np.arange(i, n, 4) for i in range(4)]))
    images = jnp.concatenate(mirrored)[order]
    flips = np.arange(n)[:, None] % 4 == np.array([[1, 2]])
    flips |= np.arange(n)[:, None] % 4 == 3
    whole = jnp.broadcast_to(jnp.array([height, width]), inside.shape)
    corner = jnp.where(flips, whole - inside, 0)
    gamma, negative = jax.random.uniform(key, (2, n, 1, 1), jnp.float32)
    images = images ** jnp.exp(0.5 * (2 * gamma - 1))
    return jnp.where(negative < 0.15, 1 - images, images), corner


def _blurred(images: Array, kernels: Array) -> Array:
    """The circular convolution: right where nothing comes round from the other end."""
    height, width = images.shape[1:]
    size = kernels.shape[1]
    centre = size // 2
    padded = jnp.pad(kernels, [(0, 0), (0, height - size), (0, width - size)])
    padded = jnp.roll(padded, (-centre, -centre), (1, 2))
    spectrum = jnp.fft.rfft2(images) * jnp.fft.rfft2(padded)
    return jnp.fft.irfft2(spectrum, (height, width))


def _smaller(key: Array, corner: Array, inside: Array) -> tuple[Array, Array]:
    """Of every third image only a part, from anywhere in it."""
    k_share, k_place = jax.random.split(key)
    n = corner.shape[0]
    share = jax.random.uniform(k_share, (n, 3), jnp.float32)
    keep = jnp.where(share[:, :1] < 1 / 3, 0.5 + 0.5 * share[:, 1:], 1)
    sides = inside.astype(jnp.float32)
    kept = jnp.maximum((keep * sides).astype(int), jnp.minimum(inside, PATCH))
    left = (inside - kept + 1).astype(jnp.float32)
    place = jax.random.uniform(k_place, (n, 2), jnp.float32) * left
    return corner + jnp.minimum(place.astype(int), inside - kept), kept


def _observed(
    k_noise: Array, k_jpeg: Array, images: Array, degraded: float, noise: float | None
) -> Array:
    """The file that the camera writes."""
    n = images.shape[0]
    k_level, k_draw = jax.random.split(k_noise)
    if noise is not None:
        return imaging.quantise(imaging.add_noise(k_draw, images, jnp.full((n,), noise)))
    level = jax.random.uniform(k_level, (2, n), jnp.float32)
    level = jnp.where(level[0] < degraded, _NOISIEST * level[1], 0)
    observed = imaging.quantise(imaging.add_noise(k_draw, images, level))
    count = round(degraded * n / 3)
    if not count:
        return observed
    k_slots, k_quality, k_shift = jax.random.split(k_jpeg, 3)
    some = jax.random.permutation(k_slots, n)[:count]
    quality = jax.random.uniform(k_quality, (count,), jnp.float32, 70.0, 98.0)
    # Shifted before and after: the grid of the blocks may lie anywhere.
    shifts = jax.random.randint(k_shift, (2,), 0, 8)
    moved = jnp.roll(observed[some], shifts, (1, 2))
    return observed.at[some].set(jnp.roll(imaging.jpeg(moved, quality), -shifts, (1, 2)))

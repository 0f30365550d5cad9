"""Key and sharp images in, blurred images with the sigma of each pixel out, on the device."""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from blurjax import imaging
from blurjax._typing import Array, ArrayLike, Float, Int, PRNGKey, Real
from blurjax.sigma_map._config import Config, class_sigmas

SIDE = 128
"""Side of the regressor's training images in pixels."""

MAPS = ("uniform", "ramp", "sine", "step", "smooth")
"""How sigma varies over a training image of the regressor."""

# Sigmas beyond the published range, so that its end is not the end of what the regressor knows.
_LEAST, _MOST = 0.1, 3.3
# Of the maps, in their order.
_SHARES = (0.25, 0.25, 0.2, 0.2, 0.1)
# Levels of the bank of blurs that the maps interpolate.
_LEVELS = 14


class Batch(NamedTuple):
    """Blurred images and their sigma."""

    images: Float[Array, "n h w"]
    """As a camera writes them: 8 bits, in [0, 1]."""
    sigma: Float[Array, "n ..."]
    """In pixels: of the classifier's patches (n,), of the regressor's images (n, h, w)."""
    image: Int[Array, " n"]
    """Which of the sharp images it shows."""


def margin(config: Config) -> int:
    """Pixels around an image that its blur can see: 4 sigma."""
    return math.ceil(4 * (config.top if config.body == "classifier" else _MOST))


@functools.partial(
    jax.jit,
    static_argnames=("config", "n", "light", "sampling", "truncate", "degraded", "augmented"),
)
def sample(
    key: PRNGKey,
    sharp: Real[Array, "m h w"],
    config: Config,
    *,
    n: int = 16,
    light: str = "mixed",
    sampling: str = "mixed",
    truncate: float = 4.0,
    degraded: float = 0.5,
    augmented: bool = True,
) -> Batch:
    """Blurred images for training, each from a place of its own in a sharp one.

    For the classifier: patches of one sigma each, drawn evenly from its classes. For the
    regressor: images of 128 pixels whose sigma is uniform, a ramp in any direction, a sine, a step
    along a crooked line, or a smooth random field, in [0.1, 3.3].

    Sigma is that of the point-sampled Gaussian (SciPy's). Where the kernel is integrated over the
    pixel instead, it is the one of the same variance, for what can be seen is the variance.

    Args:
        key: random key.
        sharp: stack of sharp gray images, uint8 or float in [0, 1]; h and w at least the image's
            side + 2 margin(config).
        config: which network it is for.
        n: batch size, static; even, if `sampling` is "mixed".
        light: "encoded" blurs the values as they are, "linear" in linear light (sRGB curve undone
            and redone), "mixed" either at random. Static.
        sampling: of the kernel: "point", "area", or "mixed", half of each. Static.
        truncate: half width of the classifier's point-sampled kernels in sigmas, rounded up where
            it is below 4 (the published data has 2) and as SciPy rounds it where it is 4. Static.
        degraded: share of the images that get noise of 0 to 3 / 255, or (a third of them) at most
            half of that and JPEG of quality 70 to 98. Static.
        augmented: whether gray levels are changed at random (range, offset, gamma, negatives) and
            of two places the one with more texture is preferred, in four of five. Static.

    Returns:
        `Batch`.

    Raises:
        ValueError: images too small, `n` odd, unknown options.

    Gradient: none is wanted; the draws are not differentiable.

    Source: classes and kernels: Patro; maps, gray levels, light, noise: our choice.
    """
    for name, value, known in (
        ("light", light, ("encoded", "linear", "mixed")),
        ("sampling", sampling, ("point", "area", "mixed")),
    ):
        if value not in known:
            raise ValueError(f"{name} is {value!r}; choose {', '.join(known)}")
    if n < 1 or (sampling == "mixed" and n % 2):
        raise ValueError(f"n is {n}; half of the kernels are of either sampling: pass an even n")
    classifies = config.body == "classifier"
    side = config.patch if classifies else SIDE
    room = side + 2 * margin(config)
    if min(sharp.shape[1:]) < room:
        raise ValueError(
            f"sharp images are {sharp.shape[1]}x{sharp.shape[2]}; this configuration needs at "
            f"least {room}x{room}: pass larger ones"
        )
    keys = iter(jax.random.split(key, 8))
    places, crops = _crops(next(keys), sharp, room, n, augmented)
    if augmented:
        crops = _gray_levels(next(keys), crops)
    linear = jax.random.bernoulli(
        next(keys), {"encoded": 0.0, "linear": 1.0, "mixed": 0.5}[light], (n, 1, 1)
    )
    scene = jnp.where(jnp.broadcast_to(linear, crops.shape), imaging.linearise(crops), crops)
    half = {"point": n, "area": 0, "mixed": n // 2}[sampling]
    parts = (("point", slice(0, half)), ("area", slice(half, n)))
    if classifies:
        classes = jnp.asarray(class_sigmas(config), jnp.float32)
        sigma = classes[jax.random.randint(next(keys), (n,), 0, config.classes)]
        blurred = [
            _uniform(scene[rows], sigma[rows], rule, margin(config), truncate)
            for rule, rows in parts
        ]
    else:
        sigma = _maps(next(keys), n)
        blurred = [_varying(scene[rows], sigma[rows], rule, margin(config)) for rule, rows in parts]
    seen = jnp.concatenate(blurred)
    seen = jnp.where(jnp.broadcast_to(linear, seen.shape), imaging.encode(seen), seen)
    return Batch(_observed(next(keys), seen, degraded), sigma, places)


def _crops(
    key: Array, sharp: Array, room: int, n: int, prefer: bool
) -> tuple[Array, Float[Array, "n r r"]]:
    """Which image, and a square of it in [0, 1], mirrored and transposed at random."""
    k_image, k_row, k_column, k_turn, k_keep = jax.random.split(key, 5)
    m, height, width = sharp.shape
    tries = 2 if prefer else 1
    places = jax.random.randint(k_image, (n, tries), 0, m)
    rows = jax.random.randint(k_row, (n, tries), 0, height - room + 1)
    columns = jax.random.randint(k_column, (n, tries), 0, width - room + 1)

    def cut(place: Array, row: Array, column: Array) -> Array:
        return jax.lax.dynamic_slice(sharp, (place, row, column), (1, room, room))[0]

    crops = jax.vmap(jax.vmap(cut))(places, rows, columns)
    if jnp.issubdtype(sharp.dtype, jnp.integer):
        crops = crops.astype(jnp.float32) / jnp.iinfo(sharp.dtype).max
    crops = crops.astype(jnp.float32)
    if prefer:
        texture = jnp.mean(jnp.abs(jnp.diff(crops, axis=-1)), axis=(-2, -1))
        texture = texture + jnp.mean(jnp.abs(jnp.diff(crops, axis=-2)), axis=(-2, -1))
        keep = jax.random.bernoulli(k_keep, 0.8, (n,))
        first = jnp.where(keep, jnp.argmax(texture, axis=1), 0)
    else:
        first = jnp.zeros(n, int)
    index = jnp.arange(n)
    places, crops = places[index, first], crops[index, first]
    flips = jax.random.bernoulli(k_turn, 0.5, (3, n, 1, 1))
    crops = jnp.where(jnp.broadcast_to(flips[0], crops.shape), crops[:, ::-1], crops)
    crops = jnp.where(jnp.broadcast_to(flips[1], crops.shape), crops[:, :, ::-1], crops)
    return places, jnp.where(jnp.broadcast_to(flips[2], crops.shape), crops.swapaxes(1, 2), crops)


def _gray_levels(key: Array, crops: Array) -> Array:
    """Another range, offset and gamma for each image, and every fourth a negative."""
    gamma, span, low, negative = jax.random.uniform(key, (4, crops.shape[0], 1, 1), jnp.float32)
    curved = crops ** jnp.exp(0.5 * (2 * gamma - 1))
    curved = jnp.where(jnp.broadcast_to(negative < 0.25, curved.shape), 1 - curved, curved)
    span = 0.3 + 0.7 * span
    return (1 - span) * low + span * curved


def _uniform(crops: Array, sigma: Array, rule: str, reach: int, truncate: float) -> Array:
    """Each crop blurred by one sigma, the valid part."""
    if not crops.shape[0]:
        return crops[:, reach:-reach, reach:-reach]
    if rule == "area":
        wanted = _area_sigma(sigma)
        profile = jax.vmap(lambda s: _profile(s, reach, "area", reach))(wanted)
    else:
        radius = jnp.floor(4 * sigma + 0.5) if truncate == 4 else jnp.ceil(truncate * sigma)
        profile = jax.vmap(lambda s, r: _profile(s, reach, "point", r))(sigma, radius)
    return _separable(crops, profile)


def _profile(sigma: Array, reach: int, rule: str, radius: ArrayLike) -> Array:
    distance = jnp.abs(jnp.arange(-reach, reach + 1, dtype=jnp.float32))
    if rule == "area":
        scale = 1 / (math.sqrt(2.0) * sigma)
        profile = jax.lax.erfc((distance - 0.5) * scale) - jax.lax.erfc((distance + 0.5) * scale)
    else:
        profile = jnp.exp(-((distance / sigma) ** 2) / 2)
    profile = jnp.where(distance <= radius, profile, 0)
    return profile / jnp.sum(profile)


def _separable(crops: Array, profile: Array) -> Array:
    """The valid part of crops (n, r, r) blurred by profiles (n, k), rows then columns."""
    k = profile.shape[1]
    for axis in (1, 2):
        length = crops.shape[axis] - k + 1
        total = jnp.zeros((), crops.dtype)
        for i in range(k):
            tap = profile[:, i].reshape(-1, 1, 1)
            total = total + tap * jax.lax.slice_in_dim(crops, i, i + length, axis=axis)
        crops = total
    return crops


def _varying(crops: Array, sigma: Array, rule: str, reach: int) -> Array:
    """Each crop blurred by its map, the valid part."""
    if not crops.shape[0]:
        return crops[:, reach:-reach, reach:-reach]
    wanted = _area_sigma(sigma) if rule == "area" else sigma
    # The map of the crop's border is never looked at.
    wide = jnp.pad(wanted, [(0, 0), (reach, reach), (reach, reach)], mode="edge")
    return imaging.blur_varying(
        crops,
        wide,
        method="bank",
        levels=_LEVELS,
        size=2 * reach + 1,
        sampling=rule,
        boundary="valid",
    )


def _area_sigma(sigma: Array) -> Array:
    """Parameter of the pixel-integrated Gaussian of the same variance as the point-sampled one."""
    point, area = _equivalents()
    return jnp.interp(sigma, jnp.asarray(point, sigma.dtype), jnp.asarray(area, sigma.dtype))


@functools.cache
def _equivalents() -> tuple[np.ndarray, np.ndarray]:
    """Sigmas of point-sampled Gaussians, and of integrated ones of equal variance (host)."""
    i = np.arange(-20, 21)
    sigma = np.concatenate([np.geomspace(0.05, 0.6, 60), np.linspace(0.62, 4.0, 120)])

    def variance(profile: np.ndarray) -> np.ndarray:
        return (profile * i**2).sum(axis=1) / profile.sum(axis=1)

    points = variance(np.exp(-((i / sigma[:, None]) ** 2) / 2))
    edge = np.vectorize(math.erf)(
        (i[:, None] + np.array([-0.5, 0.5])) / (2**0.5 * sigma[:, None, None])
    )
    areas = variance(edge[..., 1] - edge[..., 0])
    # Below 0.13 a kernel's variance vanishes in float64, and the two are the delta.
    return sigma, np.interp(points, areas, sigma)


def _maps(key: Array, n: int) -> Float[Array, "n s s"]:
    """Sigma maps of the five kinds, for each image one at random."""
    k_kind, k_ends, k_shape, k_field = jax.random.split(key, 4)
    kind = jax.random.choice(k_kind, len(MAPS), (n,), p=jnp.array(_SHARES, jnp.float32))
    ends = jax.random.uniform(k_ends, (n, 2), jnp.float32, _LEAST, _MOST)
    # In every second scene that has depth, something is in focus.
    near, far = ends[:, 0], ends[:, 1]
    focused = jax.random.bernoulli(jax.random.fold_in(k_ends, 1), 0.5, (n,))
    far = jnp.where(focused, _LEAST + 0.1 * (far - _LEAST), far)
    ends = jnp.stack([near, far], axis=1)
    draws = jax.random.uniform(k_shape, (n, 5), jnp.float32)
    # Three harmonics in each direction, the higher the weaker.
    waves = jax.random.normal(k_field, (n, 4, 4), jnp.float32)
    falling = jnp.asarray(1 / (1 + np.hypot(*np.mgrid[:4, :4])), jnp.float32)

    def one(kind: Array, ends: Array, draw: Array, waves: Array) -> Array:
        axis = (jnp.arange(SIDE, dtype=jnp.float32) + 0.5) / SIDE - 0.5
        angle = 2 * math.pi * draw[0]
        along = jnp.cos(angle) * axis[None, :] + jnp.sin(angle) * axis[:, None]
        # From one end to the other within a third of the image to four times it.
        part = along / jnp.exp(math.log(0.33) + draw[1] * math.log(12.0)) + draw[2]
        ramp = jnp.clip(part, 0, 1)
        sine = (1 + jnp.sin(2 * math.pi * part)) / 2
        orders = jnp.arange(4, dtype=jnp.float32)
        basis = jnp.cos(math.pi * orders[:, None] * (axis[None, :] + 0.5))
        field = basis.T @ (waves * falling) @ basis
        field = (field - jnp.mean(field)) / (jnp.std(field) + 1e-3)
        crooked = along + 0.1 * field + 0.5 * (draw[3] - 0.5)
        step = jnp.clip(0.5 + crooked * SIDE / (1 + 8 * draw[4] ** 2), 0, 1)
        smooth = jnp.clip(0.5 + 0.35 * field, 0, 1)
        share = jnp.stack([jnp.zeros_like(ramp), ramp, sine, step, smooth])[kind]
        return ends[0] + share * (ends[1] - ends[0])

    return jax.vmap(one)(kind, ends, draws, waves)


def _observed(key: Array, images: Array, degraded: float) -> Array:
    """The file that the camera writes."""
    if not degraded:
        return imaging.quantise(images)
    n = images.shape[0]
    k_which, k_level, k_quality, k_noise, k_shift = jax.random.split(key, 5)
    which = jax.random.uniform(k_which, (n,), jnp.float32)
    noisy, compressed = which < degraded, which < degraded / 3
    level = jax.random.uniform(k_level, (n,), jnp.float32) * 3 / 255
    level = jnp.where(noisy, jnp.where(compressed, level / 2, level), 0)
    observed = imaging.quantise(imaging.add_noise(k_noise, images, level))
    quality = jax.random.uniform(k_quality, (n,), jnp.float32, 70.0, 98.0)
    # Shifted before and after: the grid of the blocks may lie anywhere.
    shifts = jax.random.randint(k_shift, (2,), 0, 8)
    moved = jnp.roll(observed, shifts, (1, 2))
    rolled = jnp.roll(imaging.jpeg(moved, quality), -shifts, (1, 2))
    return jnp.where(jnp.broadcast_to(compressed[:, None, None], rolled.shape), rolled, observed)

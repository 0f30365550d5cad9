"""Key and sharp photographs in, labelled blurred patches out, on the device."""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from blurjax import features, imaging, psf
from blurjax._typing import Array, ArrayLike, Float, Int, PRNGKey, Real
from blurjax.blur_type._config import KINDS, LABELS, PATCH, RULES, Config


class Batch(NamedTuple):
    """Labelled patches; the kinds take turns: gaussian, motion, defocus, gaussian, ..."""

    patches: Float[Array, "n 32 32"]
    """Blurred and quantised, in [0, 1]."""
    label: Int[Array, " n"]
    """Index into `KINDS`, of which the first are `LABELS`."""
    size: Float[Array, " n"]
    """sigma (standard deviation of the discrete kernel), length or radius, in pixels; 0 for
    "sharp" and "mixed"."""
    angle: Float[Array, " n"]
    """Of motion, in radians [0, pi); 0 for the others."""
    weight: Float[Array, " n"]
    """1, or 0 where no candidate satisfied the texture rule."""
    image: Int[Array, " n"]
    """Which of the sharp images the patch shows."""
    rejected: Float[Array, ""]
    """Share of all candidates that the texture rule refused."""


def margin(config: Config) -> int:
    """Pixels around a patch that its blur can see: 4 sigma, and all of motion and defocus."""
    return max(_reach(config)[name] for name in LABELS)


def _reach(config: Config) -> dict[str, int]:
    return {
        "gaussian": math.ceil(4 * config.sigma[1]),
        "motion": math.ceil(config.length[1] / 2),
        "defocus": math.ceil(config.radius[1] - 0.5),
        # A Gaussian of standard deviation 0.3 or less, and what of two blurs in a row fits.
        "sharp": 2,
        "mixed": 20,
    }


@functools.partial(
    jax.jit,
    static_argnames=(
        "config",
        "n",
        "kinds",
        "linear",
        "sampling",
        "degraded",
        "rule",
        "candidates",
    ),
)
def sample(
    key: PRNGKey,
    sharp: Real[Array, "m h w"],
    config: Config,
    *,
    n: int = 528,
    kinds: tuple[str, ...] = LABELS,
    linear: str = "mixed",
    sampling: str = "mixed",
    noise: Float[ArrayLike, "..."] | None = None,
    quality: Real[ArrayLike, "..."] | None = None,
    degraded: float = 0.0,
    rule: str = "all",
    candidates: int = 2,
) -> Batch:
    """Labelled 32x32 patches with a kernel of its own for each.

    Every slot draws a kind (they take turns), parameters uniform in the
    configuration's ranges, and `candidates` places in the photographs, mirrored
    and turned at random. The photograph is blurred first and the patch cut
    afterwards, so that no boundary tells; then noise, 8-bit quantisation and, if asked for,
    compression with the grid of its blocks anywhere. The first candidate that satisfies the
    texture rule *as observed* is kept.

    Beside the three blurs there are "sharp" (at most a Gaussian of sigma 0.3) and "mixed", which is
    none of the three: two of them in a row, or a crooked camera shake.

    Args:
        key: random key.
        sharp: stack of sharp gray images, uint8 or float in [0, 1]; h and w at least
            32 + 2 margin(config), 8 more with compression.
        config: ranges.
        n: batch size, static, a multiple of the number of kinds.
        kinds: those of `KINDS` that take turns. Static.
        linear: "never" blurs the values as they are, "always" in linear light (sRGB curve undone
            and redone), "mixed" either at random. Static.
        sampling: of the Gaussian kernel: "area", "point", or "mixed". Static.
        noise: standard deviation of Gaussian noise before quantisation, in image units: one, or
            one for each slot; None for none.
        quality: of JPEG compression, 1 to 100, as in `imaging.jpeg`: one, or one for each slot, 0
            where there is none; None for none at all.
        degraded: instead of these two, the share of the slots that get noise, or less noise and
            compression, of random strength: 60 % noise uniform in [0, 5] / 255, 40 % noise uniform
            in [0, 2] / 255 and quality uniform in [50, 95]. Static.
        rule: "all", "textured" or "none", see `RULES`. Static.
        candidates: places tried a slot, static.

    Returns:
        `Batch`; `weight` is 0 in slots where every candidate was refused.

    Raises:
        ValueError: images too small, `n` not a multiple of the number of kinds, unknown options.

    Gradient: to `noise` only.

    Source:
        Protocol of Yan & Shao, TIP 2016; ranges, light, floor and degradations are our choice.
    """
    if n % len(kinds):
        raise ValueError(
            f"n is {n}; the {len(kinds)} kinds take turns, so pass a multiple of {len(kinds)}"
        )
    if unknown := set(kinds) - set(KINDS):
        raise ValueError(f"kinds has {', '.join(sorted(unknown))}; choose from {', '.join(KINDS)}")
    if linear not in ("never", "always", "mixed"):
        raise ValueError(f"linear is {linear!r}; choose 'never', 'always' or 'mixed'")
    if sampling not in ("area", "point", "mixed"):
        raise ValueError(f"sampling is {sampling!r}; choose 'area', 'point' or 'mixed'")
    if rule not in (*RULES, "none"):
        raise ValueError(f"rule is {rule!r}; choose one of {', '.join((*RULES, 'none'))}")
    if degraded and not (noise is None and quality is None):
        raise ValueError("degraded draws noise and quality itself; leave those two out")

    slots = n // len(kinds)
    if degraded:
        noise, quality = _degradations(jax.random.fold_in(key, len(KINDS)), n, degraded)
    side = PATCH if quality is None else PATCH + _BLOCK
    room = side + 2 * max(_reach(config)[name] for name in kinds)
    if min(sharp.shape[1:]) < room:
        raise ValueError(
            f"sharp images are {sharp.shape[1]}x{sharp.shape[2]}; this configuration needs at "
            f"least {room}x{room}: pass larger ones or narrow the parameter ranges"
        )

    def of_kind(values: ArrayLike | None, turn: int) -> Array | None:
        if values is None:
            return None
        each = jnp.broadcast_to(jnp.asarray(values, jnp.float32), (n,))
        return each.reshape(slots, len(kinds))[:, turn]

    parts = []
    for turn, name in enumerate(kinds):
        label = KINDS.index(name)
        k_place, k_blur, k_light, k_camera = jax.random.split(jax.random.fold_in(key, label), 4)
        reach = _reach(config)[name]
        in_linear = jax.random.bernoulli(
            k_light, {"never": 0.0, "always": 1.0, "mixed": 0.5}[linear], (slots,)
        )
        places, crops = _crops(k_place, sharp, in_linear, side + 2 * reach, (slots, candidates))
        blurred, size, angle = _BLURS[name](k_blur, crops, 2 * reach + 1, config, sampling)
        light = jnp.broadcast_to(in_linear[:, None, None, None], blurred.shape)
        encoded = jnp.where(light, imaging.encode(blurred), blurred)
        observed = _observed(k_camera, encoded, of_kind(noise, turn), of_kind(quality, turn))
        accepted = satisfies(observed, rule)
        first = jnp.argmax(accepted, axis=1)
        pick = functools.partial(jnp.take_along_axis, axis=1)
        parts.append(
            Batch(
                patches=pick(observed, first[:, None, None, None])[:, 0],
                label=jnp.full((slots,), label),
                size=size,
                angle=angle,
                weight=jnp.any(accepted, axis=1).astype(jnp.float32),
                image=pick(places, first[:, None])[:, 0],
                rejected=1 - jnp.mean(accepted.astype(jnp.float32)),
            )
        )
    stacked = jax.tree.map(lambda *t: jnp.stack(t, axis=min(1, t[0].ndim)), *parts)
    flat = jax.tree.map(
        lambda t: t.reshape(n, *t.shape[2:]), stacked._replace(rejected=stacked.weight)
    )
    return flat._replace(rejected=jnp.mean(stacked.rejected))


# Side of JPEG's blocks: the grid may lie in so many ways.
_BLOCK = 8


def _degradations(key: Array, n: int, share: float) -> tuple[Array, Array]:
    """Noise (n,) and JPEG quality (n,), 0 for none."""
    k_which, k_noise, k_quality = jax.random.split(key, 3)
    which = jax.random.uniform(k_which, (n,), jnp.float32)
    compressed, noisy = which < 0.4 * share, which < share
    level = jax.random.uniform(k_noise, (n,), jnp.float32) / 255
    quality = jax.random.uniform(k_quality, (n,), jnp.float32, 50.0, 95.0)
    noise = jnp.where(noisy, jnp.where(compressed, 2 * level, 5 * level), 0)
    return noise, jnp.where(compressed, quality, 0)


def _observed(key: Array, encoded: Array, noise: Array | None, quality: Array | None) -> Array:
    """The file that the camera writes of (slots, candidates, side, side), cut to patches."""
    k_noise, k_corner = jax.random.split(key)
    if noise is not None:
        encoded = imaging.add_noise(k_noise, encoded, noise)
    observed = imaging.quantise(encoded)
    if quality is None:
        return observed
    compressed = imaging.jpeg(observed, jnp.clip(quality, 1, 100))
    observed = jnp.where(quality[:, None, None, None] > 0, compressed, observed)
    corners = jax.random.randint(k_corner, (observed.shape[0], 2), 0, _BLOCK)

    def cut(images: Array, corner: Array) -> Array:
        shape = (images.shape[0], PATCH, PATCH)
        return jax.lax.dynamic_slice(images, (0, corner[0], corner[1]), shape)

    return jax.vmap(cut)(observed, corners)


def collect(
    key: PRNGKey,
    sharp: Real[Array, "m h w"],
    config: Config,
    *,
    n: int,
    kinds: tuple[str, ...] = LABELS,
    linear: str = "mixed",
    sampling: str = "mixed",
    noise: float | None = None,
    quality: float | None = None,
    degraded: float = 0.0,
    rule: str = "all",
) -> Batch:
    """A fixed set: exactly `n` patches that satisfy the rule, equally many of each kind (host).

    Args:
        key, sharp, config, kinds, linear, sampling, noise, quality, degraded, rule: as in `sample`.
        n: how many patches, a multiple of the number of kinds.

    Returns:
        `Batch` whose weights are all 1.

    Raises:
        ValueError: as `sample`, or photographs with so little texture that a thousand batches do
            not fill the set.

    Source: the seed's set of 36 000 patches; the texture rule is our choice.
    """
    if n % len(kinds):
        raise ValueError(
            f"n is {n}; the {len(kinds)} kinds share it equally, so pass a multiple of {len(kinds)}"
        )
    kept: list[Batch] = []
    have = np.zeros(len(kinds), int)
    for i in range(_DRAWS):
        batch = jax.tree.map(
            np.asarray,
            sample(
                jax.random.fold_in(key, i),
                sharp,
                config,
                n=_CHUNK,
                kinds=kinds,
                linear=linear,
                sampling=sampling,
                noise=noise,
                quality=quality,
                degraded=degraded,
                rule=rule,
                # A fresh draw is cheaper than a second candidate: refused slots are just dropped.
                candidates=1,
            ),
        )
        chosen = np.zeros(_CHUNK, bool)
        for turn, name in enumerate(kinds):
            fine = np.flatnonzero((batch.label == KINDS.index(name)) & (batch.weight > 0))
            fine = fine[: n // len(kinds) - have[turn]]
            chosen[fine] = True
            have[turn] += len(fine)
        kept.append(rows(batch, chosen))
        if have.sum() == n:
            return jax.tree.map(
                lambda *x: jnp.asarray(np.concatenate(x) if x[0].ndim else np.mean(x)), *kept
            )
    raise ValueError(
        f"only {have.sum()} of {n} patches satisfy rule {rule!r}; pass more textured photographs"
    )


def rows(batch: Batch, index: ArrayLike | slice) -> Batch:
    """The rows of a batch that an index array, a mask or a slice names; `rejected` stays."""
    return jax.tree.map(lambda x: x[index] if x.ndim else x, batch)


def turned(key: PRNGKey, batch: Batch) -> Batch:
    """Patches mirrored and transposed at random, eight ways, and the angles with them.

    Args:
        key: random key.
        batch: any batch.

    Returns:
        A batch of the same size; types and sizes do not change under symmetries of the square.

    Gradient: exact, a permutation of pixels.

    Source: our choice; augmentation of stored patches.
    """
    rows, columns, transposed = jax.random.bernoulli(key, 0.5, (3, batch.label.shape[0]))

    def pick(yes: Array, one: Array, other: Array) -> Array:
        return jnp.where(yes[:, None, None], one, other)

    patches = pick(rows, batch.patches[:, ::-1], batch.patches)
    patches = pick(columns, patches[:, :, ::-1], patches)
    patches = pick(transposed, patches.swapaxes(1, 2), patches)
    angle = jnp.where(rows != columns, -batch.angle, batch.angle)
    angle = jnp.where(transposed, jnp.pi / 2 - angle, angle)
    moves = batch.label == LABELS.index("motion")
    return batch._replace(patches=patches, angle=jnp.where(moves, jnp.mod(angle, jnp.pi), 0))


# Rows of one compiled draw in `collect`, and how many draws it makes before it gives up.
_CHUNK = 3_000
_DRAWS = 1_000


def satisfies(patches: Float[Array, "*batch 32 32"], rule: str) -> Array:
    """Whether each patch, as observed, satisfies a texture rule."""
    if rule == "none":
        return jnp.ones(patches.shape[:-2], bool)
    least_contrast, least_gradient = RULES[rule]
    enough = features.contrast(patches) >= least_contrast
    if least_gradient > 0:
        steep = jnp.mean(features.gradient_magnitude(patches), axis=(-2, -1))
        enough &= steep >= least_gradient
    return enough


def _crops(
    key: Array, sharp: Array, in_linear: Array, side: int, shape: tuple[int, int]
) -> tuple[Array, Array]:
    """Random squares of random images, turned and mirrored; image index and values."""
    k_image, k_row, k_column, k_flip = jax.random.split(key, 4)
    count, height, width = sharp.shape
    image = jax.random.randint(k_image, shape, 0, count)
    row = jax.random.randint(k_row, shape, 0, height - side + 1)
    column = jax.random.randint(k_column, shape, 0, width - side + 1)
    flips = jax.random.bernoulli(k_flip, 0.5, (*shape, 3))
    # One table look-up turns 8-bit values into floats of either light.
    byte = jnp.arange(256, dtype=jnp.float32) / 255
    table = jnp.stack([byte, imaging.linearise(byte)])

    def one(image: Array, row: Array, column: Array, flip: Array, light: Array) -> Array:
        crop = jax.lax.dynamic_slice(sharp, (image, row, column), (1, side, side))[0]
        crop = jnp.where(flip[0], crop[::-1], crop)
        crop = jnp.where(flip[1], crop[:, ::-1], crop)
        crop = jnp.where(flip[2], crop.T, crop)
        if jnp.issubdtype(sharp.dtype, jnp.integer):
            return table[light, crop.astype(jnp.int32)]
        crop = crop.astype(jnp.float32)
        return jnp.where(light > 0, imaging.linearise(crop), crop)

    light = jnp.broadcast_to(in_linear[:, None], shape).astype(jnp.int32)
    return image, jax.vmap(jax.vmap(one))(image, row, column, flips, light)


def _uniform(key: Array, count: int, bounds: tuple[float, float]) -> Array:
    return jax.random.uniform(key, (count,), jnp.float32, *bounds)


def _gaussian(
    key: Array, crops: Array, size: int, config: Config, sampling: str
) -> tuple[Array, Array, Array]:
    k_sigma, k_rule = jax.random.split(key)
    slots = crops.shape[0]
    sigma = _uniform(k_sigma, slots, config.sigma)
    share = {"area": 0.0, "point": 1.0, "mixed": 0.5}[sampling]
    by_point = jax.random.bernoulli(k_rule, share, (slots, 1))
    # The kernel is separable: its profile is the sum over one axis.
    area, point = (
        jnp.sum(psf.gaussian(sigma, size=size, sampling=s), axis=-1) for s in ("area", "point")
    )
    profile = jnp.where(by_point, point, area)
    position = jnp.arange(size, dtype=jnp.float32) - size // 2
    deviation = jnp.sqrt(profile @ position**2)
    # Convolution with a profile as a banded matrix (side, side + size - 1), one for each slot.
    wide = crops.shape[-1]
    shift = jnp.arange(wide)[None, :] - jnp.arange(wide - size + 1)[:, None]
    padded = jnp.pad(profile, ((0, 0), (1, 1)))
    band = padded[:, jnp.clip(shift + 1, 0, size + 1)]
    blurred = jnp.einsum("sij,scjk,slk->scil", band, crops, band)
    return blurred, deviation, jnp.zeros_like(sigma)


def _motion(
    key: Array, crops: Array, size: int, config: Config, sampling: str
) -> tuple[Array, Array, Array]:
    k_length, k_angle = jax.random.split(key)
    length = _uniform(k_length, crops.shape[0], config.length)
    angle = _uniform(k_angle, crops.shape[0], (0.0, math.pi))
    return _convolve(crops, psf.motion(length, angle, size=size)), length, angle


def _defocus(
    key: Array, crops: Array, size: int, config: Config, sampling: str
) -> tuple[Array, Array, Array]:
    radius = _uniform(key, crops.shape[0], config.radius)
    return _convolve(crops, psf.defocus(radius, size=size)), radius, jnp.zeros_like(radius)


def _sharp(
    key: Array, crops: Array, size: int, config: Config, sampling: str
) -> tuple[Array, Array, Array]:
    slots = crops.shape[0]
    # A point-sampled kernel this narrow is a single pixel, or nearly.
    sigma = _uniform(key, slots, (0.05, _SHARP))
    kernels = psf.gaussian(sigma, size=size, sampling="point")
    nothing = jnp.zeros(slots, jnp.float32)
    return (
        imaging.blur(crops, kernels[:, None], boundary="valid", method="direct"),
        nothing,
        nothing,
    )


_SHARP = 0.3


def _mixed(
    key: Array, crops: Array, size: int, config: Config, sampling: str
) -> tuple[Array, Array, Array]:
    slots = crops.shape[0]
    nothing = jnp.zeros(slots, jnp.float32)
    return _convolve(crops, mixed_kernels(key, slots, size, config)), nothing, nothing


def mixed_kernels(key: PRNGKey, count: int, size: int, config: Config) -> Array:
    """Kernels (count, size, size) of none of the types: two of the three in a row, each strong
    enough to be seen, or a camera's crooked shake."""
    k_which, k_sigma, k_length, k_angle, k_radius, k_path, k_extent = jax.random.split(key, 7)
    which = jax.random.randint(k_which, (count,), 0, 4)
    sigma = _uniform(k_sigma, count, _inner(config.sigma))
    length = _uniform(k_length, count, _inner(config.length))
    radius = _uniform(k_radius, count, _inner(config.radius))
    angle = _uniform(k_angle, count, (0.0, math.pi))
    gaussian = psf.gaussian(sigma, size=size)
    motion = psf.motion(length, angle, size=size)
    defocus = psf.defocus(radius, size=size)
    path = psf.sample_trajectory(
        k_path, shape=(count,), num_samples=300, extent=_uniform(k_extent, count, (7.0, 25.0))
    )
    shake = psf.trajectory(path, size=size)
    first = jnp.where((which < 2)[:, None, None], gaussian, motion)
    second = jnp.where((which == 0)[:, None, None], motion, defocus)
    both = imaging.blur(first, second, boundary="constant", method="fft")
    both = both / jnp.sum(both, axis=(-2, -1), keepdims=True)
    return jnp.where((which == 3)[:, None, None], shake, both)


def _inner(bounds: tuple[float, float]) -> tuple[float, float]:
    """The part of a range where a blur, followed by another, still shows: a fifth to 0.7 of it."""
    low, high = bounds
    return low + 0.2 * (high - low), low + 0.7 * (high - low)


def _convolve(crops: Array, kernels: Array) -> Array:
    return imaging.blur(crops, kernels[:, None], boundary="valid", method="fft")


_BLURS = {
    "gaussian": _gaussian,
    "motion": _motion,
    "defocus": _defocus,
    "sharp": _sharp,
    "mixed": _mixed,
}

"""Key and scenes in, photographs in which some parts are out of focus out, on the device."""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from blurjax import imaging, psf
from blurjax._typing import Array, Float, Int, PRNGKey, Real
from blurjax.data import REGIONS, Scenes
from blurjax.sharpness._config import PATCH, Config

MARGIN = 20
"""Half size of the largest kernel in pixels."""

# A disc of radius r blurs as much as a Gaussian of r / 2, a line as one of length / sqrt(12).
_PER_RADIUS, _PER_LENGTH = 0.5, 12**-0.5
# Standard deviations of the blur, in pixels: the least that is called blurred, the most there is.
_LEAST, _MOST = 1.0, 8.0
# Up to here nobody sees it.
_UNSEEN = 0.5


class Batch(NamedTuple):
    """Photographs and where they are sharp."""

    images: Float[Array, "n s s"]
    """As a camera writes them: 8 bits, in [0, 1]."""
    sharp: Float[Array, "n s s"]
    """The share of each pixel that is sharp: 0, 1, or between them at soft edges and where the
    blur is so slight that it is hardly seen (standard deviations of 0.5 to 1 px)."""
    image: Int[Array, " n"]
    """Which of the scenes it shows (in front, where there are two)."""


class PatchBatch(NamedTuple):
    """Patches that are sharp or blurred in (nearly) all of their area."""

    images: Float[Array, "n 32 32"]
    """Gray in [0, 1], 8 bits."""
    sharp: Float[Array, " n"]
    """1 for a sharp patch, 0 for a blurred one."""
    weight: Float[Array, " n"]
    """1, or 0 in slots for which there was no patch."""
    image: Int[Array, " n"]
    """Which of the photographs it was cut from."""


@functools.partial(jax.jit, static_argnames=("n", "light", "degraded"))
def compose(
    key: PRNGKey,
    scenes: Scenes,
    *,
    n: int = 8,
    light: str = "mixed",
    degraded: float = 0.6,
) -> Batch:
    """Photographs composed of a sharp and a blurred layer.

    The layers are parted along the regions of a scene: some neighbouring regions are in front (in a
    seventh of the photographs those of another scene, in another seventh a smooth random shape).
    Behind is the same scene or, in two of five, another one. Most often what is behind is blurred
    and seen around the sharp front, with hardly a halo: what the front hides is not blurred into
    it, but for a trace from its soft edge. In a quarter the front is blurred, over a sharp
    background. In another sixth there are no layers: blur grows with depth along a plane. An eighth
    is sharp, or blurred, as a whole.

    Kernels: discs (half of them), Gaussians (three in ten) and motion (a fifth), of standard
    deviation 1 to 8 px, for every second photograph growing towards one side. Half of all
    photographs have a slight blur of their own (up to 0.7 px), which does not count.

    Args:
        key: random key.
        scenes: from `data.scenes`.
        n: batch size, static.
        light: "encoded" blurs the values as they are, "linear" in linear light (sRGB curve undone
            and redone), "mixed" either at random. Static.
        degraded: share of the photographs that get noise of 0 to 6 / 255, or (half of them) at
            most half of that and JPEG of quality 50 to 98. Static.

    Returns:
        `Batch`.

    Raises:
        ValueError: unknown `light`, `n` below 1.

    Gradient: none is wanted; the draws are not differentiable.

    Source: our choice; the formation is `imaging.composite`'s.
    """
    if light not in ("encoded", "linear", "mixed") or n < 1:
        raise ValueError(
            f"light is {light!r} and n is {n}; choose encoded, linear or mixed, and n from 1 on"
        )
    keys = iter(jax.random.split(key, 12))
    images, segments = jnp.asarray(scenes.images), jnp.asarray(scenes.segments)
    m, side = images.shape[0], images.shape[1]
    draws = jax.random.uniform(next(keys), (12, n), jnp.float32)
    picks = jax.random.randint(next(keys), (3, n), 0, m)
    front = picks[0]
    behind = jnp.where(draws[0] < 0.6, front, picks[1])
    shape_from = jnp.where(draws[1] < 1 / 7, picks[2], front)

    # ---- layers
    mask = _fronts(next(keys), segments[shape_from])
    field = _fields(next(keys), n, side)
    mask = jnp.where(_wide(draws[1] > 6 / 7), (field > 0).astype(jnp.float32), mask)
    turned = iter(jax.random.split(next(keys), 2))
    k_front = next(turned)
    scene, mask = _turn(k_front, _gray(images[front])), _turn(k_front, mask)
    same = _wide(behind == front)
    other = jnp.where(same, scene, _turn(next(turned), _gray(images[behind])))
    levels = _gray_levels(next(keys), jnp.concatenate([scene, other]))
    # One scene keeps one set of gray levels.
    scene, other = levels[:n], jnp.where(same, levels[:n], levels[n:])
    matte = _soften(mask, 0.4 + 0.8 * draws[2])
    kind = draws[3]
    whole, plane = kind < 0.29, (kind >= 0.125) & (kind < 0.29)
    all_sharp, all_blurred = kind < 0.0625, (kind >= 0.0625) & (kind < 0.125)
    front_blurred = ~whole & (draws[4] < 0.25)
    linear = _wide({"encoded": 0.0, "linear": 1.0, "mixed": 0.5}[light] > draws[5])
    scene, other = (jnp.where(linear, imaging.linearise(x), x) for x in (scene, other))
    # Of the layer that is blurred: what it shows and where it is.
    blurred_scene = jnp.where(_wide(front_blurred | whole), scene, other)
    alpha = jnp.where(_wide(front_blurred), matte, 1 - matte)
    alpha = jnp.where(_wide(whole), 1, alpha)

    # ---- blur of two strengths, and how far each pixel is from none to the stronger one
    strength = _LEAST * jnp.exp(draws[6] * math.log(_MOST / _LEAST))
    # On a plane the weaker one must lead over from none.
    weaker = jnp.where(plane, strength / 3, strength * (0.35 + 0.5 * draws[7]))
    weaker = jnp.maximum(weaker, 0.6 * _LEAST)
    kernels = jnp.stack(_kernels(next(keys), weaker, strength), axis=1)
    layers = jnp.stack([blurred_scene * alpha, alpha], axis=1)
    spread = _convolve(layers[:, None], kernels[:, :, None])
    along = _directions(next(keys), n, side)
    depth = jnp.abs(along - (draws[8][:, None, None] - 0.5)) * (0.6 + 2 * draws[9][:, None, None])
    growing = jnp.where(_wide(draws[10] < 0.5), jnp.clip(0.75 + along, 0.5, 1), 1)
    level = jnp.where(_wide(plane), jnp.clip(depth - 0.08, 0, 1), growing)
    level = jnp.where(_wide(all_sharp), 0, level)
    level = jnp.where(_wide(all_blurred), jnp.maximum(growing, 0.75), level)
    # None, weaker, stronger at the levels 0, 1/2, 1.
    hats = [jnp.maximum(1 - jnp.abs(2 * level - i), 0) for i in range(3)]
    shown = hats[0][:, None] * layers
    for i in range(2):
        shown = shown + hats[i + 1][:, None] * spread[:, i]
    light_of, share = shown[:, 0], shown[:, 1]

    # ---- together
    over = light_of + (1 - share) * other
    under = matte * scene + (1 - matte) * light_of / jnp.maximum(share, 1e-3)
    seen = jnp.where(_wide(front_blurred), over, under)
    seen = jnp.where(_wide(whole), light_of, seen)
    amount = hats[1] * weaker[:, None, None] + hats[2] * strength[:, None, None]
    visible = jnp.clip((amount - _UNSEEN) / (_LEAST - _UNSEEN), 0, 1)
    where = jnp.where(_wide(front_blurred), share, 1 - matte)
    where = jnp.where(_wide(whole), 1, where)
    seen = jnp.where(linear, imaging.encode(jnp.clip(seen, 0, 1)), jnp.clip(seen, 0, 1))
    own = jnp.where(draws[11] < 0.5, 1.4 * draws[11], 0.0)
    return Batch(
        images=_observed(next(keys), _soften(seen, own), degraded),
        sharp=jnp.clip(1 - where * visible, 0, 1),
        image=front,
    )


def sample(
    key: PRNGKey,
    scenes: Scenes,
    config: Config | None = None,
    *,
    n: int = 8,
    light: str = "mixed",
    degraded: float = 0.6,
    per_image: int = 16,
    purity: float = 0.9,
) -> Batch | PatchBatch:
    """A batch for training.

    For the detector: `compose`. For the patch network: windows of composed photographs that are of
    one kind, by `cut_patches` about the points of a jittered grid.

    Args:
        key: random key.
        scenes: from `data.scenes`.
        config: which network it is for; default the detector. Static.
        n: batch size, static.
        light, degraded: see `compose`. Static.
        per_image: patches of one photograph; divides n. Static.
        purity: see `cut_patches`.

    Returns:
        `Batch`, or `PatchBatch` with half of the slots for either kind.

    Raises:
        ValueError: what `compose` refuses; n is no multiple of `per_image`, that is odd, or scenes
            are too small to hold half of it in squares of 32x32 pixels.

    Gradient: none is wanted; the draws are not differentiable.

    Source: Zeng et al. (patches); composing, and the grid in place of superpixels, are our choice.
    """
    if config is None or config.body != "patches":
        return compose(key, scenes, n=n, light=light, degraded=degraded)
    if n % per_image or per_image % 2:
        raise ValueError(f"n is {n} and per_image {per_image}; give even ones, n a multiple of it")
    k_compose, k_grid, k_cut = jax.random.split(key, 3)
    batch = compose(k_compose, scenes, n=n // per_image, light=light, degraded=degraded)
    centres = _jittered(k_grid, batch.images.shape[0], batch.images.shape[1])
    return cut_patches(k_cut, batch, centres, per_image=per_image, purity=purity)


@functools.partial(jax.jit, static_argnames="per_image")
def cut_patches(
    key: PRNGKey,
    batch: Batch,
    centres: Int[Array, "m p 2"],
    *,
    per_image: int = 16,
    purity: float | Array = 0.9,
    least: float | Array = 0.02,
) -> PatchBatch:
    """Windows of 32x32 pixels about given points that are sharp, or blurred, nearly everywhere.

    Args:
        key: random key, for which of the suitable windows are taken.
        batch: photographs and where they are sharp.
        centres: (m, p, 2) rows and columns; windows that would leave the photograph are moved in.
        per_image: patches of one photograph, half of them sharp, half blurred. Static, even.
        purity: share of a window that has to be of its kind.
        least: a window of a lower standard deviation is flat, and not taken.

    Returns:
        `PatchBatch` of m per_image slots.

    Raises:
        ValueError: `per_image` is odd, or there are fewer points than half of it.

    Source: Zeng et al.: windows at the centroids of superpixels, a threshold for the share of
        blurred (sharp) area; the numbers are our choice.
    """
    if per_image % 2 or centres.shape[1] < per_image // 2:
        raise ValueError(
            f"per_image is {per_image} and there are {centres.shape[1]} points; give an even "
            "number, and half as many points or more"
        )
    m, side = batch.images.shape[0], batch.images.shape[1]
    start = jnp.clip(centres - PATCH // 2, 0, side - PATCH)

    def one(image: Array, sharp: Array, start: Array, noise: Array) -> tuple[Array, ...]:
        def window(x: Array, at: Array) -> Array:
            return jax.lax.dynamic_slice(x, (at[0], at[1]), (PATCH, PATCH))

        shown = jax.vmap(lambda at: window(image, at))(start)
        share = jnp.mean(jax.vmap(lambda at: window(sharp, at))(start), axis=(1, 2))
        suits = jnp.std(shown, axis=(1, 2)) >= least
        taken, kinds, weights = [], [], []
        for kind, pure in ((1.0, share >= purity), (0.0, share <= 1 - purity)):
            first = jnp.argsort(jnp.where(pure & suits, noise, 2.0))[: per_image // 2]
            taken.append(shown[first])
            kinds.append(jnp.full(per_image // 2, kind, image.dtype))
            weights.append((pure & suits)[first].astype(image.dtype))
        return jnp.concatenate(taken), jnp.concatenate(kinds), jnp.concatenate(weights)

    noise = jax.random.uniform(key, centres.shape[:2], jnp.float32)
    patches, kinds, weights = jax.vmap(one)(batch.images, batch.sharp, start, noise)
    return PatchBatch(
        images=patches.reshape(-1, PATCH, PATCH),
        sharp=kinds.reshape(-1),
        weight=weights.reshape(-1),
        image=jnp.repeat(jnp.arange(m), per_image),
    )


def superpixel_centres(images: Float[Array, "m s s"], *, n: int = 64) -> Int[Array, "m p 2"]:
    """Centroids of SLIC superpixels, rounded to pixels (host).

    Args:
        images: photographs.
        n: superpixels wanted in each; where there are fewer, the last is repeated.

    Returns:
        (m, n, 2) rows and columns.

    Source: Achanta et al., "SLIC superpixels", PAMI 2012, in scikit-image.
    """
    from skimage.measure import regionprops
    from skimage.segmentation import slic

    rows = []
    for image in np.asarray(images, np.float32):
        regions = slic(image, n_segments=n, compactness=0.1, start_label=1, channel_axis=None)
        middle = [region.centroid for region in regionprops(regions)][:n]
        middle += [middle[-1]] * (n - len(middle))
        rows.append(np.rint(middle))
    return jnp.asarray(np.stack(rows), jnp.int32)


def _jittered(key: Array, m: int, side: int) -> Int[Array, "m p 2"]:
    """A point at random in each square of 32x32 pixels."""
    count = side // PATCH
    corner = PATCH * jnp.stack(jnp.mgrid[:count, :count], axis=-1).reshape(1, -1, 2)
    return corner + jax.random.randint(key, (m, count**2, 2), 0, PATCH)


def _wide(x: Array) -> Array:
    return jnp.asarray(x)[:, None, None]


def _gray(images: Real[Array, "n s s"]) -> Array:
    if jnp.issubdtype(images.dtype, jnp.integer):
        return images.astype(jnp.float32) / jnp.iinfo(images.dtype).max
    return images.astype(jnp.float32)


def _turn(key: Array, x: Array) -> Array:
    """Mirrored at random."""
    flip = jax.random.bernoulli(key, 0.5, (x.shape[0], 1, 1))
    return jnp.where(flip, x[:, :, ::-1], x)


def _gray_levels(key: Array, x: Array) -> Array:
    """Another range, offset and gamma for each image, and every fifth a negative."""
    gamma, span, low, negative = jax.random.uniform(key, (4, x.shape[0], 1, 1), jnp.float32)
    curved = x ** jnp.exp(0.5 * (2 * gamma - 1))
    curved = jnp.where(negative < 0.2, 1 - curved, curved)
    span = 0.3 + 0.7 * span
    return (1 - span) * low + span * curved


def _fronts(key: Array, segments: Array) -> Float[Array, "n s s"]:
    """Masks of some regions that lie together, of 6 to 60 % of the square."""
    n, side = segments.shape[0], segments.shape[1]
    k_place, k_noise, k_area = jax.random.split(key, 3)
    # Things stand rather in the middle.
    places = 0.5 + 0.22 * jax.random.normal(k_place, (n, 2), jnp.float32)
    noise = jax.random.uniform(k_noise, (n, REGIONS), jnp.float32)
    wanted = jax.random.uniform(k_area, (n,), jnp.float32, 0.06, 0.6)
    axis = (jnp.arange(side, dtype=jnp.float32) + 0.5) / side

    def one(regions: Array, place: Array, noise: Array, wanted: Array) -> Array:
        flat = regions.reshape(-1).astype(jnp.int32)
        rows = jnp.repeat(axis, side)
        of = jnp.stack([jnp.ones_like(rows), rows, jnp.tile(axis, side)], axis=1)
        sums = jax.ops.segment_sum(of, flat, REGIONS)
        area = sums[:, 0] / side**2
        centre = sums[:, 1:] / jnp.maximum(sums[:, :1], 1)
        away = jnp.sqrt(jnp.sum((centre - place[None]) ** 2, axis=1)) + 0.3 * noise
        # Slivers only join what is there.
        away = away + jnp.where(area < 0.02, 0.5, 0.0)
        order = jnp.argsort(jnp.where(area > 0, away, 9))
        taken = jnp.cumsum(area[order])
        # The nearest always; the others as long as they fit.
        fits = (taken <= wanted) | (jnp.arange(REGIONS) == 0)
        chosen = jnp.zeros(REGIONS, jnp.float32).at[order].set(fits.astype(jnp.float32))
        return chosen[flat].reshape(side, side)

    return jax.vmap(one)(segments, places, noise, wanted)


def _fields(key: Array, n: int, side: int) -> Float[Array, "n s s"]:
    """Smooth random fields about 0: the harmonics of the square up to the third."""
    waves = jax.random.normal(key, (n, 4, 4), jnp.float32)
    order = jnp.arange(4, dtype=jnp.float32)
    falling = 1 / (1 + jnp.hypot(order[:, None], order[None, :]))
    axis = (jnp.arange(side, dtype=jnp.float32) + 0.5) / side
    basis = jnp.cos(math.pi * order[:, None] * axis[None, :])
    return jnp.einsum("nij,iy,jx->nyx", waves * falling[None], basis, basis)


def _directions(key: Array, n: int, side: int) -> Float[Array, "n s s"]:
    """How far a pixel lies in a random direction, mostly up or down, in units of the side."""
    k_angle, k_down = jax.random.split(key)
    angle = jax.random.uniform(k_angle, (n,), jnp.float32, 0.0, 2 * math.pi)
    down = jax.random.bernoulli(k_down, 0.5, (n,))
    angle = jnp.where(down, jnp.where(angle < math.pi, math.pi / 2, -math.pi / 2), angle)
    axis = (jnp.arange(side, dtype=jnp.float32) + 0.5) / side - 0.5
    sine, cosine = _wide(jnp.sin(angle)), _wide(jnp.cos(angle))
    return cosine * axis[None, None, :] + sine * axis[None, :, None]


def _kernels(key: Array, weaker: Array, strength: Array) -> tuple[Array, Array]:
    """Kernels of two standard deviations, of one kind for each photograph, (n, k, k) each."""
    k_kind, k_angle = jax.random.split(key)
    n, size = strength.shape[0], 2 * MARGIN + 1
    kind = _wide(jax.random.uniform(k_kind, (n,), jnp.float32))
    angle = jax.random.uniform(k_angle, (n,), jnp.float32, 0.0, math.pi)

    def kernel(deviation: Array) -> Array:
        disc = psf.defocus(deviation / _PER_RADIUS, size=size)
        gaussian = psf.gaussian(deviation, size=size)
        line = psf.motion(deviation / _PER_LENGTH, angle, size=size)
        return jnp.where(kind < 0.5, disc, jnp.where(kind < 0.8, gaussian, line))

    return kernel(weaker), kernel(strength)


def _convolve(x: Array, kernels: Array) -> Array:
    """(..., s, s) by (..., k, k), the border mirrored; leading axes broadcast."""
    return imaging.blur(
        jnp.broadcast_to(
            x, (*jnp.broadcast_shapes(x.shape[:-2], kernels.shape[:-2]), *x.shape[-2:])
        ),
        kernels,
        boundary="reflect",
    )


def _soften(x: Array, sigma: Array) -> Array:
    """Blurred by small Gaussians, of at most 1.2 px."""
    reach = 3
    distance = jnp.arange(-reach, reach + 1, dtype=jnp.float32)
    weights = jnp.exp(-(distance[None] ** 2) / (2 * jnp.maximum(sigma, 0.05)[:, None] ** 2))
    weights = weights / jnp.sum(weights, axis=1, keepdims=True)
    for axis in (1, 2):
        padding = [(reach, reach) if i == axis else (0, 0) for i in range(3)]
        wide = jnp.pad(x, padding, mode="symmetric")
        total = jnp.zeros((), x.dtype)
        for i in range(2 * reach + 1):
            part = jax.lax.slice_in_dim(wide, i, i + x.shape[axis], axis=axis)
            total = total + _wide(weights[:, i]) * part
        x = total
    return x


def _observed(key: Array, images: Array, degraded: float) -> Array:
    """The file that the camera writes."""
    if not degraded:
        return imaging.quantise(images)
    n = images.shape[0]
    k_which, k_level, k_quality, k_noise, k_shift = jax.random.split(key, 5)
    which = jax.random.uniform(k_which, (n,), jnp.float32)
    noisy, compressed = which < degraded, which < degraded / 2
    level = jax.random.uniform(k_level, (n,), jnp.float32) ** 2 * 6 / 255
    level = jnp.where(noisy, jnp.where(compressed, level / 2, level), 0)
    observed = imaging.quantise(imaging.add_noise(k_noise, images, level))
    quality = jax.random.uniform(k_quality, (n,), jnp.float32, 50.0, 98.0)
    # Shifted before and after: the grid of the blocks may lie anywhere.
    shifts = jax.random.randint(k_shift, (2,), 0, 8)
    moved = jnp.roll(observed, shifts, (1, 2))
    rolled = jnp.roll(imaging.jpeg(moved, quality), -shifts, (1, 2))
    return jnp.where(_wide(compressed), rolled, observed)

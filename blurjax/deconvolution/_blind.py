"""The kernel of a blurred image from nothing but the image: its strong edges, coarse to fine."""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from blurjax import metrics
from blurjax._numerics import fast_length, safe_sqrt, working_dtype
from blurjax._typing import Array, ArrayLike, Float
from blurjax.deconvolution import _torus
from blurjax.deconvolution._components import drop_small_components
from blurjax.deconvolution._noise import noise_level, weight_for_noise
from blurjax.deconvolution._splitting import total_variation
from blurjax.imaging._arrays import as_image

PRIORS = ("l0", "minimal_pixels", "normalised_sparsity")
"""What `estimate_kernel` may take a sharp image for."""
MIN_SIZE = 3
"""The least side of a kernel to estimate, in pixels."""

_RATIO = math.sqrt(0.5)
_COARSEST = 5
# Room around the kernel while it is searched for.
_SLACK = 1.2
_ITERATIONS = 5
# Of the kernel's fit by conjugate gradients.
_STEPS, _TOLERANCE = 20, 1e-5
# Until where the edges' copies are tied to the latent image; how the weight of edges falls.
_TIGHTEST = 1e5
_EASING, _LEAST_WEIGHT = 1.1, 1e-4
# Pieces of a kernel with less mass are noise.
_PIECE = 0.1
# Wen's patches are this share of the image's mean side; darker minimal pixels become black.
_PATCH_SHARE, _DARK = 0.025, 0.1
# Of the total variation that judges kernels, see `weight_for_noise`.
_JUDGED = 1.8
# Steps of iterative shrinkage, and how often the norm below the fraction is renewed.
_SHRINKAGES, _RENEWALS = 10, 2


class Start(NamedTuple):
    """Where a search begins, one number or one for each of n searches."""

    weight: ArrayLike = 4e-3
    """mu, of the number of edges: the larger, the fewer."""
    gamma: ArrayLike = 1.0
    """The exponent of the image: 2.2 for light that was gamma-encoded; mostly 1 is better."""
    extent: ArrayLike = 1.0
    """Which share of the room (1.2 times `size`) the kernel may take while it is searched for."""
    noise: ArrayLike = 1.0
    """What the noise found in the image is multiplied by; 0 for the published settings, which know
    no noise."""


class KernelEstimate(NamedTuple):
    """A kernel read from a blurred image."""

    kernel: Float[Array, "*batch k k"]
    """Non-negative, of sum 1; its centroid is within a pixel of the centre if there is room."""
    agreement: Float[Array, "*batch"]
    """How alike the other searches' kernels are to it: mean `metrics.kernel_similarity`, in
    [0, 1]; 1 for a single search."""
    kernels: Float[Array, "*batch n k k"]
    """Of every search."""
    scores: Float[Array, "*batch n"]
    """Of every search, the lowest was chosen: the `sparseness` of what its kernel restores, in
    units of the searches' mean, less its mean similarity to the other searches' kernels."""


class _Level(NamedTuple):
    """One scale, static."""

    shape: tuple[int, int]
    size: int


class _State(NamedTuple):
    kernel: Array
    weight: Array
    threshold: Array
    """Squared gradients below it count as none."""


_PUBLISHED = Start(extent=1 / _SLACK, noise=0.0)
_PLAIN = Start()
# Those that together gave most on photographs of the training tenths; more gave no more.
_SEVERAL = Start(weight=np.array([4e-3, 8e-3, 2e-3, 4e-3]), gamma=np.array([1.0, 1.0, 1.0, 0.8]))


def estimate_kernel(
    image: ArrayLike,
    *,
    size: int,
    starts: str | Start = "several",
    prior: str = "l0",
) -> KernelEstimate:
    """The kernel that blurred an image, read from its strong edges.

    From a scale at which the kernel is 5 pixels large to that of the image, sqrt 2 by sqrt 2, five
    times each:

    1. The latent image x, with few edges: min |k*x - y|^2 + mu (how many pixels have Dx other
       than 0), by half-quadratic splitting.
    2. Of its gradients those below a threshold become 0: at first as many stay in each of four
       directions as 20 times the kernel's side, and more each time.
    3. The kernel: min |k * Dx - Dy|^2 + r |k|^2 by 20 steps of conjugate gradients, the ridge r
       growing with the image's noise; then weak pixels (below 5 % of the largest, 15 % in noise)
       and small pieces are dropped.

    Four searches with other mu and another exponent of the image run side by side. Chosen is the
    kernel that restores the image with the sparsest gradients (see `sparseness`) and that the other
    searches agree with (`judge`).

    Args:
        image: (..., H, W) gray floats in [0, 1], gamma-encoded or not; both sides at least twice
            `size`. bfloat16 and float16 are computed in float32.
        size: k, odd, 3 or more: the side of the box that holds the kernel
            (`kernel_size.estimate` tells it; a little more does no harm). The search has a fifth
            more room, as far as the image allows. Static.
        starts: "several" (four searches), "plain" (one), "published" (one that knows no noise), or
            a `Start` of your own, whose fields broadcast to (n,). The number is static.
        prior: of the latent image in step 1. "l0"; "minimal_pixels": l0, and in each patch the
            darkest pixel becomes black if it is dark; "normalised_sparsity": l1 / l2 of the
            gradients. Static.

    Returns:
        A `KernelEstimate`. A flat image, which has no edges, gives a kernel of one pixel.

    Raises:
        TypeError: the image is not floating point.
        ValueError: a size that is even, below 3 or above half the image; an unknown name; a weight
            or exponent that is not above 0, an extent not in (0, 1].

    Gradient: to the image, of the last fit of the kernel with the edges held; that they depend on
        the image too is not seen.

    Source: Cho and Lee, "Fast motion deblurring", SIGGRAPH Asia 2009, with the l0 prior and the
        settings of the code of Pan, Hu, Su and Yang, CVPR 2014; "minimal_pixels" after Wen, Ying,
        Liu and Truong, IEEE TCSVT 2021; "normalised_sparsity" after Krishnan, Tay and Fergus, CVPR
        2011. The ridge's dependence on noise, the searches and the choice among them are ours.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from blurjax import data, deconvolution, imaging, metrics, psf
        >>> sharp = data.dead_leaves(jax.random.key(0), size=128)
        >>> kernel = psf.motion(7.0, 0.5, size=9)
        >>> found = deconvolution.estimate_kernel(imaging.blur(sharp, kernel), size=9)
        >>> bool(metrics.kernel_similarity(found.kernel, kernel) > 0.8)
        True
    """
    image = as_image(image, min_ndim=2)
    _check(image, size, prior)
    dtype = working_dtype(image.dtype)
    flat = image.astype(dtype).reshape((-1, *image.shape[-2:]))
    wide = _with_slack(size, min(image.shape[-2:]))
    found = _search(flat, _as_starts(starts, dtype), wide, size, prior)
    lead, dtype = image.shape[:-2], image.dtype
    return KernelEstimate(*(x.reshape(lead + x.shape[1:]).astype(dtype) for x in found))


def _with_slack(size: int, side: int) -> int:
    """The size to search in: a kernel that fills its box does not lie in it by its centroid."""
    wide = math.ceil(_SLACK * size - 1e-6)
    wide += (wide + 1) % 2
    return wide if 2 * wide <= side else size


def _heaviest_window(kernel: Array, size: int) -> Array:
    """The part (k, k) of a kernel that holds most of it; of equal ones the most central."""
    wide = kernel.shape[0]
    if wide == size:
        return kernel
    count = wide - size + 1
    held = lax.stop_gradient(kernel)
    mass = lax.reduce_window(held, 0.0, lax.add, (size, size), (1, 1), "VALID")
    offset = jnp.arange(count, dtype=kernel.dtype) - count // 2
    distance = jnp.abs(offset)[:, None] + jnp.abs(offset)[None, :]
    best = jnp.argmax((mass - 1e-4 * distance).ravel())
    part = lax.dynamic_slice(kernel, (best // count, best % count), (size, size))
    return part / jnp.sum(part)


def _check(image: Array, size: int, prior: str) -> None:
    if not isinstance(size, int | np.integer) or size < MIN_SIZE or size % 2 == 0:
        raise ValueError(
            f"size={size!r}; a kernel has an odd number of pixels a side, {MIN_SIZE} or more: pass "
            "the next odd number above what the blur extends over"
        )
    if min(image.shape[-2:]) < 2 * size:
        raise ValueError(
            f"the image is {image.shape[-2]}x{image.shape[-1]} pixels; a kernel of {size} is seen "
            f"in no less than {2 * size}x{2 * size}, so pass a smaller size or more of the image"
        )
    if prior not in PRIORS:
        raise ValueError(f"prior={prior!r} is not known; choose one of {', '.join(PRIORS)}")


def _as_starts(starts: str | Start, dtype: jnp.dtype) -> Start:
    named = {"several": _SEVERAL, "plain": _PLAIN, "published": _PUBLISHED}
    if isinstance(starts, str):
        if starts not in named:
            raise ValueError(
                f"starts={starts!r}; choose one of {', '.join(named)}, or pass a Start"
            )
        starts = named[starts]
    fields = jnp.broadcast_arrays(*(jnp.atleast_1d(jnp.asarray(x, dtype)) for x in starts))
    if all(not isinstance(x, jax.core.Tracer) for x in fields):
        weight, gamma, extent, noise = (np.asarray(x) for x in fields)
        if not (np.all(weight > 0) and np.all(gamma > 0) and np.all(noise >= 0)):
            raise ValueError(
                f"{starts}: weight and gamma are above 0, noise is not below; take 4e-3, 1 and 1"
            )
        if not np.all((extent > 0) & (extent <= 1)):
            raise ValueError(f"{starts}: extent is a share of the size, above 0 and at most 1")
    return Start(*fields)


@functools.partial(jax.jit, static_argnames=("wide", "size", "prior"))
def _search(
    images: Array, starts: Start, wide: int, size: int, prior: str
) -> tuple[Array, Array, Array, Array]:
    """All starts for all images (n, H, W); the fields of `KernelEstimate`."""

    def one(image: Array) -> tuple[Array, Array, Array, Array]:
        noise = lax.stop_gradient(noise_level(image))
        search = functools.partial(_single, image, noise, size=wide, prior=prior)
        kernels = jax.vmap(lambda start: _heaviest_window(search(start), size))(starts)
        if len(kernels) == 1:
            return kernels[0], jnp.ones((), image.dtype), kernels, jnp.zeros((1,), image.dtype)
        scores, others, _ = judge(image, kernels)
        best = jnp.argmin(scores)
        return kernels[best], others[best], kernels, scores

    return jax.vmap(one)(images)


def sparseness(
    image: ArrayLike, kernels: ArrayLike, *, weight: ArrayLike = 5e-4
) -> Float[Array, "..."]:
    """How natural the image is that a kernel restores: l1 / l2 of its gradients, less is better.

    The wrong kernel leaves ringing, which spreads the gradients; a kernel of one pixel leaves the
    blur, which also does. Compare kernels for one image by it.

    Args:
        image: (..., H, W) gray floats in [0, 1]: what was blurred.
        kernels: (..., k, k), k odd, which broadcast against the image.
        weight: of the total variation, > 0: more for more noise.

    Returns:
        (...,) of the image restored by `total_variation`, without half a kernel at the border.

    Raises:
        TypeError, ValueError: as `total_variation`.

    Gradient: unrolled.

    Source: Krishnan, Tay and Fergus, "Blind deconvolution using a normalized sparsity measure",
        CVPR 2011, for the measure.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from blurjax import data, deconvolution, imaging, psf
        >>> sharp = data.dead_leaves(jax.random.key(0), size=96)
        >>> kernel, wrong = (psf.motion(9.0, angle, size=11) for angle in (0.5, 1.5))
        >>> blurred = imaging.blur(sharp, kernel)
        >>> right, other = deconvolution.sparseness(blurred, jnp.stack([kernel, wrong]))
        >>> bool(right < other)
        True
    """
    restored = total_variation(image, kernels, weight=weight).value
    rows, columns = restored.shape[-2:]
    margin = min(jnp.shape(kernels)[-1] // 2, min(rows, columns) // 4)
    inner = restored[..., margin : rows - margin, margin : columns - margin]
    here = inner[..., 1:, 1:]
    slopes = jnp.stack([here - inner[..., 1:, :-1], here - inner[..., :-1, 1:]])
    length = safe_sqrt(jnp.sum(slopes**2, (0, -2, -1)))
    return jnp.sum(jnp.abs(slopes), (0, -2, -1)) / jnp.where(length > 0, length, 1)


class Judgement(NamedTuple):
    """How several kernels do for one image."""

    scores: Float[Array, " n"]
    """Less is better: `sparseness` in units of the mean over the kernels, less the agreement."""
    agreement: Float[Array, " n"]
    """Mean `metrics.kernel_similarity` of each to the others, in [0, 1]."""
    sparseness: Float[Array, " n"]
    """See the function of that name."""


def judge(image: Float[ArrayLike, "h w"], kernels: Float[ArrayLike, "n k k"]) -> Judgement:
    """Which of several kernels blurred an image, as far as can be told without the sharp one.

    The one that restores the sparsest gradients and is most like the others: right answers are
    alike, wrong ones are each wrong in their own way.

    Args:
        image: (H, W) gray floats in [0, 1].
        kernels: (n, k, k), n >= 2, k odd; smaller kernels padded with zeros.

    Returns:
        A `Judgement`; the kernel of the lowest score is the best.

    Raises:
        TypeError, ValueError: as `total_variation`.

    Gradient: unrolled, with the noise of the image held.

    Source: our choice; the weight of the total variation that restores grows with the noise.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from blurjax import data, deconvolution, imaging, psf
        >>> sharp = data.dead_leaves(jax.random.key(0), size=96)
        >>> kernels = jnp.stack([psf.motion(9.0, angle, size=11) for angle in (0.5, 0.6, 1.5)])
        >>> said = deconvolution.judge(imaging.blur(sharp, kernels[0]), kernels)
        >>> int(jnp.argmax(said.scores)), int(jnp.argmin(said.agreement))
        (2, 2)
    """
    image, kernels = as_image(image), jnp.asarray(kernels)
    noise = lax.stop_gradient(noise_level(image))
    sparse = sparseness(image, kernels, weight=weight_for_noise(noise, _JUDGED))
    alike = metrics.kernel_similarity(kernels[:, None], kernels[None])
    others = (jnp.sum(alike, axis=-1) - 1) / (len(kernels) - 1)
    return Judgement(sparse / jnp.maximum(jnp.mean(sparse), 1e-6) - others, others, sparse)


# ---- one search


def levels(shape: tuple[int, int], size: int) -> tuple[_Level, ...]:
    """The scales, from the coarsest."""
    count = max(math.floor(math.log(_COARSEST / size) / math.log(_RATIO)), 0) + 1
    found = []
    for i in range(count):
        # Rounding must not add a pixel where the ratio is a power of 2.
        rows, columns, taps = (math.ceil(n * _RATIO**i - 1e-6) for n in (*shape, size))
        found.append(_Level((rows, columns), taps + (taps + 1) % 2))
    return tuple(reversed(found))


def _single(image: Array, noise: Array, start: Start, *, size: int, prior: str) -> Array:
    """The kernel (k, k) of one image by one search; every field of `start` is one number."""
    # The power of 0 has no derivative.
    positive = image > 0
    image = jnp.where(positive, jnp.where(positive, image, 1) ** start.gamma, 0)
    noise = noise * start.noise
    scales = levels((image.shape[0], image.shape[1]), size)
    coarse = scales[0].size
    # Something horizontal to begin with: a single pixel would find the blurred image itself.
    pair = jnp.zeros((coarse, coarse), image.dtype)
    pair = pair.at[coarse // 2, coarse // 2 + jnp.arange(2)].set(0.5)
    state = _State(pair, jnp.asarray(start.weight), jnp.zeros((), image.dtype))
    for i, level in enumerate(scales):
        small = image if level.shape == image.shape else _reduced(image, level.shape)
        if i == 0:
            state = state._replace(threshold=_first_threshold(small, level.size))
        else:
            state = state._replace(kernel=_grown(state.kernel, level.size))
        last = i == len(scales) - 1
        state = _at_scale(
            small, noise, jnp.asarray(start.extent), state, level, prior=prior, last=last
        )
        state = state._replace(kernel=_centred(state.kernel))
    kernel = _above(state.kernel, 0.05)
    # A flat image leaves nothing.
    total = jnp.sum(kernel)
    pixel = jnp.zeros_like(kernel).at[size // 2, size // 2].set(1)
    return jnp.where(total > 0, kernel / jnp.where(total > 0, total, 1), pixel)


def _reduced(image: Array, shape: tuple[int, int]) -> Array:
    return jax.image.resize(image, shape, "cubic")


def _at_scale(
    image: Array,
    noise: Array,
    extent: Array,
    state: _State,
    level: _Level,
    *,
    prior: str,
    last: bool,
) -> _State:
    """Latent image and kernel by turns."""
    shape = _torus.torus(level.shape, level.size)
    held = lax.stop_gradient(image)
    blurred = _torus.extend(held, shape)
    rows, columns = level.shape
    slopes = _slopes(held)
    room = _room(level.size, extent)
    # The noise of the whole image: the coarser scales have less, and bear the larger ridge.
    ridge = 2 + 5e5 * noise**2
    cut = jnp.minimum(0.05 + 10 * noise, 0.15)

    def edges_of(state: _State) -> tuple[Array, Array]:
        spectrum = _torus.transfer(state.kernel, shape)
        if prior == "normalised_sparsity":
            found = _sparse_slopes(blurred, spectrum, state.weight)[:, :rows, :columns]
            found = found * _inside(level.shape, found.dtype)
        else:
            dark = prior == "minimal_pixels"
            latent = _few_edges(blurred, spectrum, state.weight, level.shape, dark=dark)
            found = _slopes(latent[:rows, :columns])
        return _strong(found, state.threshold)

    def cleaned(kernel: Array) -> Array:
        kernel = _above(kernel, cut)
        total = jnp.sum(kernel)
        kernel = drop_small_components(kernel / jnp.where(total > 0, total, 1), _PIECE)
        total = jnp.sum(kernel)
        return kernel / jnp.where(total > 0, total, 1)

    def iteration(_: Any, carry: tuple[_State, Array]) -> tuple[_State, Array]:
        state, _edges = carry
        edges, threshold = edges_of(state)
        kernel = cleaned(_fitted(edges, slopes, room, ridge))
        weight = jnp.maximum(state.weight / _EASING, _LEAST_WEIGHT)
        return _State(kernel, weight, threshold), edges

    state = jax.tree.map(lax.stop_gradient, state)
    state, edges = lax.fori_loop(0, _ITERATIONS, iteration, (state, slopes))
    if last:
        # The same once more: the one fit through which a gradient reaches the image.
        kernel = cleaned(_fitted(lax.stop_gradient(edges), _slopes(image), room, ridge))
        state = state._replace(kernel=kernel)
    return state


def _few_edges(
    blurred: Array, transfer: Array, weight: Array, inside: tuple[int, int], *, dark: bool
) -> Array:
    """argmin |k*x - y|^2 + weight (how many Dx are not 0), on the torus."""
    shape = (blurred.shape[0], blurred.shape[1])
    power = _torus.power(transfer)
    steepness = _torus.differences_power(shape, blurred.dtype)
    data = jnp.conj(transfer) * jnp.fft.rfft2(blurred)
    patch = max(2, round(_PATCH_SHARE * sum(inside) / 2))

    def step(state: tuple[Array, Array]) -> tuple[Array, Array]:
        x, tie = state
        across, down = _torus.differences(_with_black(x, patch) if dark else x)
        keep = across**2 + down**2 >= weight / tie
        pull = _torus.differences_adjoint(jnp.where(keep, across, 0), jnp.where(keep, down, 0))
        solved = _torus.scaled(data + jnp.fft.rfft2(tie * pull), 1 / (power + tie * steepness))
        return jnp.fft.irfft2(solved, shape), 2 * tie

    return lax.while_loop(lambda state: state[1] < _TIGHTEST, step, (blurred, 2 * weight))[0]


def _with_black(image: Array, patch: int) -> Array:
    """The darkest pixel of each patch is black, if it is dark."""
    rows, columns = image.shape
    margins = (-rows % patch, -columns % patch)
    wide = jnp.pad(image, [(0, n) for n in margins], constant_values=jnp.inf)
    parts = wide.reshape(wide.shape[0] // patch, patch, wide.shape[1] // patch, patch)
    darkest = jnp.min(parts, (1, 3), keepdims=True)
    black = (parts == darkest) & (darkest < _DARK)
    return jnp.where(black.reshape(wide.shape)[:rows, :columns], 0, image)


def _sparse_slopes(blurred: Array, transfer: Array, weight: Array) -> Array:
    """(2, h, w): argmin 1/2 |k*g - Dy|^2 + c |g|_1 / |g|_2 by iterative shrinkage."""
    shape = (blurred.shape[0], blurred.shape[1])
    slopes = jnp.stack(_torus.differences(blurred))
    spectrum = jnp.fft.rfft2(slopes)
    transfer = transfer[None]

    def shrunk(_: Any, state: tuple[Array, Array]) -> tuple[Array, Array]:
        g, bound = state
        rest = spectrum - transfer * jnp.fft.rfft2(g)
        g = g + jnp.fft.irfft2(jnp.conj(transfer) * rest, shape)
        return jnp.sign(g) * jnp.maximum(jnp.abs(g) - bound, 0), bound

    g = slopes
    for _ in range(_RENEWALS):
        # In units of the root mean square, so that the size of the image does not matter.
        bound = weight / 16 / jnp.maximum(jnp.sqrt(jnp.mean(g**2)), 1e-4)
        g, _ = lax.fori_loop(0, _SHRINKAGES, shrunk, (g, bound))
    return g


def _slopes(x: Array) -> Array:
    """(2, H, W): differences to the next column and to the next row, 0 at the border."""
    across = jnp.pad(x[:, 1:] - x[:, :-1], ((0, 0), (0, 1)))
    down = jnp.pad(x[1:] - x[:-1], ((0, 1), (0, 0)))
    return jnp.stack([across, down])


def _inside(shape: tuple[int, int], dtype: jnp.dtype) -> Array:
    """(2, H, W): 1 where `_slopes` does not look beyond the border."""
    ones = jnp.ones(shape, dtype)
    return jnp.stack([ones.at[:, -1].set(0), ones.at[-1].set(0)])


def _first_threshold(image: Array, size: int) -> Array:
    """The squared gradient that in each of four directions at least 20 k pixels reach."""
    across, down = _slopes(lax.stop_gradient(image))
    strength = (across**2 + down**2).ravel()
    eighth = jnp.floor((jnp.arctan2(down, across).ravel() % jnp.pi) / (jnp.pi / 4))
    sector = jnp.minimum(eighth.astype(jnp.int32), 3)
    count = min(20 * size, strength.size)
    apart = jnp.where(
        sector[None, :] == jnp.arange(4, dtype=jnp.int32)[:, None], strength[None, :], 0
    )
    return jnp.min(lax.top_k(apart, count)[0][:, -1])


def _strong(slopes: Array, threshold: Array) -> tuple[Array, Array]:
    """The gradients at or above the threshold, and the next threshold."""
    strength = jnp.sum(slopes**2, axis=0)
    # Something must be left to fit the kernel to.
    threshold = jnp.minimum(threshold, 0.81 * jnp.max(strength))
    return jnp.where(strength >= threshold, slopes, 0), threshold / 1.1


def _room(size: int, extent: Array) -> Array:
    """(k, k): 1 where the kernel of a search may be."""
    offset = jnp.abs(jnp.arange(size, dtype=extent.dtype) - size // 2)
    half = jnp.ceil(extent * size / 2 - 1)
    near = (offset <= half).astype(extent.dtype)
    return near[:, None] * near[None, :]


def _fitted(edges: Array, slopes: Array, room: Array, ridge: Array) -> Array:
    """argmin sum |k * edges - slopes|^2 + ridge |k|^2 over the room, by conjugate gradients.

    The normal equations need the edges' autocorrelation at lags below k alone: after two
    transforms of the image each step works on arrays of 2 k.
    """
    size = room.shape[0]
    shape = (fast_length(edges.shape[1] + size), fast_length(edges.shape[2] + size))
    sharp, blurred = jnp.fft.rfft2(edges, shape), jnp.fft.rfft2(slopes, shape)
    # Summed over both directions by hand: a reduction of complex numbers is slow.
    cross = jnp.conj(sharp[0]) * blurred[0] + jnp.conj(sharp[1]) * blurred[1]
    auto = _torus.power(sharp[0]) + _torus.power(sharp[1])
    correlations = jnp.fft.irfft2(jnp.stack([cross, auto.astype(cross.dtype)]), shape)
    centred = jnp.roll(correlations, (size - 1, size - 1), (1, 2))[
        :, : 2 * size - 1, : 2 * size - 1
    ]
    half = size // 2
    first = size - 1 - half
    right = room * centred[0, first : first + size, first : first + size]
    small = fast_length(2 * size - 1)
    around = jnp.pad(centred[1], (0, small - 2 * size + 1))
    response = jnp.fft.rfft2(jnp.roll(around, (1 - size, 1 - size), (0, 1))).real

    def normal(k: Array) -> Array:
        spread = _torus.scaled(jnp.fft.rfft2(k, (small, small)), response)
        return room * jnp.fft.irfft2(spread, (small, small))[:size, :size] + ridge * k

    start = room / jnp.sum(room)
    rest = right - normal(start)

    def step(
        state: tuple[Array, Array, Array, Array], _: None
    ) -> tuple[tuple[Array, Array, Array, Array], None]:
        k, rest, direction, energy = state
        ahead = normal(direction)
        along = jnp.sum(direction * ahead)
        go = (energy > _TOLERANCE**2) & (along > 0)
        length = jnp.where(go, energy / jnp.where(go, along, 1), 0)
        k, rest = k + length * direction, rest - length * ahead
        new = jnp.where(go, jnp.sum(rest**2), energy)
        direction = rest + new / jnp.where(energy > 0, energy, 1) * direction
        return (k, rest, direction, new), None

    return lax.scan(step, (start, rest, rest, jnp.sum(rest**2)), length=_STEPS)[0][0]


def _above(kernel: Array, share: Array | float) -> Array:
    """A kernel's pixels above a share of its largest; 0 elsewhere and below 0."""
    return jnp.where(kernel >= share * jnp.max(kernel), jnp.maximum(kernel, 0), 0)


def _grown(kernel: Array, size: int) -> Array:
    """A kernel at the next scale: sqrt 2 times as large, about its centre."""
    scale = jnp.full((2,), 1 / _RATIO, kernel.dtype)
    shift = size / 2 - scale * kernel.shape[0] / 2
    grown = jax.image.scale_and_translate(
        kernel, (size, size), (0, 1), scale, shift, "cubic", antialias=False
    )
    grown = jnp.maximum(grown, 0)
    total = jnp.sum(grown)
    return grown / jnp.where(total > 0, total, 1)


def _centred(kernel: Array) -> Array:
    """A kernel moved by whole pixels until its centroid is nearest to its centre."""
    size = kernel.shape[0]
    position = (jnp.arange(size) - size // 2).astype(kernel.dtype)
    total = jnp.sum(kernel)
    total = jnp.where(total > 0, total, 1)
    moved = [
        size + lax.stop_gradient(jnp.round(jnp.sum(kernel.sum(axis) * position) / total))
        for axis in (1, 0)
    ]
    wide = jnp.pad(kernel, size)
    kernel = lax.dynamic_slice(wide, [m.astype(jnp.int32) for m in moved], (size, size))
    total = jnp.sum(kernel)
    return kernel / jnp.where(total > 0, total, 1)

"""How long the parts of kernel_size take: samples, correlation maps, network, a whole photograph.

    python benchmarks/kernel_size.py

Medians after warm-up. The floor of the network is its multiply-adds (counted by XLA) at the rate
of a large float32 matrix product, measured in the same run.
"""

import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from blurjax import data, features, kernel_size
from blurjax.features import _correlation

N = 20
SHAPE = (320, 480)


def seconds(call: Callable[[], object], repeats: int = 7) -> float:
    """The median time of a call, after one that compiles."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def main() -> None:
    """Print one line a part."""
    a = jnp.ones((2048, 2048), jnp.float32)
    product = jax.jit(jnp.matmul)
    rate = 2 * 2048**3 / seconds(lambda: product(a, a))
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}, {rate / 1e9:.0f} GFLOP/s")
    key = jax.random.key(0)
    # Painted, so that there are as many as one wants of any size.
    painted = np.stack([data.dead_leaves(jax.random.fold_in(key, i), size=480) for i in range(4)])
    sharp = jnp.asarray(np.rint(255 * painted[:, : SHAPE[0]]).astype(np.uint8))
    config = kernel_size.Config()
    cascade = kernel_size.Config(body="cascade", width=12)

    for name, one in (("correlation", config), ("cascade", cascade)):
        took = seconds(lambda one=one: kernel_size.sample(key, sharp, one, n=N))  # type: ignore[misc]
        print(f"samples for {name}: {1e3 * took / N:.1f} ms each")
    extents = jnp.full((N,), 41)
    took = seconds(lambda: kernel_size.sample_kernels(key, extents, n=N))
    print(f"kernels: {1e3 * took / N:.2f} ms each")

    batch = kernel_size.sample(key, sharp, config, n=N)
    maps = jax.jit(features.correlation_maps)
    took = seconds(lambda: maps(batch.images))
    print(f"correlation maps: {1e3 * took / N:.1f} ms an image")
    shape = (432, 600)
    spectra = jnp.abs(jnp.fft.rfft2(batch.images, shape))[:, None] * jnp.ones((1, 3, 1, 1))
    near = jax.jit(lambda x: _correlation._near_lags(x, shape, 112))
    whole = jax.jit(lambda x: jnp.fft.irfft2(x, shape)[..., :112, :112])
    fast, slow = seconds(lambda: near(spectra)), seconds(lambda: whole(spectra))
    print(
        f"  from spectra to near lags: {1e3 * fast / N:.1f} ms as matrix products, "
        f"{1e3 * slow / N:.1f} ms as transforms ({slow / fast:.1f} times)"
    )
    for name, one, images in (
        ("correlation network and maps", config, batch.images),
        ("cascade, two directions", cascade, jnp.zeros((2 * N, 128, 128), jnp.float32)),
    ):
        variables = kernel_size.init(key, one)
        call = jax.jit(kernel_size.apply, static_argnames="config")
        took = seconds(lambda v=variables, x=images, c=one, f=call: f(v, x, config=c))  # type: ignore[misc]
        cost = call.lower(variables, images, config=one).compile().cost_analysis()
        flops = (cost[0] if isinstance(cost, list) else cost)["flops"]
        print(f"{name}: {1e3 * took / N:.1f} ms an image, floor {1e3 * flops / rate / N:.1f}")
    for rows, columns in ((480, 640), (1024, 1024)):
        image = np.random.default_rng(0).random((rows, columns), np.float32)
        for name, one in (("correlation", config), ("cascade", cascade)):
            variables = kernel_size.init(key, one)
            took = seconds(
                lambda v=variables, x=image, c=one: kernel_size.estimate(x, v, c)  # type: ignore[misc]
            )
            print(f"estimate, {columns}x{rows}, {name}: {took:.3f} s")


if __name__ == "__main__":
    main()

"""How long a sigma map of 640x480 takes, by each network.

    python benchmarks/sigma_map.py

Medians after warm-up; the first call, which compiles, is given beside them. Windows one by one
are timed on a part of the image and scaled to all of it. The floor is the multiply-adds of the
network at the rate of a large float32 matrix product, measured in the same run.
"""

import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from blurjax import sigma_map

HEIGHT, WIDTH = 480, 640
# Multiply-adds a pixel: by hand from the layers' sizes.
COSTS = {
    "classifier, stride 1": 3.27e6,
    "classifier, stride 4": 0.38e6,
    "regressor": 0.024e6,
}


def seconds(call: Callable[[], object], repeats: int) -> tuple[float, float]:
    """The first call's time, and the median of `repeats` more."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - start)
    return times[0], statistics.median(times[1:])


def main(repeats: int = 5) -> None:
    """Print one line a case."""
    image = np.random.default_rng(0).random((HEIGHT, WIDTH), np.float32)
    a = jnp.ones((2048, 2048), jnp.float32)
    product = jax.jit(jnp.matmul)
    rate = 2 * 2048**3 / seconds(lambda: product(a, a), 9)[1]
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}, {rate / 1e9:.0f} GFLOP/s")
    for name, cost in COSTS.items():
        body = name.split(",")[0]
        config = sigma_map.Config(body=body)
        variables = sigma_map.init(jax.random.key(0), config)
        stride = 1 if name.endswith("1") else 4

        def call(variables: object = variables, config: object = config, s: int = stride) -> object:
            return sigma_map.tiled(variables, image, config, stride=s)

        first, median = seconds(call, 2 if stride == 1 else repeats)
        floor = 2 * cost * HEIGHT * WIDTH / rate
        print(f"{name}: {median:.2f} s (first call {first:.1f} s, floor {floor:.2f} s)")
    config = sigma_map.Config(body="classifier")
    variables = sigma_map.init(jax.random.key(0), config)
    views = np.lib.stride_tricks.sliding_window_view(image, (32, 32))
    windows = jnp.asarray(views[:32, :32].reshape(-1, 32, 32))
    apply = jax.jit(sigma_map.apply, static_argnames="config")
    _, some = seconds(lambda: apply(variables, windows, config), 1)
    whole = some * HEIGHT * WIDTH / len(windows)
    print(f"classifier, windows one by one: {whole:.0f} s (1024 of them measured)")


if __name__ == "__main__":
    main()

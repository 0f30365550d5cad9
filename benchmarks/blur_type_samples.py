"""How many labelled patches a second `blur_type.sample` makes.

    python benchmarks/blur_type_samples.py

Every patch has a kernel of its own. Medians over calls after warm-up; patches are counted whether
or not the texture rule keeps them, and those it keeps are given beside them.
"""

import statistics
import time

import jax
import jax.numpy as jnp

from blurjax import blur_type, data

CASES = {
    "as trained (mixed light and sampling)": {},
    "as published (values as they are, area)": {"linear": "never", "sampling": "area"},
    "with noise": {"noise": 0.01},
}


def main(n: int = 1536, repeats: int = 9) -> None:
    """Print one line a case."""
    sharp = jnp.asarray(data.tiles(data.embedded("train"), 144).images)
    config = blur_type.Config()
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}, batches of {n}")
    for title, options in CASES.items():
        for candidates in (1, 2):

            def draw(seed: int, options: dict = options, candidates: int = candidates) -> object:
                return jax.block_until_ready(
                    blur_type.sample(
                        jax.random.key(seed), sharp, config, n=n, candidates=candidates, **options
                    )
                )

            kept = float(draw(0).weight.mean())
            seconds = []
            for seed in range(1, repeats + 1):
                start = time.perf_counter()
                draw(seed)
                seconds.append(time.perf_counter() - start)
            rate = n / statistics.median(seconds)
            print(
                f"{title}, {candidates} candidate(s) a slot: {rate:,.0f} patches/s, "
                f"{kept * rate:,.0f} of them kept"
            )


if __name__ == "__main__":
    main()

"""How much of what it claims a prediction interval of nn.grnn covers: the table of docs/grnn.md.

python benchmarks/grnn_coverage.py      # ten keys, a minute
"""

from collections.abc import Callable
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from blurjax.nn import grnn

Draw = Callable[[jax.Array, int], tuple[jax.Array, jax.Array]]
STORED, ASKED = 1_000, 2_000
COVERAGES = (0.68, 0.9, 0.95)
BANDWIDTHS = (0.1, 0.005, 1.0)


def heteroscedastic(key: jax.Array, n: int) -> tuple[jax.Array, jax.Array]:
    """Normal noise that grows with the distance from 0."""
    k_x, k_noise = jax.random.split(key)
    x = jax.random.uniform(k_x, (n, 1), minval=-2.0, maxval=2.0)
    spread = 0.05 + 0.3 * jnp.abs(x)
    return x, jnp.sin(2 * x) + spread * jax.random.normal(k_noise, (n, 1))


def skewed(key: jax.Array, n: int) -> tuple[jax.Array, jax.Array]:
    """Noise with one long tail, that grows to the right."""
    k_x, k_noise = jax.random.split(key)
    x = jax.random.uniform(k_x, (n, 1), minval=-2.0, maxval=2.0)
    return x, x**2 + (1.1 + x / 2) * jax.random.exponential(k_noise, (n, 1))


def measured(draw: Draw, bandwidth: float, keys: int) -> tuple[np.ndarray, float]:
    """Coverages (keys, 3, 2), raw and calibrated, and the median effective number of samples."""
    covered, effective = [], []
    for key in jax.random.split(jax.random.key(0), keys):
        k_stored, k_asked = jax.random.split(key)
        points, targets = draw(k_stored, STORED)
        queries, truth = draw(k_asked, ASKED)
        rows = []
        for coverage in COVERAGES:
            calibration = grnn.calibrate(points, targets, bandwidth, coverage=coverage)
            pair = []
            for claim in (coverage, calibration):
                found = grnn.predict_distribution(queries, points, targets, bandwidth, claim)
                inside = (truth >= found.lower) & (truth <= found.upper)
                pair.append(float(inside.mean()))
            effective.append(float(jnp.median(found.effective)))
            rows.append(pair)
        covered.append(rows)
    return np.array(covered), float(np.median(effective))


def main(keys: Annotated[int, tyro.conf.arg(help="independent data sets")] = 10) -> None:
    """Print coverage of 2000 new targets, 1000 stored samples, mean over the keys."""
    print(
        "| data, one input | bandwidth | effective samples | 68 %: raw, calibrated | 90 % | 95 % |"
    )
    print("|---|---|---|---|---|---|")
    widest = 0.0
    for title, draw in (
        ("noise grows with abs(x)", heteroscedastic),
        ("exponential noise", skewed),
    ):
        for bandwidth in BANDWIDTHS:
            covered, effective = measured(draw, bandwidth, keys)
            mean = covered.mean(axis=0)
            widest = max(widest, float(covered[..., 1].std(axis=0, ddof=1).max()))
            cells = " | ".join(f"{raw:.3f}, {calibrated:.3f}" for raw, calibrated in mean)
            print(f"| {title} | {bandwidth:g} | {effective:.3g} | {cells} |", flush=True)
    print(f"\nFrom key to key the calibrated ones scatter by up to {widest:.3f} (one deviation).")


if __name__ == "__main__":
    tyro.cli(main)

"""Strict by default: float64 on, no silent dtype promotion, no silent rank promotion."""

import os

# Eight simulated devices for the sharding and pmap tests; must be set before jax starts.
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=8")

import jax
import pytest

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def getkey():
    """A fresh random key at each call; the same sequence in every run."""
    count = iter(range(1_000_000))
    return lambda: jax.random.fold_in(jax.random.key(20261120), next(count))

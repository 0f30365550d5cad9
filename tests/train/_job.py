"""A small training run that tests start as processes of their own, and kill.

    python tests/train/_job.py WORKDIR [--processes N --process I --port P] [options]

A network with batch normalisation on streamed crops; prints what it ends with as a hash.
"""

import argparse
import hashlib
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
# One device a process, whatever the tests' own environment says.
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=1"
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"

parser = argparse.ArgumentParser()
parser.add_argument("workdir", type=Path)
parser.add_argument("--processes", type=int, default=1)
parser.add_argument("--process", type=int, default=0)
parser.add_argument("--port", type=int, default=0)
parser.add_argument("--steps", type=int, default=30)
parser.add_argument("--every", type=float, default=0.2, help="seconds between checkpoints")
parser.add_argument("--size", type=int, default=0, help="more parameters, to save longer")
parser.add_argument("--pause", type=float, default=0.0, help="seconds a step takes besides")


def main() -> None:
    given = parser.parse_args()
    from train.machine import Machine

    if given.processes > 1:
        Machine(
            coordinator=f"127.0.0.1:{given.port}", processes=given.processes, process=given.process
        ).begin()

    import time

    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    from blurjax import sharpness
    from train import loop, steps, stream

    config = sharpness.Config(body="patches", filters=4)
    rng = np.random.default_rng(0)
    store = sharpness.PatchBatch(
        rng.random((64, 32, 32), np.float32),
        (rng.random(64) < 0.5).astype(np.float32),
        np.ones(64, np.float32),
        np.arange(64, dtype=np.int32),
    )

    def draw(key, rows, n):
        return jax.tree.map(lambda x: x[jax.random.permutation(key, n)], rows)

    def loss(variables, batch, *, key, train, axis_name):
        body = {**variables, "params": variables["params"]["network"]}
        value, aux = sharpness.loss(body, batch, config, train=train, axis_name=axis_name)
        return value + 1e-6 * jnp.sum(variables["params"]["more"] ** 2), aux

    optimizer = optax.adam(1e-2)

    def first():
        variables = sharpness.init(jax.random.key(1), config)
        # Noise, which compression does not make smaller.
        more = jax.random.normal(jax.random.key(4), (given.size,), jnp.float32)
        params = {"network": variables["params"], "more": more}
        return steps.initial_state({**variables, "params": params}, optimizer)

    def validate(state):
        time.sleep(given.pause)
        return {"bias": state["variables"]["params"]["network"]["dense"]["bias"].sum()}

    print("training", flush=True)
    state = loop.run(
        steps.gradient_step(loss, optimizer, draw, batch=16, parts=4, streamed=True),
        first,
        stream.Crops(stream.Rows(store), rows=16, seed=2),
        key=jax.random.key(3),
        num_steps=given.steps,
        workdir=given.workdir,
        log_every=5,
        checkpoint_every_s=given.every,
        validate=validate,
        validate_every=1 if given.pause else 10,
        best="bias",
        quiet=True,
    )
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(state):
        digest.update(np.asarray(leaf).tobytes())
    print(digest.hexdigest(), flush=True)


if __name__ == "__main__":
    main()

"""What blur_type's GRNNs should compare: raw inputs, the bottleneck, or the trained branch."""

import dataclasses
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from blurjax import blur_type, data
from blurjax.blur_type import LABELS
from blurjax.blur_type.model import recall_feature
from blurjax.nn import grnn
from eval import blur_type as protocol
from eval import report

RECALLS = ("feature", "bottleneck", "branch")
_TILE, _PIECE = 144, 1_000
# Bandwidths of more inputs than these are not learned one by one: the gradient takes too long.
_LEARNED = 32


def evaluate(
    images: tuple[Path, ...] = (),
    out: Path = Path("out/eval_blur_type_recall"),
    memory: int = 3_000,
    patches: int = 3_000,
    seed: int = 0,
) -> dict[str, Any]:
    """Parameter errors of GRNNs on the published network's inputs, bottleneck and branch.

    Args:
        images: folders of sharp photographs: the stored samples come from their training split,
            the queries from their test split; none for the photographs inside scikit-image.
        out: folder for report.json.
        memory: stored samples of each type.
        patches: textured queries, a third of each type.
        seed: of everything random.

    Returns:
        What report.json holds.
    """
    started = time.monotonic()
    if patches % len(LABELS):
        raise ValueError(f"patches is {patches}; the types share them: give a multiple of 3")
    if images:
        source = data.concatenate(*map(data.source, images))
        known, _, unseen = data.split(source)
    else:
        known, unseen = data.embedded("train"), data.embedded("test")
    variables, shipped = blur_type.load("published")
    key = jax.random.key(seed)
    stored, queries = (
        blur_type.collect(
            jax.random.fold_in(key, i),
            jnp.asarray(data.tiles(part, _TILE).images),
            shipped,
            n=n,
            linear="never",
            sampling="area",
            rule="textured",
        )
        for i, (part, n) in enumerate(((known, len(LABELS) * memory), (unseen, patches)))
    )
    result: dict[str, Any] = {
        "protocol": "blur_type_recall",
        "images": [str(root) for root in images] or ["embedded photographs"],
        "memory": memory,
        "patches": patches,
        "observation": "8-bit, no noise, textured",
        "errors": {},
    }
    for recall in RECALLS:
        config = dataclasses.replace(shipped, recall=recall, memory=memory)
        network = blur_type.remember(variables, stored, config)
        name = f"{recall}, one bandwidth"
        result["errors"][name] = _errors(network, queries, config)
        if network["recall"]["motion"]["points"].shape[1] <= _LEARNED:
            result["errors"][f"{recall}, learned bandwidths"] = _learned(
                key, network, queries, config
            )
        print(f"{recall}: done after {time.monotonic() - started:.0f} s", flush=True)
    result["seconds"] = round(time.monotonic() - started, 1)
    report.table(
        f"Mean absolute error by the true type's GRNN, {memory} stored samples a type, "
        f"{patches} textured patches",
        ["what is compared", "sigma (px)", "length (px)", "angle (degrees)", "radius (px)"],
        [
            [name, *(f"{errors[p]:.2f}" for p in ("sigma", "length", "angle", "radius"))]
            for name, errors in result["errors"].items()
        ],
    )
    report.write(out, result)
    return result


def _errors(
    network: dict[str, Any], queries: blur_type.Batch, config: blur_type.Config
) -> dict[str, float]:
    prediction = protocol.predictions(network, config, queries.patches)
    found = protocol.parameter_errors(prediction, queries, config)
    return {name: row["true_type"] for name, row in found.items()}


def _learned(
    key: jax.Array,
    network: dict[str, Any],
    queries: blur_type.Batch,
    config: blur_type.Config,
) -> dict[str, float]:
    """The same with one bandwidth for each input, learned for size and direction apart."""
    errors = {}
    for i, (name, size) in enumerate(zip(LABELS, ("sigma", "length", "radius"), strict=True)):
        rows = np.flatnonzero(np.asarray(queries.label) == i)
        recalled = [
            recall_feature(network, queries.patches[rows[j : j + _PIECE]], config, name)
            for j in range(0, len(rows), _PIECE)
        ]
        memory, x = network["recall"][name], jnp.concatenate(recalled)
        parts = {size: memory["targets"][:, :1]}
        if name == "motion":
            parts["angle"] = memory["targets"][:, 1:]
        for parameter, targets in parts.items():
            bandwidth = grnn.fit_bandwidth(key, memory["points"], targets)
            found = np.asarray(grnn.predict(x, memory["points"], targets, bandwidth))
            if parameter == "angle":
                angle = np.arctan2(found[:, 1], found[:, 0]) / 2
                off = blur_type.circular_error(angle, queries.angle[rows])
                errors[parameter] = float(np.degrees(off).mean())
            else:
                errors[parameter] = float(np.abs(found[:, 0] - queries.size[rows]).mean())
    return errors

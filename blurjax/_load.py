"""How every system finds its weights (host)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from blurjax import weights

C = TypeVar("C")

# Of a run's stages those that end with a network, as `python -m train` calls them.
_STAGES = ("train", "finetune")


def load(
    name: str | Path | None, shipped: Mapping[Any, str], config_type: type[C]
) -> tuple[dict[str, Any], C]:
    """Variables and configuration by the name of shipped weights, or from a file or checkpoint.

    Args:
        name: a key of `shipped`; a path ending in .npz for a weights file; any other path for a
            training checkpoint, or the folder of a run, for its last.
        shipped: the weights in the package by the names that users give them.
        config_type: the system's configuration.

    Returns:
        Variables in float32, and their configuration.

    Raises:
        WeightsError: a weights file that is missing or damaged.
        CheckpointError: likewise a checkpoint.
    """
    if name in shipped or str(name).endswith(".npz"):
        file = weights.path(shipped[name]) if name in shipped else Path(str(name))
        tree, config, _ = weights.load(file, config_type)
        return jax.tree.map(jnp.asarray, tree), config
    from blurjax import checkpoint

    folder = Path(str(name))
    stages = (folder / "checkpoints" / stage for stage in _STAGES)
    tree, meta, _ = checkpoint.restore(next((place for place in stages if place.is_dir()), folder))
    config = weights.configuration(config_type, meta["config"], str(name))
    # The training loop keeps its optimiser's state beside the variables.
    return tree.get("state", tree)["variables"], config

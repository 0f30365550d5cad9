"""Checkpoints of training: a tree of arrays and a little JSON, by Orbax, with checksums.

    save("runs/a/checkpoints", 100, {"params": params, "opt": opt_state}, {"stage": "train"})
    tree, meta, step = restore("runs/a/checkpoints", target)

Orbax writes atomically: an interrupted save leaves a temporary folder that is never read.
What it does not do is notice damage afterwards: one flipped byte in an array file restores
as other numbers. Therefore the SHA-256 of every array is stored beside it and checked.

Everything here is host code, and holds the whole tree in host memory. This is the only
file of the package that imports orbax, inside the functions: it costs half a second.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

_ARRAYS, _META = "arrays", "meta"


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged, or does not fit what was asked for."""


def save(
    directory: str | Path,
    step: int,
    tree: Any,
    meta: Mapping[str, Any] | None = None,
    *,
    keep: int = 2,
) -> None:
    """Write `tree` as one step of a checkpoint directory; it is on disk on return.

    Host function. The leaves are stored flat, each under its path in the tree
    (`opt/0/mu/dense/kernel`), so that reading them back needs no class of the tree.

    Args:
        directory: the folder that holds the steps; made if it is missing.
        step: >= 0, not yet in the directory.
        tree: any pytree of arrays and numbers; its dictionaries have string keys without
            "/". Random keys are stored as their data and come back as keys. Every array
            must be addressable by this process.
        meta: JSON values to store with it.
        keep: how many of the last steps stay, >= 1.

    Raises:
        CheckpointError: the step exists, or two leaves would share a name.

    Source: our choice; Orbax's CheckpointManager.

    Example:
        >>> import tempfile, numpy as np
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(folder, 3, {"w": np.arange(2.0)}, {"note": "hello"})
        ...     restore(folder)
        ({'w': array([0., 1.])}, {'note': 'hello'}, 3)
    """
    import orbax.checkpoint as ocp

    folder = Path(directory).resolve()
    if step in _steps(folder):
        raise CheckpointError(
            f"{folder} already holds step {step}; save a later step, or delete {folder / str(step)}"
        )
    leaves = _flatten(tree)
    arrays = {name: _to_host(leaf) for name, leaf in leaves.items()}
    described = {
        name: {
            "shape": list(array.shape),
            "dtype": array.dtype.name,
            "sha256": _digest(array),
            "key": _key_implementation(leaves[name]),
        }
        for name, array in arrays.items()
    }
    content = json.loads(json.dumps({"arrays": described, "meta": dict(meta or {})}))
    options = ocp.CheckpointManagerOptions(max_to_keep=keep, enable_async_checkpointing=False)
    with ocp.CheckpointManager(folder, options=options) as manager:
        manager.save(
            step,
            args=ocp.args.Composite(
                arrays=ocp.args.StandardSave(_stored(arrays)),
                meta=ocp.args.JsonSave({"content": content, "sha256": _json_digest(content)}),
            ),
            # Without it Orbax silently skips a step lower than the latest one.
            force=True,
        )


def latest_step(directory: str | Path) -> int | None:
    """The last complete step in a checkpoint directory, None where there is none.

    Host function. Temporary folders of interrupted saves do not count.

    Example:
        >>> latest_step("/no/such/directory") is None
        True
    """
    return max(_steps(Path(directory).resolve()), default=None)


def restore(
    directory: str | Path,
    target: Any = None,
    *,
    step: int | None = None,
    shardings: Any = None,
) -> tuple[Any, dict[str, Any], int]:
    """Read a checkpoint back and check every array against its checksum.

    Host function. It does not matter on how many devices the checkpoint was made.

    Args:
        directory: the folder that `save` was given.
        target: a pytree of arrays or `jax.ShapeDtypeStruct`s of the structure, shapes and
            dtypes to expect. None: nested dictionaries with string keys, whatever they were.
        step: which one; None for the last.
        shardings: a `jax.sharding.Sharding` for all arrays, or a tree of them that
            `jax.device_put` takes; None for NumPy arrays in host memory.

    Returns:
        The tree, the JSON values, and the step.

    Raises:
        CheckpointError: nothing is there; the step is damaged (the message names the last
            step that is not); or names, shapes or dtypes differ from the target's.

    Source: our choice.

    Example: see `save`.
    """
    folder = Path(directory).resolve()
    steps = _steps(folder)
    if not steps:
        raise CheckpointError(f"{folder} holds no checkpoint; check the path, or train first")
    if step is None:
        step = max(steps)
    elif step not in steps:
        raise CheckpointError(f"{folder} holds no step {step}; it holds {sorted(steps)}")
    try:
        leaves, meta = _load(folder, step)
    except CheckpointError as error:
        earlier = _last_good_step(folder, [s for s in steps if s < step])
        remedy = (
            "no earlier step is whole, so train again in an empty directory"
            if earlier is None
            else f"step {earlier} is whole: give step={earlier}, or delete {folder / str(step)}"
        )
        raise CheckpointError(f"{error}; {remedy}") from error
    tree = _nest(leaves) if target is None else _fit(leaves, target, f"{folder}, step {step}")
    if shardings is not None:
        tree = jax.device_put(tree, shardings)
    return tree, meta, step


def _steps(folder: Path) -> list[int]:
    """The complete steps in `folder`."""
    import orbax.checkpoint as ocp

    if not folder.is_dir():
        return []
    options = ocp.CheckpointManagerOptions(create=False)
    with ocp.CheckpointManager(folder, options=options) as manager:
        return list(manager.all_steps())


def _load(folder: Path, step: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The leaves by name and the caller's meta of one step, all checksums verified."""
    import orbax.checkpoint as ocp

    where = f"{folder}, step {step}"
    options = ocp.CheckpointManagerOptions(create=False)
    with ocp.CheckpointManager(folder, options=options) as manager:
        # Damage can surface as any exception of Orbax, TensorStore or the JSON decoder.
        try:
            args = ocp.args.Composite(meta=ocp.args.JsonRestore())
            stored = manager.restore(step, args=args)[_META]
            content = stored["content"]
            described, meta = content["arrays"], content["meta"]
            whole = stored["sha256"] == _json_digest(content)
        except Exception as error:
            raise CheckpointError(f"{where}: the meta cannot be read ({_brief(error)})") from error
        if not whole:
            raise CheckpointError(f"{where}: the meta does not match its checksum")
        expected = {name: _empty(entry) for name, entry in described.items()}
        try:
            args = ocp.args.Composite(arrays=ocp.args.StandardRestore(_stored(expected)))
            arrays = manager.restore(step, args=args)[_ARRAYS]
        except Exception as error:
            raise CheckpointError(
                f"{where}: the arrays cannot be read ({_brief(error)})"
            ) from error
    leaves: dict[str, Any] = {}
    for name, entry in described.items():
        array = np.asarray(arrays.get(name, expected[name]))
        if _digest(array) != entry["sha256"]:
            raise CheckpointError(f"{where}: the array {name!r} does not match its checksum")
        leaves[name] = array
        if entry["key"] is not None:
            words = jax.numpy.asarray(array)
            leaves[name] = jax.random.wrap_key_data(words, impl=entry["key"])
    return leaves, meta


def _last_good_step(folder: Path, steps: list[int]) -> int | None:
    """The highest of `steps` that can be read and verified."""
    for step in sorted(steps, reverse=True):
        try:
            _load(folder, step)
        except CheckpointError:
            continue
        return step
    return None


def _flatten(tree: Any) -> dict[str, Any]:
    """The leaves of `tree` by name, in the order of the tree."""
    leaves: dict[str, Any] = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        parts = [jax.tree_util.keystr((key,), simple=True) for key in path]
        name = "/".join(parts)
        if name in leaves or any("/" in part for part in parts):
            raise CheckpointError(
                f"the leaf {name!r} has no unique name; dictionary keys must be distinct as "
                'text and free of "/": rename it'
            )
        leaves[name] = leaf
    return leaves


def _nest(leaves: dict[str, Any]) -> Any:
    """Nested dictionaries from names joined by "/"."""
    if list(leaves) == [""]:  # The tree was a single leaf.
        return leaves[""]
    tree: dict[str, Any] = {}
    for name, leaf in leaves.items():
        *parents, last = name.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = leaf
    return tree


def _fit(leaves: dict[str, Any], target: Any, where: str) -> Any:
    """`leaves` in the structure of `target`, once names, shapes and dtypes agree."""
    wanted = _flatten(target)
    for lack, names in (
        ("the checkpoint lacks", wanted.keys() - leaves.keys()),
        ("the target lacks", leaves.keys() - wanted.keys()),
    ):
        if names:
            raise CheckpointError(
                f"{where}: {lack} {sorted(names)[0]!r} ({len(names)} such arrays); give the "
                "target of the configuration that was saved"
            )
    for name, leaf in wanted.items():
        found, expected = _signature(leaves[name]), _signature(leaf)
        if found != expected:
            raise CheckpointError(
                f"{where}: the array {name!r} is {found}, but the target wants {expected}; give "
                "the target of the configuration that was saved"
            )
    return jax.tree.unflatten(jax.tree.structure(target), [leaves[name] for name in wanted])


def _signature(leaf: Any) -> str:
    """Dtype and shape as text, for comparison and for messages."""
    if not hasattr(leaf, "dtype"):
        leaf = np.asarray(leaf)
    return f"{leaf.dtype}{list(leaf.shape)}"


def _key_implementation(leaf: Any) -> str | None:
    """The name of the generator if `leaf` is an array of typed random keys."""
    if isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return str(jax.random.key_impl(leaf))
    return None


def _to_host(leaf: Any) -> np.ndarray:
    return np.asarray(leaf if _key_implementation(leaf) is None else jax.random.key_data(leaf))


def _empty(entry: dict[str, Any]) -> np.ndarray:
    # jax.numpy.dtype knows the names that NumPy alone does not, such as bfloat16.
    return np.empty(entry["shape"], jax.numpy.dtype(entry["dtype"]))


def _stored(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What goes through Orbax: it refuses arrays without elements; shape and dtype say all."""
    return {name: array for name, array in arrays.items() if array.size}


def _digest(array: np.ndarray) -> str:
    """SHA-256 of dtype, shape and bytes."""
    digest = hashlib.sha256(f"{array.dtype.name} {list(array.shape)} ".encode())
    digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    return digest.hexdigest()


def _json_digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _brief(error: Exception) -> str:
    """The class and the first line of an exception."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"

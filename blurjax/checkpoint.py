"""Checkpoints of training: a tree of arrays and a little JSON, by Orbax, with checksums.

    save("runs/a/checkpoints", 100, {"params": params, "opt": opt_state}, {"stage": "train"})
    tree, meta, step = restore("runs/a/checkpoints", target)

    with Checkpoints("runs/a/checkpoints", keep=2, keep_best=1) as checkpoints:
        checkpoints.save(100, tree, meta, score=validation_loss)  # returns before it is on disk

Orbax writes atomically: an interrupted save leaves a temporary folder that is never read.
What it does not do is notice damage afterwards: one flipped byte in an array file restores
as other numbers. Therefore the SHA-256 of every array is stored beside it and checked.

Everything here is host code, and holds the whole tree in host memory. In a job of several
processes (`jax.distributed`) all of them call `save` for the same steps, and restore each for
itself. This is the only file of the package that imports orbax, inside the functions: it costs
half a second.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import numpy as np

_ARRAYS, _META = "arrays", "meta"


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged, or does not fit what was asked for."""


class Checkpoints:
    """The checkpoints of one run, written in the background once they are copied and hashed.

    A context manager: leaving it waits for what is being written. Host.

    Args:
        directory: the folder that holds the steps; made if it is missing.
        keep: how many of the last steps stay, >= 1.
        keep_best: how many of those with the lowest score stay besides.

    Raises:
        ValueError: `keep` is less than 1.

    Source: our choice; Orbax's CheckpointManager.

    Example:
        >>> import tempfile, numpy as np
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with Checkpoints(folder, keep=1, keep_best=1) as checkpoints:
        ...         for step, score in enumerate((0.3, 0.1, 0.2)):
        ...             checkpoints.save(step, {"w": np.full(2, float(step))}, score=score)
        ...     steps(folder), best_step(folder), restore(folder, step=1)[0]
        ([1, 2], 1, {'w': array([1., 1.])})
    """

    def __init__(self, directory: str | Path, *, keep: int = 2, keep_best: int = 0) -> None:
        if keep < 1:
            raise ValueError(f"keep is {keep}; at least 1 checkpoint must stay")
        self._folder = Path(directory).resolve()
        self._keep, self._keep_best = keep, keep_best
        self._manager: Any = None
        self._scores: dict[int, float] = {}

    def save(
        self,
        step: int,
        tree: Any,
        meta: Mapping[str, Any] | None = None,
        *,
        score: float | None = None,
    ) -> None:
        """Begin to write `tree` as a step; on return its arrays may be overwritten.

        The leaves are stored flat, each under its path in the tree (`opt/0/mu/dense/kernel`), so
        that reading them back needs no class of the tree.

        Args:
            step: >= 0, not yet in the directory.
            tree: any pytree of arrays and numbers; its dictionaries have string keys without
                "/". Random keys are stored as their data and come back as keys. An array that
                several processes share must be whole on each.
            meta: JSON values to store with it.
            score: of validation, the lower the better; steps without one, or with one that is not
                finite, are not among the best.

        Raises:
            CheckpointError: the step exists, two leaves would share a name, an array is spread
                over processes; or writing this step or the last failed: nothing half-written
                remains, and what was there before is still there.
        """
        import orbax.checkpoint as ocp

        score = score if score is not None and np.isfinite(score) else None
        # All processes of a job answer this alike: none goes on alone.
        if step in steps(self._folder):
            raise CheckpointError(
                f"{self._folder} already holds step {step}; save a later step, or delete "
                f"{self._folder / str(step)}"
            )
        leaves = _flatten(tree)
        hosted = {name: _to_host(leaf, name) for name, leaf in leaves.items()}
        described = {
            name: {
                "shape": list(array.shape),
                "dtype": array.dtype.name,
                "sha256": _digest(array),
                "key": key_implementation(leaves[name]),
            }
            for name, array in hosted.items()
        }
        about = {"arrays": described, "meta": dict(meta or {}), "score": score}
        content = json.loads(json.dumps(about))
        # What several processes share is written by all of them, each its part.
        arrays = {name: _shared(leaves[name], array) for name, array in hosted.items()}
        try:
            if self._manager is None:
                self._manager = self._open()
            # An error of the last step's comes out here.
            self._manager.wait_until_finished()
            if score is not None:
                self._scores[step] = score
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    arrays=ocp.args.StandardSave(_stored(arrays)),
                    meta=ocp.args.JsonSave({"content": content, "sha256": _json_digest(content)}),
                ),
                # Without it Orbax silently skips a step lower than the latest one.
                force=True,
            )
        except Exception as error:
            raise self._failed(error) from error

    def wait(self) -> None:
        """Return when everything is on disk.

        Raises:
            CheckpointError: the last step could not be written.
        """
        if self._manager is None:
            return
        try:
            self._manager.wait_until_finished()
        except Exception as error:
            raise self._failed(error) from error

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._manager is None:
            return
        try:
            if kind is None:
                self.wait()
        finally:
            manager, self._manager = self._manager, None
            try:
                manager.close()
            except Exception as late:
                if kind is None:
                    raise self._failed(late) from late

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> Sequence[bool]:
        """Orbax's question, which steps stay: the last ones, and the best."""
        del context
        there = sorted(info.step for info in checkpoints)
        scored = sorted((s for s in there if s in self._scores), key=lambda s: self._scores[s])
        stay = {*there[-self._keep :], *scored[: self._keep_best]}
        return [info.step in stay for info in checkpoints]

    def _open(self) -> Any:
        import orbax.checkpoint as ocp

        # Orbax's own way to keep the best forgets the scores of earlier sittings.
        self._scores = _scores(self._folder) if self._keep_best else {}
        options = ocp.CheckpointManagerOptions(
            preservation_policy=self, cleanup_tmp_directories=True
        )
        return ocp.CheckpointManager(self._folder, options=options)

    def _failed(self, error: Exception) -> CheckpointError:
        """The sentence for a step that could not be written; what is left of it is removed."""
        manager, self._manager = self._manager, None
        if manager is not None:
            # It would raise the same error again.
            with contextlib.suppress(Exception):
                manager.close()
        for path in self._folder.glob("*.orbax-checkpoint-tmp*"):
            shutil.rmtree(path, ignore_errors=True)
        there = steps(self._folder)
        left = f"step {max(there)} is there" if there else "there is no earlier one"
        return CheckpointError(
            f"{self._folder}: a checkpoint could not be written ({_brief(error)}); {left}: make "
            "room or give another folder, and run the same command again"
        )


def save(
    directory: str | Path,
    step: int,
    tree: Any,
    meta: Mapping[str, Any] | None = None,
    *,
    keep: int = 2,
) -> None:
    """Write `tree` as one step of a checkpoint directory; it is on disk on return.

    Host function.

    Args:
        directory: the folder that holds the steps; made if it is missing.
        step, tree, meta: see `Checkpoints.save`.
        keep: how many of the last steps stay, >= 1.

    Raises:
        CheckpointError: see `Checkpoints.save`.

    Source: our choice.

    Example:
        >>> import tempfile, numpy as np
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(folder, 3, {"w": np.arange(2.0)}, {"note": "hello"})
        ...     restore(folder)
        ({'w': array([0., 1.])}, {'note': 'hello'}, 3)
    """
    with Checkpoints(directory, keep=keep) as checkpoints:
        checkpoints.save(step, tree, meta)


def steps(directory: str | Path) -> list[int]:
    """The complete steps in a checkpoint directory, ascending; none if it is missing.

    Host function. Temporary folders of interrupted saves, and steps that were set aside, do not
    count.

    Example:
        >>> steps("/no/such/directory")
        []
    """
    from orbax.checkpoint import path as ocp_path

    folder = Path(directory).resolve()
    return sorted(ocp_path.step.checkpoint_steps(folder)) if folder.is_dir() else []


def best_step(directory: str | Path) -> int | None:
    """The step of lowest score, of those in a directory that have one and can be read.

    Host function.
    """
    scores = _scores(Path(directory).resolve())
    return min(scores, key=lambda step: scores[step], default=None)


def set_aside(directory: str | Path, step: int) -> Path:
    """Rename a damaged step, so that it is no longer among the steps; returns its new path.

    Host function.
    """
    folder = Path(directory).resolve()
    aside = folder / f"damaged-{step}"
    shutil.rmtree(aside, ignore_errors=True)
    os.replace(folder / str(step), aside)
    return aside


def latest_step(directory: str | Path) -> int | None:
    """The last complete step in a checkpoint directory, None where there is none.

    Host function. Temporary folders of interrupted saves do not count.

    Example:
        >>> latest_step("/no/such/directory") is None
        True
    """
    return max(steps(directory), default=None)


def restore(
    directory: str | Path,
    target: Any = None,
    *,
    step: int | None = None,
    part: str | None = None,
    shardings: Any = None,
    pass_over: Callable[[int, str], None] | None = None,
) -> tuple[Any, dict[str, Any], int]:
    """Read a checkpoint back and check every array against its checksum.

    Host function. It does not matter on how many devices, or by how many processes, the
    checkpoint was made.

    Args:
        directory: the folder that `save` was given.
        target: a pytree of arrays or of `jax.ShapeDtypeStruct`, with the structure, shapes and
            dtypes to expect. None: nested dictionaries with string keys, whatever they were.
        step: which one; None for the last.
        part: read only what lies below a name, "state/variables/params" for parameters alone:
            the tree is that part, and the other arrays are not read.
        shardings: a `jax.sharding.Sharding` for all arrays, or a tree of them that
            `jax.device_put` takes; None for NumPy arrays in host memory.
        pass_over: with `step` None, called with the number of every damaged step and a sentence,
            before an earlier one is read; without it a damaged step is an error.

    Returns:
        The tree, the JSON values, and the step.

    Raises:
        CheckpointError: nothing is there; the step is damaged (the message names the last
            step that is not); or names, shapes or dtypes differ from the target's.

    Source: our choice.

    Example: see `save`.
    """
    folder = Path(directory).resolve()
    there = steps(folder)
    if not there:
        raise CheckpointError(f"{folder} holds no checkpoint; check the path, or train first")
    if step is not None and step not in there:
        raise CheckpointError(f"{folder} holds no step {step}; it holds {there}")
    wanted = max(there) if step is None else step
    try:
        leaves, meta = _load(folder, wanted, part)
    except CheckpointError as error:
        earlier = _last_good_step(folder, [s for s in there if s < wanted], part)
        if earlier is None:
            remedy = "no earlier step is whole, so train again in an empty directory"
        elif step is None and pass_over is not None:
            pass_over(wanted, f"{error}; passed over for step {earlier}, which is whole")
            # There may be others between the two.
            for other in there:
                if earlier < other < wanted:
                    pass_over(other, f"{folder}, step {other}: damaged too")
            return restore(directory, target, step=earlier, part=part, shardings=shardings)
        else:
            remedy = (
                f"step {earlier} is whole: give step={earlier}, or delete {folder / str(wanted)}"
            )
        raise CheckpointError(f"{error}; {remedy}") from error
    tree = _nest(leaves) if target is None else _fit(leaves, target, f"{folder}, step {wanted}")
    if shardings is not None:
        tree = jax.device_put(tree, shardings)
    return tree, meta, wanted


def _manager(folder: Path) -> Any:
    """A manager that reads, in this process alone: no other one is waited for."""
    import orbax.checkpoint as ocp

    alone = ocp.options.MultiprocessingOptions(
        primary_host=jax.process_index(),
        active_processes={jax.process_index()},
        barrier_sync_key_prefix=f"reader{jax.process_index()}",
    )
    options = ocp.CheckpointManagerOptions(
        create=False,
        read_only=True,
        enable_async_checkpointing=False,
        multiprocessing_options=alone,
    )
    return ocp.CheckpointManager(folder, options=options)


def _content(folder: Path, step: int) -> dict[str, Any]:
    """What is stored beside the arrays of one step, its checksum verified."""
    import orbax.checkpoint as ocp

    where = f"{folder}, step {step}"
    with _manager(folder) as manager:
        # Damage can surface as any exception of Orbax, TensorStore or the JSON decoder.
        try:
            args = ocp.args.Composite(meta=ocp.args.JsonRestore())
            stored = manager.restore(step, args=args)[_META]
            content: dict[str, Any] = stored["content"]
            whole = stored["sha256"] == _json_digest(content)
            content["arrays"], content["meta"]
        except Exception as error:
            raise CheckpointError(f"{where}: the meta cannot be read ({_brief(error)})") from error
    if not whole:
        raise CheckpointError(f"{where}: the meta does not match its checksum")
    return content


def _scores(folder: Path) -> dict[int, float]:
    """The scores of the steps that have one and can be read."""
    found = {}
    for step in steps(folder):
        try:
            score = _content(folder, step).get("score")
        except CheckpointError:
            continue
        if score is not None:
            found[step] = float(score)
    return found


def _load(
    folder: Path, step: int, part: str | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The leaves by name and the caller's meta of one step, all checksums verified."""
    import orbax.checkpoint as ocp

    where = f"{folder}, step {step}"
    content = _content(folder, step)
    described = content["arrays"]
    if part is not None:
        described = {k: v for k, v in described.items() if f"{k}/".startswith(f"{part}/")}
        if not described:
            tops = sorted({name.rpartition("/")[0] for name in content["arrays"]})
            raise CheckpointError(f"{where}: there is no {part!r}; there are {', '.join(tops[:9])}")
    expected = {name: _empty(entry) for name, entry in described.items()}
    read: dict[str, Any] = {}
    if _stored(expected):
        with _manager(folder) as manager:
            wanted = ocp.args.PyTreeRestore(
                _stored(expected),
                restore_args={
                    name: ocp.RestoreArgs(restore_type=np.ndarray) for name in _stored(expected)
                },
                partial_restore=True,
            )
            try:
                read = manager.restore(step, args=ocp.args.Composite(arrays=wanted))[_ARRAYS]
            except Exception as error:
                raise CheckpointError(
                    f"{where}: the arrays cannot be read ({_brief(error)})"
                ) from error
    leaves: dict[str, Any] = {}
    for name, entry in described.items():
        array = np.asarray(read.get(name, expected[name]))
        if _digest(array) != entry["sha256"]:
            raise CheckpointError(f"{where}: the array {name!r} does not match its checksum")
        leaf: Any = array
        if entry["key"] is not None:
            leaf = jax.random.wrap_key_data(jax.numpy.asarray(array), impl=entry["key"])
        leaves[name if part is None else name[len(part) + 1 :]] = leaf
    return leaves, content["meta"]


def _last_good_step(folder: Path, candidates: list[int], part: str | None) -> int | None:
    """The highest of some steps that can be read and verified."""
    for step in sorted(candidates, reverse=True):
        try:
            _load(folder, step, part)
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


def key_implementation(x: Any) -> str | None:
    """The name of the generator of typed random keys; None of anything else.

    Example:
        >>> key_implementation(jax.random.key(0)), key_implementation(0)
        ('threefry2x32', None)
    """
    typed = hasattr(x, "dtype") and jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
    return str(jax.random.key_impl(x)) if typed else None


def _raw(leaf: Any) -> Any:
    """An array, or the data of random keys."""
    return leaf if key_implementation(leaf) is None else jax.random.key_data(leaf)


def _to_host(leaf: Any, name: str) -> np.ndarray:
    """A copy in host memory."""
    leaf = _raw(leaf)
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        if not leaf.is_fully_replicated:
            raise CheckpointError(
                f"the array {name!r} is spread over processes, so no process can tell its "
                "checksum; replicate it first"
            )
        leaf = leaf.addressable_data(0)
    return np.array(leaf)


def _shared(leaf: Any, hosted: np.ndarray) -> Any:
    """What goes to Orbax: the array itself if several processes hold it, else its copy, which the
    next step does not overwrite."""
    leaf = _raw(leaf)
    return leaf if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable else hosted


def _empty(entry: dict[str, Any]) -> np.ndarray:
    # jax.numpy.dtype knows the names that NumPy alone does not, such as bfloat16.
    return np.empty(entry["shape"], jax.numpy.dtype(entry["dtype"]))


def _stored(arrays: dict[str, Any]) -> dict[str, Any]:
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

"""How a run is carried out, whatever it trains: devices, processes, input, records."""

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import tyro

Arg = tyro.conf.arg


@dataclass(frozen=True)
class Machine:
    """How a run is carried out.

    Most of it does not change what is trained. `parts` and `accumulate` do a little, for other
    batches are drawn; so does `compute`, by rounding. With `stream` a part of a batch is made of
    its own crops alone, drawn with replacement: of as many crops as examples a third is not used.

    Attributes:
        devices: so many of them; None for all.
        parts: in how many parts a batch is drawn, each on one device, see `steps.gradient_step`.
            None for what the run began with, else devices * accumulate.
        accumulate: pieces that the gradient of a step is averaged over, one after the other.
        compute: dtype of the forward and backward pass.
        stream: whether the host feeds crops in every step (by Grain), instead of the devices
            holding all of them.
        reuse: how many examples of a batch are made of one streamed crop.
        workers: processes that read ahead for `stream`; 0 for threads.
        keep: how many of the last checkpoints stay.
        checkpoint_every: seconds.
        tensorboard: whether curves are written for TensorBoard too.
        profile: whether steps 10 to 20 of this sitting are traced by JAX's profiler.
        coordinator: address and port of the first of several processes.
        processes: how many there are.
        process: which one this is.
        cluster: whether JAX finds these three itself: on a TPU slice, under Slurm, Open MPI or
            Kubernetes.
    """

    devices: Annotated[int | None, Arg(help="so many of the devices; all by default")] = None
    parts: Annotated[int | None, Arg(help="parts that a batch is drawn in")] = None
    accumulate: Annotated[int, Arg(help="pieces that a step's gradient is averaged over")] = 1
    compute: Annotated[
        Literal["float32", "bfloat16"], Arg(help="dtype of the forward and backward pass")
    ] = "float32"
    stream: Annotated[bool, Arg(help="the host feeds crops; else the devices hold them all")] = (
        False
    )
    reuse: Annotated[int, Arg(help="examples that one crop of --stream serves")] = 1
    workers: Annotated[int, Arg(help="processes that read ahead for --stream; 0: threads")] = 0
    keep: Annotated[int, Arg(help="how many of the last checkpoints stay")] = 2
    checkpoint_every: Annotated[float, Arg(help="seconds between checkpoints")] = 120.0
    tensorboard: Annotated[bool, Arg(help="curves for TensorBoard, beside metrics.jsonl")] = True
    profile: Annotated[bool, Arg(help="trace steps 10 to 20 of this sitting")] = False
    coordinator: Annotated[str | None, Arg(help="ADDRESS:PORT of the first of the processes")] = (
        None
    )
    processes: Annotated[int | None, Arg(help="how many there are")] = None
    process: Annotated[int | None, Arg(help="which one this is, from 0")] = None
    cluster: Annotated[bool, Arg(help="several processes, as the cluster's environment says")] = (
        False
    )

    @property
    def compute_dtype(self) -> jnp.dtype | None:
        return jnp.dtype(jnp.bfloat16) if self.compute == "bfloat16" else None

    def chosen(self) -> list[jax.Device]:
        """The devices of the run.

        Raises:
            ValueError: there are not so many, or several processes would not use all of theirs.
        """
        there = jax.devices()
        count = len(there) if self.devices is None else self.devices
        if not 1 <= count <= len(there):
            raise ValueError(f"--devices {count}: there are {len(there)}; give 1 to {len(there)}")
        if jax.process_count() > 1 and count < len(there):
            raise ValueError(
                f"--devices {count}: with several processes all {len(there)} devices are used; "
                "leave it out"
            )
        return there[:count]

    def begin(self) -> None:
        """Join the other processes, if there are any; before JAX is used for anything else.

        Raises:
            ValueError: only some of the three numbers are given, or the others do not answer;
                options of `stream` without it.
        """
        given = (self.coordinator, self.processes, self.process)
        if not self.stream and (self.reuse, self.workers) != (1, 0):
            raise ValueError("--reuse and --workers are about --stream; add it, or leave them out")
        if not self.cluster and given == (None, None, None):
            return
        if not self.cluster and None in given:
            raise ValueError(
                "--coordinator, --processes and --process go together (or --cluster, where JAX "
                f"finds them itself); given were {given}"
            )
        if jax.distributed.is_initialized():
            return
        try:
            jax.distributed.initialize(*given)
        except (RuntimeError, ValueError) as error:
            line = (str(error).splitlines() or [type(error).__name__])[0]
            if self.cluster and given == (None, None, None):
                raise ValueError(
                    f"--cluster: JAX finds no cluster here ({line}); give --coordinator, "
                    "--processes and --process"
                ) from error
            raise ValueError(
                f"process {self.process} of {self.processes} could not join the coordinator "
                f"{self.coordinator} ({line}); start all processes, with one coordinator that "
                "every one reaches, before anything else uses JAX"
            ) from error


How = Annotated[Machine, Arg(name="")]
"""A machine as an argument of a command: its options without a prefix."""

Changes = Annotated[
    tuple[str, ...], Arg(name="set", help="other values of the preset: rate=1e-3 config.width=32")
]
"""Arguments for `settings.changed`."""


def first() -> bool:
    """Whether this is the first process: the one that writes and speaks."""
    return jax.process_index() == 0


def together(what: str) -> None:
    """Wait for all processes."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(what)


@contextlib.contextmanager
def first_before_others(what: str) -> Iterator[None]:
    """What makes a file that the others then find: the first process runs it before they do."""
    if not first():
        together(what)
    yield
    if first():
        together(what)


def say(line: str) -> None:
    """A line on stderr, of the first process alone."""
    if first():
        print(line, file=sys.stderr, flush=True)


def about() -> dict[str, object]:
    """What a run's record says of the machine and the versions."""
    import flax
    import optax

    device = jax.devices()[0]
    return {
        "devices": f"{len(jax.devices())} {device.platform} ({device.device_kind})",
        "processes": jax.process_count(),
        "cpus": os.cpu_count(),
        "jax": jax.__version__,
        "flax": flax.__version__,
        "optax": optax.__version__,
    }

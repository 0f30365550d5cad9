"""Input of training by Grain: sharp crops from the host, other ones in every step.

    records = Photographs(source, cut)            # or Rows(arrays), or a Mixture of several
    stream = Crops(records, rows=64, seed=0)
    loop.run(step, state, stream, ...)

Blur is synthesised on the devices: the host reads, cuts and feeds bytes. What is fed in a step is a
function of the records, the seed and the step alone: not of threads and workers, not of how many
processes share the rows, and not of where a run was resumed. A run's step is therefore all that a
checkpoint has to hold of its input.
"""

import functools
import hashlib
import json
import math
import os
import sys
from collections.abc import Callable, Generator, Sequence
from typing import Any, Protocol

import jax
import numpy as np
from PIL import Image

from blurjax import data
from blurjax.images import ImageError

# Photographs tried for one crop before it is said that they cannot be used.
_TRIES = 50
# Batches that are read ahead.
_AHEAD = 4

Record = Any
"""A pytree of NumPy arrays."""


class Records(Protocol):
    """Of what a stream is made."""

    @property
    def identity(self) -> str:
        """What they are, for the checkpoints."""

    def __len__(self) -> int: ...

    def read(self, index: int, rng: np.random.Generator) -> Record | None:
        """A record; None where there is none, and another is wanted."""


class Rows:
    """Records that are the rows of arrays in memory.

    Args:
        store: a pytree of arrays with the same first axis.
    """

    def __init__(self, store: Any) -> None:
        self._store = jax.tree.map(np.asarray, store)
        shapes = {x.shape[:1] for x in jax.tree.leaves(self._store)}
        if len(shapes) != 1 or shapes == {()}:
            raise ValueError(
                f"the arrays begin with axes {sorted(shapes)}; a row is one of each, so that all "
                "must begin with the same"
            )
        self._count = next(iter(shapes))[0]

    @property
    def identity(self) -> str:
        digest = hashlib.sha256()
        for x in jax.tree.leaves(self._store):
            digest.update(f"{x.dtype}{list(x.shape)}".encode())
            # The ends tell other arrays apart; all of them would take a second a gigabyte.
            for end in (x[:64], x[-64:]):
                digest.update(np.ascontiguousarray(end).tobytes())
        return digest.hexdigest()

    def __len__(self) -> int:
        return int(self._count)

    def read(self, index: int, rng: np.random.Generator) -> Record:
        return jax.tree.map(lambda x: x[index], self._store)


class Photographs:
    """Records that are cut from photographs, which are read when their turn comes.

    Photographs that cannot be read are skipped, named once on the standard error, and counted in
    `skipped`; others are read in their place. What has been read is kept, in float16, as long as
    there is room: decoding is most of the work.

    Args:
        source: any source.
        cut: a photograph, float32 (H, W) in [0, 1], and a generator to arrays of one shape; None
            from a photograph that is too small.
        room: bytes, of each worker.
    """

    def __init__(
        self,
        source: data.Source,
        cut: Callable[[np.ndarray, np.random.Generator], Record | None],
        *,
        room: int = 2**30,
    ) -> None:
        self._source, self._cut, self._room = source, cut, room
        self._kept: dict[int, np.ndarray] = {}
        self.skipped: set[str] = set()

    @property
    def identity(self) -> str:
        cut = self._cut
        about = [getattr(getattr(cut, "func", cut), "__name__", ""), getattr(cut, "keywords", {})]
        return hashlib.sha256(json.dumps([self._source.names, about]).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self._source)

    def read(self, index: int, rng: np.random.Generator) -> Record | None:
        image = self._kept.get(index)
        if image is None:
            try:
                # Whether it is kept or not, it is the same photograph.
                image = self._source[index].astype(np.float16)
            except ImageError as error:
                name = self._source.names[index]
                if name not in self.skipped:
                    self.skipped.add(name)
                    count = len(self.skipped)
                    print(f"skipped ({count} so far): {error}", file=sys.stderr, flush=True)
                return None
            if image.nbytes <= self._room:
                # Threads may each take from the room what one of them needed: no harm.
                self._room -= image.nbytes
                self._kept[index] = image
        return self._cut(image.astype(np.float32), rng)

    def __getstate__(self) -> dict[str, Any]:
        # A worker begins with nothing.
        kept = sum(image.nbytes for image in self._kept.values())
        return {**vars(self), "_kept": {}, "_room": self._room + kept}


class Mixture:
    """Records of several kinds, each with its share of them.

    Args:
        kinds: (records, share) each; shares are taken relative to their sum. Kinds without
            records, or share, are left out.
    """

    def __init__(self, *kinds: tuple[Records, float]) -> None:
        self._kinds = [(some, share) for some, share in kinds if len(some) and share > 0]
        shares = np.array([share for _, share in self._kinds])
        self._bounds = np.cumsum(shares / shares.sum())[:-1]

    @property
    def identity(self) -> str:
        return json.dumps([(some.identity, share) for some, share in self._kinds])

    @property
    def skipped(self) -> set[str]:
        """Names of photographs that could not be read."""
        return set().union(*(getattr(some, "skipped", ()) for some, _ in self._kinds))

    def __len__(self) -> int:
        return sum(len(some) for some, _ in self._kinds)

    def read(self, index: int, rng: np.random.Generator) -> Record | None:
        some, _ = self._kinds[int(np.searchsorted(self._bounds, rng.random(), side="right"))]
        return some.read(int(rng.integers(len(some))), rng)


class Crops:
    """A `loop.Stream` of records.

    All records are seen once in each epoch, in an order of its own (but for a mixture, which draws
    them). Process p of P feeds the p-th
    P-th of every batch.

    Args:
        records: what there is.
        rows: of a batch, of all processes together.
        seed: of the order and of what is cut.
        accumulate: in so many pieces the step takes the batch; see `steps.gradient_step`.
        workers: processes that read ahead; 0 for threads of this one, which are as good unless
            the cutting itself is slow Python.
        process, processes: which one of how many this is; by default JAX's.

    Raises:
        ValueError: there are no records, or the rows do not divide among pieces and processes.
    """

    def __init__(
        self,
        records: Records,
        *,
        rows: int,
        seed: int,
        accumulate: int = 1,
        workers: int = 0,
        process: int | None = None,
        processes: int | None = None,
    ) -> None:
        if not len(records):
            raise ValueError("there is nothing to feed; give photographs")
        processes = jax.process_count() if processes is None else processes
        self._process = jax.process_index() if process is None else process
        if rows % (accumulate * processes):
            raise ValueError(
                f"{rows} crops a step do not divide among {accumulate} pieces and {processes} "
                f"processes; make the batch a multiple of {accumulate * processes}"
            )
        self._records, self._seed, self._workers = records, seed % 2**31, workers
        self._pieces, self._each = accumulate, rows // accumulate
        self._own = self._each // processes

    @property
    def identity(self) -> str:
        """Of the records, the seed and the batch; not of processes, threads and workers."""
        about = [self._records.identity, self._seed, self._pieces, self._each]
        return hashlib.sha256(json.dumps(about).encode()).hexdigest()

    def at(self, step: int) -> Any:
        """What this process feeds in a step, arrays (pieces, rows, ...)."""
        count = self._pieces * self._own
        some = [self._record(i) for i in range(step * count, (step + 1) * count)]
        return self._piled(jax.tree.map(lambda *x: np.stack(x), *some))

    def batches(self, start: int) -> Generator[Any, None, None]:
        """`at(start)`, `at(start + 1)`, ..., read ahead by threads or workers; to be closed."""
        import grain

        count = self._pieces * self._own
        records = grain.MapDataset.range(start * count, sys.maxsize).map(self._record)
        if self._workers:
            from absl import flags

            # Grain's workers look at the command line's flags, which nobody has parsed here.
            if not flags.FLAGS.is_parsed():
                flags.FLAGS.mark_as_parsed()
            # Workers take elements by turns: a batch must be one of them.
            whole = records.batch(count).to_iter_dataset(grain.ReadOptions(num_threads=1))
            batches = whole.mp_prefetch(grain.MultiprocessingOptions(num_workers=self._workers))
        else:
            reading = grain.ReadOptions(
                num_threads=min(16, os.cpu_count() or 1), prefetch_buffer_size=_AHEAD * count
            )
            batches = records.to_iter_dataset(reading).batch(count, drop_remainder=True)
        iterator = iter(batches)
        try:
            for batch in iterator:
                # Copied: what workers send lies in memory that they use again.
                yield self._piled(jax.tree.map(np.array, batch) if self._workers else batch)
        finally:
            iterator.close()

    def _piled(self, batch: Any) -> Any:
        return jax.tree.map(lambda x: x.reshape(self._pieces, self._own, *x.shape[1:]), batch)

    def _record(self, number: int) -> Record:
        """This process's record of that number since the first step."""
        piece, row = divmod(int(number), self._own)
        number = piece * self._each + self._process * self._own + row
        rng = np.random.default_rng((self._seed, number))
        index = int(self._order[number])
        for _ in range(_TRIES):
            record = self._records.read(index, rng)
            if record is not None:
                return record
            index = int(rng.integers(len(self._records)))
        raise ImageError(
            f"{_TRIES} photographs in turn could not be read, or were too small to be cut from; "
            "look at them, and give others"
        )

    @functools.cached_property
    def _order(self) -> Sequence[int]:
        """Which record each number is: all of them, then all again in another order."""
        import grain

        order: Sequence[int] = (
            grain.MapDataset.range(len(self._records)).seed(self._seed).shuffle().repeat()
        )
        return order


def square(
    image: np.ndarray, rng: np.random.Generator, *, side: int, factors: Sequence[float]
) -> np.ndarray | None:
    """A square (side, side) of a photograph, uint8, from anywhere, the photograph reduced by one
    of some factors; None if it is too small."""
    room = [f for f in factors if int(min(image.shape) / f) >= side]
    if not room:
        return None
    factor = room[rng.integers(len(room))]
    # A little more than the square is cut out before it is reduced.
    wide = math.ceil(side * factor)
    row, column = (int(rng.integers(n - wide + 1)) for n in image.shape)
    part = image[row : row + wide, column : column + wide]
    # A box: what a sensor of larger pixels would have seen.
    small = Image.fromarray(part).resize((side, side), Image.Resampling.BOX)
    return np.rint(255 * np.clip(np.asarray(small), 0, 1)).astype(np.uint8)

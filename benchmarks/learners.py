"""How fast the building blocks in blurjax.nn learn, beside what one would otherwise use.

    python benchmarks/learners.py --out runs/learners      # everything, some minutes
    python benchmarks/learners.py --quick --out /tmp/learners  # does it run: about a minute

Peers are optional and no dependency of blurjax; those that cannot be imported are named in the
report. Times are medians over repeats after warm-up, contenders taking turns in one run, every
result waited for. Peers run in a process of their own: threads of two libraries that wait by
spinning slow each other down. It writes learners.md into the folder, and prints it.
"""

import contextlib
import importlib
import importlib.metadata
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from blurjax import blur_type, data
from blurjax.nn import grnn, rbm

# The first layer of blur_type: 1024 inputs, 500 hidden units.
HIDDEN, BATCH = 500, 100
RATE, MOMENTUM, DECAY = 0.01, 0.5, 2e-4


class Table(NamedTuple):
    """One section of the report."""

    title: str
    head: tuple[str, ...]
    rows: list[tuple[str, ...]]
    notes: list[str]


def peer(name: str) -> Any | None:
    """A module that need not be there."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


class Times(NamedTuple):
    """Of one contender, in seconds."""

    median: float
    fastest: float


def timed(call: Callable[[], Any]) -> float:
    """Seconds of one call, its result waited for."""
    began = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - began


def race(contenders: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, Times]:
    """Each returns its own seconds; they take turns, after a call each that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(repeats + 1):
        for name, call in contenders.items():
            took = call()
            if turn:
                seconds[name].append(took)
    return {name: Times(statistics.median(all_), min(all_)) for name, all_ in seconds.items()}


@contextlib.contextmanager
def other_process() -> Iterator[Callable[..., Any]]:
    """`call(function, *arguments)` in one process beside this one, which keeps its globals."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        yield lambda function, *arguments: pool.apply(function, arguments)


# --- Restricted Boltzmann machines


def rbm_features(count: int) -> jax.Array:
    """(count, 1024) features in [0, 1] of blurred patches of the embedded photographs."""
    sharp = jnp.asarray(data.tiles(data.embedded("train"), 144).images)
    config = blur_type.Config(feature="spectrum")
    piece, rows = 1500, []
    for index in range(-(-count // piece)):
        key = jax.random.fold_in(jax.random.key(0), index)
        patches = blur_type.sample(key, sharp, config, n=piece).patches
        rows.append(blur_type.model.raw_feature(patches, config))
    return jnp.concatenate(rows)[:count].astype(jnp.float32)


class NumpyRBM:
    """CD-1 by hand: the same update, in float32, in place where that helps."""

    def __init__(self, params: rbm.Params) -> None:
        self.params = {name: np.array(x, np.float32) for name, x in params.items()}
        self.velocity = {name: np.zeros_like(x) for name, x in self.params.items()}
        self.random = np.random.default_rng(0)

    @staticmethod
    def _sigmoid(x: np.ndarray) -> np.ndarray:
        np.negative(x, out=x)
        np.exp(x, out=x)
        x += 1
        return np.reciprocal(x, out=x)

    def epoch(self, visible: np.ndarray) -> None:
        """One pass in random order."""
        kernel, b, c = (self.params[name] for name in ("kernel", "visible", "hidden"))
        order = self.random.permutation(len(visible))
        for begin in range(0, len(visible) - BATCH + 1, BATCH):
            rows = visible[order[begin : begin + BATCH]]
            positive = self._sigmoid(rows @ kernel + c)
            uniform = self.random.random(positive.shape, np.float32)
            sampled = (uniform < positive).astype(np.float32)
            fantasy = self._sigmoid(sampled @ kernel.T + b)
            negative = self._sigmoid(fantasy @ kernel + c)
            slope = rows.T @ positive
            slope -= fantasy.T @ negative
            slope *= np.float32(RATE / BATCH)
            slope -= np.float32(RATE * DECAY) * kernel
            slopes = {
                "kernel": slope,
                "visible": np.float32(RATE) * (rows - fantasy).mean(axis=0),
                "hidden": np.float32(RATE) * (positive - negative).mean(axis=0),
            }
            for name, change in slopes.items():
                self.velocity[name] *= np.float32(MOMENTUM)
                self.velocity[name] += change
                self.params[name] += self.velocity[name]


# What the process of the peers keeps from call to call.
_THEIRS: dict[str, Any] = {}


def rbm_peers(params: rbm.Params, host: np.ndarray) -> None:
    """Set up (peer process)."""
    _THEIRS.update(host=host, by_hand=NumpyRBM(params))


def rbm_by_hand() -> float:
    """Seconds of one epoch of CD-1 (peer process)."""
    return timed(lambda: _THEIRS["by_hand"].epoch(_THEIRS["host"]))


def rbm_sklearn(epochs: int) -> tuple[float, dict[str, np.ndarray]]:
    """Seconds of so many epochs of scikit-learn from the start, and what was learnt."""
    # `fit` keeps float32, which `partial_fit` does not.
    machine = importlib.import_module("sklearn.neural_network").BernoulliRBM(
        HIDDEN, learning_rate=RATE, batch_size=BATCH, n_iter=epochs, random_state=0
    )
    took = timed(lambda: machine.fit(_THEIRS["host"]) and None)
    learnt = {
        "kernel": machine.components_.T,
        "visible": machine.intercept_visible_,
        "hidden": machine.intercept_hidden_,
    }
    return took, {name: np.asarray(x, np.float32) for name, x in learnt.items()}


def rbm_epochs(features: jax.Array, repeats: int, call: Callable[..., Any]) -> Table:
    """An epoch of CD-1 and of PCD-1, ours and others'."""
    params = rbm.init(jax.random.key(1), features.shape[1], HIDDEN)
    count, inputs = features.shape
    options = {"rate": RATE, "momentum": MOMENTUM, "decay": DECAY, "batch_size": BATCH}
    ours = {"CD-1": rbm.start(params), "PCD-1": rbm.start(params, chains=features[:BATCH])}

    def epoch(kind: str) -> Callable[[], float]:
        return lambda: timed(lambda: rbm.epoch(jax.random.key(2), ours[kind], features, **options))

    contenders: dict[str, Callable[[], float]] = {
        "blurjax CD-1": epoch("CD-1"),
        "NumPy by hand, CD-1": lambda: call(rbm_by_hand),
        "blurjax PCD-1": epoch("PCD-1"),
    }
    notes = [
        "A ratio is the peer's time over that of blurjax doing the same: above 1, blurjax wins."
    ]
    if peer("sklearn.neural_network") is None:
        notes.append("scikit-learn is not installed: BernoulliRBM was not compared.")
    else:
        contenders["scikit-learn BernoulliRBM (PCD-1)"] = lambda: call(rbm_sklearn, 1)[0]
        notes.append(
            "scikit-learn's has neither momentum nor weight decay, which cost blurjax time."
        )
    times = race(contenders, repeats)
    rows = []
    for name, took in times.items():
        against = times["blurjax PCD-1" if "PCD" in name else "blurjax CD-1"]
        ratios = ["", ""]
        if took is not against:
            ratios = [f"{a / b:.2f}" for a, b in zip(took, against, strict=True)]
        per_update = f"{1e3 * took.median * BATCH / count:.2f}"
        rows.append((name, f"{took.median:.3f}", f"{took.fastest:.3f}", per_update, *ratios))
    # What the five products of matrices alone would take, at the speed of a large one.
    square = jnp.ones((2048, 2048), jnp.float32)
    product = jax.jit(jnp.matmul)
    large = race({"": lambda: timed(lambda: product(square, square))}, repeats)[""]
    speed = 2 * 2048**3 / large.fastest
    floor = 5 * 2 * count * inputs * HIDDEN / speed
    notes.append(
        f"The five products of matrices in an update set a floor for everybody: {floor:.3f} s an "
        f"epoch at the {speed / 1e9:.0f} GFLOP/s of a large float32 product here."
    )
    head = ("", "median s", "fastest s", "ms/update", "ratio", "ratio of the fastest")
    title = f"RBM, one epoch: {count} x {inputs}, {HIDDEN} hidden units, batch {BATCH}"
    return Table(title, head, rows, notes)


def rbm_to_equal_quality(
    features: jax.Array,
    held_out: jax.Array,
    epochs: int,
    repeats: int,
    call: Callable[..., Any],
) -> Table | None:
    """PCD: time until the pseudo-likelihood that scikit-learn ends with.

    Both without momentum and decay, which scikit-learn has not, at the same rate and batch size;
    one evaluation for both, ours, on the same rows and with the same flips, off the clock.
    """
    if peer("sklearn.neural_network") is None:
        return None
    score = jax.jit(
        lambda params: jnp.mean(rbm.pseudo_likelihood(jax.random.key(3), params, held_out))
    )
    # As scikit-learn does, the chains begin at nothing in particular.
    first = rbm.start(
        rbm.init(jax.random.key(1), features.shape[1], HIDDEN), chains=features[:BATCH] * 0
    )

    def ours(turn: int, state: rbm.State) -> rbm.State:
        key = jax.random.fold_in(jax.random.key(5), turn)
        options = {"rate": RATE, "momentum": 0.0, "decay": 0.0, "batch_size": BATCH}
        return jax.block_until_ready(rbm.epoch(key, state, features, **options)[0])

    # Warm-up, and where both begin.
    ours(0, first)
    began_at = float(score(first.params))
    their_times, our_times = [], []
    for _ in range(repeats):
        took, learnt = call(rbm_sklearn, epochs)
        their_times.append(took)
        target = float(score(jax.tree.map(jnp.asarray, learnt)))
        # Ours goes on until it is as good, and at least as long.
        state, clock, course, reached = first, 0.0, [], 0
        while len(course) < epochs or (not reached and len(course) < 2 * epochs):
            began = time.perf_counter()
            state = ours(len(course), state)
            clock += time.perf_counter() - began
            course.append(float(score(state.params)))
            if not reached and course[-1] >= target:
                reached = len(course)
                our_times.append(clock)
    their_time = statistics.median(their_times)
    notes = [
        f"The score is the mean stochastic log pseudo-likelihood; it begins at {began_at:.2f}. "
        f"After each epoch blurjax has {', '.join(f'{value:.2f}' for value in course)}."
    ]
    rows = [("scikit-learn BernoulliRBM", f"{epochs}", f"{their_time:.2f}", f"{target:.2f}", "")]
    if reached:
        our_time = statistics.median(our_times)
        ratio = f"{their_time / our_time:.2f}"
        value = f"{course[reached - 1]:.2f}"
        rows.insert(0, ("blurjax PCD-1", f"{reached}", f"{our_time:.2f}", value, ratio))
    else:
        notes.append(f"blurjax did not reach {target:.2f} within {2 * epochs} epochs.")
    head = ("", "epochs", "s", "score", "scikit-learn / blurjax")
    title = f"RBM, PCD-1 to equal quality: {len(features)} rows, scored on {len(held_out)} others"
    return Table(title, head, rows, notes)


def rbm_tables(quick: bool) -> list[Table]:
    """Everything about RBMs."""
    count, epochs, repeats = (3000, 3, 2) if quick else (36_000, 6, 5)
    features = jax.block_until_ready(rbm_features(count + 2000))
    training, held_out = features[:count], features[count:]
    with other_process() as call:
        params = rbm.init(jax.random.key(1), features.shape[1], HIDDEN)
        call(rbm_peers, jax.tree.map(np.asarray, params), np.asarray(training))
        tables = [rbm_epochs(training, repeats, call)]
        quality = rbm_to_equal_quality(training, held_out, epochs, 1 if quick else 3, call)
    return [*tables, *([quality] if quality else [])]


# --- General regression neural networks


def grnn_sizes(inputs: int, quick: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.float32]:
    """Queries, points, targets and a bandwidth: the size of blur_type's second stage."""
    q, n = (600, 1200) if quick else (6000, 12_000)
    random = np.random.default_rng(0)
    arrays = [random.normal(size=shape) for shape in ((q, inputs), (n, inputs), (n, 3))]
    queries, points, targets = (x.astype(np.float32) for x in arrays)
    return queries, points, targets, np.float32(0.3 * inputs**0.5)


def grnn_peers(inputs: int, quick: bool) -> None:
    """Set up (peer process)."""
    _THEIRS["grnn"] = grnn_sizes(inputs, quick)


def grnn_numpy(rows: int) -> np.ndarray:
    """By hand, in place, `rows` queries at a time."""
    queries, points, targets, s = _THEIRS["grnn"]
    squares, out = (points**2).sum(1), []
    for begin in range(0, len(queries), rows):
        some = queries[begin : begin + rows]
        weight = some @ points.T
        weight *= 2
        weight -= squares
        weight *= 1 / (2 * s**2)
        weight -= weight.max(1, keepdims=True)
        np.exp(weight, out=weight)
        out.append(weight @ targets / weight.sum(1, keepdims=True))
    return np.concatenate(out)


def grnn_torch(rows: int) -> np.ndarray:
    """The score in one call, then softmax."""
    torch = importlib.import_module("torch")
    *arrays, s = _THEIRS["grnn"]
    queries, points, targets = (torch.from_numpy(x) for x in arrays)
    rate, out = 1 / (2 * float(s) ** 2), []
    with torch.no_grad():
        squares = (points**2).sum(1)[None]
        for some in queries.split(rows):
            score = torch.addmm(squares, some, points.T, beta=-rate, alpha=2 * rate)
            out.append(torch.softmax(score, dim=1) @ targets)
        return torch.cat(out).numpy()


def grnn_sklearn(rows: int) -> np.ndarray:
    """Its kernel; where all weights are 0 it has no answer."""
    kernel = importlib.import_module("sklearn.metrics.pairwise").rbf_kernel
    queries, points, targets, s = _THEIRS["grnn"]
    out = []
    for begin in range(0, len(queries), rows):
        weight = kernel(queries[begin : begin + rows], points, gamma=float(1 / (2 * s**2)))
        out.append(weight @ targets / weight.sum(1, keepdims=True))
    return np.concatenate(out)


_GRNN_PEERS = {"NumPy": grnn_numpy, "torch": grnn_torch, "scikit-learn": grnn_sklearn}


def grnn_one(name: str, rows: int) -> tuple[float, np.ndarray]:
    """Seconds of one contender, and what it found (peer process)."""
    began = time.perf_counter()
    found = _GRNN_PEERS[name](rows)
    return time.perf_counter() - began, found


def grnn_race(inputs: int, quick: bool, call: Callable[..., Any]) -> Table:
    """Regression at many queries; peers with two block sizes, all of the same answer."""
    queries, points, targets, s = grnn_sizes(inputs, quick)
    call(grnn_peers, inputs, quick)
    arrays = [jnp.asarray(x) for x in (queries, points, targets)]
    expected = np.asarray(grnn.predict(*arrays, s))
    contenders = {"blurjax": lambda: timed(lambda: grnn.predict(*arrays, s))}
    notes = []
    for name, module in (("NumPy", "numpy"), ("torch", "torch"), ("scikit-learn", "sklearn")):
        if peer(module) is None:
            notes.append(f"{name} is not installed.")
            continue
        for rows in (250, 1000):
            np.testing.assert_allclose(call(grnn_one, name, rows)[1], expected, atol=1e-4)
            contenders[f"{name}, {rows} queries at a time"] = lambda name=name, rows=rows: call(
                grnn_one, name, rows
            )[0]
    times = race(contenders, 2 if quick else 7)
    ours = times["blurjax"]
    rows_ = [
        (name, f"{1e3 * t.median:.0f}", f"{1e3 * t.fastest:.0f}")
        + (
            ("", "")
            if name == "blurjax"
            else tuple(f"{a / b:.2f}" for a, b in zip(t, ours, strict=True))
        )
        for name, t in times.items()
    ]
    flops = 2 * len(queries) * len(points) * inputs
    notes.append(
        f"The product of matrices in the distances is {flops / 1e9:.1f} GFLOP: blurjax runs at "
        f"{flops / ours.fastest / 1e9:.0f} GFLOP/s of it, exponentials included."
    )
    head = ("", "median ms", "fastest ms", "ratio", "ratio of the fastest")
    title = f"GRNN: {len(queries)} queries, {len(points)} stored samples of {inputs} inputs"
    return Table(title, head, rows_, notes)


def grnn_tables(quick: bool) -> list[Table]:
    """Everything about GRNNs."""
    with other_process() as call:
        return [grnn_race(inputs, quick, call) for inputs in (3, 30, 1024)]


# --- The report


def surroundings() -> list[str]:
    """Hardware and versions: without them a time means nothing."""
    processor, cpuinfo = platform.processor() or platform.machine(), Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        processor = names[0] if names else processor
    # Not on every system; `taskset -c 0 python ...` leaves one.
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = {"python": platform.python_version()}
    for name in ("jax", "numpy", "scikit-learn", "torch"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return [
        f"processor: {processor}, {os.cpu_count()} cores, {usable} of them ours",
        f"jax device: {jax.devices()[0].device_kind}",
        "load average at the start: " + ", ".join(f"{x:.2f}" for x in os.getloadavg()),
        "versions: " + "; ".join(f"{name} {version}" for name, version in versions.items()),
    ]


def markdown(tables: list[Table], facts: list[str]) -> str:
    """The report as text."""
    lines = ["# Learners: blurjax.nn and others", "", *(f"- {fact}" for fact in facts)]
    for table in tables:
        lines += ["", f"## {table.title}", "", "| " + " | ".join(table.head) + " |"]
        lines.append("|" + "---|" * len(table.head))
        lines += ["| " + " | ".join(row) + " |" for row in table.rows]
        lines += ["", *(f"- {note}" for note in table.notes)]
    return "\n".join(lines) + "\n"


def main(
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs/learners"),
    quick: bool = False,
) -> None:
    """Time blurjax.nn and its peers.

    Args:
        out: folder for learners.md.
        quick: small sizes and two repeats, to see that it runs.
    """
    facts, tables = surroundings(), []
    tables += rbm_tables(quick)
    tables += grnn_tables(quick)
    report = markdown(tables, facts)
    out.mkdir(parents=True, exist_ok=True)
    (out / "learners.md").write_text(report, encoding="utf-8")
    print(report)


if __name__ == "__main__":
    tyro.cli(main)

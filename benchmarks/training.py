"""How fast the systems train: by system, beside PyTorch, on several devices, and on a GPU.

    python benchmarks/training.py --out runs/training                      # some minutes
    python benchmarks/training.py --only peers --torch /tmp/torch/bin/python

Parts (`--only`): "systems", the training step of every preset and where its time goes; "peers",
two networks beside the same ones in PyTorch, which needs the interpreter of another environment
(PyTorch is no dependency); "input", how fast the host reads photographs and cuts them; "scaling",
one step on 1 to 8 simulated devices of the same cores; "work", the operations of steps as XLA
counts them, and how eight devices share them; "accelerator", rates on a GPU.

Times are medians after warm-up, every result waited for; contenders take turns, so that whatever
else the machine does hits all of them. Sharp photographs are noise: no time depends on them. It
writes training.md and training.json into the folder, and prints the tables.
"""

import contextlib
import functools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from blurjax import blur_type, data, kernel_size, region, sharpness, sigma_map
from blurjax.nn.resnet import ResNet
from train import blur_type as train_blur_type
from train import kernel_size as train_kernel_size
from train import sharpness as train_sharpness
from train import sigma_map as train_sigma_map
from train import steps, stream
from train.configs import blur_type as blur_type_presets
from train.configs import kernel_size as kernel_size_presets
from train.configs import region as region_presets
from train.configs import sharpness as sharpness_presets
from train.configs import sigma_map as sigma_map_presets

Part = Literal["systems", "peers", "input", "scaling", "work", "accelerator"]
# What two cores can do; the published widths of kernel_size and region with a batch of their own.
SYSTEMS = {
    "blur_type/compact": 528,
    "blur_type/residual": 528,
    "sigma_map/regressor": None,
    "sigma_map/seed30": None,
    "kernel_size/correlation": None,
    "kernel_size/compact": None,
    "kernel_size/seed": 10,
    "sharpness/detector": None,
    "sharpness/patches": None,
    "region/compact": None,
    "region/seed": None,
}
"""Presets by name, with the batch where it is not the preset's."""

# Of the two networks beside PyTorch: batch, classes, and ResNet-18's width.
CLASSIFIER, CLASSES = 128, 30
RESNET, OUTPUTS, WIDTH = 32, 20, 64
DEVICES = (1, 2, 4, 8)
SHARED = (
    "sigma_map/regressor",
    "sigma_map/seed30",
    "sharpness/detector",
    "kernel_size/correlation",
    "kernel_size/compact",
    "region/compact",
)
"""Presets of which it is compiled how eight devices share their step."""


class Table(NamedTuple):
    """One section of the report."""

    title: str
    head: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    notes: list[str]


class Case(NamedTuple):
    """A preset that can be trained."""

    config: Any
    batch: int
    loss: Callable[..., Any]
    draw: Callable[..., Any]
    store: Any
    variables: Any


def timed(call: Callable[[], Any]) -> float:
    """Seconds of one call, its result waited for."""
    began = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - began


def race(contenders: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Each returns its own seconds; they take turns, after a round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, call in contenders.items():
            took = call()
            if turn:
                seconds[name].append(took)
    return seconds


def noise(*shape: int) -> jax.Array:
    """Photographs, uint8."""
    return jnp.asarray(np.random.default_rng(0).integers(0, 256, shape, np.uint8))


# --- The systems


def case(name: str) -> Case:
    """A preset by "system/preset", as `python -m train` composes it."""
    system, preset = name.split("/")
    key = jax.random.key(0)
    if system == "blur_type":
        plan = blur_type_presets.PRESETS[preset]
        # Steps draw from patches that are there, as bytes.
        store = blur_type.sample(key, noise(32, 144, 144), plan.config, n=3000)
        store = store._replace(patches=jnp.round(255 * store.patches).astype(jnp.uint8))
        module, draw = blur_type, train_blur_type.pick
    elif system == "sigma_map":
        plan, store, module = sigma_map_presets.PRESETS[preset], noise(64, 160, 160), sigma_map
        draw = train_sigma_map.sampler(plan)
    elif system == "kernel_size":
        plan, module = kernel_size_presets.PRESETS[preset], kernel_size
        store = data.Frames(
            noise(32, 320, 480), jnp.full((32, 2), jnp.array([320, 480])), jnp.arange(32)
        )
        draw = train_kernel_size.sampler(plan)
    elif system == "sharpness":
        plan, module = sharpness_presets.PRESETS[preset], sharpness
        cut = data.scenes(data.embedded("train"))
        store = data.Scenes(*(jnp.asarray(field) for field in cut))
        draw = train_sharpness.sampler(plan)
    else:
        plan, module = region_presets.PRESETS[preset], region
        count, each = 64, 8
        corner = np.random.default_rng(0).integers(0, 300, (count * each, 2))
        store = region.Labelled(
            noise(count, 512, 512),
            jnp.repeat(jnp.arange(count), each),
            jnp.asarray(corner),
            jnp.linspace(0.0, 1.0, count * each, dtype=jnp.float32),
            jnp.full(count * each, 31),
        )
        draw = functools.partial(region.sample, config=plan.config)
    variables = module.init(jax.random.key(1), plan.config)
    loss = functools.partial(module.loss, config=plan.config)
    return Case(plan.config, SYSTEMS.get(name) or plan.batch, loss, draw, store, variables)


def system(name: str, rounds: int) -> dict[str, Any]:
    """Seconds of one preset's step and of its parts."""
    chosen = case(name)
    variables, key = chosen.variables, jax.random.key(2)
    optimizer = steps.adamw(1e-3, 1000, weight_decay=1e-2)
    draw = functools.partial(chosen.draw, n=chosen.batch)
    step = jax.jit(steps.gradient_step(chosen.loss, optimizer, chosen.draw, batch=chosen.batch))
    state = steps.initial_state(variables, optimizer)
    began = time.perf_counter()
    compiled = step.lower(state, chosen.store, key).compile()
    compiling = time.perf_counter() - began
    sample = jax.jit(draw)
    batch = sample(key, chosen.store)

    @jax.jit
    def gradient(params: Any, batch: Any) -> Any:
        def objective(params: Any) -> jax.Array:
            trial = {**variables, "params": params}
            return chosen.loss(trial, batch, key=key, train=True)[0]

        return jax.value_and_grad(objective)(params)

    @jax.jit
    def update(slope: Any, opt: Any, params: Any) -> Any:
        changes, opt = optimizer.update(slope, opt, params)
        return optax.apply_updates(params, changes), opt

    slope = gradient(variables["params"], batch)[1]
    seconds = race(
        {
            "step": lambda: timed(lambda: compiled(state, chosen.store, key)),
            "sample": lambda: timed(lambda: sample(key, chosen.store)),
            "gradient": lambda: timed(lambda: gradient(variables["params"], batch)),
            "optimiser": lambda: timed(lambda: update(slope, state["opt"], variables["params"])),
        },
        rounds,
    )
    medians = {part: statistics.median(took) for part, took in seconds.items()}
    return {"system": name, "batch": chosen.batch, "compile": compiling, **medians}


def systems(names: tuple[str, ...], rounds: int) -> Table:
    """The training step of presets, and where its time goes."""
    rows = []
    for name in names:
        found = system(name, rounds)
        step = found["step"]
        rows.append(
            (
                name,
                found["batch"],
                f"{1 / step:.2f}",
                f"{found['batch'] / step:.0f}",
                *(f"{1e3 * found[k]:.0f}" for k in ("step", "sample", "gradient", "optimiser")),
                f"{found['compile']:.1f}",
            )
        )
        print(rows[-1], file=sys.stderr, flush=True)
        jax.clear_caches()
    head = ("preset", "batch", "steps/s", "images/s", "step ms", "sample", "gradient", "optimiser")
    notes = [
        "The parts are timed as programs of their own. blur_type draws from a stored set: its "
        "synthesis is not in the step.",
    ]
    return Table("Training steps, one device", (*head, "compile s"), rows, notes)


# --- PyTorch


_TORCH = """
import sys, time, torch
import torch.nn as nn, torch.nn.functional as F

def classifier(classes):
    layers, before = [], 1
    for width in (4, 8, 16, 32, 64, 64):
        layers += [nn.Conv2d(before, width, 3), nn.ReLU()]
        before = width
    layers += [nn.Conv2d(64, 64, 5), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.Conv2d(64, 64, 5), nn.ReLU(), nn.Flatten()]
    before = 1024
    for width in (1600, 800, 100):
        layers += [nn.Linear(before, width), nn.ReLU()]
        before = width
    return nn.Sequential(*layers, nn.Linear(100, classes))

class Block(nn.Module):
    def __init__(self, before, width, stride):
        super().__init__()
        self.a = nn.Conv2d(before, width, 3, stride, 1, bias=False)
        self.b = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.na, self.nb = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.skip = nn.Identity()
        if stride > 1 or before != width:
            conv = nn.Conv2d(before, width, 1, stride, bias=False)
            self.skip = nn.Sequential(conv, nn.BatchNorm2d(width))
    def forward(self, x):
        y = self.nb(self.b(F.relu(self.na(self.a(x)))))
        return F.relu(y + self.skip(x))

def resnet(width, outputs):
    stem = nn.Conv2d(1, width, 7, 2, 3, bias=False)
    layers = [stem, nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    before = width
    for stage in range(4):
        for block in range(2):
            layers.append(Block(before, width * 2**stage, 2 if stage and not block else 1))
            before = width * 2**stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, outputs))

which, layout, batch, side, outputs, width = sys.argv[1:3] + [int(x) for x in sys.argv[3:]]
torch.manual_seed(0)
model = classifier(outputs) if which == "classifier" else resnet(width, outputs)
x, y = torch.rand(batch, 1, side, side), torch.randint(0, outputs, (batch,))
if layout == "channels-last":
    model = model.to(memory_format=torch.channels_last)
    x = x.contiguous(memory_format=torch.channels_last)
optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
print(torch.__version__, torch.get_num_threads(), flush=True)
for line in sys.stdin:
    began = time.perf_counter()
    optimizer.zero_grad(set_to_none=True)
    F.cross_entropy(model(x), y).backward()
    optimizer.step()
    print(time.perf_counter() - began, flush=True)
"""


def ours(which: str) -> Callable[[], float]:
    """The same step by jax: cross-entropy and AdamW."""
    key = jax.random.key(0)
    batch, side, outputs = (
        (CLASSIFIER, 32, CLASSES) if which == "classifier" else (RESNET, 128, OUTPUTS)
    )
    images = jax.random.uniform(key, (batch, side, side), jnp.float32)
    label = jax.random.randint(key, (batch,), 0, outputs)
    config = sigma_map.Config(body="classifier", classes=CLASSES)
    network: nn.Module = ResNet(OUTPUTS, width=WIDTH)
    if which == "classifier":
        variables = sigma_map.init(key, config)
    else:
        variables = jax.jit(network.init)(key, images)
    optimizer = optax.adamw(1e-3)

    def loss(params: Any) -> jax.Array:
        trial = {**variables, "params": params}
        if which == "classifier":
            said = sigma_map.apply(trial, images, config)
        else:
            said, _ = network.apply(trial, images, train=True, mutable=["batch_stats"])
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(said, label))

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state: Any) -> Any:
        params, opt = state
        changes, opt = optimizer.update(jax.grad(loss)(params), opt, params)
        return optax.apply_updates(params, changes), opt

    state = [jax.tree.map(jnp.array, (variables["params"], optimizer.init(variables["params"])))]

    def call() -> float:
        began = time.perf_counter()
        state[0] = jax.block_until_ready(step(state[0]))
        return time.perf_counter() - began

    return call


def peers(interpreter: Path | None, rounds: int) -> Table:
    """The published sigma CNN and ResNet-18, by us and by PyTorch, in turns."""
    title = "Beside PyTorch: value, gradient and AdamW"
    head = ("network", "by", "median ms", "fastest ms", "x", "x of the fastest")
    if interpreter is None:
        return Table(title, head, [], ["Not run: `--torch` names no interpreter with PyTorch."])
    rows, notes = [], ["x: our time over theirs; above 1, PyTorch is faster."]
    sizes = {
        "classifier": (CLASSIFIER, 32, CLASSES, 0),
        "resnet": (RESNET, 128, OUTPUTS, WIDTH),
    }
    for which, numbers in sizes.items():
        processes = {}
        for layout in ("channels-last", "default"):
            command = [str(interpreter), "-c", _TORCH, which, layout, *map(str, numbers)]
            processes[f"PyTorch, {layout}"] = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )

        def ask(process: Any) -> float:
            # Threads of the other library that still spin would slow this one down.
            time.sleep(0.05)
            process.stdin.write("\n")
            process.stdin.flush()
            return float(process.stdout.readline())

        about = [process.stdout.readline().split() for process in processes.values()]
        contenders = {name: functools.partial(ask, process) for name, process in processes.items()}
        try:
            seconds = race({"blurjax": ours(which), **contenders}, rounds)
        finally:
            for process in processes.values():
                process.terminate()
        name = f"{which}, {numbers[0]} of {numbers[1]}x{numbers[1]}"
        mine = seconds["blurjax"]
        for by, took in seconds.items():
            apart = (
                ("", "")
                if by == "blurjax"
                else (
                    f"{statistics.median(a / b for a, b in zip(mine, took, strict=True)):.2f}",
                    f"{min(mine) / min(took):.2f}",
                )
            )
            median, fastest = 1e3 * statistics.median(took), 1e3 * min(took)
            rows.append((name, by, f"{median:.0f}", f"{fastest:.0f}", *apart))
        notes.append(f"{which}: PyTorch {about[0][0]}, {about[0][1]} threads.")
    return Table(title, head, rows, notes)


# --- Input


def host_input(images: Path | None, rounds: int) -> Table:
    """How many crops a second `train.stream` reads, decodes and cuts."""
    source = data.source(images) if images else data.embedded("all")
    cut = functools.partial(stream.square, side=160, factors=(1.0, 1.4))
    rows = []
    for kept, room in (("read every time", 0), ("kept in memory", 2**30)):
        for workers in (0, 2):
            records = stream.Photographs(source, cut, room=room)
            crops = stream.Crops(records, rows=64, seed=0, workers=workers)
            with contextlib.closing(crops.batches(0)) as batches:
                # The first pass fills the memory, and what is read ahead.
                for _ in range(max(8, 4 * len(source) // 64)):
                    next(batches)
                took = race({"": lambda b=batches: timed(lambda: next(b))}, 4 * rounds)[""]
            rate = 64 / statistics.mean(took)
            by = f"{workers} workers" if workers else "threads"
            rows.append((kept, by, f"{rate:.0f}", f"{rate * 160 * 160 / 1e6:.1f}"))
    return Table(
        f"Input: crops of 160x160 by the host, {images or 'embedded photographs'}",
        ("photographs", "by", "crops/s", "MB/s"),
        rows,
        ["What devices take of these: batch x steps/s of the first table, a crop an example."],
    )


# --- Several devices


def scaling_worker(name: str, rounds: int) -> dict[str, float]:
    """The step shared out over all devices of this process."""
    chosen = case(name)
    batch = chosen.batch - chosen.batch % max(DEVICES)
    optimizer = steps.adamw(1e-3, 1000, weight_decay=1e-2)
    step = steps.gradient_step(chosen.loss, optimizer, chosen.draw, batch=batch, parts=max(DEVICES))
    mesh = Mesh(np.array(jax.devices()), (steps.DATA_AXIS,))
    whole = NamedSharding(mesh, PartitionSpec())
    state, store, key = jax.device_put(
        (steps.initial_state(chosen.variables, optimizer), chosen.store, jax.random.key(2)), whole
    )
    use = getattr(jax, "set_mesh", None) or jax.sharding.use_mesh
    with use(mesh):
        began = time.perf_counter()
        compiled = jax.jit(step, out_shardings=whole).lower(state, store, key).compile()
        compiling = time.perf_counter() - began
        took = race({"": lambda: timed(lambda: compiled(state, store, key))}, rounds)[""]
    cost = compiled.cost_analysis() or {}
    return {
        "devices": len(jax.devices()),
        "batch": batch,
        "median": statistics.median(took),
        "fastest": min(took),
        "compile": compiling,
        "flops": float(cost.get("flops", float("nan"))),
    }


def worker(arguments: list[str], devices: int) -> dict[str, Any]:
    """What this script prints in a process of so many simulated devices."""
    flags = f"--xla_force_host_platform_device_count={devices}"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[1])
    command = [sys.executable, __file__, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{devices} devices: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def scaling(name: str, rounds: int) -> Table:
    """One step at a fixed batch on more and more simulated devices."""
    found = []
    for count in DEVICES:
        found.append(worker(["--worker", name, "--rounds", str(rounds)], count))
    base = found[0]
    rows = [
        (
            each["devices"],
            f"{1e3 * each['median']:.0f}",
            f"{1e3 * each['fastest']:.0f}",
            f"{each['fastest'] / base['fastest']:.2f}",
            f"{each['flops'] / 1e9:.2f}",
            f"{each['flops'] * each['devices'] / base['flops']:.2f}",
            f"{each['compile']:.1f}",
        )
        for each in found
    ]
    head = (
        "devices",
        "median ms",
        "fastest ms",
        "x",
        "GFLOP a device",
        "work in all, x",
        "compile",
    )
    notes = [
        f"{name}, batch {base['batch']} in all, drawn in {max(DEVICES)} parts. All devices share "
        "the same cores: the ideal is the same time, and work in all of 1.",
        "The work is what XLA counts; it does not count what libraries do inside.",
    ]
    return Table("Simulated devices, the same batch", head, rows, notes)


# --- Work


def work_worker(name: str) -> dict[str, float]:
    """Operations of a preset's step: in all, and of each of eight devices in both ways."""
    chosen = case(name)
    optimizer, key = optax.sgd(1e-3), jax.random.key(2)
    params = sum(x.size for x in jax.tree.leaves(chosen.variables["params"]))
    state = jax.eval_shape(lambda: steps.initial_state(chosen.variables, optimizer))
    sampled = jax.jit(functools.partial(chosen.draw, n=chosen.batch)).lower(key, chosen.store)
    plain = steps.gradient_step(chosen.loss, optimizer, chosen.draw, batch=chosen.batch)
    stepped = jax.jit(plain).lower(state, chosen.store, key)
    found = {
        "params": params,
        "batch": chosen.batch,
        "step": stepped.cost_analysis()["flops"],
        "sample": sampled.cost_analysis()["flops"],
    }
    if name not in SHARED:
        return found
    batch = 40 if name.startswith("kernel_size") else chosen.batch
    split = PartitionSpec(steps.DATA_AXIS)

    def left(state: Any, store: Any, key: jax.Array) -> Any:
        """The step as one would write it, whose sharing is left to the compiler."""
        some = jax.tree.map(
            lambda x: jax.lax.with_sharding_constraint(x, split) if x.ndim else x,
            chosen.draw(key, store, n=batch),
        )

        def objective(params: Any) -> jax.Array:
            trial = {**state["variables"], "params": params}
            return chosen.loss(trial, some, key=key, train=True)[0]

        value, slope = jax.value_and_grad(objective)(state["variables"]["params"])
        changes, _ = optimizer.update(slope, state["opt"])
        return optax.apply_updates(state["variables"]["params"], changes), value

    shared = steps.gradient_step(chosen.loss, optimizer, chosen.draw, batch=batch)
    use = getattr(jax, "set_mesh", None) or jax.sharding.use_mesh
    for label, function, count in (("one", left, 1), ("left", left, 8), ("parts", shared, 8)):
        mesh = Mesh(np.array(jax.devices()[:count]), (steps.DATA_AXIS,))
        whole = NamedSharding(mesh, PartitionSpec())
        with use(mesh):
            lowered = jax.jit(function, in_shardings=whole, out_shardings=whole).lower(
                state, chosen.store, key
            )
            compiled = lowered.compile()
        found[label] = compiled.cost_analysis()["flops"]
        found[f"{label} messages"] = compiled.as_text().count(" all-reduce(")
    return found


def work(names: tuple[str, ...]) -> Table:
    """What XLA counts of steps."""
    rows = []
    for name in names:
        found = worker(["--work", name], 8)
        batch = found["batch"]
        row = [name, f"{found['params'] / 1e6:.2f}", batch]
        row += [f"{found[k] / batch / 1e9:.3f}" for k in ("step", "sample")]
        if "one" in found:
            row += [f"{found['one'] / found[k]:.2f}" for k in ("left", "parts")]
            row += [found["parts messages"]]
        rows.append((*row, *[""] * (8 - len(row))))
        print(rows[-1], file=sys.stderr, flush=True)
    head = ("preset", "M parameters", "batch", "GFLOP an example", "of it synthesis")
    head += ("left to the compiler", "in parts", "all-reduces")
    notes = [
        "Left to the compiler, in parts: operations of the step on one device over those on each "
        "of eight (8 is ideal; of kernel_size with a batch of 40); all-reduces: in the program in "
        "parts.",
        "blur_type draws from a stored set.",
    ]
    return Table("Work of a step, by XLA's cost analysis", head, rows, notes)


# --- Accelerators


def accelerator(names: tuple[str, ...], rounds: int) -> Table:
    """Rates on the first device, if it is no CPU."""
    head = ("preset", "images/s", "TFLOP/s", "of float32 peak", "of bfloat16 peak", "idle")
    title = "An accelerator"
    if jax.default_backend() == "cpu":
        return Table(title, head, [], ["Not run: jax sees no accelerator."])
    peaks = {}
    for dtype in (jnp.float32, jnp.bfloat16):
        square = jnp.ones((8192, 8192), dtype)
        product = jax.jit(jnp.matmul)
        took = race({"": lambda p=product, s=square: timed(lambda: p(s, s))}, 9)[""]
        peaks[dtype.__name__] = 2 * 8192**3 / min(took)
    rows = []
    for name in names:
        chosen = case(name)
        optimizer = steps.adamw(1e-3, 1000, weight_decay=1e-2)
        step = jax.jit(steps.gradient_step(chosen.loss, optimizer, chosen.draw, batch=chosen.batch))
        state, key = steps.initial_state(chosen.variables, optimizer), jax.random.key(2)
        compiled = step.lower(state, chosen.store, key).compile()
        call = functools.partial(compiled, state, chosen.store, key)
        alone = statistics.median(race({"": functools.partial(timed, call)}, 9)[""])
        # Queued without waiting, the device has no time to idle; one by one, as a loop that reads
        # its metrics at every step would, it has.
        began, last, times = time.perf_counter(), state, 4 * rounds
        for i in range(times):
            last, _ = compiled(last, chosen.store, jax.random.fold_in(key, i))
        jax.block_until_ready(last)
        queued = (time.perf_counter() - began) / times
        rate = float((compiled.cost_analysis() or {}).get("flops", float("nan"))) / queued
        shares = (f"{rate / peaks[k]:.3f}" for k in ("float32", "bfloat16"))
        idle = f"{max(1 - queued / alone, 0):.0%}"
        rows.append((name, f"{chosen.batch / queued:.0f}", f"{rate / 1e12:.2f}", *shares, idle))
        jax.clear_caches()
    notes = [
        f"{jax.devices()[0].device_kind}; measured peaks of products of matrices: "
        + ", ".join(f"{name} {peak / 1e12:.0f} TFLOP/s" for name, peak in peaks.items()),
        "idle: of a step that is waited for, the part that steps queued one after another save.",
    ]
    return Table(title, head, rows, notes)


# --- The report


def markdown(tables: list[Table], facts: list[str]) -> str:
    """The report as text."""
    lines = ["# Training", "", *(f"- {fact}" for fact in facts)]
    for table in tables:
        lines += ["", f"## {table.title}", ""]
        if table.rows:
            lines += ["| " + " | ".join(table.head) + " |", "|" + "---|" * len(table.head)]
            lines += ["| " + " | ".join(map(str, row)) + " |" for row in table.rows]
            lines += [""]
        lines += [f"- {note}" for note in table.notes]
    return "\n".join(lines) + "\n"


def main(
    out: Path | None = None,
    only: tuple[Part, ...] = ("systems", "peers", "input", "scaling", "work", "accelerator"),
    systems_: Annotated[tuple[str, ...], tyro.conf.arg(name="systems")] = tuple(SYSTEMS),
    rounds: int = 5,
    torch: Path | None = None,
    images: Path | None = None,
    scaled: str = "sigma_map/seed30",
    worker: Annotated[str | None, tyro.conf.arg(help="internal: one row of scaling")] = None,
    work_: Annotated[
        str | None, tyro.conf.arg(name="work", help="internal: one row of work")
    ] = None,
) -> None:
    """Time the training steps.

    Args:
        out: folder for training.md and training.json; None to print alone.
        only: which parts.
        systems_: presets as SYSTEM/PRESET.
        rounds: of every contender, after one that does not count.
        torch: a Python interpreter that has PyTorch.
        images: folder of photographs for the input; default those inside scikit-image.
        scaled: the preset that is shared out over devices.
        worker, work_: internal.
    """
    if worker:
        print(json.dumps(scaling_worker(worker, rounds)))
        return
    if work_:
        print(json.dumps(work_worker(work_)))
        return
    facts = [
        f"jax {jax.__version__}, device {jax.devices()[0].device_kind}, {os.cpu_count()} CPU cores",
        "load average at the start: " + ", ".join(f"{x:.2f}" for x in os.getloadavg()),
    ]
    parts: dict[str, Callable[[], Table]] = {
        "systems": lambda: systems(systems_, rounds),
        "peers": lambda: peers(torch, rounds),
        "input": lambda: host_input(images, rounds),
        "scaling": lambda: scaling(scaled, rounds),
        "work": lambda: work(systems_),
        "accelerator": lambda: accelerator(systems_, rounds),
    }
    tables = [parts[name]() for name in only]
    facts.append("at the end: " + ", ".join(f"{x:.2f}" for x in os.getloadavg()))
    report = markdown(tables, facts)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "training.md").write_text(report, encoding="utf-8")
        stored = {"facts": facts, "tables": [table._asdict() for table in tables]}
        (out / "training.json").write_text(json.dumps(stored, indent=1), encoding="utf-8")
    print(report)


if __name__ == "__main__":
    tyro.cli(main)

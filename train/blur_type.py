"""Train blur_type: pretraining, fine-tuning, the second stage, the judge, the weights file."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from blurjax import blur_type, checkpoint, data, plots
from blurjax.blur_type import Batch, Config
from blurjax.blur_type.model import as_pictures, feature, layers
from blurjax.nn import rbm
from train import descent, files, judge, loop, machine
from train.configs.blur_type import PRESETS, Preset
from train.machine import Changes, How, Machine

Variables = dict[str, Any]

# Side of the tiles that go to the device: a patch, its margin, and room to move.
_TILE = 144
# Patches synthesised at once into the stored set.
_PIECE = 60_000
# Validation patches for each texture rule.
_CHECKS = 6_000


def train(
    preset: Literal[tuple(PRESETS)] = "compact",  # type: ignore[valid-type]
    images: tuple[Path, ...] = (),
    out: Path | None = None,
    workdir: Path | None = None,
    seed: int = 0,
    steps: Annotated[int | None, tyro.conf.arg(help="fine-tune for so many steps instead")] = None,
    quiet: bool = False,
    change: Changes = (),
    how: How = Machine(),  # noqa: B008
) -> Path:
    """Train the network, its GRNNs and the judge of photographs, and write a weights file.

    Interrupted, it goes on where it was when the same command is given again.

    Args:
        preset: which of train/configs/blur_type.py.
        images: folders of sharp photographs, split by image into training (80 %), validation
            (10 %) and test (10 %, not looked at); none for the photographs inside scikit-image and
            dead leaves.
        out: the weights file; default WORKDIR/blur_type.npz.
        workdir: checkpoints, metrics.jsonl and the list of files; default runs/blur_type_PRESET.
        seed: of everything random.
        steps: fine-tuning steps, instead of the preset's.
        quiet: no progress.
        change: other values instead of the preset's, "rate=1e-3".
        how: devices, processes, input and records.

    Returns:
        Path of the weights file.
    """
    run = descent.begin(
        "blur_type",
        PRESETS,
        preset,
        workdir=workdir,
        seed=seed,
        steps=steps,
        quiet=quiet,
        change=change,
        how=how,
    )
    plan: Preset = run.plan
    key, workdir, say = run.key, run.workdir, run.say

    sources, (sharp, held_out), about = _photographs(images, seed)
    files.claim(workdir, about)

    say(f"{preset}: {sharp.shape[0]} training and {held_out.shape[0]} validation tiles")

    checks = {
        rule: blur_type.collect(
            jax.random.fold_in(key, i), held_out, plan.config, n=_CHECKS, linear="never", rule=rule
        )
        for i, rule in enumerate(blur_type.RULES, start=100)
    }
    if plan.degraded:
        checks["textured, degraded"] = blur_type.collect(
            jax.random.fold_in(key, 110),
            held_out,
            plan.config,
            n=_CHECKS,
            rule="textured",
            degraded=1.0,
        )

    draw = functools.partial(
        blur_type.collect,
        config=plan.config,
        linear=plan.linear,
        sampling=plan.sampling,
        degraded=plan.degraded,
    )
    folder = workdir / "checkpoints" / "finetune"
    if checkpoint.latest_step(folder) == plan.steps:
        say(f"the network is finished in {folder}")
        variables = jax.tree.map(jnp.asarray, checkpoint.restore(folder)[0]["state"]["variables"])
    else:
        unseen = draw(jax.random.fold_in(key, 8), held_out, n=3_000)
        drawn = functools.partial(draw, sharp=sharp)
        variables = _network(run, drawn, unseen, checks)

    if plan.config.body != "conv":
        _draw_filters(variables, plan.config, workdir / "filters.png", say)

    # ---- stage 3: the GRNNs
    if plan.second_stage:
        say("second stage: leave-one-out bandwidths")
        count = len(blur_type.LABELS) * plan.config.memory
        memories = draw(jax.random.fold_in(key, 5), sharp, n=count)
        variables = blur_type.remember(variables, memories, plan.config)

    # ---- stage 4: the judge of whole photographs
    examples = {}
    if plan.judge:
        for part, source, count in zip(
            ("train", "validation"), sources, (plan.judge, plan.judge // 4), strict=True
        ):
            examples[part] = judge.evidence(source, count, variables, plan.config, seed, say)
        judged = judge.fit(jax.random.fold_in(key, 7), *examples["train"])
        variables = {**variables, "judge": judged}

    # ---- the weights file, measured as it is on disk
    def measured(variables: Variables) -> dict[str, float]:
        found = accuracy(variables, checks, plan.config)
        for part, rows in examples.items():
            judged = judge.report(variables["judge"], *rows)
            found |= {f"judge, {part}: {name}": value for name, value in judged.items()}
        return found

    return run.write(variables, about, out, measured)


def _network(
    run: descent.Run, draw: Callable[..., Batch], unseen: Batch, checks: dict[str, Batch]
) -> Variables:
    """The first three stages: the network, on patches that `draw(key, n=...)` makes."""
    key, plan, say = run.key, run.plan, run.say
    # ---- stage 0: the feature's standardisation, and the stored patches if any
    stored = _store(jax.random.fold_in(key, 1), draw, plan.stored, say)
    first = _as_float(blur_type.rows(stored, slice(plan.pretrain_patches)))
    if plan.others:
        kinds = blur_type.KINDS[len(blur_type.LABELS) :]
        beside = functools.partial(draw, kinds=kinds)
        others = _store(jax.random.fold_in(key, 6), beside, plan.others, say)
        stored = jax.tree.map(lambda a, b: np.concatenate([a, b]) if a.ndim else a, stored, others)
    variables = blur_type.init(jax.random.fold_in(key, 2), plan.config)
    variables = blur_type.standardise(variables, first.patches[:12_000], plan.config)

    # ---- stage 1: greedy pretraining
    if plan.pretrain_epochs:
        variables = pretrain(
            jax.random.fold_in(key, 3),
            variables,
            first,
            unseen,
            plan,
            workdir=run.workdir,
            quiet=run.quiet,
            how=run.machine,
        )
        _draw_filters(variables, plan.config, run.workdir / "filters_pretrained.png", say)

    # ---- stage 2: fine-tuning
    if run.machine.stream:
        # A row each, as all else of the patches has.
        stored = stored._replace(rejected=jnp.full(len(stored.label), stored.rejected))
    return run.descend(
        variables,
        blur_type.loss,
        pick,
        stored,
        validate=lambda variables: accuracy(variables, checks, plan.config),
        validate_every=1000,
        best="-textured",
        stage="finetune",
        key=jax.random.fold_in(key, 4),
    )


def _draw_filters(
    variables: Variables, config: Config, file: Path, say: Callable[[str], None]
) -> None:
    """The sixty filters of the first layer that have the greatest norm."""
    if not machine.first():
        return
    filters = variables["params"]["dense0"]["kernel"].T
    strongest = jnp.argsort(-jnp.linalg.norm(filters, axis=1))[:60]
    pictures = np.asarray(as_pictures(filters[strongest], config))
    plots.save(plots.filters(pictures, what="first-layer filters of greatest norm"), file)
    say(f"the first layer's filters are drawn in {file}")


def pretrain(
    key: jax.Array,
    variables: Variables,
    batch: Batch,
    unseen: Batch,
    plan: Preset,
    *,
    workdir: Path,
    quiet: bool = False,
    how: Machine | None = None,
) -> Variables:
    """Train each hidden layer as an RBM on the layer below, and copy it into the network.

    Beside the reconstruction it logs the free-energy gap between `unseen` patches and as many of
    those trained on and, of binary units, the pseudo-likelihood of both.

    Source: Yan & Shao, TIP 2016, pretraining; Hinton, UTML TR 2010-003, for the constants.
    """
    config, how = plan.config, how or Machine()
    params = dict(variables["params"])
    for i, width in enumerate(config.hidden):
        # The standardised half spectrum is real-valued; everything else lies in [0, 1].
        gaussian = i == 0 and config.feature == "half_spectrum"
        units = "gaussian" if gaussian else "binary"
        visible = _visible({**variables, "params": params}, batch, config, i)
        held = _visible({**variables, "params": params}, unseen, config, i)
        k_init, k_run = jax.random.split(jax.random.fold_in(key, i))
        layer = rbm.init(k_init, visible.shape[1], width)
        state = {**rbm.start(layer)._asdict(), "epoch": jnp.zeros((), jnp.int32)}
        rate = plan.pretrain_rate / 10 if gaussian else plan.pretrain_rate

        def epoch(
            state: dict[str, Any],
            data: jax.Array,
            key: jax.Array,
            rate: float = rate,
            units: str = units,
            held: jax.Array = held,
        ) -> tuple[dict[str, Any], dict[str, jax.Array]]:
            momentum = jnp.where(state["epoch"] < 5, 0.5, 0.9)
            new, metrics = rbm.epoch(
                key,
                rbm.State(state["params"], state["velocity"]),
                data,
                rate=rate,
                momentum=momentum,
                units=units,
            )
            seen = data[: held.shape[0]]
            found = metrics._asdict()
            found["free_energy_gap"] = rbm.free_energy_gap(new.params, seen, held, units=units)
            if units == "binary":
                for name, rows in (("seen", seen), ("unseen", held)):
                    score = rbm.pseudo_likelihood(key, new.params, rows)
                    found[f"pseudo_likelihood_{name}"] = jnp.mean(score)
            return {**new._asdict(), "epoch": state["epoch"] + 1}, found

        state = loop.run(
            epoch,
            state,
            visible,
            key=k_run,
            num_steps=plan.pretrain_epochs,
            workdir=workdir,
            stage=f"rbm{i}",
            log_every=1,
            devices=how.chosen(),
            keep=how.keep,
            checkpoint_every_s=how.checkpoint_every,
            tensorboard=how.tensorboard,
            quiet=quiet,
        )
        params[f"dense{i}"] = {
            "kernel": state["params"]["kernel"],
            "bias": state["params"]["hidden"],
        }
    return {**variables, "params": params}


def accuracy(variables: Variables, checks: dict[str, Batch], config: Config) -> dict[str, float]:
    """Share of each set's patches whose type the network gets right."""
    return {
        name: float(_loss(variables, batch, config=config)[1].metrics["accuracy"])
        for name, batch in checks.items()
    }


_loss = jax.jit(blur_type.loss, static_argnames=("config", "train"))


def _photographs(
    images: tuple[Path, ...], seed: int
) -> tuple[tuple[data.Source, data.Source], tuple[jax.Array, jax.Array], dict]:
    """Training and validation photographs, their tiles on the device, and which files they are."""
    parts = files.sources(images)
    stacks = [data.tiles(part, _TILE).images for part in parts]
    if not images:
        keys = jax.random.split(jax.random.key(seed), 64)
        leaves = np.asarray(
            jax.lax.map(lambda k: data.dead_leaves(k, size=_TILE), keys, batch_size=8)
        )
        painted = np.round(255 * leaves).astype(np.uint8)
        stacks[0] = np.concatenate([stacks[0], painted])
    about = files.listing(*parts)
    return parts, (jnp.asarray(stacks[0]), jnp.asarray(stacks[1])), about


def _store(
    key: jax.Array, draw: Callable[..., Batch], count: int, say: Callable[[str], None]
) -> Batch:
    """`count` patches as bytes: a quarter of the memory, and they are 8-bit values anyway."""
    pieces = []
    for start in range(0, count, _PIECE):
        piece = draw(jax.random.fold_in(key, start), n=min(_PIECE, count - start))
        levels = jnp.round(255 * piece.patches).astype(jnp.uint8)
        pieces.append(jax.tree.map(np.asarray, piece._replace(patches=levels)))
        say(f"synthesised {min(start + _PIECE, count)} of {count} patches")
    return jax.tree.map(lambda *x: np.concatenate(x) if x[0].ndim else np.mean(x), *pieces)


def _as_float(batch: Batch) -> Batch:
    return batch._replace(patches=jnp.asarray(batch.patches).astype(jnp.float32) / 255)


def pick(key: jax.Array, stored: Batch, *, n: int) -> Batch:
    """A batch of random rows of the stored set, turned at random."""
    k_rows, k_turn = jax.random.split(key)
    index = jax.random.randint(k_rows, (n,), 0, stored.label.shape[0])
    return blur_type.turned(k_turn, _as_float(blur_type.rows(stored, index)))


def _visible(variables: Variables, batch: Batch, config: Config, layer: int) -> jax.Array:
    """What RBM number `layer` sees of the patches."""

    def chunk(patches: jax.Array) -> jax.Array:
        if layer == 0:
            return feature(variables, patches, config)
        return layers(variables, patches, config)[1][layer - 1]

    chunk = jax.jit(chunk)
    return jnp.concatenate(
        [chunk(batch.patches[i : i + 3_000]) for i in range(0, batch.patches.shape[0], 3_000)]
    )

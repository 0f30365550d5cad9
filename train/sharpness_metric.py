"""Make the kernels of the local metric, compare their forms, calibrate every classical method."""

import functools
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from blurjax import metrics, plots, sharpness, weights
from blurjax.data import Scenes
from blurjax.sharpness import Config
from blurjax.sharpness._estimate import odds, score, settle
from blurjax.sharpness._metric import squares
from train import calibration
from train.calibration import Example, composites, logistic
from train.sharpness import stored_scenes

Variables = dict[str, Any]
Kernels = jax.Array

_COMPOSITES = 96
_CLASSICAL = sharpness.METHODS[1:]
_SIDE = 7
_END_TO_END_STEPS = 600

FORMS = {
    "fixed": "d/dx and d/dy",
    "untrained": "components of the first layer as it was initialised",
    **{f"untrained_{i}": "the same of another draw" for i in range(2, 7)},
    "published": "components of the trained first layer (Zeng et al.)",
    "published_1": "the first of these components alone",
    "published_3": "the first three",
    "moved": "components of what training changed in the first layer",
    "used": "components of the trained kernels, each weighted by what the classifier makes of it",
    "contrast": "components of the first layer, trained on patches of equal contrast",
    "contrast_moved": "likewise, of what training changed",
    "discriminative": "largest ratio of a sharp patch's energy to a blurred one's (no network)",
    "end_to_end": "both kernels by descending the gradient of the metric's own likelihood",
}
"""The forms of the seed's idea that are compared."""


def train(
    patches: Path = Path("runs/sharpness_patches"),
    contrast: Path | None = Path("runs/sharpness_contrast"),
    pairs: tuple[Path, ...] = (),
    masks: tuple[Path, ...] = (),
    white: Literal["blurred", "sharp"] = "sharp",
    form: Literal[tuple(FORMS)] = "end_to_end",  # type: ignore[valid-type]
    out: Path | None = None,
    workdir: Path = Path("runs/sharpness_metric"),
    seed: int = 0,
) -> Path:
    """Compare the forms of the learned metric, and write the chosen one with all calibrations.

    Each form's two kernels go through the same metric and are calibrated on composites of the
    training scenes, and on pairs of photographs with masks if there are any; they are compared on
    composites of the validation scenes, and on those pairs.

    Args:
        patches: folder of a finished `python -m train sharpness --preset patches`.
        contrast: likewise of `--preset contrast`; without it its forms are left out.
        pairs, masks: folders of photographs and of their masks, matched by name.
        white: what is white in the masks.
        form: whose kernels are written as "metric".
        out: the weights file; default WORKDIR/sharpness_metric.npz.
        workdir: comparison.json and kernels.png.
        seed: of everything random.

    Returns:
        Path of the weights file.
    """
    started = time.monotonic()
    key = jax.random.key(seed)
    scenes = [stored_scenes(patches / f"scenes_{part}.npz") for part in ("train", "validation")]
    fitting, held_out = (
        composites(jax.random.fold_in(key, i), part, _COMPOSITES) for i, part in enumerate(scenes)
    )
    real = calibration.pairs(pairs, masks, white)
    groups = [fitting, real] if real else [fitting]

    found = kernels_of(patches, contrast, scenes[0], jax.random.fold_in(key, 2))
    rows = []
    for mode in sharpness.MODES:
        for name, kernels in found.items():
            config = Config(body="metric", mode=mode)
            answer = calibrate(kernels, config, groups)
            for where, examples in (("composites", held_out), ("pairs", real)):
                if examples:
                    row = {"mode": mode, "form": name, "on": where, "n": len(examples)}
                    rows.append(row | assess(kernels, answer, config, examples))
                    print(_line(rows[-1]), file=sys.stderr, flush=True)
    workdir.mkdir(parents=True, exist_ok=True)
    (workdir / "comparison.json").write_text(json.dumps(rows, indent=1) + "\n")

    drawn = [name for name in found if not name.startswith("untrained_")]
    plots.save(
        plots.filters(
            np.concatenate([np.asarray(found[name]) for name in drawn]),
            titles=[f"{name} {i + 1}" for name in drawn for i in range(len(found[name]))],
            what="kernels of the local metric",
        ),
        workdir / "kernels.png",
    )

    # ---- the weights file
    config = Config(body="metric")
    chosen = {"metric": found[form], "fixed": found["fixed"], "untrained": found["untrained"]}
    state = {name: calibrate(chosen.get(name), config, groups, name) for name in _CLASSICAL}
    out = out or workdir / "sharpness_metric.npz"
    listed = json.loads((patches / "files.json").read_text())
    record = {
        "form": form,
        "seed": seed,
        "files": {name: listed[name] for name in ("train", "validation", "sha256")},
        "pairs": len(real),
        "jax": jax.__version__,
    }
    weights.save(out, {"params": chosen, "state": state}, config, record)
    print(
        f"{time.monotonic() - started:.0f} s; kernels and calibration in {out}, the comparison in "
        f"{workdir / 'comparison.json'}",
        file=sys.stderr,
    )
    return out


def kernels_of(
    patches: Path, contrast: Path | None, scenes: Scenes, key: jax.Array
) -> dict[str, Kernels]:
    """The kernels of every form, (k, 7, 7) each, k = 2 unless its name says otherwise."""
    variables, config, first = _network(patches)
    trained = _first(variables)
    published = sharpness.metric_kernels(trained)
    shares = " and ".join(f"{100 * float(share):.0f} %" for share in published.explained)
    moved = float(jnp.linalg.norm(trained - first) / jnp.linalg.norm(first))
    print(
        f"K1 and K2 explain {shares} of the first layer's variance; training moved it by "
        f"{100 * moved:.0f} % of its norm",
        file=sys.stderr,
    )
    found = {
        "fixed": jnp.asarray(sharpness.fixed_kernels(_SIDE)),
        "untrained": sharpness.metric_kernels(first).kernels,
        **{f"untrained_{i}": _untrained(config, i) for i in range(2, 7)},
        "published": published.kernels,
        "published_1": published.kernels[:1],
        "published_3": sharpness.metric_kernels(trained, k=3).kernels,
        "moved": sharpness.metric_kernels(trained - first).kernels,
        "used": sharpness.metric_kernels(trained * _use(variables, config, scenes, key)).kernels,
    }
    if contrast is not None and (contrast / "sharpness.npz").exists():
        variables, _, first = _network(contrast)
        found["contrast"] = sharpness.metric_kernels(_first(variables)).kernels
        found["contrast_moved"] = sharpness.metric_kernels(_first(variables) - first).kernels
    found["discriminative"] = discriminative(scenes, jax.random.fold_in(key, 1))
    found["end_to_end"] = end_to_end(found["published"], scenes, jax.random.fold_in(key, 2))
    return found


def _network(folder: Path) -> tuple[Variables, Config, Kernels]:
    """A trained patch network, and its first layer as it was before."""
    variables, config, about = weights.load(folder / "sharpness.npz", Config)
    key = jax.random.fold_in(jax.random.key(about["seed"]), 1)
    return jax.tree.map(jnp.asarray, variables), config, _first(sharpness.init(key, config))


def _untrained(config: Config, draw: int) -> Kernels:
    """Components of a first layer that nobody trained."""
    fresh = sharpness.init(jax.random.key(99 + draw), config)
    return sharpness.metric_kernels(_first(fresh)).kernels


def _first(variables: Variables) -> Kernels:
    return jnp.asarray(variables["params"]["conv0"]["kernel"])[:, :, 0]


def _use(variables: Variables, config: Config, scenes: Scenes, key: jax.Array) -> jax.Array:
    """How much the classifier's answer depends on each kernel: |gradient . kernel|, its mean."""

    @jax.jit
    def gradient(kernel: jax.Array, batch: Any) -> jax.Array:
        def margin(kernel: jax.Array, image: jax.Array) -> jax.Array:
            params = {**variables["params"], "conv0": {"kernel": kernel}}
            said = sharpness.apply({**variables, "params": params}, image[None], config)
            return said[0, 1] - said[0, 0]

        each = jax.vmap(jax.grad(margin), (None, 0))(kernel, batch.images)
        return jnp.mean(jnp.abs(jnp.sum(each[:, :, :, 0] * kernel[None, :, :, 0], (1, 2))), 0)

    kernel = variables["params"]["conv0"]["kernel"]
    use = gradient(kernel, _patches(key, scenes, 128))
    return (use / jnp.max(use))[None, None, :]


def _patches(key: jax.Array, scenes: Scenes, n: int) -> Any:
    return sharpness.sample(key, scenes, Config(body="patches"), n=n)


def discriminative(scenes: Scenes, key: jax.Array) -> Kernels:
    """The two directions of a 7x7 window in which sharp patches have most energy over blurred."""
    sums = {}
    batches = [_patches(jax.random.fold_in(key, i), scenes, 512) for i in range(4)]
    for kind in (0.0, 1.0):
        kept = np.concatenate(
            [np.asarray(b.images)[np.asarray((b.sharp == kind) & (b.weight > 0))] for b in batches]
        )
        # Equal contrast: otherwise a few bright patches are all there is.
        kept = kept - kept.mean(axis=(1, 2), keepdims=True)
        kept = kept / (kept.std(axis=(1, 2), keepdims=True) + 2 / 255)
        views = np.lib.stride_tricks.sliding_window_view(kept, (_SIDE, _SIDE), (1, 2))
        flat = views[:, ::3, ::3].reshape(-1, _SIDE**2)
        flat = flat - flat.mean(axis=1, keepdims=True)
        sums[kind] = flat.T @ flat / len(flat)
    import scipy.linalg

    floor = 0.01 * np.trace(sums[0.0]) / _SIDE**2 * np.eye(_SIDE**2)
    _, vectors = scipy.linalg.eigh(sums[1.0], sums[0.0] + floor)
    kernels = vectors[:, ::-1][:, :2].T.reshape(2, _SIDE, _SIDE)
    return sharpness.unit_kernels(jnp.asarray(kernels, jnp.float32))


def end_to_end(first: Kernels, scenes: Scenes, key: jax.Array) -> Kernels:
    """Kernels that descend the gradient of the calibrated metric's cross-entropy."""
    config = Config(body="metric")
    start: dict[str, Any] = {
        "kernels": first,
        "answer": {
            name: {"scale": jnp.ones(()), "offset": jnp.full((), offset)}
            for name, offset in (("first", 1.0), ("second", 0.0))
        },
    }
    optimizer = optax.adam(optax.cosine_decay_schedule(0.02, _END_TO_END_STEPS))

    @jax.jit
    def step(params: Any, state: Any, key: jax.Array) -> tuple[Any, Any, jax.Array]:
        batch = sharpness.compose(key, scenes, n=8)

        def objective(params: Any) -> jax.Array:
            kernels = sharpness.unit_kernels(params["kernels"])
            said = jax.vmap(lambda image: _map(kernels, params["answer"], config, image))
            value = odds(said(batch.images))
            truth = squares(batch.sharp)
            return jnp.mean(jax.nn.softplus(value) - truth * value)

        value, gradient = jax.value_and_grad(objective)(params)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(params, updates), state, value

    params, state = start, optimizer.init(start)
    for i in range(_END_TO_END_STEPS):
        params, state, value = step(params, state, jax.random.fold_in(key, i))
        if (i + 1) % 100 == 0:
            print(f"end to end {i + 1}/{_END_TO_END_STEPS}: {float(value):.3f}", file=sys.stderr)
    return sharpness.unit_kernels(params["kernels"])


def _map(kernels: Kernels, answer: Any, config: Config, image: jax.Array) -> jax.Array:
    """The settled map of squares of 4x4 pixels."""
    variables = {"params": {"metric": kernels}}
    return settle(answer, score(variables, image, config, method="metric"))


@functools.partial(jax.jit, static_argnames=("config", "method"))
def _score(kernels: Kernels, image: jax.Array, config: Config, method: str = "metric") -> jax.Array:
    return score({"params": {method: kernels}}, image, config, method=method)


_settle = jax.jit(settle)
_refine = jax.jit(sharpness.refine, static_argnames=("threshold", "window"))


def calibrate(
    kernels: Kernels | None,
    config: Config,
    groups: Sequence[Sequence[Example]],
    method: str = "metric",
) -> dict[str, Any]:
    """The lines that turn a method's score into the logarithm of the odds of being sharp."""
    scores = [[_score(kernels, each.image, config, method) for each in group] for group in groups]

    def line(found: list[list[jax.Array]]) -> Any:
        return logistic(
            [
                [(score, _truth(each, score.shape)) for each, score in zip(*both, strict=True)]
                for both in zip(groups, found, strict=True)
            ]
        )

    answer = {"first": line(scores)}
    if method not in sharpness.KERNELS:
        return answer
    plain = {"scale": jnp.ones(()), "offset": jnp.zeros(())}
    once = [[odds(_settle({**answer, "second": plain}, s)) for s in group] for group in scores]
    return {**answer, "second": line(once)}


def _truth(example: Example, shape: tuple[int, ...]) -> np.ndarray:
    sharp = np.asarray(example.sharp, np.float32)
    return sharp if sharp.shape == shape else np.asarray(squares(jnp.asarray(sharp)))


def assess(
    kernels: Kernels, answer: Any, config: Config, examples: list[Example]
) -> dict[str, float]:
    """Means over images: of the settled map and of the refined one, blurred as positive."""
    found: dict[str, list[float]] = {}
    for each in examples:
        settled = np.asarray(_settle(answer, _score(kernels, each.image, config)))
        refined = np.asarray(_refine(jnp.asarray(settled)))
        truth = _truth(each, settled.shape) > 0.5
        mixed = 0 < truth.mean() < 1
        for name, value in (("", settled), ("refined_", refined)):
            if truth.mean() < 1:
                f = float(metrics.f_measure(value <= 0.5, ~truth))
                found.setdefault(name + "f", []).append(f)
            found.setdefault(name + "mae", []).append(float(np.mean(np.abs(value - truth))))
            if mixed:
                auc = float(metrics.roc_auc(value, truth))
                found.setdefault(name + "auc", []).append(auc)
    return {name: float(np.mean(values)) for name, values in found.items()}


def _line(row: dict[str, Any]) -> str:
    numbers = "  ".join(f"{k} {v:.3f}" for k, v in row.items() if isinstance(v, float))
    return f"{row['mode']:8} {row['form']:15} {row['on']:10} {numbers}"

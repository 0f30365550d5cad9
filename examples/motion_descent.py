"""Find a motion by descending the gradient of the blur: python examples/motion_descent.py

A photograph is blurred by a motion of known length and angle; noise and 8 bits are added. From a
wrong guess, `jax.value_and_grad` of the difference to that photograph leads back to the truth:
the gradient goes through `imaging.blur` and `psf.motion`, and nothing here is specific to them.
(`blurjax.fit` does this with several starts, in fewer words, and with standard errors.)

It takes about ten seconds on two CPU cores and writes motion_descent.png.
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import jax
import jax.numpy as jnp
import optax
import tyro

from blurjax import data, imaging, plots, psf

if TYPE_CHECKING:
    import matplotlib.figure

SIZE = 25
TRUTH = jnp.array([14.0, math.radians(25)])  # length in pixels, angle in radians
START = jnp.array([5.0, math.radians(75)])


def photograph(sharp: jax.Array) -> jax.Array:
    """What the camera saw: blurred by the truth, noisy, in 8 bits."""
    blurred = blur(sharp, TRUTH)
    return imaging.quantise(imaging.add_noise(jax.random.key(0), blurred, 0.005))


def blur(sharp: jax.Array, parameters: jax.Array) -> jax.Array:
    """The whole model."""
    length, angle = parameters
    return imaging.blur(sharp, psf.motion(length, angle, size=SIZE), boundary="valid")


def loss(parameters: jax.Array, sharp: jax.Array, seen: jax.Array) -> jax.Array:
    """Mean squared difference to the photograph."""
    return jnp.mean((blur(sharp, parameters) - seen) ** 2)


def descend(sharp: jax.Array, seen: jax.Array, steps: int) -> tuple[jax.Array, jax.Array]:
    """The path (steps + 1, 2) of the parameters and the loss on it (steps + 1,)."""
    # One step of Adam is about a learning rate: here 0.25 px and 0.015 radians (1 degree).
    unit = jnp.array([1.0, 0.06])
    optimiser = optax.adam(optax.cosine_decay_schedule(0.25, steps))

    @jax.jit
    def step(scaled: jax.Array, state: optax.OptState) -> tuple[jax.Array, ...]:
        value, gradient = jax.value_and_grad(lambda s: loss(s * unit, sharp, seen))(scaled)
        update, state = optimiser.update(gradient, state)
        return scaled + update, state, value

    scaled = START / unit
    state = optimiser.init(scaled)
    path, losses = [START], []
    for _ in range(steps):
        scaled, state, value = step(scaled, state)
        path.append(scaled * unit)
        losses.append(value)
    return jnp.stack(path), jnp.stack([*losses, loss(path[-1], sharp, seen)])


def main(
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("demo"), steps: int = 150
) -> dict[str, float]:
    """Recover length and angle of a motion by gradient descent.

    Args:
        out: folder for the figure.
        steps: gradient steps.
    """
    sharp = jnp.asarray(data.embedded("test")[0])[40:220, 210:450]
    seen = photograph(sharp)
    path, losses = descend(sharp, seen, steps)
    file = plots.save(draw(sharp, seen, path, losses), out / "motion_descent.png")
    found = {"length": float(path[-1, 0]), "angle": float(path[-1, 1]), "loss": float(losses[-1])}
    for name, values in (("start", START), ("found", path[-1]), ("truth", TRUTH)):
        print(f"{name}: length {values[0]:6.3f} px, angle {math.degrees(values[1]):6.2f} degrees")
    print(f"The loss fell from {losses[0]:.2e} to {losses[-1]:.2e} in {steps} steps.")
    print(f"The figure is {file.resolve()}")
    return found


def draw(
    sharp: jax.Array, seen: jax.Array, path: jax.Array, losses: jax.Array
) -> "matplotlib.figure.Figure":
    """Photographs and kernels above, the descent below."""
    from matplotlib.figure import Figure

    figure = Figure((11.5, 6.8), dpi=110, layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=(0.75, 1))
    axes = top.subplots(1, 5, width_ratios=(1.45, 1.45, 1, 1, 1))
    edge = SIZE // 2
    inner = sharp[edge:-edge, edge:-edge]
    for place, image, title in zip(axes, (inner, seen), ("sharp", "photograph"), strict=False):
        place.imshow(image, cmap="gray", vmin=0, vmax=1)
        place.set(title=title, xlabel="column (px)", ylabel="row (px)")
    kernels = {"start": path[0], "found": path[-1], "truth": TRUTH}
    for place, (name, (length, angle)) in zip(axes[2:], kernels.items(), strict=True):
        kernel = psf.motion(length, angle, size=SIZE)
        reach = SIZE / 2
        place.imshow(kernel, cmap="gray", extent=(-reach, reach, reach, -reach))
        place.set(xlabel="column (px)", ylabel="row (px)" if name == "start" else "")
        place.set_title(f"{name}: {length:.2f} px,\n{math.degrees(angle):.1f} degrees", fontsize=10)

    left, right = bottom.subplots(1, 2, width_ratios=(1, 1.25))
    left.semilogy(losses, color="#0072B2", label="loss")
    floor = float(loss(TRUTH, sharp, seen))
    left.axhline(floor, color="#555555", linestyle="--", label="loss of the truth: the noise")
    left.set(xlabel="gradient step", ylabel="mean squared difference", title="Loss")
    left.legend()

    lengths, angles = jnp.linspace(2, 20, 25), jnp.radians(jnp.linspace(0, 90, 25))
    row = jax.jit(jax.vmap(lambda p: loss(p, sharp, seen)))
    surface = [row(jnp.stack(jnp.broadcast_arrays(lengths, angle), -1)) for angle in angles]
    shown = right.contourf(
        lengths, jnp.degrees(angles), jnp.log10(jnp.stack(surface)), levels=20, cmap="cividis"
    )
    top.figure.colorbar(shown, ax=right, label="log10 of the loss")
    right.plot(path[:, 0], jnp.degrees(path[:, 1]), ".-", color="white", ms=3, label="descent")
    right.plot(path[0, 0], jnp.degrees(path[0, 1]), "o", color="#E69F00", ms=9, label="start")
    right.plot(TRUTH[0], jnp.degrees(TRUTH[1]), "P", color="#D55E00", ms=11, label="truth")
    right.set(xlabel="length (px)", ylabel="angle (degrees)", title="Path over the loss")
    right.legend(loc="upper right", facecolor="#444444", labelcolor="white")
    return figure


if __name__ == "__main__":
    tyro.cli(main)

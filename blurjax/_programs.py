"""How many compiled programs a process can hold (host)."""

from pathlib import Path

import jax

_MAPS = Path("/proc/self/maps")
# Of the 65 530 that Linux grants.
_MOST = 25_000


def make_room() -> None:
    """Forget compiled programs when there are very many.

    Every program maps memory, and a process may only have so many maps: at the next one XLA dies.
    An analysis of an image of a new shape takes some two thousand.
    """
    if _MAPS.exists() and _MAPS.read_bytes().count(b"\n") > _MOST:
        jax.clear_caches()

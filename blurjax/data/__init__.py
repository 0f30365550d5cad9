"""Sharp images to blur: photographs on disk, in scikit-image and in TFDS, dead leaves.

A *source* is a random-access sequence of gray photographs, the protocol of the data sources
of TFDS and Grain with names added. Sources are read lazily on the host; `tiles` turns one
into a stack of squares that the samplers keep on the device.
"""

from blurjax.data._dead_leaves import dead_leaves
from blurjax.data._embedded import embedded, embedded_path
from blurjax.data._folder import folder
from blurjax.data._frames import Frames, frames
from blurjax.data._levin import Levin, LevinSet, levin
from blurjax.data._pairs import Pair, Pairs, pairs
from blurjax.data._prepare import build, download
from blurjax.data._scenes import REGIONS, Scenes, scenes
from blurjax.data._source import Source, concatenate, file_hashes, split, subset
from blurjax.data._textures import texture
from blurjax.data._tfds import BUILDERS, source, tfds
from blurjax.data._tiles import Tiles, tiles

__all__ = [
    "BUILDERS",
    "REGIONS",
    "Frames",
    "Levin",
    "LevinSet",
    "Pair",
    "Pairs",
    "Scenes",
    "Source",
    "Tiles",
    "build",
    "concatenate",
    "dead_leaves",
    "download",
    "embedded",
    "embedded_path",
    "file_hashes",
    "folder",
    "frames",
    "levin",
    "pairs",
    "scenes",
    "source",
    "split",
    "subset",
    "texture",
    "tfds",
    "tiles",
]

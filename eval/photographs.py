"""Which photographs a protocol is run on."""

from pathlib import Path
from typing import Literal

from blurjax import data


def chosen(images: tuple[Path, ...], split: Literal["all", "test", "train"]) -> data.Source:
    """The photographs of some folders, or those inside scikit-image.

    Args:
        images: folders of sharp photographs; none for the test photographs inside scikit-image.
        split: "test" keeps only the tenth that training on the same folders never looks at,
            "train" the eight tenths that it learns from.

    Returns:
        A source of at least one photograph, folder after folder.

    Raises:
        ImageError: a folder is missing or holds no image.
        ValueError: no photograph is left.
    """
    source = data.concatenate(*map(data.source, images)) if images else data.embedded("test")
    if split != "all":
        train, _, test = data.split(source)
        source = test if split == "test" else train
    if not len(source):
        raise ValueError("no photograph is left to evaluate on; give --split all or more images")
    return source

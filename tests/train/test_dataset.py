"""`python -m train dataset`, and training from what it prepared."""

import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import tensorflow_datasets
import tyro

from blurjax import data, images
from train import dataset, files


@pytest.fixture
def photographs(tmp_path):
    (tmp_path / "in").mkdir()
    for i in range(40):
        images.write(tmp_path / "in" / f"{i:02d}.png", np.full((6, 5), i / 40))
    return tmp_path / "in"


def run(*words):
    return tyro.cli(dataset.make, args=[str(word) for word in words])


def test_photographs_of_ones_own(photographs, tmp_path, capsys):
    place = run("folder/mine", "--manual", photographs, "--data-dir", tmp_path / "out")
    assert place == tmp_path / "out" / "folder" / "mine" / "1.0.0"
    out, err = capsys.readouterr()
    word = f"tfds:folder/mine?data_dir={tmp_path / 'out'}"
    assert out == "" and err.strip() == f"40 photographs in {place}; use them as {word}"
    # As a run names it, beside a folder; split as the files themselves are.
    train, validation = files.sources((Path(word),))
    alone = files.sources((photographs,))
    for part, same in zip((train, validation), alone, strict=True):
        assert [name.removeprefix("train/") for name in part.names] == list(same.names)
    both = files.sources((photographs, Path(word)))
    assert [len(part) for part in both] == [2 * len(part) for part in alone]
    about = files.listing(train, validation)
    assert about["train"] == len(train) and about["sha256"] != files.listing(*alone)["sha256"]
    files.claim(tmp_path / "run", about)
    files.claim(tmp_path / "run", files.listing(*files.sources((Path(word),))))
    with pytest.raises(ValueError, match="run on other photographs"):
        files.claim(tmp_path / "run", files.listing(*alone))


def test_files_of_ones_own_have_to_be_named():
    with pytest.raises(ValueError, match=r"bsds500: made of files of yours; .* --manual DIR"):
        run("bsds500")


def test_data_sets_of_tfds_are_asked_for_as_array_record(tmp_path):
    asked = {}

    def record(builder, **options):
        asked[builder.info.full_name] = options

    kind = tensorflow_datasets.core.DatasetBuilder
    with (
        tensorflow_datasets.testing.mock_data(num_examples=3),
        mock.patch.object(kind, "download_and_prepare", record),
    ):
        run("voc/2007", "--manual", tmp_path, "--data-dir", tmp_path / "out")
    ((name, options),) = asked.items()
    assert name == "voc/2007/5.0.0" and options["file_format"] == "array_record"
    config = options["download_config"]
    assert config.manual_dir == tmp_path and not config.try_download_gcs
    assert options["download_dir"] == tmp_path / "out" / "downloads"
    assert "tensorflow" not in sys.modules


def test_the_command_names_every_builder():
    assert all(name in dataset.make.__doc__ for name in data.BUILDERS)

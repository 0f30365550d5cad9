import json

import numpy as np
import pytest

from blurjax import data, images
from train import files


def test_records_are_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "record.json"
    files.write(path, {"a": (1, 2)})
    assert json.loads(path.read_text()) == {"a": [1, 2]}
    with pytest.raises(TypeError):
        files.write(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": [1, 2]}
    assert [found.name for found in path.parent.iterdir()] == ["record.json"]


def test_without_folders_there_are_the_embedded_photographs():
    train, validation = files.sources(())
    assert train.names == data.embedded("train").names
    assert validation.names == data.embedded("validation").names
    assert not set(train.names) & set(validation.names)


def test_photographs_that_cannot_be_read_are_left_out_and_counted(tmp_path, capsys):
    for i in range(12):
        images.write(tmp_path / f"{i}.png", np.full((40, 40), i / 12))
    whole = (tmp_path / "3.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    source = files.readable(data.folder(tmp_path))
    assert len(source) == 12 and "cut.png" not in source.names
    said = capsys.readouterr().err
    assert "1 of 13 photographs cannot be read and are left out:" in said and "cut.png" in said
    train, validation = files.sources((tmp_path,))
    assert "cut.png" not in (*train.names, *validation.names)
    for path in tmp_path.glob("[0-9]*"):
        path.unlink()
    with pytest.raises(images.ImageError, match="none of 1 photographs can be read"):
        files.readable(data.folder(tmp_path))

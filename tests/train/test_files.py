import json

import pytest

from blurjax import data
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

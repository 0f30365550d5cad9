"""python -m eval blur_type_recall, on a few patches of the embedded photographs."""

import json

import pytest

from eval import blur_type_recall as protocol


@pytest.mark.slow
def test_the_protocol(tmp_path, monkeypatch, capsys):
    import jax

    from blurjax.blur_type import samples

    monkeypatch.setattr(samples, "_CHUNK", 300)
    with jax.enable_x64(False):
        result = protocol.evaluate(out=tmp_path, memory=40, patches=30)
    written = json.loads((tmp_path / "report.json").read_text())
    assert written["errors"] == result["errors"]
    assert set(result["errors"]) == {
        "feature, one bandwidth",
        "bottleneck, one bandwidth",
        "bottleneck, learned bandwidths",
        "branch, one bandwidth",
        "branch, learned bandwidths",
    }
    for errors in result["errors"].values():
        assert set(errors) == {"sigma", "length", "angle", "radius"}
        assert 0 < errors["sigma"] < 3 and 0 < errors["angle"] <= 90
    assert "what is compared" in capsys.readouterr().out


def test_refuses():
    with pytest.raises(ValueError, match="patches is 100"):
        protocol.evaluate(patches=100)

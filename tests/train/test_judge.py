"""The judge of whole photographs: examples, readings, fit."""

import jax
import numpy as np
import pytest

from blurjax import blur_type, data
from blurjax.blur_type import ANSWERS, _judge
from train import judge

CONFIG = blur_type.Config()


@pytest.fixture(scope="module")
def source():
    return data.embedded("train")


@pytest.mark.slow
def test_examples_are_files_of_every_answer(source):
    examples = [judge.example(source, i, CONFIG, 3) for i in range(25)]
    answers = {e.answer for e in examples if e is not None}
    assert answers == set(range(len(ANSWERS)))
    for one in filter(None, examples):
        levels = 255 * one.image
        np.testing.assert_allclose(levels, np.round(levels), atol=1e-4)
        assert one.image.shape in ((288, 288), (160, 160)) and one.image.dtype == np.float32
        assert (one.theta[0] > 0) == (ANSWERS[one.answer] in blur_type.LABELS)
    again = judge.example(source, 5, CONFIG, 3)
    np.testing.assert_array_equal(again.image, examples[5].image)
    other = judge.example(source, 5, CONFIG, 4)
    assert np.abs(other.image - again.image).max() > 0.1


def test_evidence_of_what_can_be_read(source, monkeypatch):
    lines = []
    none = []

    def read_patches(image, variables, config):
        if len(none) == 2:
            return None
        none.append(image.shape)
        share = np.full((9, 3), 1 / 3, np.float32)
        size = np.linspace(2, 3, 9)
        return (
            blur_type.Prediction(share, share, np.zeros(9, int), size, size, size, size, share),
            np.zeros((9, 2), int),
        )

    monkeypatch.setattr(judge, "read_patches", read_patches)
    rows, answers = judge.evidence(source, 4, {}, CONFIG, 0, lines.append)
    assert rows.shape == (2, _judge.EVIDENCE) and answers.shape == (2,)
    np.testing.assert_allclose(rows[0, :9], np.log(1 / 3), rtol=1e-5)
    assert np.all(np.isfinite(rows)) and lines == ["read 4 of 4 photographs"]


@pytest.mark.slow
def test_a_judge_learns_what_can_be_known():
    rng = np.random.default_rng(0)
    answers = rng.integers(0, len(ANSWERS), 3000)
    rows = rng.standard_normal((3000, _judge.EVIDENCE)).astype(np.float32)
    rows[:, :5] += 3 * np.eye(5, dtype=np.float32)[answers]
    # One in five answers is not to be known.
    unknown = rng.random(3000) < 0.2
    rows[unknown, :5] = 0
    params = judge.fit(jax.random.key(0), rows[:2000], answers[:2000])
    report = judge.report(params, rows[2000:], answers[2000:])
    assert 0.7 < report["right"] < 0.95
    assert abs(report["surer_than_right"]) < 0.12
    same = judge.fit(jax.random.key(0), rows[:2000], answers[:2000])
    np.testing.assert_array_equal(same["kernel0"], params["kernel0"])

"""The main job, whole but short: two hundred sentences, one epoch."""

import keras
import numpy as np
import pytest

from keras_attn_xai import demo, load_explanation
from keras_attn_xai.metrics import kendall_tau, top_k_overlap
from keras_attn_xai.text import Vocabulary

WRITTEN = ("explanations", "model.keras", "pictures", "report.html", "saved_model", "vocabulary.txt")


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    told = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "movie_reviews", few_reviews)
        patch.setattr(demo, "HELD_OUT", 40)
        patch.setattr(demo, "BUDGET", 64)
        done = demo.run_demo(tmp_path_factory.mktemp("demo") / "out", sentences=3, epochs=1, say=told.append)
    return done, told


def few_reviews():
    from keras_attn_xai.datasets import movie_reviews

    everything = movie_reviews()
    some = np.r_[:100, -100:0]
    return everything._replace(texts=tuple(everything.texts[i] for i in some), labels=everything.labels[some])


def test_everything_is_written(result):
    done, told = result
    assert done.written == WRITTEN
    assert sorted(entry.name for entry in done.folder.iterdir()) == sorted(WRITTEN)
    assert len(list((done.folder / "pictures").glob("*.png"))) == 3
    assert [line[:3] for line in told if line[:1].isdigit()] == ["1/5", "2/5", "3/5", "4/5", "5/5"]


def test_what_is_written_agrees(result):
    done, _ = result
    model = keras.models.load_model(done.folder / "model.keras")
    vocabulary = Vocabulary.read(done.folder / "vocabulary.txt")
    explanation = load_explanation(done.folder / "explanations")
    moved, seen = explanation.attribution, explanation.attention[0]
    assert moved.unit == "log-odds"
    assert moved.relative_gap.max() < 1e-5
    for row in range(3):
        ids = np.array([[vocabulary(piece)[0][0] for piece in explanation.labels[row] if piece]])
        probability = model.predict(ids, verbose=0)[0, moved.target[row]].astype(float)
        np.testing.assert_allclose(1 / (1 + np.exp(-moved.output[row])), probability, atol=1e-5)
        np.testing.assert_allclose(seen.weights[row].sum(), 1, atol=1e-5)
        assert not seen.weights[row][..., ~seen.mask[row]].any()
    assert demo.compare(explanation) == (done.tau, done.overlap)
    looked, sizes = seen.weights[:, 0, 0], np.abs(moved.values)  # one head, one query
    np.testing.assert_allclose(done.tau.mean, kendall_tau(looked, sizes, mask=moved.mask).mean())
    np.testing.assert_allclose(done.overlap.mean, top_k_overlap(looked, sizes, mask=moved.mask).mean())


def test_a_foreign_folder_is_refused_before_any_work(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    told = []
    with pytest.raises(FileExistsError, match=r"does not hold report\.html"):
        demo.run_demo(tmp_path, say=told.append)
    assert told == []

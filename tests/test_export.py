"""A SavedModel answers with its attention, also where Keras cannot be imported."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_attn_xai import export_saved_model, expose_attention
from keras_attn_xai.errors import ModelError
from keras_attn_xai.layers import BahdanauAttention, LuongAttention

WITHOUT_KERAS = """
import sys
sys.modules["keras"] = None  # from here on, importing Keras fails
import numpy as np, tensorflow as tf
serve = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
given = np.load(sys.argv[2])
np.savez(sys.argv[3], **{name: tensor.numpy() for name, tensor in serve(ids=tf.constant(given["ids"])).items()})
assert sys.modules["keras"] is None
"""


def reviews():
    ids = keras.Input((None,), dtype="int32", name="ids")
    states = keras.layers.Embedding(17, 5, mask_zero=True)(ids)
    states = keras.layers.Bidirectional(keras.layers.LSTM(3, return_sequences=True))(states)
    context, _ = BahdanauAttention(7, name="att")(states)
    pooled = keras.layers.GlobalAveragePooling1D()(context)
    return keras.Model(ids, keras.layers.Dense(2, activation="softmax")(pooled))


IDS = np.array([[3, 1, 4, 1, 5], [9, 2, 6, 0, 0]], "int32")


def test_the_numbers_without_keras_are_those_of_the_view(tmp_path):
    model = reviews()
    before = model.predict(IDS, verbose=0)
    path = export_saved_model(model, tmp_path / "served")
    np.savez(tmp_path / "given.npz", ids=IDS)
    arguments = [str(path), str(tmp_path / "given.npz"), str(tmp_path / "answer.npz")]
    subprocess.run([sys.executable, "-c", WITHOUT_KERAS, *arguments], check=True, capture_output=True)
    answer, wanted = np.load(tmp_path / "answer.npz"), expose_attention(model).predict(IDS, verbose=0)
    assert sorted(answer) == sorted(wanted) == ["attention/att", "output"]
    for name, array in wanted.items():
        np.testing.assert_allclose(answer[name], array, atol=1e-6)
    np.testing.assert_array_equal(model.predict(IDS, verbose=0), before)


def test_batch_and_length_stay_open(tmp_path):
    serve = tf.saved_model.load(str(export_saved_model(reviews(), tmp_path / "m"))).signatures["serving_default"]
    for rows, length in ((1, 3), (5, 11)):
        answer = serve(ids=tf.ones((rows, length), tf.int32))
        assert answer["attention/att"].shape == (rows, 1, length, length)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.embed = keras.layers.Embedding(17, 5)
        self.look = LuongAttention(return_weights=False, name="look")

    def call(self, ids):
        return self.look(self.embed(ids))


def test_a_subclassed_model_needs_an_example(tmp_path):
    with pytest.raises(ModelError, match="pass example="):
        export_saved_model(Subclassed(), tmp_path / "m")
    assert not list(tmp_path.iterdir())


def test_a_subclassed_model_with_an_example(tmp_path):
    model = Subclassed()
    loaded = tf.saved_model.load(str(export_saved_model(model, tmp_path / "m", example=IDS)))
    answer = loaded.serve(tf.constant(IDS[[0, 1, 1]]))
    np.testing.assert_allclose(answer["output"], model(IDS[[0, 1, 1]]), atol=1e-6)
    assert answer["attention/look"].shape == (3, 1, 5, 5)


def test_a_saved_model_is_replaced_and_nothing_else(tmp_path):
    path = export_saved_model(reviews(), tmp_path / "m")
    export_saved_model(reviews(), path)
    foreign = tmp_path / "photos"
    foreign.mkdir()
    (foreign / "cat.jpg").write_bytes(b"meow")
    with pytest.raises(FileExistsError, match=r"does not hold saved_model\.pb"):
        export_saved_model(reviews(), foreign)
    assert (foreign / "cat.jpg").read_bytes() == b"meow"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["m", "photos"]


def test_a_model_without_attention_gets_a_sentence(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    with pytest.raises(ModelError, match="has no attention layer"):
        export_saved_model(model, tmp_path / "m")
    assert not list(tmp_path.iterdir())


def test_a_failure_leaves_nothing_and_the_model_as_it_was(tmp_path, monkeypatch):
    model = reviews()
    before = model.predict(IDS, verbose=0)

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(tf.saved_model, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        export_saved_model(model, tmp_path / "deep" / "m")
    assert not list((tmp_path / "deep").iterdir())
    np.testing.assert_array_equal(model.predict(IDS, verbose=0), before)

"""Attention while a model trains, read back by TensorBoard itself and from the CSV file."""

import csv
import json
import time
import urllib.parse
import urllib.request

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_attn_xai import AttentionExplainer, align, callbacks, capture_attention
from keras_attn_xai.callbacks import AttentionCallback, AttentionCSVLogger, numbers
from keras_attn_xai.errors import ArgumentError, MissingExtraError, ModelError
from keras_attn_xai.layers import MultiHeadAttention
from keras_attn_xai.metrics import head_entropy, kendall_tau

B, H, S, V = 3, 2, 5, 11
EPOCHS = 3


@pytest.fixture
def reader():
    """A compiled reader of token ids with two heads, and its rows, some padded."""
    keras.utils.set_random_seed(0)
    ids = keras.Input((S,), dtype="int32")
    x = keras.layers.Embedding(V, 4, mask_zero=True)(ids)
    x, _ = MultiHeadAttention(H, 4, name="heads")(x, x)
    model = keras.Model(ids, keras.layers.Dense(2, activation="softmax")(keras.layers.GlobalAveragePooling1D()(x)))
    model.compile(keras.optimizers.SGD(0.5), "sparse_categorical_crossentropy")
    rows = np.random.default_rng(0).integers(2, V, (B, S)).astype("int32")
    rows[1, 3:] = 0
    return model, rows


def fit(model, rows, *callback, epochs=EPOCHS):
    """Train a little."""
    model.fit(rows, np.arange(len(rows)) % 2, epochs=epochs, verbose=0, callbacks=list(callback))


def expected_numbers(model, rows):
    """What is to be logged, from its parts."""
    explanation = AttentionExplainer(model, 1, method="expected_gradients")(rows, progress=False)
    seen = align(explanation)
    tau = kendall_tau(seen.attention, np.abs(seen.attribution), mask=seen.mask)
    entropies = head_entropy(explanation.attention[0], normalized=True).mean(0)
    return {f"entropy/heads/head {h}": entropies[h] for h in range(H)} | {
        "agreement with gradients/kendall_tau": np.nanmean(tau)
    }


def served(log_dir):
    """``get(path)`` answered by a TensorBoard that reads the folder."""
    program = pytest.importorskip("tensorboard.program", reason="pip install tensorboard")
    board = program.TensorBoard()
    board.configure(argv=[None, "--logdir", str(log_dir), "--port", "0", "--load_fast", "false"])
    url = board.launch()

    def get(path):
        with urllib.request.urlopen(url + path) as answer:
            return answer.read()

    for _ in range(100):
        if json.loads(get("data/plugin/images/tags")):
            return get
        time.sleep(0.1)
    raise AssertionError("TensorBoard found nothing in the log.")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what TensorBoard itself imports
def test_a_real_tensorboard_reads_the_log(reader, tmp_path):
    model, rows = reader
    fit(model, rows, AttentionCallback(tmp_path, rows, background=1, images=2))
    get = served(tmp_path)
    (tags,) = json.loads(get("data/plugin/scalars/tags")).values()
    for name, number in expected_numbers(model, rows).items():
        assert name in tags
        query = urllib.parse.urlencode({"run": "attention", "tag": name})
        points = json.loads(get(f"data/plugin/scalars/scalars?{query}"))
        assert [step for _, step, _ in points] == list(range(EPOCHS))
        np.testing.assert_allclose(points[-1][2], number, atol=1e-5)
    (images,) = json.loads(get("data/plugin/images/tags")).values()
    assert set(images) == {f"{kind}/row {row}" for kind in ("heads", "attention beside gradients") for row in range(2)}
    query = urllib.parse.urlencode({"run": "attention", "tag": "heads/row 1", "sample": 0})
    kept = json.loads(get(f"data/plugin/images/images?{query}"))
    assert [one["step"] for one in kept] == list(range(EPOCHS))
    picture = tf.io.decode_png(get(f"data/plugin/images/individualImage?{kept[-1]['query']}"))
    assert picture.shape[0] > 50
    assert np.ptp(picture.numpy()) > 100


def test_the_csv_has_a_line_for_each_epoch_and_the_same_numbers(reader, tmp_path):
    model, rows = reader
    path = tmp_path / "attention.csv"
    fit(model, rows, AttentionCSVLogger(path, rows, background=1, every=2))
    with path.open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["epoch"] for line in lines] == ["0", "2"]
    for name, number in expected_numbers(model, rows).items():
        np.testing.assert_allclose(float(lines[-1][name]), number, atol=1e-5)
    assert lines[0] != {**lines[1], "epoch": "0"}  # it has learned in between


def test_no_progress_is_shown_between_the_epochs(reader, tmp_path, monkeypatch):
    model, rows = reader
    asked = []

    def listened(*given, **options):
        asked.append(options)
        return capture_attention(*given, **options)

    monkeypatch.setattr(callbacks, "capture_attention", listened)
    fit(model, rows, AttentionCSVLogger(tmp_path / "a.csv", rows), epochs=2)
    assert [options["progress"] for options in asked] == [False] * 3  # before the first epoch, and after both


def test_appending_goes_on_and_other_columns_are_refused(reader, tmp_path):
    model, rows = reader
    path = tmp_path / "attention.csv"
    for _ in range(2):
        fit(model, rows, AttentionCSVLogger(path, rows), epochs=1)
    assert len(path.read_text().splitlines()) == 2
    fit(model, rows, AttentionCSVLogger(path, rows, append=True), epochs=1)
    assert len(path.read_text().splitlines()) == 3
    with pytest.raises(ArgumentError, match=r"has the columns epoch, entropy.*these rows give .*kendall_tau"):
        fit(model, rows, AttentionCSVLogger(path, rows, background=1, append=True), epochs=1)
    assert len(path.read_text().splitlines()) == 3


def test_training_is_the_same_with_and_without(reader, tmp_path):
    model, rows = reader
    before = model.get_weights()
    keras.utils.set_random_seed(4)
    fit(model, rows)
    alone = model.get_weights()
    model.set_weights(before)
    model.compile(keras.optimizers.SGD(0.5), "sparse_categorical_crossentropy")
    keras.utils.set_random_seed(4)
    fit(model, rows, AttentionCSVLogger(tmp_path / "a.csv", rows, background=1))
    for one, other in zip(alone, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_mistakes_are_told_before_the_first_epoch(reader, tmp_path, monkeypatch):
    _, rows = reader
    plain = keras.Sequential([keras.Input((S,)), keras.layers.Dense(2, activation="softmax")])
    plain.compile("sgd", "sparse_categorical_crossentropy")
    before = plain.get_weights()
    with pytest.raises(ModelError, match="attention"):
        fit(plain, rows.astype("float32"), AttentionCSVLogger(tmp_path / "a.csv", rows.astype("float32")))
    np.testing.assert_array_equal(plain.get_weights()[0], before[0])
    with pytest.raises(ArgumentError, match="every must be a positive number of epochs; received 0"):
        AttentionCSVLogger(tmp_path / "a.csv", rows, every=0)
    with pytest.raises(ArgumentError, match="need background="):
        AttentionCSVLogger(tmp_path / "a.csv", rows, target=1)
    monkeypatch.setattr(callbacks, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"keras-attn-xai\[tensorboard\].*AttentionCSVLogger"):
        AttentionCallback(tmp_path, rows)


def test_a_number_that_is_defined_for_no_row_is_nan(reader):
    model, _ = reader
    one_word = np.zeros((B, S), "int32")
    one_word[:, 0] = 3
    found = numbers(capture_attention(model, one_word))
    assert np.isnan(list(found.values())).all()

"""Whether attention weights help a model that reads every position for itself.

Shapes: B rows, S positions, F features of a step, C classes, K trainings, W kinds of weights.
"""

import keras
import numpy as np
from keras import layers, ops

from keras_attn_xai.auditing.arguments import require_count
from keras_attn_xai.auditing.retraining import classes, found_over_trainings, require_seeds
from keras_attn_xai.auditing.swapped_weights import SwappedWeights
from keras_attn_xai.errors import ModelError
from keras_attn_xai.explain.inputs import InputReader

BATCH, RATE = 32, 1e-2  # of Adam
KINDS = ("trained", "uniform", "shuffled")


def diagnostic_mlp(
    model, x, y, x_test, y_test, *, seeds=(0, 1, 2), units=32, epochs=20, map=None, tokenizer=None, seed=0
):
    """Whether a model without context is right more often when its positions are weighted as attention weights them.

    Parameters
    ----------
    model : keras.Model
        As `intervene` takes it; it is not changed. Its weights guide the other model.
    x, x_test : as `AttentionExplainer` takes it
        Rows to train that model on, and others to try it on; of the first input, token ids (B, S) or steps (B, S, F).
    y, y_test : int array (B,)
        Their classes.
    seeds : sequence of int, default (0, 1, 2)
        Of the initial values; at least two.
    units : int, default 32
        Of its embedding and of its layer.
    epochs : int, default 20
    map, tokenizer, seed
        As in `permutation_test`.

    Returns
    -------
    AttentionTest
        ``gain`` (B,), -1 to 1: share of the trainings right with the attention of ``model`` less that with uniform
        weights; above 0, the weights know which positions matter by themselves. ``gain over shuffled`` (B,): the same
        over each row's weights shuffled. ``trained``, ``uniform`` and ``shuffled`` (B,): the shares.

    Raises
    ------
    ModelError
        As `permutation_test`, and positions that are neither tokens nor steps.
    ArgumentError
        As `permutation_test`, less than two seeds, and counts below 1.
    ShapeError
        Classes that are not one for each row.

    Notes
    -----
    Every position goes through an embedding (of ids) and one tanh layer, alone; the sum over positions, with the given
    weights, goes to the classes. Trained by Adam with all weights at once, in separate branches. Weights are the mean
    over heads and real queries, scaled to sum to 1. Intervals as in `uniform_retrained`.

    References
    ----------
    Wiegreffe and Pinter 2019, "Attention is not not explanation" (arXiv:1908.04626), section 3.3.

    Examples
    --------
    >>> import keras, numpy as np
    >>> from keras_attn_xai.auditing import diagnostic_mlp
    >>> from keras_attn_xai.layers import AttentionPooling
    >>> pool = AttentionPooling("location", return_weights=False)
    >>> model = keras.Sequential([keras.Input((3, 2)), pool, keras.layers.Softmax()])
    >>> x, y = np.repeat([[[0, 1.0]] * 3, [[1.0, 0]] * 3], 8, axis=0), np.repeat([1, 0], 8)
    >>> test = diagnostic_mlp(model, x, y, x, y, epochs=10)  # all positions are the same, so that any weights do
    >>> test.mean.mean, test.intervals["uniform"].mean
    (0.0, 1.0)
    """
    right = guided(model, x, y, x_test, y_test, seeds, units, epochs, map=map, tokenizer=tokenizer, seed=seed)
    return compared(right, seed=seed)


def guided(model, x, y, x_test, y_test, seeds, units=32, epochs=20, *, map=None, tokenizer=None, seed=0):
    """Where the model that reads each position alone is right.

    Parameters
    ----------
    model, x, y, x_test, y_test, seeds, units, epochs, map, tokenizer, seed
        As in `diagnostic_mlp`.

    Returns
    -------
    float array (K, W, B)
        1 where it is, for each training and each of ``KINDS``.
    """
    require_seeds(seeds)
    require_count("units", units)
    require_count("epochs", epochs)
    draw = np.random.default_rng(seed)
    train, test = (_Guided(model, given, map, tokenizer, draw) for given in (x, x_test))
    y, y_test = classes(y, len(train)), classes(y_test, len(test))
    most = int(max(y.max(), y_test.max())) + 1
    ids = int(max(train.positions.max(), test.positions.max())) + 1 if train.are_ids else None
    reader = _readers(train.positions.shape[2:], ids, units, max(most, 2), seeds)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    reader.compile(keras.optimizers.Adam(RATE), loss, jit_compile=False)  # compiling would take longer than training
    steps = -(-len(train) // BATCH) * epochs
    reader.fit(_batches(train, y, len(seeds) * len(KINDS), draw), steps_per_epoch=steps, shuffle=False, verbose=0)
    said = reader.predict([test.positions, test.weights], batch_size=512, verbose=0)  # (B, K W, C)
    return (said.argmax(2) == y_test[:, None]).T.reshape(len(seeds), len(KINDS), -1).astype(float)


def compared(right, *, seed=0):
    """The test of what `guided` found.

    Parameters
    ----------
    right : float array (K, W, B)
    seed : int, default 0

    Returns
    -------
    AttentionTest
    """
    trained, even, shuffled = right.transpose(1, 0, 2)
    return found_over_trainings(
        "diagnostic MLP",
        {
            "gain": trained - even,
            "gain over shuffled": trained - shuffled,
            **dict(zip(KINDS, (trained, even, shuffled), strict=True)),
        },
        "Accuracy of a model that reads each position alone, weighted by attention, less that with uniform weights; "
        "above 0, the weights know by themselves which positions matter.",
        seed=seed,
    )


class _Guided:
    """What the model reads, and the weights of each kind (B, W, S)."""

    def __init__(self, model, x, map, tokenizer, draw):
        swapped = SwappedWeights(model, x, call=map, tokenizer=tokenizer)
        side = InputReader(model, tokenizer).read(x)[0][0]
        self.are_ids, keys = side.is_ids and side.array.ndim == 2, swapped.keys
        if keys.shape != side.array.shape[:2] or side.array.ndim != (2 if self.are_ids else 3):
            raise ModelError(
                f"The diagnostic reads token ids (B, S) or steps (B, S, F) with a weight for each; the first input is "
                f"{side.array.shape}, and '{swapped.call}' has {keys.shape[1]} keys."
            )
        self.positions = side.array.astype("int32" if self.are_ids else "float32")
        own = np.where(keys, np.maximum(swapped.by_key(swapped.weights), 0), 0)
        self.weights = np.stack([_scaled(one) for one in (own, keys, _shuffled(own, keys, draw))], axis=1)

    def __len__(self):
        return len(self.positions)


def _scaled(weights):
    total = weights.sum(1, keepdims=True)
    return (weights / np.where(total > 0, total, 1)).astype("float32")


def _shuffled(weights, keys, draw):
    """Each row's weights shuffled among its keys."""
    order = np.argsort(np.where(keys, draw.random(keys.shape), 2.0), axis=1)
    places = np.argsort(~keys, axis=1, kind="stable")
    made = np.zeros_like(weights)
    np.put_along_axis(made, places, np.take_along_axis(weights, order, axis=1), axis=1)
    return made


def _readers(features, ids, units, count, seeds):
    """Positions and weights (B, W, S) to scores (B, K W, C)."""
    positions = keras.Input((None, *features), dtype="float32" if ids is None else "int32")
    weights = keras.Input((len(KINDS), None))
    return keras.Model([positions, weights], _Readers(ids, units, count, seeds)([positions, weights]))


class _Readers(layers.Layer):
    """A reader of positions for each seed and kind of weights, with nothing shared; those of a seed begin alike."""

    def __init__(self, ids, units, count, seeds):
        super().__init__()
        self._sizes, self._seeds = (ids, units, count), tuple(seeds)

    def build(self, shapes):
        ids, units, count = self._sizes
        draws = [np.random.default_rng(one) for one in self._seeds]
        features = shapes[0][-1] if ids is None else units
        self.embedding = None if ids is None else self._drawn((ids, units), 0.05, draws)
        self.kernel = self._drawn((features, units), (6 / (features + units)) ** 0.5, draws)
        self.bias = self._drawn((1, 1, units), 0.0, draws)
        self.out = self._drawn((units, count), (6 / (units + count)) ** 0.5, draws)
        self.offset = self._drawn((count,), 0.0, draws)

    def _drawn(self, shape, reach, draws):
        """A variable (K W, ...) of uniform numbers."""
        values = np.repeat([draw.uniform(-reach, reach, shape) for draw in draws], len(KINDS), axis=0)
        return self.add_weight(shape=values.shape, initializer=lambda shape, dtype: ops.cast(values, dtype))

    def call(self, inputs):
        """Scores (B, K W, C)."""
        x, weights = inputs
        read = "bsf,gfu->gbsu"
        if self.embedding is not None:
            x, read = ops.take(self.embedding, x, axis=1), "gbsf,gfu->gbsu"
        hidden = ops.tanh(ops.einsum(read, x, self.kernel) + self.bias)
        context = ops.einsum("bgs,gbsu->bgu", ops.tile(weights, (1, len(self._seeds), 1)), hidden)
        return ops.einsum("bgu,guc->bgc", context, self.out) + self.offset


def _batches(guided, y, branches, draw):
    """Shuffled rows without end, with the class once for each branch."""
    while True:
        order = draw.permutation(len(guided))
        for at in range(0, len(order), BATCH):
            rows = order[at : at + BATCH]
            yield (guided.positions[rows], guided.weights[rows]), np.repeat(y[rows, None], branches, axis=1)

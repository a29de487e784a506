"""Attention while a model trains: into TensorBoard, or into a CSV file."""

import csv
import io
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_attn_xai.alignment import align
from keras_attn_xai.capture.maps import capture_attention
from keras_attn_xai.errors import ArgumentError, MissingExtraError, ModelError
from keras_attn_xai.explain.explainer import AttentionExplainer
from keras_attn_xai.metrics import head_entropy, row_agreement
from keras_attn_xai.plots import plot_heads, plot_side_by_side

MEASURES = ("kendall_tau", "top_k_overlap")


class _AttentionLogger(keras.callbacks.Callback):
    """Looks at the same rows after every epoch, or every few."""

    def __init__(self, x, *, background=None, target=None, tokenizer=None, every=1):
        super().__init__()
        if isinstance(every, bool) or not isinstance(every, (int, np.integer)) or every < 1:
            raise ArgumentError(f"every must be a positive number of epochs; received {every!r}.")
        self._x, self._background, self._every = x, background, every
        self._options = {"target": target, "tokenizer": tokenizer}
        if background is None and (target is not None or tokenizer is not None):
            raise ArgumentError("target= and tokenizer= are for the gradients, which need background=.")
        self._explainer = None

    def on_train_begin(self, logs=None):
        """Look once where the model has weights already, so that a mistake is told before the first epoch."""
        self._explainer = None
        if self.model.built:
            self._look()

    def on_epoch_end(self, epoch, logs=None):
        """Look, and write down what was seen."""
        if epoch % self._every == 0:
            self._write(epoch, *self._look())

    def _look(self):
        """Maps, the explanation or None, and the numbers by name."""
        explanation = None
        if self._background is None:
            maps = capture_attention(self.model, self._x, progress=False)
        else:
            if self._explainer is None:
                self._explainer = AttentionExplainer(
                    self.model, self._background, method="expected_gradients", **self._options
                )
            explanation = self._explainer(self._x, progress=False)
            maps = explanation.attention
        if not maps:
            raise ModelError(f"'{self.model.name}' has no attention to log.")
        return maps, explanation, numbers(maps, explanation)

    def _write(self, epoch, maps, explanation, found):
        raise NotImplementedError


class AttentionCallback(_AttentionLogger):
    """Attention of the same rows after every epoch, for TensorBoard.

    Parameters
    ----------
    log_dir : str or path
        As of ``keras.callbacks.TensorBoard``; what is written goes into its folder ``attention``.
    x : array (B, ...), or a list, tuple or dict of these; texts with ``tokenizer``
        Rows to look at, as the model takes them. A few are enough.
    background : as in `AttentionExplainer`, optional
        With it, expected gradients are taken, and how far attention agrees with them is logged.
    target, tokenizer : optional
        As in `AttentionExplainer`, for the gradients.
    every : int, default 1
        Look after every so many epochs.
    images : int, default 3
        For so many rows a picture of all heads, and of attention beside gradients where there are any.
    class_names : sequence of str, optional
        For the pictures.

    Raises
    ------
    MissingExtraError
        TensorBoard is not installed; `AttentionCSVLogger` does without it.
    ModelError
        A model without attention, before the first epoch where it is built by then.

    Notes
    -----
    Scalars: ``entropy/<call>/head <h>``, from 0 (all weight on one key) to 1 (the same on each), mean over rows and
    queries; ``agreement with gradients/kendall_tau`` and ``top_k_overlap``, means over rows, of the last map with a key
    for each position (see `align`). The model is only read.

    Examples
    --------
    ``model.fit(x, y, callbacks=[keras.callbacks.TensorBoard("logs"), AttentionCallback("logs", x[:8], background=2)])``
    and then ``tensorboard --logdir logs``.
    """

    def __init__(
        self, log_dir, x, *, background=None, target=None, tokenizer=None, every=1, images=3, class_names=None
    ):
        if find_spec("tensorboard") is None:
            raise MissingExtraError(
                "AttentionCallback needs TensorBoard: pip install 'keras-attn-xai[tensorboard]'. AttentionCSVLogger "
                "writes the same numbers without it."
            )
        super().__init__(x, background=background, target=target, tokenizer=tokenizer, every=every)
        self._log_dir, self._images, self._class_names = Path(log_dir) / "attention", images, class_names
        self._writer: Any = None

    def on_train_begin(self, logs=None):
        """Look once, then open the log."""
        super().on_train_begin(logs)
        self._writer = tf.summary.create_file_writer(str(self._log_dir))

    def on_train_end(self, logs=None):
        """Close the log."""
        self._writer.close()

    def _write(self, epoch, maps, explanation, found):
        with self._writer.as_default(step=epoch):
            for name, number in found.items():
                if np.isfinite(number):
                    tf.summary.scalar(name, number)
            for row in range(min(self._images, len(maps[0]))):
                tf.summary.image(f"heads/row {row}", _pixels(plot_heads(maps, row=row)))
                if explanation is not None:
                    figure = plot_side_by_side(explanation[row], class_names=self._class_names)
                    tf.summary.image(f"attention beside gradients/row {row}", _pixels(figure))
        self._writer.flush()


class AttentionCSVLogger(_AttentionLogger):
    """The numbers of `AttentionCallback` as a CSV file: a line for each epoch, a column for each number.

    Parameters
    ----------
    filename : str or path
        As of ``keras.callbacks.CSVLogger``.
    x, background, target, tokenizer, every
        As in `AttentionCallback`.
    separator : str, default ","
    append : bool, default False
        Go on in a file that is there, as after training was resumed.

    Raises
    ------
    ArgumentError
        ``append`` to a file with other columns.

    Examples
    --------
    >>> import keras, numpy as np, pathlib, tempfile
    >>> from keras_attn_xai.callbacks import AttentionCSVLogger
    >>> from keras_attn_xai.layers import AttentionPooling
    >>> pool = AttentionPooling("location", return_weights=False, name="pool")
    >>> model = keras.Sequential([keras.Input((3, 2)), pool, keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "attention.csv"
    >>> rows = np.ones((4, 3, 2))
    >>> _ = model.fit(rows, np.ones(4), epochs=2, verbose=0, callbacks=[AttentionCSVLogger(path, rows)])
    >>> header, *lines = path.read_text().splitlines()
    >>> header, len(lines)
    ('epoch,entropy/pool/head 0', 2)
    """

    def __init__(
        self, filename, x, *, background=None, target=None, tokenizer=None, every=1, separator=",", append=False
    ):
        super().__init__(x, background=background, target=target, tokenizer=tokenizer, every=every)
        self._path, self._separator, self._append = Path(filename), separator, append

    def on_train_begin(self, logs=None):
        """Look once, then begin the file, unless it is to be gone on with."""
        super().on_train_begin(logs)
        if not self._append:
            self._path.unlink(missing_ok=True)

    def _write(self, epoch, maps, explanation, found):
        columns = ["epoch", *found]
        self._require_columns(columns)
        begins = not self._path.exists()
        with self._path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter=self._separator)
            if begins:
                writer.writerow(columns)
            writer.writerow([epoch, *found.values()])

    def _require_columns(self, columns):
        if not self._path.exists():
            return
        with self._path.open(newline="", encoding="utf-8") as file:
            there = next(csv.reader(file, delimiter=self._separator), [])
        if there != columns:
            raise ArgumentError(
                f"{self._path} has the columns {', '.join(there) or 'of no header'}; these rows give "
                f"{', '.join(columns)}. Write to another file, or without append=True."
            )


def numbers(maps, explanation=None):
    """What is logged of some maps, and of attributions beside them.

    Parameters
    ----------
    maps : sequence of AttentionMap
    explanation : Explanation, optional

    Returns
    -------
    dict of str to float
        Means over rows; NaN where a number is defined for none.
    """
    found = {}
    for one in maps:
        for head, entropies in enumerate(head_entropy(one, normalized=True).T):
            found[f"entropy/{one.name}/head {head}"] = _mean(entropies)
    if explanation is not None:
        for name, values in row_agreement(align(explanation), measures=MEASURES).items():
            found[f"agreement with gradients/{name}"] = _mean(values)
    return found


def _mean(values):
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _pixels(figure):
    """A figure as (1, height, width, 4)."""
    with io.BytesIO() as png:
        figure.savefig(png, format="png", facecolor=figure.get_facecolor(), dpi=100)
        return tf.io.decode_png(png.getvalue(), channels=4)[None]

"""Attention over documents: words make sentences, sentences make the document, and both say what counted."""

import re
import warnings

import keras
from keras import ops

from keras_attn_xai.errors import ArgumentError, ShapeError
from keras_attn_xai.layers import arguments, functional, normalizers
from keras_attn_xai.layers.attention_layer import WEIGHTS_KINDS
from keras_attn_xai.layers.keras_mask import attach_mask, attached_mask, refuse_tuple_inside_sequential
from keras_attn_xai.layers.pooling import (
    ONE_WEIGHT,
    AttentionPooling,
    fitting_mask,
    refuse_mask_beside_lengths,
)
from keras_attn_xai.layers.quantized_parts import RebuildsQuantizedParts

DEFAULTS = {"use_bias": True, "kernel_initializer": "glorot_uniform", "bias_initializer": "zeros"}  # the rest is None
SUBLAYERS = ("word_pooling", "sentence_pooling", "word_encoder", "sentence_encoder")


@keras.saving.register_keras_serializable(package="keras_attn_xai")
class HierarchicalAttention(RebuildsQuantizedParts):
    """A document as one vector: attention over the words of each sentence, then over the sentences.

    ``s_i = sum_t a_it h_it`` with ``a_it`` a softmax over the words of sentence i, and ``v = sum_i a_i h_i`` with
    ``a_i`` a softmax over the sentences, where ``h_it`` are the encoded words and ``h_i`` the encoded ``s_i``.

    Parameters
    ----------
    word_pooling, sentence_pooling : {"feedforward", "location", "gated"} or AttentionPooling, default "feedforward"
        How each level scores. A name makes an `AttentionPooling` with the arguments below; a layer has its own
        arguments, and one weight a position.
    units : int, optional
        Hidden units of both scores, by default as many as each level has features.
    word_encoder : keras.Layer, optional
        From the words of one sentence, (B, W, D) or ids (B, W), to (B, W, V): a Bidirectional GRU, or a Sequential
        that starts with an Embedding. By default the words are taken as they are.
    sentence_encoder : keras.Layer, optional
        From sentences (B, N, V) to sentences of any size.
    normalizer, dropout, seed
        See `AttentionLayer`; for both levels.
    return_weights : bool, default True
        False: the vector alone.
    weights_kind : {"weights", "scores", "dropped"}, default "weights"
        What comes out beside the vector, at both levels.
    fully_masked : {"zero", "uniform", "error"}, default "zero"
        The sentence weights of a document without a word, as in `AttentionLayer`. A sentence without words is
        padding: its word weights are 0, and so is its own weight beside other sentences.
    top_k : int, optional
        Return only the k largest weights of each sentence and of the document, and which they are of.
    use_bias : bool, default True
        See `AttentionPooling`; for both levels, as are the following. A pooling that is given as a layer has its own,
        so they are refused beside one.
    kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer, \
    kernel_constraint, bias_constraint
        As in ``keras.layers.Dense``; for every projection alike.
    weights_regularizer : keras.regularizers.Regularizer or str, optional
        A loss on the weights of words and of sentences; see `layers.weights_regularizers`.

    Call arguments
    --------------
    inputs : tensor (B, N, W, D), or ids (B, N, W)
        Ids need a ``word_encoder`` that reads them.
    mask : bool tensor (B, N, W)
        True keeps a word. By default the mask the inputs carry. A mask that the word encoder attaches to its output,
        as one with ``Embedding(mask_zero=True)`` does, leaves out words as well.
    lengths : int tensor (B, N)
        Words of each sentence, 0 for a sentence that is padding; the same as a ``mask`` that keeps the first words.
    training : bool, optional

    Returns
    -------
    vector : tensor (B, V)
    word_weights : tensor (B, N, W)
        Only with ``return_weights=True``. In [0, 1]; a sentence sums to 1 (but for a sigmoid), or to 0 without words.
    sentence_weights : tensor (B, N)
        Only with ``return_weights=True``. In [0, 1]; a document sums to 1 (but for a sigmoid), or to 0 without words.
    word_indices, sentence_indices : int tensors (B, N, k) and (B, k)
        Only with ``top_k``; the weights are then of these shapes.

    Raises
    ------
    ArgumentError
        A pooling with several weights a position, or an encoder that is no layer.
    ShapeError
        Inputs of another rank, lengths that are not (B, N), or an encoder that does not keep its positions.
    MaskError
        A mask that is not boolean, or not (B, N, W).

    Notes
    -----
    `expose_attention` shows the words as a map (B, 1, N, W) and the sentences as a map (B, 1, 1, N). Attention inside
    the word encoder sees a batch of B * N sentences.

    References
    ----------
    Yang et al. 2016, "Hierarchical attention networks for document classification" (doi:10.18653/v1/N16-1174),
    section 2.2: eq. 5 to 7 for the words, eq. 8 to 10 for the sentences.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.layers import HierarchicalAttention
    >>> words = np.ones((1, 3, 4, 5))  # three sentences of up to four words
    >>> vector, word_weights, sentence_weights = HierarchicalAttention()(words, lengths=[[4, 2, 0]])
    >>> np.array(word_weights)[0]  # equal words share the weight of their sentence
    array([[0.25, 0.25, 0.25, 0.25],
           [0.5 , 0.5 , 0.  , 0.  ],
           [0.  , 0.  , 0.  , 0.  ]], dtype=float32)
    >>> np.array(sentence_weights)
    array([[0.5, 0.5, 0. ]], dtype=float32)
    """

    def __init__(
        self,
        word_pooling="feedforward",
        sentence_pooling="feedforward",
        *,
        units=None,
        word_encoder=None,
        sentence_encoder=None,
        normalizer="softmax",
        return_weights=True,
        weights_kind="weights",
        fully_masked="zero",
        top_k=None,
        dropout=0.0,
        seed=None,
        use_bias=True,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        kernel_regularizer=None,
        bias_regularizer=None,
        kernel_constraint=None,
        bias_constraint=None,
        weights_regularizer=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if top_k is not None:
            arguments.require_positive_integer("top_k", top_k)
        arguments.require_choice("weights_kind", weights_kind, WEIGHTS_KINDS)
        arguments.require_choice("fully_masked", fully_masked, functional.FULLY_MASKED)
        self.supports_masking = True
        self.features_built = {}
        self.units = units
        # each level gets one of its own; a layer kept here would never be built
        self.normalizer_config = keras.saving.serialize_keras_object(normalizers.get(normalizer))
        self.return_weights = bool(return_weights)
        self.weights_kind = weights_kind
        self.fully_masked = fully_masked
        self.top_k = top_k
        self.dropout = dropout
        self.seed = seed
        self.pooling_arguments = pooling_arguments(
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
            weights_regularizer=weights_regularizer,
        )
        if not all(isinstance(pooling, str) for pooling in (word_pooling, sentence_pooling)):
            refuse_beside_a_layer(self.pooling_arguments)
        self.word_score, self.sentence_score = (
            pooling if isinstance(pooling, str) else None for pooling in (word_pooling, sentence_pooling)
        )
        self.word_pooling = self._pooling("word_pooling", word_pooling, fully_masked="zero")
        self.sentence_pooling = self._pooling("sentence_pooling", sentence_pooling, fully_masked=fully_masked)
        self.word_encoder = require_layer("word_encoder", word_encoder)
        self.sentence_encoder = require_layer("sentence_encoder", sentence_encoder)

    def _pooling(self, name, given, *, fully_masked):
        """The pooling layer of a level, made from the name of its score unless it was given."""
        if isinstance(given, AttentionPooling):
            return require_one_weight(name, given)
        arguments.require_choice(name, given, ONE_WEIGHT)
        return AttentionPooling(
            given,
            units=self.units,
            normalizer=dict(self.normalizer_config),
            fully_masked=fully_masked,
            dropout=self.dropout,
            seed=self.seed,
            **self.pooling_arguments,
            dtype=self.dtype_policy,
            name=name,
        )

    def __call__(self, inputs, mask=None, lengths=None, **kwargs):
        """Read the mask off the inputs, then call; the inputs keep theirs."""
        arguments.refuse_return_attention_scores(self, kwargs)
        inputs = arguments.as_tensor(arguments.only_input(inputs))
        self.check_inputs(inputs)
        arguments.check_features(self, inputs=inputs.shape)
        for count in inputs.shape[1:3]:  # sentences, words
            arguments.check_top_k(self.name, self.top_k, count)
        if lengths is not None:
            refuse_mask_beside_lengths(self, mask)
            mask = first_words(self, lengths, inputs)
        mask = fitting_mask(self, mask, inputs, ("batch", "sentences", "words"))
        return super().__call__(inputs, mask=mask, **kwargs)

    def check_inputs(self, inputs):
        """Documents of words, or of ids for an encoder."""
        if len(inputs.shape) == 4 or (len(inputs.shape) == 3 and self.word_encoder is not None):
            return
        cure = " Ids (batch, sentences, words) need a word_encoder that reads them." if len(inputs.shape) == 3 else ""
        raise ShapeError(
            f"{self.name}: inputs must have shape (batch, sentences, words, features); received {tuple(inputs.shape)} "
            f"of dtype {keras.backend.standardize_dtype(inputs.dtype)}.{cure}"
        )

    def call(self, inputs, mask=None, training=None):
        words, mask = self.encode_words(inputs, mask)
        word = self.word_pooling.attend(words, mask=mask, training=training)  # context (B, N, V)
        mask = None if mask is None else ops.any(mask, axis=-1)  # a sentence without words is padding
        self.word_pooling.penalise(self.word_pooling.as_map(word.weights), mask)
        sentences, mask = self.encode(self.sentence_encoder, word.context, mask)
        sentence = self.sentence_pooling.attend(sentences, mask=mask, training=training)
        self.sentence_pooling.penalise(self.sentence_pooling.as_map(sentence.weights))
        if not self.return_weights:
            return sentence.context
        shown = [getattr(level, self.weights_kind) for level in (word, sentence)]
        if self.top_k is None:
            return (sentence.context, *shown)
        indices = [ops.top_k(level.weights, self.top_k)[1] for level in (word, sentence)]
        shown = [ops.take_along_axis(kind, where, axis=-1) for kind, where in zip(shown, indices, strict=True)]
        return (sentence.context, *shown, *(ops.cast(where, "int32") for where in indices))

    def encode_words(self, inputs, mask):
        """Words (B, N, W, V) and their mask (B, N, W), or None, each sentence encoded by itself."""
        if self.word_encoder is None:
            return inputs, mask
        batch, sentences, *word = ops.shape(inputs)
        rows = batch * sentences
        if mask is not None:
            mask = ops.reshape(mask, (rows, word[0]))
        encoded, mask = self.encode(self.word_encoder, ops.reshape(inputs, (rows, *word)), mask)
        encoded = ops.reshape(encoded, (batch, sentences, word[0], encoded.shape[-1]))
        return encoded, mask if mask is None else ops.reshape(mask, (batch, sentences, word[0]))

    def encode(self, encoder, inputs, mask):
        """What an encoder makes of (B, S, V) and the mask (B, S), which it may narrow down."""
        if encoder is None:
            return inputs, mask
        attach_mask(inputs, mask)
        with warnings.catch_warnings():
            # Keras says so of every Sequential, which keeps masks; where one is lost, it is not lost here
            warnings.filterwarnings("ignore", f"Layer '{re.escape(encoder.name)}' .* does not support masking")
            encoded = encoder(inputs)
        return ops.cast(encoded, self.compute_dtype), functional.merge_masks(mask, attached_mask(encoded))

    def build(self, inputs_shape):
        words, sentences = self.encoded(inputs_shape)
        for pooling, encoded in ((self.word_pooling, words), (self.sentence_pooling, sentences)):
            if not pooling.built:
                pooling.build(encoded.shape)
        if len(inputs_shape) == 4:
            self.features_built = {"inputs": inputs_shape[-1]}
        self.built = True

    def encoded(self, inputs_shape):
        """Symbolic words (B * N, W, V) and sentences (B, N, V) as the poolings read them."""
        dtype = self.compute_dtype if len(inputs_shape) == 4 else "int32"
        words = self.symbolic("word_encoder", keras.KerasTensor((None, *inputs_shape[2:]), dtype=dtype))
        sentences = keras.KerasTensor((*inputs_shape[:2], words.shape[-1]), dtype=self.compute_dtype)
        return words, self.symbolic("sentence_encoder", sentences)

    def symbolic(self, name, inputs):
        """What an encoder makes of symbolic inputs; it is built by that if it was not."""
        encoder = getattr(self, name)
        if encoder is None:
            return inputs
        encoded = encoder.compute_output_spec(inputs) if encoder.built else encoder(inputs)
        shapes = [tuple(part.shape) for part in keras.tree.flatten(encoded)]
        if len(shapes) != 1 or len(shapes[0]) != 3 or not arguments.agree(shapes[0][1], inputs.shape[1]):
            raise ShapeError(
                f"{self.name}: {name} '{encoder.name}' must return one tensor (batch, positions, features) with the "
                f"positions of its inputs; it makes {', '.join(map(str, shapes))} of {tuple(inputs.shape)}. An RNN "
                "needs return_sequences=True, an attention layer return_weights=False."
            )
        return encoded

    def compute_mask(self, inputs, previous_mask=None):
        return (None,) * len(self._output_dtypes()) if self.return_weights else None

    def _output_dtypes(self):
        return (self.compute_dtype,) * 3 + ("int32",) * (2 * (self.top_k is not None))

    def compute_output_shape(self, inputs_shape):
        batch, sentences, words = inputs_shape[:3]
        vector = (batch, self.encoded(inputs_shape)[1].shape[-1])
        if not self.return_weights:
            return vector
        if self.top_k is None:
            return vector, (batch, sentences, words), (batch, sentences)
        return (vector, *((batch, sentences, self.top_k), (batch, self.top_k)) * 2)

    def compute_output_spec(self, inputs, mask=None, training=None):
        shapes = self.compute_output_shape(inputs.shape)
        if not self.return_weights:
            return keras.KerasTensor(shapes, dtype=self.compute_dtype)
        refuse_tuple_inside_sequential(self)
        return tuple(
            keras.KerasTensor(shape, dtype=dtype) for shape, dtype in zip(shapes, self._output_dtypes(), strict=True)
        )

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "word_pooling": self.word_score or serialize(self.word_pooling),
            "sentence_pooling": self.sentence_score or serialize(self.sentence_pooling),
            "units": self.units,
            "word_encoder": serialize(self.word_encoder),
            "sentence_encoder": serialize(self.sentence_encoder),
            "normalizer": dict(self.normalizer_config),
            "return_weights": self.return_weights,
            "weights_kind": self.weights_kind,
            "fully_masked": self.fully_masked,
            "top_k": self.top_k,
            "dropout": self.dropout,
            "seed": self.seed,
            **{name: _serialized(name, given) for name, given in self.pooling_arguments.items()},
        }

    @classmethod
    def from_config(cls, config):
        layers = {name: config[name] for name in SUBLAYERS if isinstance(config.get(name), dict)}
        made = {name: keras.saving.deserialize_keras_object(layer) for name, layer in layers.items()}
        return cls(**{**config, **made})


def pooling_arguments(**given):
    """Arguments of a pooling as it keeps them: objects where a name or a configuration was given."""
    pooling = AttentionPooling(name="pooling", **given)
    return {name: getattr(pooling, name) for name in given}


def refuse_beside_a_layer(given):
    """Raise where an argument of the poolings made here was given beside a pooling that is already made."""
    default = pooling_arguments(**{**dict.fromkeys(given), **DEFAULTS})
    changed = [name for name, value in given.items() if not _alike(value, default[name])]
    if changed:
        raise ArgumentError(
            f"{', '.join(changed)} would not reach a pooling that is given as a layer; give it to the layer itself, "
            f"AttentionPooling(..., {', '.join(f'{name}=...' for name in changed)}), or name the scores of both levels."
        )


def _alike(given, default):
    # not as `serialize` has them: while a model is loaded it marks what it has met before
    if type(given) is not type(default):
        return False
    return given.get_config() == default.get_config() if hasattr(given, "get_config") else given == default


def _serialized(name, given):
    """An argument of the poolings for the configuration; its name says what it is: a regularizer, or another."""
    return given if name == "use_bias" else getattr(keras, f"{name.rpartition('_')[2]}s").serialize(given)


def require_layer(name, given):
    """A layer, or None."""
    if given is not None and not isinstance(given, keras.Layer):
        raise ArgumentError(f"{name} must be a Keras layer or None; received {given!r}.")
    return given


def require_one_weight(name, pooling):
    """A pooling whose weights say one number of each position."""
    if pooling.score_kind not in ONE_WEIGHT or pooling.weighted_sequence or pooling.top_k is not None:
        raise ArgumentError(
            f"{name} must give one vector and one weight a position: a score of {', '.join(map(repr, ONE_WEIGHT))}, "
            f"without weighted_sequence and top_k; received score={pooling.score_kind!r}, "
            f"weighted_sequence={pooling.weighted_sequence}, top_k={pooling.top_k}."
        )
    return pooling


def first_words(layer, lengths, inputs):
    """Mask (B, N, W) that keeps the first ``lengths[b, n]`` words of each sentence."""
    lengths = arguments.as_tensor(lengths)
    if len(lengths.shape) != 2 or not all(map(arguments.agree, lengths.shape, inputs.shape)):
        raise ShapeError(
            f"{layer.name}: lengths must have shape (batch, sentences) = {tuple(inputs.shape[:2])}, one number a "
            f"sentence; received {tuple(lengths.shape)}."
        )
    words = inputs if len(inputs.shape) == 3 else inputs[..., 0]
    position = ops.cumsum(ops.ones_like(words, dtype="int32"), axis=2)
    return ops.less_equal(position, ops.expand_dims(ops.cast(lengths, "int32"), 2))

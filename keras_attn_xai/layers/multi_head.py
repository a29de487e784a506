"""Multi-head attention whose weights do not change its output, with grouped queries and gates for heads."""

import math

import keras
from keras import ops

from keras_attn_xai.errors import ArgumentError, ShapeError
from keras_attn_xai.layers import arguments, functional, positions
from keras_attn_xai.layers.projected_attention import ProjectedAttention

KERAS_LAYERS = (keras.layers.MultiHeadAttention, keras.layers.GroupQueryAttention)


@keras.saving.register_keras_serializable(package="keras_attn_xai")
class MultiHeadAttention(ProjectedAttention):
    """Scaled dot-product attention in several heads, each with projections of its own.

    The context is the same whether weights are returned or not, masks of the inputs are read and left
    alone, and a mask means the same on every path.

    Parameters
    ----------
    num_heads : int
        Heads of the queries, H.
    key_dim : int
        Features of queries and keys in each head.
    value_dim : int, optional
        Features of values in each head; by default ``key_dim``.
    num_key_value_heads : int, optional
        Heads of keys and values, G; a divisor of ``num_heads``, each shared by ``num_heads / G`` queries'
        heads. By default ``num_heads``.
    output_shape : int, optional
        Features of the context; by default those of the query.
    position_bias : {None, "alibi", "relative"} or PositionBias, default None
        Added to the scores; see `layers.positions`.
    use_bias : bool, default True
        Add a bias to every projection.
    kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer, \
    kernel_constraint, bias_constraint
        As in ``keras.layers.Dense``; for every projection alike.
    normalizer, return_weights, weights_kind, fully_masked, top_k, block_size, weights_regularizer, dropout, seed
        See `AttentionLayer`, also for the other call arguments.

    Call arguments
    --------------
    score_bias : float tensor (B, T, S), (1, T, S), (T, S) or (B, H, T, S), optional
    head_mask : float tensor (H,) or (B, H), optional
        Gates: multiplies what each head gives on, so that 0 takes a head out. The weights stay as they were.

    Returns
    -------
    context : tensor (B, T, output_shape)
    weights : tensor (B, H, T, S)
        In [0, 1]; rows sum to 1, or to 0 when every key is masked.

    Raises
    ------
    ArgumentError
        ``num_key_value_heads`` does not divide ``num_heads``.

    References
    ----------
    Vaswani et al. 2017, "Attention is all you need" (arXiv:1706.03762), section 3.2.2; grouped queries:
    Ainslie et al. 2023 (arXiv:2305.13245), section 2.2; gates: Michel, Levy and Neubig 2019
    (arXiv:1905.10650), section 2.3.

    Examples
    --------
    >>> import numpy as np
    >>> from keras_attn_xai.layers import MultiHeadAttention
    >>> layer = MultiHeadAttention(num_heads=4, key_dim=8, num_key_value_heads=2)
    >>> context, weights = layer(np.ones((2, 5, 12)), np.ones((2, 7, 16)))
    >>> tuple(context.shape), tuple(weights.shape)
    ((2, 5, 12), (2, 4, 5, 7))
    """

    fixed_features = ("query", "value", "key")

    def __init__(
        self,
        num_heads,
        key_dim,
        *,
        value_dim=None,
        num_key_value_heads=None,
        output_shape=None,
        position_bias=None,
        use_bias=True,
        **kwargs,
    ):
        super().__init__(use_bias=use_bias, **kwargs)
        sizes = {
            "num_heads": num_heads,
            "key_dim": key_dim,
            "value_dim": value_dim,
            "num_key_value_heads": num_key_value_heads,
            "output_shape": output_shape,
        }
        for name, size in sizes.items():
            if size is not None or name in ("num_heads", "key_dim"):
                arguments.require_positive_integer(name, size)
        self.num_heads = self.heads = num_heads
        self.key_dim = key_dim
        self.value_dim = value_dim
        self.num_key_value_heads = num_key_value_heads
        self.features = output_shape  # `output_shape` is a property of every Keras layer
        self.position_bias = positions.get(position_bias)
        if num_heads % (num_key_value_heads or num_heads):
            raise ArgumentError(
                f"num_key_value_heads must divide num_heads={num_heads}; received {num_key_value_heads}."
            )

    def build(self, query_shape, value_shape=None, key_shape=None):
        value_shape = query_shape if value_shape is None else value_shape
        groups, value_dim = self.num_key_value_heads or self.num_heads, self.value_dim or self.key_dim
        features = self.features or query_shape[-1]
        self.query_dense = self.projection_of_heads(self.num_heads, self.key_dim, "query", query_shape)
        self.key_dense = self.projection_of_heads(groups, self.key_dim, "key", key_shape or value_shape)
        self.value_dense = self.projection_of_heads(groups, value_dim, "value", value_shape)
        self.output_dense = self.einsum_projection(
            "bthv,hvd->btd", (None, features), "d", "attention_output", (None, None, self.num_heads, value_dim)
        )
        if self.position_bias is not None and not self.position_bias.built:
            self.position_bias.build(self.num_heads)
        self.build_normalizer(self.weights_shape(query_shape, value_shape))
        self.fix_features(query=query_shape, value=value_shape, key=key_shape or value_shape)
        self.built = True

    def projection_of_heads(self, heads, size, name, input_shape):
        """A built sublayer from (B, S, D) to (B, S, heads, size)."""
        return self.einsum_projection("bsd,dhk->bshk", (None, heads, size), "hk", name, input_shape)

    def call(
        self,
        query,
        value=None,
        key=None,
        *,
        query_mask=None,
        value_mask=None,
        key_mask=None,
        attention_mask=None,
        projected_keys=None,
        score_bias=None,
        head_mask=None,
        use_causal_mask=False,
        training=None,
        **options,
    ):
        return super().call(
            query,
            value,
            key,
            query_mask=query_mask,
            value_mask=value_mask,
            key_mask=key_mask,
            attention_mask=attention_mask,
            projected_keys=projected_keys,
            score_bias=score_bias,
            use_causal_mask=use_causal_mask,
            training=training,
            head_mask=head_mask,
            **options,
        )

    def attend(self, query, value, keys, *, mask=None, kept=None, score_bias=None, head_mask=None, **options):
        value = self.readable(value, kept)
        query = heads_first(self.query_dense(query))  # (B, H, T, K)
        keys, value = (self.shared_heads(heads_first(one)) for one in (keys, self.value_dense(value)))
        mask = mask if mask is None else ops.expand_dims(mask, 1)
        if score_bias is not None and len(score_bias.shape) == 3:
            score_bias = ops.expand_dims(score_bias, 1)
        attended = super().attend(query, value, keys, mask=mask, score_bias=score_bias, **options)
        context = attended.context  # (B, H, T, V)
        if head_mask is not None:
            context = context * self.gates(head_mask, context)
        return attended._replace(context=self.output_dense(ops.swapaxes(context, 1, 2)))

    def attend_block(self, query, value, keys, *, rows, score_bias=None, **options):
        score_bias = positions.total(self.position_bias, rows, keys, score_bias)
        return super().attend_block(query, value, keys, rows=rows, score_bias=score_bias, **options)

    def score(self, query, keys):
        return functional.dot_scores(query, keys, scale=1 / math.sqrt(self.key_dim))

    def shared_heads(self, heads):
        """Keys or values (B, G, S, K) once for each head of the queries, (B, H, S, K)."""
        groups = self.num_key_value_heads or self.num_heads
        return heads if groups == self.num_heads else ops.repeat(heads, self.num_heads // groups, axis=1)

    def gates(self, head_mask, context):
        """``head_mask`` as it multiplies what each head gives, (B, H, T, V): a tensor (B, H, 1, 1) or (1, H, 1, 1)."""
        gates = ops.cast(arguments.as_tensor(head_mask), context.dtype)
        rows = (1, context.shape[0], self.num_heads)[-len(gates.shape) :] if len(gates.shape) in (1, 2) else ()
        if not rows or not all(map(arguments.agree, gates.shape, rows)):
            raise ShapeError(
                f"{self.name}: head_mask must have shape (heads,) = ({self.num_heads},) or (batch, heads) = "
                f"({context.shape[0]}, {self.num_heads}); received {tuple(gates.shape)}."
            )
        return ops.reshape(gates, (-1, self.num_heads, 1, 1))

    def context_size(self, query_shape, value_shape):
        return self.features or query_shape[-1]

    def weights_shape(self, query_shape, value_shape):
        return (query_shape[0], self.num_heads, query_shape[1], value_shape[1])

    @classmethod
    def from_keras(cls, layer, **changes):
        """The same attention as a built Keras layer, weights copied.

        Parameters
        ----------
        layer : keras.layers.MultiHeadAttention or keras.layers.GroupQueryAttention
        **changes
            Arguments that are not the Keras layer's, such as ``return_weights=False``.

        Returns
        -------
        MultiHeadAttention
            Built. On inputs without masks its output is that of ``layer``; with masks, padding is left out.

        Raises
        ------
        ArgumentError
            Another layer, one that is not built, or one with a gate, a sliding window or attention over other axes.

        Examples
        --------
        >>> import keras
        >>> import numpy as np
        >>> from keras_attn_xai.layers import MultiHeadAttention
        >>> theirs, x = keras.layers.MultiHeadAttention(2, 4), np.ones((1, 3, 8), "float32")
        >>> expected = theirs(x, x)
        >>> ours = MultiHeadAttention.from_keras(theirs, return_weights=False)
        >>> bool(np.allclose(ours(x), expected, atol=1e-5))
        True
        """
        if not isinstance(layer, KERAS_LAYERS) or not layer.built:
            raise ArgumentError(
                "from_keras takes a built keras.layers.MultiHeadAttention or GroupQueryAttention; received "
                f"{'one that is not built' if isinstance(layer, KERAS_LAYERS) else type(layer).__name__}."
            )
        weights = {"/".join(weight.path.split("/")[-2:]): weight for weight in layer.weights}
        own = cls(**{**_arguments_of(layer), **changes})
        sizes = [(None, None, weights[f"{part}/kernel"].shape[0]) for part in ("query", "value", "key")]
        own.build(*sizes)
        for weight in own.weights:
            name = "/".join(weight.path.split("/")[-2:])
            if name in weights:  # a position bias is ours alone
                weight.assign(weights[name])
        return own

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "key_dim": self.key_dim,
            "value_dim": self.value_dim,
            "num_key_value_heads": self.num_key_value_heads,
            "output_shape": self.features,
            "position_bias": keras.saving.serialize_keras_object(self.position_bias),
        }


def heads_first(tensor):
    """(B, S, H, K) to (B, H, S, K)."""
    return ops.swapaxes(tensor, 1, 2)


def _arguments_of(layer):
    """Our constructor arguments for a Keras layer."""
    config = layer.get_config()
    for name, plain in (("use_gate", False), ("sliding_window", None), ("attention_axes", None)):
        value = config.get(name, plain)
        if value != plain and not (name == "attention_axes" and tuple(value) == (1,)):
            raise ArgumentError(f"from_keras cannot copy {type(layer).__name__} '{layer.name}' with {name}={value!r}.")
    names = {"num_query_heads": "num_heads", "head_dim": "key_dim"}
    kept = ("num_heads", "key_dim", "value_dim", "num_key_value_heads", "use_bias", "dropout", "seed", "name", "dtype")
    made = ("initializer", "regularizer", "constraint")
    given = {names.get(name, name): value for name, value in config.items()}
    own = {
        name: value
        for name, value in given.items()
        if name in kept or (name.endswith(made) and name != "activity_regularizer")
    }
    output_shape = config.get("output_shape")
    if output_shape is not None:
        sizes = [output_shape] if isinstance(output_shape, int) else list(output_shape)
        if len(sizes) != 1:
            raise ArgumentError(
                f"from_keras cannot copy {type(layer).__name__} '{layer.name}' with output_shape={tuple(sizes)}: the "
                "context here has one axis of features."
            )
        own["output_shape"] = sizes[0]
    return own

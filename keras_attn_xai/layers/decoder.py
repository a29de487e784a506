"""A recurrent decoder with attention: any Keras cell, any score, the whole alignment history."""

import copy

import keras
from keras import ops

from keras_attn_xai.layers import (
    alignment_state,
    arguments,
    decoder_arguments,
    decoder_state,
    functional,
    weights_regularizers,
)
from keras_attn_xai.layers.attention_layer import Attended
from keras_attn_xai.layers.decoder_state import Carried, Decoded, DecoderState, DecoderStep
from keras_attn_xai.layers.keras_mask import attach_mask, attached_mask
from keras_attn_xai.layers.quantized_parts import RebuildsQuantizedParts

ORDERS = ("previous", "current")
STOP_BIAS = -1.0  # a monotonic attention starts by walking on rather than stopping


@keras.saving.register_keras_serializable(package="keras_attn_xai")
class AttentionDecoder(RebuildsQuantizedParts):
    """A recurrent decoder that attends to a memory at every step.

    ==========  ====================================  ============================  =============================
    order       attends with                          cell input                    outputs
    ==========  ====================================  ============================  =============================
    "previous"  ``s_{t-1}`` (Bahdanau)                ``[y_t; c_t]``                ``s_t``
    "current"   ``h_t`` (Luong)                       ``y_t``                       ``h~_t = tanh(W_c [c_t; h_t])``
    ==========  ====================================  ============================  =============================

    Parameters
    ----------
    cell : RNN cell or list of them
        ``keras.layers.GRUCell``, ``LSTMCell``, ``SimpleRNNCell``, ``StackedRNNCells`` or your own.
    attention : AttentionLayer
        With one head. Its normaliser, window, ``fully_masked`` and dropout hold at every step, its
        ``weights_regularizer`` for the whole history; its ``weights_kind`` and ``top_k`` say what comes out.
    order : {"previous", "current"}, default "previous"
        Whether a step attends before its cell runs, or after.
    input_feeding : bool, default False
        Add the attentional vector of the step before to the cell's input, or, where there is none, its context.
    attentional_vector : int, optional
        Units of ``tanh(W_c [c; h])``, which becomes the output. None: no such vector for "previous", and as many
        units as the cell gives out for "current", whose output would not know the context without it.
    coverage : bool, default False
        The score sees how much weight each position has had: ``v^T tanh(W s + U h_j + w_c c_j^t)``.
    coverage_loss : float, default 0.0
        Weight of the mean of ``sum_j min(a_j^t, c_j^t)`` over the steps, added to the model's loss.
    location_filters : int, default 0
        Filters F of location-sensitive attention, ``v^T tanh(W s + U h_j + V (F * a^{t-1})_j)``; 0 is none.
    location_kernel_size : int, default 31
        Width of these filters in positions.
    monotonic : bool, default False
        Attention that only moves forward: expected alignments with ``sigmoid(score + r)`` as the chance to
        stop, where r is learned; of ``attention`` only the score is used.
    return_weights : bool, default True
        Also return the alignment history.
    return_state : bool, default False
        Also return the cell's last states.
    normalizer, fully_masked, weights_kind, top_k, weights_regularizer, dropout, seed
        See `AttentionLayer`. None, the default, leaves each as ``attention`` has it; where one is given, the decoder
        attends with a layer made anew from the configuration of ``attention``, which must not have weights yet.

    Call arguments
    --------------
    inputs : tensor (B, T, E)
        What each step is fed: with teacher forcing, the embedded target one step late.
    memory : tensor (B, S, V)
    initial_state : tensor (B, units) or nested tensors, optional
        The cell's first states, such as an encoder's last.
    mask : bool tensor (B, T)
        Steps that are False leave the states as they are, repeat the output before, and have weights of 0.
    memory_mask : bool tensor (B, S)
        True keeps a position; a masked one gets weight 0. By default the mask the memory carries.
    lengths : int tensor (B,)
        True lengths of the memories; the same as a ``memory_mask`` that keeps the first positions.
    training : bool, optional

    Returns
    -------
    outputs : tensor (B, T, units)
    weights : tensor (B, T, S)
        Only with ``return_weights=True``: the weights after the normaliser and before any dropout, unless
        ``attention`` has another ``weights_kind``. Rows sum to what ``attention`` says, monotonic ones to at most 1,
        and those of a masked step to 0.
    indices : int tensor (B, T, k)
        Only with an attention that has ``top_k``: the positions of the k largest weights, which are then (B, T, k).
    *states : tensors (B, units)
        Only with ``return_state=True``: the cell's last states, those of a stack one after the other.

    Raises
    ------
    ArgumentError
        ``coverage`` or ``location_filters`` with an attention that is not additive, among others.
    ShapeError, MaskError
        As `AttentionLayer`; also for initial states that do not fit the cell.

    Notes
    -----
    `begin` and `step` are the same decoder one step at a time; `greedy_decode` and `beam_search` run on them.

    References
    ----------
    "previous": Bahdanau, Cho and Bengio 2015 (arXiv:1409.0473), appendix A.2.2. "current" and input feeding: Luong,
    Pham and Manning 2015 (arXiv:1508.04025), sections 3 and 3.3. Coverage: See, Liu and Manning 2017
    (arXiv:1704.04368), section 2.3. Location: Chorowski et al. 2015 (arXiv:1506.07503), section 2.1. Monotonic:
    Raffel et al. 2017 (arXiv:1704.00784), section 2.3.

    Examples
    --------
    >>> import keras, numpy as np
    >>> from keras_attn_xai.layers import AttentionDecoder, BahdanauAttention
    >>> decoder = AttentionDecoder(keras.layers.GRUCell(11), BahdanauAttention(3))
    >>> outputs, weights = decoder(np.ones((2, 5, 4)), np.ones((2, 7, 6)))
    >>> tuple(outputs.shape), tuple(weights.shape)
    ((2, 5, 11), (2, 5, 7))
    >>> bool(np.allclose(weights, 1 / 7))  # equal positions share the weight at every step
    True
    """

    def __init__(
        self,
        cell,
        attention,
        *,
        order="previous",
        input_feeding=False,
        attentional_vector=None,
        coverage=False,
        coverage_loss=0.0,
        location_filters=0,
        location_kernel_size=31,
        monotonic=False,
        return_weights=True,
        return_state=False,
        normalizer=None,
        fully_masked=None,
        weights_kind=None,
        top_k=None,
        weights_regularizer=None,
        dropout=None,
        seed=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        arguments.require_choice("order", order, ORDERS)
        self.supports_masking = True
        self.features_built = {}
        # XLA compiles anew for every T and S; compile(jit_compile=True) still asks for it
        self.supports_jit = keras.backend.backend() != "tensorflow"
        self.cell = decoder_arguments.require_cell(cell)
        changes = {
            "normalizer": normalizer,
            "fully_masked": fully_masked,
            "weights_kind": weights_kind,
            "top_k": top_k,
            "weights_regularizer": weights_regularizer,
            "dropout": dropout,
            "seed": seed,
        }
        self.attention_changes = tuple(name for name, given in changes.items() if given is not None)
        self.attention = decoder_arguments.changed_attention(
            decoder_arguments.require_single_head(attention), {name: changes[name] for name in self.attention_changes}
        )
        self.order = order
        self.input_feeding = bool(input_feeding)
        if attentional_vector is not None:
            arguments.require_positive_integer("attentional_vector", attentional_vector)
        self.attentional_vector = attentional_vector
        self.coverage = bool(coverage)
        self.coverage_loss = decoder_arguments.require_not_negative("coverage_loss", coverage_loss)
        self.location_filters = decoder_arguments.require_count("location_filters", location_filters)
        self.location_kernel_size = arguments.require_positive_integer("location_kernel_size", location_kernel_size)
        self.monotonic = bool(monotonic)
        if self.monotonic:
            decoder_arguments.refuse_what_monotonic_ignores(normalizer=normalizer, fully_masked=fully_masked)
        self.return_weights = bool(return_weights)
        self.return_state = bool(return_state)
        if self.coverage or self.location_filters:
            decoder_arguments.require_additive(self.attention, "coverage" if self.coverage else "location_filters")
        shown = decoder_state.output_size(self.cell)
        self.vector_units = shown if attentional_vector is None and order == "current" else attentional_vector
        self.units = shown if self.vector_units is None else self.vector_units

    def build(self, inputs_shape, memory_shape):
        query_size = decoder_state.shown_size(self.cell)
        if not self.attention.built:
            self.attention.build((memory_shape[0], inputs_shape[1], query_size), memory_shape)
        self.cell_input_size = self._cell_input_size(inputs_shape[-1], memory_shape[-1])
        if not self.cell.built:
            self.cell.build((memory_shape[0], self.cell_input_size))
        if self.vector_units:
            self.vector_dense = keras.layers.Dense(
                self.vector_units, "tanh", use_bias=False, dtype=self.dtype_policy, name="attentional_vector"
            )  # W_c
            self.vector_dense.build((None, memory_shape[-1] + decoder_state.output_size(self.cell)))
        if self.coverage or self.location_filters:
            self.alignment_features = alignment_state.AlignmentFeatures(
                self.attention.key_dense.units,
                coverage=self.coverage,
                filters=self.location_filters,
                kernel_size=self.location_kernel_size,
                dtype=self.dtype_policy,
                name="alignment_features",
            )
            self.alignment_features.build((None, None), (None, None))
        if self.monotonic:
            initial = keras.initializers.Constant(STOP_BIAS)
            self.stop_bias = self.add_weight(name="stop_bias", shape=(), initializer=initial)  # r
        self.features_built = {"inputs": inputs_shape[-1], "memory": memory_shape[-1]}
        self.built = True

    def _cell_input_size(self, input_size, memory_size):
        """Of ``[y; c; what is fed]``."""
        context = memory_size if self.order == "previous" else 0
        fed = (self.vector_units or memory_size) if self.input_feeding else 0
        return input_size + context + fed

    def __call__(self, inputs, memory=None, initial_state=None, **kwargs):
        """Read the masks off the tensors, then call; the inputs keep theirs."""
        inputs, memory, initial_state, kwargs = decoder_arguments.canonical(self, inputs, memory, initial_state, kwargs)
        outputs = super().__call__(inputs, memory, initial_state=initial_state, **kwargs)
        attach_mask(outputs[0] if isinstance(outputs, tuple) else outputs, kwargs["mask"])
        return outputs

    def call(self, inputs, memory, initial_state=None, *, mask=None, memory_mask=None, training=None):
        decoded = self.attend_all(
            inputs, memory, initial_state=initial_state, mask=mask, memory_mask=memory_mask, training=training
        )
        if self.coverage_loss:
            again = weights_regularizers.Coverage(self.coverage_loss)
            self.add_loss(weights_regularizers.penalty(again, decoded.weights, mask))
        self.attention.penalise(decoded.weights, mask)
        if not (self.return_weights or self.return_state):
            return decoded.outputs
        shown = self._shown(decoded) if self.return_weights else ()
        return (decoded.outputs, *shown, *(decoded.states if self.return_state else ()))

    def _shown(self, decoded):
        """The history that comes out, whole or its largest weights and their positions."""
        if self.attention.top_k is None:
            return (decoded.shown,)
        indices = ops.top_k(decoded.weights, self.attention.top_k)[1]
        return ops.take_along_axis(decoded.shown, indices, axis=-1), ops.cast(indices, "int32")

    def attend_all(self, inputs, memory, *, initial_state=None, mask=None, memory_mask=None, training=None):
        """All steps; everything computed on the way comes back.

        Capture wraps this method, so it runs on every call whatever the decoder returns.

        Parameters
        ----------
        inputs : tensor (B, T, E)
        memory : tensor (B, S, V)
        initial_state, mask, memory_mask, training
            As in the call.

        Returns
        -------
        Decoded
        """
        state = self.begin(memory, memory_mask, initial_state)
        size = inputs.shape[-1]
        dropping = bool(training) and self.attention.dropout > 0
        if dropping:  # drawn here, for a loop must not draw
            inputs = ops.concatenate([inputs, self._kept(inputs, state.memory)], axis=-1)
        if training:
            decoder_state.draw_dropout(self.cell, ops.shape(memory)[0], self.cell_input_size)

        def step(given, carried):
            """One step inside the loop, which carries what changes and nothing else."""
            kept = given[:, size:] if dropping else None
            state_now = state._replace(carried=carried)
            return self.step(given[:, :size], state_now, training=training, kept=kept).state.carried

        try:
            history, carried = decoder_state.run_steps(
                step, inputs, state.carried, mask, dtype=functional.accumulation_dtype(self.compute_dtype)
            )
        finally:
            decoder_state.forget_dropout(self.cell)
        outputs, contexts, weights, shown = (ops.cast(part, self.compute_dtype) for part in history)
        if mask is not None:
            weights, shown = (ops.where(ops.expand_dims(mask, -1), part, 0) for part in (weights, shown))
        states = [ops.cast(leaf, self.compute_dtype) for leaf in keras.tree.flatten(carried.cell)]
        return Decoded(outputs, weights, shown, contexts, states)

    def _kept(self, inputs, memory):
        """What the attention's dropout multiplies the weights of every step with, (B, T, S)."""
        ones = ops.expand_dims(ops.ones_like(inputs[..., 0]), 2) * ops.expand_dims(ops.ones_like(memory[..., 0]), 1)
        return keras.random.dropout(ones, self.attention.dropout, seed=self.attention.seed_generator)

    def begin(self, memory, memory_mask=None, initial_state=None):
        """The state before the first step; the keys are projected here, once.

        Parameters
        ----------
        memory : tensor (B, S, V)
        memory_mask : bool tensor (B, S), optional
            By default the mask the memory carries.
        initial_state : nested tensors, optional
            As in the call.

        Returns
        -------
        DecoderState
        """
        arguments.require_weights(self, "begin", "inputs_shape, memory_shape")
        memory_mask = attached_mask(memory) if memory_mask is None else memory_mask
        memory = ops.cast(ops.convert_to_tensor(memory), self.compute_dtype)
        mask = ops.ones_like(memory[..., 0], dtype="bool") if memory_mask is None else memory_mask
        mask = arguments.checked_mask(self, "memory_mask", mask, memory)
        keys = self.attention.project_keys(memory)
        if memory_mask is not None:
            memory = self.attention.readable(memory, mask)
        dtype = functional.accumulation_dtype(self.compute_dtype)
        decoder_state.forget_dropout(self.cell)
        carried = Carried(
            position=ops.zeros((ops.shape(memory)[0], 1), dtype="int32"),
            output=ops.zeros((ops.shape(memory)[0], self.units), dtype=self.compute_dtype),
            context=ops.zeros_like(memory[:, 0]),
            alignment=decoder_state.first_alignment(mask, dtype, monotonic=self.monotonic),
            shown=ops.cast(ops.zeros_like(mask), dtype),
            coverage=ops.cast(ops.zeros_like(mask), dtype),
            cell=decoder_state.first_states(self.name, self.cell, initial_state, memory),
        )
        return DecoderState(memory, mask, keys, carried)

    def step(self, inputs, state, *, training=None, kept=None):
        """One step: the same that the call makes T times.

        Parameters
        ----------
        inputs : tensor (B, E)
        state : DecoderState
            From `begin`, or from the step before.
        training : bool, optional
            The cell's dropout; its masks stay the same until the next `begin`.
        kept : tensor (B, S), optional
            What the weights are multiplied with before they meet the memory: the attention's dropout.

        Returns
        -------
        DecoderStep
        """
        carried = state.carried
        inputs = [ops.cast(ops.convert_to_tensor(inputs), self.compute_dtype)]
        fed = [carried.output if self.vector_units else carried.context] if self.input_feeding else []
        if self.order == "previous":
            attended = self.attend_step(decoder_state.shown_state(self.cell, carried.cell), state, kept)
            inputs.append(attended.context)
        shown, cell = decoder_state.step_cell(self.cell, ops.concatenate(inputs + fed, axis=-1), carried.cell, training)
        if self.order == "current":
            attended = self.attend_step(shown, state, kept)
        output = ops.cast(shown, self.compute_dtype)
        if self.vector_units:
            output = self.vector_dense(ops.concatenate([attended.context, output], axis=-1))
        kinds = (attended.weights, getattr(attended, self.attention.weights_kind))
        alignment, shown = (ops.cast(kind, carried.alignment.dtype) for kind in kinds)
        coverage = carried.coverage + alignment
        after = Carried(carried.position + 1, output, attended.context, alignment, shown, coverage, cell)
        return DecoderStep(output, attended.weights, state._replace(carried=after))

    def attend_step(self, query, state, kept=None):
        """Attention of one step.

        Capture wraps this method to change the weights before they meet the memory, so every step runs it.

        Parameters
        ----------
        query : tensor (B, units)
        state : DecoderState
        kept : tensor (B, S), optional
            As in `step`.

        Returns
        -------
        Attended
            Context (B, V), and scores, weights and dropped weights (B, S).
        """
        query = ops.expand_dims(ops.cast(query, self.compute_dtype), 1)
        keys = state.keys
        if self.coverage or self.location_filters:
            keys = keys + self.alignment_features(state.carried.alignment, state.carried.coverage)
        if self.monotonic:
            attended = self._monotonic(self.attention.score(query, keys), state)
        else:
            rows, mask = ops.expand_dims(state.carried.position, -1), ops.expand_dims(state.mask, 1)
            attended = self.attention.attend_block(query, state.memory, keys, rows=rows, mask=mask)
        if kept is not None:
            dropped = attended.weights * ops.cast(ops.expand_dims(kept, 1), attended.weights.dtype)
            attended = attended._replace(context=functional.weighted_sum(dropped, state.memory), dropped=dropped)
        return Attended(*(ops.cast(part[:, 0], self.compute_dtype) for part in attended[:4]))

    def _monotonic(self, scores, state):
        """Attended of scores (B, 1, S)."""
        dtype = state.carried.alignment.dtype
        scores = ops.cast(scores[:, 0], dtype) + ops.cast(self.stop_bias, dtype)
        weights = alignment_state.monotonic_alignment(scores, state.carried.alignment, state.mask)
        weights = ops.expand_dims(ops.cast(weights, self.compute_dtype), 1)
        return Attended(functional.weighted_sum(weights, state.memory), ops.expand_dims(scores, 1), weights, weights)

    def compute_mask(self, inputs, previous_mask=None):
        mask = previous_mask[0] if isinstance(previous_mask, (list, tuple)) else previous_mask
        others = len(self._output_dtypes()) - 1
        return (mask, *[None] * others) if others else mask

    def _output_dtypes(self):
        weights = [self.compute_dtype] * self.return_weights
        indices = ["int32"] * (self.return_weights and self.attention.top_k is not None)
        states = [self.compute_dtype for _ in decoder_state.flat_sizes(self.cell)] if self.return_state else []
        return [self.compute_dtype, *weights, *indices, *states]

    def compute_output_shape(self, inputs_shape, memory_shape=None, initial_state_shape=None):
        if isinstance(inputs_shape[0], (list, tuple)):
            inputs_shape, memory_shape = inputs_shape[:2]
        outputs = (*inputs_shape[:2], self.units)
        if not (self.return_weights or self.return_state):
            return outputs
        top_k = self.attention.top_k
        weights = (*inputs_shape[:2], memory_shape[1] if top_k is None else top_k)
        shown = [weights] * (self.return_weights * (1 if top_k is None else 2))
        sizes = decoder_state.flat_sizes(self.cell) if self.return_state else ()
        return (outputs, *shown, *((inputs_shape[0], size) for size in sizes))

    def compute_output_spec(self, inputs, memory, initial_state=None, **kwargs):
        shapes = self.compute_output_shape(inputs.shape, memory.shape)
        if not (self.return_weights or self.return_state):
            return keras.KerasTensor(shapes, dtype=self.compute_dtype)
        return tuple(
            keras.KerasTensor(shape, dtype=dtype) for shape, dtype in zip(shapes, self._output_dtypes(), strict=True)
        )

    def get_config(self):
        of_attention = self.attention.get_config()
        return {
            **super().get_config(),
            "cell": keras.saving.serialize_keras_object(self.cell),
            "attention": keras.saving.serialize_keras_object(self.attention),
            "order": self.order,
            "input_feeding": self.input_feeding,
            "attentional_vector": self.attentional_vector,
            "coverage": self.coverage,
            "coverage_loss": self.coverage_loss,
            "location_filters": self.location_filters,
            "location_kernel_size": self.location_kernel_size,
            "monotonic": self.monotonic,
            "return_weights": self.return_weights,
            "return_state": self.return_state,
            **{
                name: of_attention[name] if name in self.attention_changes else None
                for name in decoder_arguments.OF_ATTENTION
            },
        }

    @classmethod
    def from_config(cls, config):
        layers = {  # from copies: StackedRNNCells empties the configuration it is given
            name: keras.saving.deserialize_keras_object(copy.deepcopy(config[name])) for name in ("cell", "attention")
        }
        return cls(**{**config, **layers})

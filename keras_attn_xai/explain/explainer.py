"""`AttentionExplainer`: a Keras model in, attention and SHAP values of its rows out."""

from importlib.metadata import version

import keras
import numpy as np
from tqdm import tqdm

from keras_attn_xai.capture.locate import all_layers
from keras_attn_xai.capture.model_inputs import symbolic_inputs
from keras_attn_xai.capture.seams import is_functional
from keras_attn_xai.capture.view import capture_of, refuse_unbuilt_sequential
from keras_attn_xai.errors import ArgumentError, ModelError, ShapeError
from keras_attn_xai.explain.methods import METHODS, auto_method, shapley_values
from keras_attn_xai.explain.sampling import seeded_numpy_random
from keras_attn_xai.explain.target import Target
from keras_attn_xai.explain.value_function import ValueFunction
from keras_attn_xai.layers.arguments import require_choice
from keras_attn_xai.records import AttentionMap, Attribution, Explanation, Provenance
from keras_attn_xai.text import Tokens, token_id, tokenize


class AttentionExplainer:
    """Explain a Keras model that reads token ids: where it looked, and what moved its answer.

    Parameters
    ----------
    model : keras.Model
        Functional, Sequential or subclassed, with one input of token ids (B, S). It is not changed.
        Without attention it is explained all the same, with no maps.
    background : int, str or int array (R, S)
        What takes the place of an absent token: the id of the mask or unknown token (never id 0 under
        ``mask_zero``, which would remove the position), the token itself where the tokenizer knows it,
        or rows that are averaged over.
    method : {"auto", "exact", "permutation", "partition", "kernel"}, default "auto"
        shap's values over the compiled model. "partition" gives Owen values of a row halved again
        and again. "auto" is exact up to 12 players in the longest row, else kernel without l1.
    target : None, int, (str, int) or callable, default None
        None is each row's predicted class, or the only output; an integer is a class; a pair names the
        output first; a callable maps the outputs to one scalar per row.
    players : {"auto", "tokens"}, default "auto"
        What a coalition switches on and off.
    tokenizer : callable or object, optional
        Lets the explainer take texts, and labels results with their words; see `keras_attn_xai.text`.
    pad_id : int, optional
        The id of padding; by default 0 where an Embedding has ``mask_zero``, else there is none.
    attention : {"all", None} or list of str, default "all"
        Which maps to bring along, by call name.
    batch_size : int, default 512
        Most rows given to the model at once.
    seed : int, default 0
        Of the sampling; the user's NumPy generator is left as it was.

    Raises
    ------
    ModelError
        The model has several inputs, or an input that is not token ids.
    ArgumentError
        An argument that cannot be meant.

    Notes
    -----
    Where the model ends in a softmax or sigmoid, the log-odds of the class are explained; the unit is
    named on the result. Cost: the model's own forward pass times the distinct coalitions.

    References
    ----------
    Lundberg and Lee 2017, "A unified approach to interpreting model predictions" (arXiv:1705.07874).

    Examples
    --------
    >>> import keras, numpy as np
    >>> from keras_attn_xai import AttentionExplainer
    >>> model = keras.Sequential([
    ...     keras.Input((3,), dtype="int32"),
    ...     keras.layers.Embedding(9, 1, embeddings_initializer=lambda shape, dtype: np.arange(9.0)[:, None]),
    ...     keras.layers.Flatten(),
    ...     keras.layers.Dense(1, kernel_initializer="ones"),
    ... ])
    >>> explanation = AttentionExplainer(model, background=1)(np.array([[4, 1, 6]]))
    >>> explanation.attribution.values  # ids add up, and id 1 stands for absent: 4-1, 1-1, 6-1
    array([[3., 0., 5.]])
    """

    def __init__(
        self,
        model,
        background,
        *,
        method="auto",
        target=None,
        players="auto",
        tokenizer=None,
        pad_id=None,
        attention="all",
        batch_size=None,
        seed=0,
    ):
        self.model = _explainable(model)
        require_choice("method", method, ("auto", *METHODS))
        self.method = method
        require_choice("players", players, ("auto", "tokens"))
        if isinstance(attention, str):
            require_choice("attention, unless it is None or a list of names,", attention, ("all",))
        if batch_size is not None and (not isinstance(batch_size, int) or batch_size < 1):
            raise ArgumentError(f"batch_size must be a positive integer or None; received {batch_size!r}.")
        if not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**32:
            raise ArgumentError(f"seed must be an integer from 0 to 2**32 - 1; received {seed!r}.")
        self.tokenizer = tokenizer
        self.pad_id = pad_id
        self.mask_zero = any(getattr(layer, "mask_zero", False) for layer in all_layers(self.model))
        self.attention = attention
        self.seed = int(seed)
        if isinstance(background, str) and tokenizer is not None:
            background = token_id(tokenizer, background)
        self.background = _background(background, self.mask_zero)
        self._target_spec = target
        self._batch_size = batch_size
        self._functions = {}
        Target(target)  # refuses what cannot be meant, before any work

    def __call__(self, x, *, budget=None, tol=None, progress=None):
        """Explain rows.

        Parameters
        ----------
        x : int array (B, S), or texts where the explainer has a tokenizer
        budget : int, optional
            Evaluations per row (for kernel besides its two ends); the default depends on the method.
        tol : None
            Reserved: the methods at hand do not stop early.
        progress : bool, optional
            Show a bar (on standard error); by default only when the work takes more than a second.

        Returns
        -------
        Explanation

        Raises
        ------
        ShapeError
            Rows of another rank or length than the model takes.
        ArgumentError
            A budget too small, a class out of range, ids the model refuses.
        """
        if tol is not None:
            raise ArgumentError(f"tol={tol!r}: no method at hand stops at a tolerance; set budget= instead.")
        if budget is not None and (not isinstance(budget, (int, np.integer)) or budget < 1):
            raise ArgumentError(f"budget must be a positive integer or None; received {budget!r}.")
        tokens = self._tokens(x)
        function = self._function(tokens.ids)
        explained, weights = function.look(tokens.ids)
        maps = self._maps(weights, tokens)
        index = function.target.choose(explained)
        background = self._background_rows(tokens)
        playing = tokens.mask & (tokens.ids[:, None] != background).any(1)
        method = self._method(playing)
        attribution = self._attribute(function, tokens, index, background, playing, method, budget, progress)
        return Explanation(
            attention=maps,
            attributions=(attribution,),
            labels=tokens.pieces,
            provenance=self._provenance(),
            word_ids=tokens.word_ids,
        )

    def _attribute(self, function, tokens, index, background, playing, method, budget, progress):
        values = np.zeros(tokens.ids.shape)
        games = function.games(tokens.ids, background, index, playing)
        bar = tqdm(games, desc=f"SHAP ({method})", unit="row", disable=progress is False, delay=0 if progress else 1)
        with seeded_numpy_random(self.seed):
            for row, game in enumerate(bar):
                values[row, game.players] = shapley_values(game, method, budget=budget)
        return Attribution(
            values=values,
            base=np.array([game.base for game in games]),
            output=np.array([game.output for game in games]),
            target=index,
            unit=function.target.unit,
            method="partition (Owen values)" if method == "partition" else method,
            evaluations=np.array([game.evaluations for game in games]),
            player_labels=tokens.pieces,
            mask=tokens.mask,
        )

    def _maps(self, weights, tokens):
        if self.attention not in ("all", None):
            unknown = [name for name in self.attention if name not in weights]
            if unknown:
                known = ", ".join(weights) or "none"
                raise ArgumentError(f"There is no attention call '{unknown[0]}'; the calls are: {known}.")
            weights = {name: weights[name] for name in self.attention}
        return tuple(_map(name, array, tokens) for name, array in weights.items())

    def _method(self, playing):
        if self.method != "auto":
            return self.method
        return auto_method(playing.sum(1).max(initial=0))

    def _tokens(self, x):
        """Texts or ids as `Tokens`, with the model's own idea of padding."""
        length = _length(self.model)
        is_text = isinstance(x, str) or (isinstance(x, (list, tuple)) and len(x) and isinstance(x[0], str))
        if is_text or (isinstance(x, np.ndarray) and x.dtype.kind in "UO"):
            if self.tokenizer is None:
                raise ArgumentError("Texts need a tokenizer: AttentionExplainer(..., tokenizer=...).")
            return tokenize(self.tokenizer, x, length=length, pad_id=self._pad_id() or 0)
        try:
            ids = np.asarray(x)
        except ValueError:
            raise ShapeError("Expected rows of one length; received several. Pad them, and say pad_id=.") from None
        if ids.ndim != 2 or ids.dtype.kind not in "iu" or 0 in ids.shape:
            raise ShapeError(
                f"Expected token ids, an integer array (rows, positions) with at least one row; received shape "
                f"{ids.shape}, dtype {ids.dtype}."
            )
        if ids.min() < 0:
            raise ArgumentError(f"Token ids count from 0; received {ids.min()}.")
        if length is not None and ids.shape[1] != length:
            raise ShapeError(f"The model takes {length} positions; received ids of shape {ids.shape}.")
        pad = self._pad_id()
        mask = np.ones(ids.shape, bool) if pad is None else ids != pad
        pieces = tuple(
            tuple(str(one) if real else "" for one, real in zip(*row, strict=True))
            for row in zip(ids, mask, strict=True)
        )
        return Tokens(ids, pieces, mask, np.where(mask, np.cumsum(mask, axis=1) - 1, -1))

    def _pad_id(self):
        if self.pad_id is not None:
            return self.pad_id
        return 0 if self.mask_zero else None

    def _background_rows(self, tokens):
        """What stands in for absent tokens: (R, S)."""
        positions = tokens.ids.shape[1]
        if self.background.ndim == 0:
            return np.full((1, positions), self.background)
        if self.background.shape[1] != positions:
            raise ShapeError(
                f"The background has {self.background.shape[1]} positions, the rows have {positions}; pad both alike."
            )
        return self.background

    def _function(self, ids):
        """The value function for rows of this length; a model that takes any length shares one."""
        fixed = not is_functional(self.model) and not isinstance(self.model, keras.Sequential)
        length = ids.shape[1] if fixed or _length(self.model) is not None else None
        if length not in self._functions:
            dtype = "int32" if fixed else symbolic_inputs(self.model).dtype
            function = ValueFunction(
                self.model,
                Target(self._target_spec),
                input_dtype=dtype,
                length=length,
                attention=self.attention is not None,
                batch_size=self._batch_size,
            )
            if fixed:
                function.build(ids)
            self._functions[length] = function
        return self._functions[length]

    def _provenance(self):
        background = self.background
        described = f"token id {background}" if background.ndim == 0 else f"{len(background)} rows"
        libraries = ("keras", "tensorflow", "shap", "numpy")
        return Provenance(
            model=self.model.name,
            background=described,
            seed=self.seed,
            versions=tuple((name, version(name)) for name in libraries),
        )


def _explainable(model):
    if keras.backend.backend() != "tensorflow":
        raise ModelError(
            f"Explaining needs the TensorFlow backend of Keras; '{keras.backend.backend()}' is running. "
            "Set KERAS_BACKEND=tensorflow before Keras is imported."
        )
    if not isinstance(model, keras.Model):
        raise ModelError(f"AttentionExplainer takes a keras.Model; received {type(model).__name__}.")
    capture = capture_of(model)
    if capture is not None and not capture.changes:
        model = capture.model
    refuse_unbuilt_sequential(model)
    inputs = getattr(model, "inputs", None)
    if inputs is not None and len(inputs) != 1:
        raise ModelError(
            f"The model '{model.name}' has {len(inputs)} inputs; this version explains models with one input of "
            "token ids."
        )
    if inputs is not None and len(inputs[0].shape) != 2:
        raise ModelError(
            f"The model '{model.name}' takes an input of shape {tuple(inputs[0].shape)}; this version explains "
            "token ids, (batch, positions)."
        )
    return model


def _length(model):
    """Positions the model insists on, or None."""
    inputs = getattr(model, "inputs", None)
    return inputs[0].shape[1] if inputs else None


def _background(background, mask_zero):
    array = np.array(background)
    if array.dtype.kind not in "iu" or array.ndim not in (0, 2) or array.size == 0:
        raise ArgumentError(
            "background must be one token id, or an integer array (rows, positions); received shape "
            f"{array.shape}, dtype {array.dtype}."
        )
    if array.min() < 0:
        raise ArgumentError(f"background must be token ids, which count from 0; received {array.min()}.")
    if array.ndim == 0 and array == 0 and mask_zero:
        raise ArgumentError(
            "background=0 would remove tokens, because an Embedding of the model masks id 0; use the id of the mask "
            "or unknown token."
        )
    return array


def _map(name, weights, tokens):
    """A record of one call; positions of the ruler get their words, others a number."""
    rows, _, queries, keys = weights.shape
    positions = tokens.ids.shape[1]

    def side(count, word):
        if count == positions:
            return tokens.pieces, tokens.mask
        names = (word,) if count == 1 else tuple(f"{word} {i}" for i in range(count))
        return (names,) * rows, None

    query_labels, query_mask = side(queries, "query")
    key_labels, mask = side(keys, "key")
    return AttentionMap(name, weights, query_labels, key_labels, query_mask, mask)

"""`AttentionExplainer`: a Keras model in, attention and SHAP values of its rows out."""

import warnings
from importlib.metadata import version

import keras
import numpy as np
from tqdm import tqdm

from keras_attn_xai.capture.model_inputs import zero_is_padding
from keras_attn_xai.capture.seams import is_functional
from keras_attn_xai.capture.view import capture_of, refuse_unbuilt_sequential
from keras_attn_xai.errors import ArgumentError, BackgroundWarning, ModelError
from keras_attn_xai.explain.background import Background, check_background
from keras_attn_xai.explain.coalitions import Coalitions
from keras_attn_xai.explain.found import Found, Scene, pairs_record
from keras_attn_xai.explain.gradient_methods import GradientMethods
from keras_attn_xai.explain.inputs import InputReader
from keras_attn_xai.explain.labels import map_record, ruler
from keras_attn_xai.explain.methods import (
    GRADIENTS,
    INTERACTIONS,
    METHODS,
    TO_A_TOLERANCE,
    auto_method,
    default_budget,
    share_out,
    timed,
)
from keras_attn_xai.explain.players import NAMES, players_of
from keras_attn_xai.explain.seating import seat, seat_heads
from keras_attn_xai.explain.target import Target
from keras_attn_xai.explain.value_function import ValueFunction
from keras_attn_xai.layers.arguments import require_choice
from keras_attn_xai.records import Explanation, Provenance


class AttentionExplainer:
    """Explain a Keras model: where it looked, and what moved its answer.

    Parameters
    ----------
    model : keras.Model
        Functional, Sequential or subclassed, with inputs of token ids (B, S), series (B, T, F), images (B, Hh, W, C) or
        features (B, F), one or several. It is not changed. A model without attention is explained too, with no maps.
    background : number, str or array (R, ...), or a list, tuple or dict of these, one per input
        What takes the place of an absent player: of token ids the id of the mask or unknown token (never id 0 under
        ``mask_zero``, which would remove the position), or the token itself where the tokenizer knows it; of other
        inputs a number; of either, rows that are averaged over. None for heads, whose weights become 0.
    method : str, default "auto"
        "exact", "permutation", "partition", "kernel" and "sampling" are shap's, draw for draw, over the compiled model;
        "partition" gives Owen values of a row halved again and again. "paired_kernel" samples too, with a third to two
        thirds of kernel's error for as many evaluations; "first_last" needs 2 M + 2 and comes near. "deep" is DeepLIFT
        through attention, "expected_gradients" integrates gradients; both need a differentiable model. "auto" is exact
        up to 12 players in the longest row, paired_kernel up to 256, and deep beyond; the provenance says why.
    target : None, int, (str, int) or callable, default None
        None is each row's predicted class, or the only output; an integer is a class; a pair names the
        output first; a callable maps the outputs to one scalar per row.
    players : str, int array or dict, default "auto"
        What a coalition switches on and off: "tokens", "words" (a tokenizer's pieces of one word together), "steps",
        "features", "cells" (every number for itself), "patches" (at most 8 by 8 of an image), or "heads" of attention;
        an array of the group of each number of a row (its first axes will do), -1 for one that never leaves; a dict
        from input name to one of these, where an input left out never leaves. "auto": tokens of ids, steps of
        series, features, patches of images.
    tokenizer : callable or object, optional
        Lets the explainer take texts, and labels results with their words; see `keras_attn_xai.text`.
    pad_id : int, optional
        The id of padding; by default 0 where an Embedding has ``mask_zero``, else there is none. Steps that a Masking
        layer leaves out are padding too.
    attention : {"all", None} or list of str, default "all"
        Which maps to bring along, by call name; with ``players="heads"`` also whose heads.
    batch_size : int, optional
        Most rows given to the model at once; by default 512, or up to 2048 where that is faster, less for long rows and
        large images.
    seed : int, default 0
        Of the sampling; the user's NumPy generator is left as it was.

    Attributes
    ----------
    partial : Explanation or None
        The rows that were finished when the last call was interrupted (Ctrl-C).

    Raises
    ------
    ModelError
        No Keras model, or one without a known input that needs one.
    ArgumentError
        An argument that cannot be meant.

    Notes
    -----
    Where the model ends in a softmax or sigmoid, the log-odds of the class are explained; the unit is
    named on the result. Cost: the model's own forward pass times the distinct coalitions. The players of several inputs
    play one game together.

    Of token ids, the methods of coalitions put another id in the place of an absent token, and masks that the model
    makes from ids follow; "deep" and "expected_gradients" move the token's embedding and leave masks as they are. These
    are two games; do not mix their values in one table.

    References
    ----------
    Lundberg and Lee 2017, "A unified approach to interpreting model predictions" (arXiv:1705.07874).
    Shrikumar et al. 2017, DeepLIFT (arXiv:1704.02685). Erion et al. 2021, expected gradients (arXiv:1906.10670).

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
        self._reader = InputReader(self.model, tokenizer, pad_id)
        self.players = self._reader.of_the_only_input(players)
        _check_players(self.players)
        if isinstance(attention, str):
            require_choice("attention, unless it is None or a list of names,", attention, ("all",))
        if batch_size is not None and (not isinstance(batch_size, int) or batch_size < 1):
            raise ArgumentError(f"batch_size must be a positive integer or None; received {batch_size!r}.")
        if not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**32:
            raise ArgumentError(f"seed must be an integer from 0 to 2**32 - 1; received {seed!r}.")
        self.attention = attention
        self.seed = int(seed)
        self._background = self._checked_background(self._reader.of_the_only_input(background))
        self._target_spec = target
        self._batch_size = batch_size
        self._functions = {}
        self._gradient_methods = {}
        self.partial = None
        Target(target)  # refuses what cannot be meant, before any work

    def __call__(self, x, *, budget=None, tol=None, progress=None):
        """Explain rows.

        Parameters
        ----------
        x : array (B, ...), or texts where the explainer has a tokenizer, or a list, tuple or dict of these
            As the model takes it.
        budget : int, optional
            Evaluations per row, the two ends included (but for kernel, as in shap); the default depends on the method.
        tol : float, optional
            Stop a row when its largest standard error is below this share of its effect, ``|output - base|``, or the
            budget is spent; for expected_gradients the relative gap to reach. Not for every method.
        progress : bool, optional
            Show a bar (on standard error); by default only when the work takes more than a second.

        Returns
        -------
        Explanation
            With one attribution per input that has players, or one of the heads.

        Raises
        ------
        ShapeError
            Rows of another rank or length than the model takes.
        ArgumentError
            A budget too small, a class out of range, ids the model refuses, players the input does not have, a
            method that cannot stop at a tolerance.
        ModelError
            A model without gradients, for deep and expected_gradients.

        Warns
        -----
        BackgroundWarning
            A background that says little about these rows.
        """
        _check_effort(self.method, budget, tol)
        self.partial = None
        scene = self._scene(x)
        self._warn_of_background(scene)
        method, why = self._method(scene, budget)
        found = Found(scene, method, () if why is None else (f"auto took {method}: {why}.",))
        try:
            self._play(scene, found, budget, tol, progress)
        except KeyboardInterrupt:
            self.partial = self._explanation(scene, found)[: found.rows] if found.rows else None
            raise
        return self._explanation(scene, found)

    def interactions(self, x, *, budget=None, progress=None):
        """What pairs of players moved together, so that attention (T, S) meets numbers of its own kind.

        Parameters
        ----------
        x, budget, progress : as in `__call__`
            Exact where all coalitions of a row's players are within the budget, by default ``2 M + 2048``; sampled in
            pairs otherwise. Whatever ``method`` is.

        Returns
        -------
        Interactions

        Raises
        ------
        ArgumentError
            Several inputs with players of their own; a budget too small.

        Examples
        --------
        >>> import keras, numpy as np
        >>> from keras_attn_xai import AttentionExplainer
        >>> x = keras.Input((2,))
        >>> model = keras.Model(x, keras.ops.prod(x, axis=1, keepdims=True))
        >>> AttentionExplainer(model, 0.0).interactions(np.array([[2.0, 3.0]])).values
        array([[[0., 3.],
                [3., 0.]]])
        """
        _check_effort(INTERACTIONS, budget, None)
        scene = self._scene(x)
        playing = scene.seated.playing
        total = _evaluations(playing, INTERACTIONS, budget)
        with tqdm(
            total=total, desc="interactions", unit="evaluation", disable=progress is False, delay=0 if progress else 1
        ) as bar:
            slabs = share_out(
                scene.function, scene.table, playing, INTERACTIONS, budget=budget, seed=self.seed, progress=bar.update
            )
            return pairs_record(scene, slabs)

    def coalitions(self, x):
        """The target's value of any coalition of the players of some rows, for measures that switch players off.

        Parameters
        ----------
        x : as in `__call__`

        Returns
        -------
        Coalitions
            A function of bool arrays (N, M) and the rows they are of.

        Examples
        --------
        >>> import keras, numpy as np
        >>> from keras_attn_xai import AttentionExplainer
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, kernel_initializer="ones")])
        >>> worth = AttentionExplainer(model, 0.0).coalitions(np.array([[4.0, 1.0, 6.0]]))
        >>> worth(np.array([[True, False, True]]))
        array([10.])
        """
        return Coalitions(self._scene(x))

    def _scene(self, x):
        """Rows, read and looked at."""
        sides, specs = self._reader.read(x)
        seated = None if self._of_heads else self._seated(sides)
        function = self._function(sides, specs)
        explained, weights = function.look([side.array for side in sides])
        weights = self._chosen(weights)
        if seated is None:
            function.heads = {name: array.shape[1] for name, array in weights.items()}
            seated = seat_heads(sides, function.heads)
        return Scene(sides, seated, function, weights, function.target.choose(explained))

    def _warn_of_background(self, scene):
        """Say what is doubtful about the background for these rows."""
        if self._of_heads:
            return
        several = len(scene.seated.background[0]) > 1
        said = check_background(
            scene.sides,
            scene.seated.background,
            playing=[players.count > 0 for _, players, _ in scene.seated.seats],
            pad_id=self._reader.pad_id,
            base=scene.background_values if several else None,
            output=scene.function.ends(scene.table, scene.seated.playing)[1] if several else None,
        )
        for sentence in said:
            warnings.warn(sentence, BackgroundWarning, stacklevel=3)

    @property
    def _of_heads(self):
        return isinstance(self.players, str) and self.players == "heads"

    def _method(self, scene, budget):
        """The method, and why it was chosen where it was not given."""
        if self.method != "auto":
            if self._of_heads and self.method in GRADIENTS:
                raise ArgumentError(
                    f"players='heads' are switched off by coalitions; method='{self.method}' moves inputs. Use "
                    "method='auto'."
                )
            return self.method, None
        method, why = auto_method(
            scene.seated.playing.sum(1), budget=budget, seconds=timed(scene.function, scene.table)
        )
        return ("paired_kernel", why) if self._of_heads and method in GRADIENTS else (method, why)

    def _play(self, scene, found, budget, tol, progress):
        """Fill in values and counts, a slab of rows after the other."""
        options = {"budget": budget, "tol": tol}
        walks = found.method in GRADIENTS
        total = len(scene.table) if walks else _evaluations(scene.seated.playing, found.method, budget)
        unit = "row" if walks else "evaluation"
        with tqdm(
            total=total, desc=f"SHAP ({found.method})", unit=unit, disable=progress is False, delay=0 if progress else 1
        ) as bar:
            if walks:
                methods = self._gradient_methods.setdefault(id(scene.function), GradientMethods(scene.function))
                for rows, walked in methods(
                    scene.table, scene.seated.playing, found.method, **options, progress=bar.update
                ):
                    found.take_walked(rows, walked)
                found.notes += methods.notes
                return
            slabs = share_out(
                scene.function,
                scene.table,
                scene.seated.playing,
                found.method,
                **options,
                seed=self.seed,
                progress=bar.update,
            )
            for rows, games, shares in slabs:
                found.take_shares(rows, games, shares)

    def _explanation(self, scene, found):
        return Explanation(
            attention=tuple(
                map_record(name, array, scene.sides)
                for name, array in scene.weights.items()
                if self.attention is not None
            ),
            attributions=found.attributions(),
            labels=ruler(scene.sides[0], scene.seated),
            provenance=self._provenance(scene.sides, (*scene.function.notes, *found.notes)),
            word_ids=scene.sides[0].word_ids,
        )

    def _seated(self, sides):
        """The players of all inputs, and the background against which they play."""
        names = [side.name for side in sides]
        kinds = self.players if isinstance(self.players, dict) else dict.fromkeys(names, self.players)
        unknown = [name for name in kinds if name not in names]
        if unknown:
            raise ArgumentError(f"players names the input '{unknown[0]}'; the inputs are {', '.join(names)}.")
        players = [players_of(side, kinds.get(side.name, "none")) for side in sides]
        return seat(sides, players, self._background.rows(sides, [one.count > 0 for one in players]))

    def _chosen(self, weights):
        """The maps that were asked for."""
        if self._of_heads and not weights:
            raise ArgumentError(
                f"players='heads' needs attention; the model '{self.model.name}' has none that is seen."
            )
        if self.attention in ("all", None):
            return weights
        unknown = [name for name in self.attention if name not in weights]
        if unknown:
            known = ", ".join(weights) or "none"
            raise ArgumentError(f"There is no attention call '{unknown[0]}'; the calls are: {known}.")
        return {name: weights[name] for name in self.attention}

    def _wanted_attention(self):
        """Whether attention comes along; what was asked for by name must."""
        return "must" if self._of_heads or self.attention not in ("all", None) else self.attention is not None

    def _function(self, sides, specs):
        """The value function for rows of these shapes; a model that takes any length shares one."""
        fixed = not is_functional(self.model) and not isinstance(self.model, keras.Sequential)
        key = repr(keras.tree.map_structure(lambda spec: (spec.shape, spec.dtype), specs))
        if key not in self._functions:
            function = ValueFunction(
                self.model,
                Target(self._target_spec),
                specs,
                attention=self._wanted_attention(),
                batch_size=self._batch_size,
            )
            if fixed:
                function.build([side.array for side in sides])
            self._functions[key] = function
        return self._functions[key]

    def _checked_background(self, given):
        if self._of_heads:
            if given is not None:
                raise ArgumentError(
                    "players='heads' takes background=None: a head that is off has weights of 0, nothing else stands "
                    f"in for it; received {type(given).__name__}."
                )
            return None
        wanted = self._reader.wanted
        names = wanted and (["input"] if len(wanted) == 1 else self._reader.known_names)
        are_ids = wanted and [_takes_ids(one) for one in wanted]
        masked = zero_is_padding(self.model, len(wanted or [None]))
        return Background(given, names, are_ids, mask_zero=masked, tokenizer=self._reader.tokenizer)

    def _provenance(self, sides, notes):
        libraries = ("keras", "tensorflow", "shap", "numpy")
        return Provenance(
            model=self.model.name,
            background="attention weights of 0" if self._of_heads else self._background.describe(sides),
            seed=self.seed,
            versions=tuple((name, version(name)) for name in libraries),
            notes=notes,
        )


def _evaluations(playing, method, budget):
    """How many evaluations all rows may take."""
    return sum(default_budget(method, int(count), budget) for count in playing.sum(1))


def _check_effort(method, budget, tol):
    if budget is not None and (not isinstance(budget, (int, np.integer)) or budget < 1):
        raise ArgumentError(f"budget must be a positive integer or None; received {budget!r}.")
    if tol is None:
        return
    if isinstance(tol, bool) or not isinstance(tol, (int, float, np.number)) or not 0 < tol < 1:
        raise ArgumentError(f"tol must be a number between 0 and 1, or None; received {tol!r}.")
    if method not in TO_A_TOLERANCE:
        raise ArgumentError(
            f"method='{method}' does not stop at a tolerance; use {', '.join(TO_A_TOLERANCE)}, or set budget= instead."
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
    return model


def _check_players(players):
    """Raise for a name that is none; arrays are looked at beside the rows."""
    for one in players.values() if isinstance(players, dict) else (players,):
        if isinstance(one, str):
            require_choice("players", one, ("auto", *NAMES, *(() if isinstance(players, dict) else ("heads",))))


def _takes_ids(symbolic):
    return len(symbolic.shape) == 2 and keras.backend.standardize_dtype(symbolic.dtype).startswith("int")

"""`DeepExplainer` and `GradientExplainer`: called as shap's, and working on models of Keras 3."""

import warnings
from dataclasses import replace
from functools import partial

import numpy as np

from keras_attn_xai.errors import ArgumentError, ModelError
from keras_attn_xai.explain.deep import Deep, ExpectedGradients
from keras_attn_xai.explain.drop_in_answer import DropIn, by_output

CLOSE, ADDS_UP = 1e-3, 1e-2  # relative gaps: at which DeepLIFT is believed, and at which the additivity check raises


class DeepExplainer(DropIn):
    """`shap.DeepExplainer` for Keras 3: DeepLIFT through attention, normalisations, embeddings and recurrence.

    Parameters
    ----------
    model : keras.Model, or pair of Keras tensors
        With one output (N, C) or (N,), explained as it is: probabilities where it ends in a softmax. Or
        ``(model.inputs, model.layers[-1].output)``; the first may be tensors inside a model. It is not changed.
    data : array (R, ...), pandas.DataFrame, or a list or dict of these, or a callable
        Background rows, all of which are averaged over; 20 to 100 will do. A callable gets the list of one
        row's inputs, each without its first axis, and returns the background of this row.
    session, learning_phase_flags
        Ignored; here so that calls written for shap still work.

    Attributes
    ----------
    expected_value : float32 tensor (C,)
        The outputs' means over the background, of the type shap gives; None where ``data`` is a callable.

    Raises
    ------
    ModelError
        No Keras model, several outputs, an output per step.
    ShapeError, ArgumentError
        A background the model does not take, or that is not finite.

    Notes
    -----
    Token ids have one value each. An id 0 that an Embedding with ``mask_zero`` reads, and a step that a Masking
    layer behind an input leaves out, stay what they are: they get exactly 0, and the row's base value is the mean
    over background rows that are padded like it. The base values of `__call__` say so row by row.

    Where DeepLIFT does not add up to within a relative gap of 1e-3, or refuses the model, expected gradients are
    tried; where they are nearer they are taken, and a UserWarning says for how many. Cost: two forward passes and
    one walk back for every row, output and background row.

    For ranked outputs "max_abs" takes the largest (shap 0.51 takes the smallest).

    References
    ----------
    Lundberg and Lee 2017, arXiv:1705.07874. Shrikumar et al. 2017, DeepLIFT, arXiv:1704.02685.

    Examples
    --------
    >>> import keras, numpy as np
    >>> from keras_attn_xai.explain.drop_in import DeepExplainer
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, kernel_initializer="ones")])
    >>> explainer = DeepExplainer(model, np.zeros((1, 3)))
    >>> explainer.shap_values(np.array([[4.0, 1.0, 6.0]]))[..., 0]
    array([[4., 1., 6.]])
    """

    def __init__(self, model, data, session=None, learning_phase_flags=None):
        super().__init__(model, data)
        self._deep = Deep(self._output.chosen, layers=self._output.layers)
        self._gradients = ExpectedGradients(self._output.chosen, layers=self._output.layers)
        self._refused = ""

    def shap_values(self, X, ranked_outputs=None, output_rank_order="max", check_additivity=True):
        """Values of rows, one for each of their numbers and each output.

        Parameters
        ----------
        X : array (N, ...), pandas.DataFrame, or a list or dict of these
            As the model takes it.
        ranked_outputs : int, optional
            Explain only so many outputs k of each row.
        output_rank_order : {"max", "min", "max_abs", "custom"}
            Which these are; under "custom" ``ranked_outputs`` has their numbers, (N, k) or (k,).
        check_additivity : bool, default True
            Raise where base and values miss the output.

        Returns
        -------
        float64 array (N, ..., C), or a list or dict of them for several inputs
            In the unit of the output; C stays where it is 1. With ``ranked_outputs`` the pair of values
            (N, ..., k) and numbers of outputs, int (N, k).

        Raises
        ------
        ShapeError, ArgumentError
            Rows the model does not take, or that are not finite; ranked outputs that do not exist.
        AssertionError
            A relative gap above 1e-2, under ``check_additivity``.
        """
        answer = self._explained(X, ranked_outputs, output_rank_order, check_additivity)
        values = answer.rows.packed(answer.values)
        return values if ranked_outputs is None else (values, answer.classes)

    def __call__(self, X):
        """Rows as a ``shap.Explanation``, for shap's plots: ``explanation[..., c]`` is output c.

        Parameters
        ----------
        X : as in `shap_values`

        Returns
        -------
        shap.Explanation
            Values (N, ..., C), base values (N, C), data; names of features where X is a table. Several inputs
            stand side by side, each flat: (N, features of all, C), their features named by input and place.
        """
        return self._explained(X).to_shap()

    def _explained(self, x, ranked=None, order="max", check=True):
        """`Answer`, after a check and a warning."""
        reasons: list[str] = []  # one for each pair that fell back
        answer = self._answer(x, ranked, order, partial(self._attribute, reasons))
        if check:
            _require_additivity(answer.missed)
        if reasons:
            warnings.warn(
                f"{len(reasons)} of {answer.classes.size} pairs of a row and an output are not explained by DeepLIFT "
                f"alone: {' '.join(dict.fromkeys(reasons))}",
                stacklevel=3,
            )
        return answer

    def _attribute(self, reasons, rows, index, asked, references):
        """DeepLIFT, and expected gradients where these are nearer."""
        deep = self._by_deep(rows, index, references)
        if deep is None:
            reasons += [f"Expected gradients take its place. {self._refused}"] * len(index)
            return self._run(self._gradients, rows, index, references)
        missed = self._missed(deep, asked)
        far = np.flatnonzero(missed > CLOSE)
        if not len(far):
            return deep
        other = self._run(self._gradients, [one[far] for one in rows], index[far], references)
        nearer = self._missed(other, asked[far]) < missed[far]
        reasons += [_reason(*one, deep.blocking) for one in zip(missed[far], nearer, strict=True)]
        return _with_rows(deep, far[nearer], other, nearer)

    def _by_deep(self, rows, index, references):
        """DeepLIFT, or None where it has refused the model."""
        if not self._refused:
            try:
                return self._run(self._deep, rows, index, references)
            except ModelError as error:
                self._refused = str(error)
        return None


class GradientExplainer(DropIn):
    """`shap.GradientExplainer` for Keras 3: expected gradients by quadrature, without anything random.

    Parameters
    ----------
    model, data
        As for `DeepExplainer`.
    session
        Ignored; here so that calls written for shap still work.
    batch_size : int, default 50
        Most gradients taken at once.
    local_smoothing : 0
        Noise on the rows is not drawn; anything else is refused.

    Attributes
    ----------
    expected_value : float32 tensor (C,)
        The outputs' means over the background; None where ``data`` is a callable. shap's has none.

    Raises
    ------
    ModelError, ShapeError, ArgumentError
        As for `DeepExplainer`; noise that is asked for.

    Notes
    -----
    The lines from all background rows to a row are integrated with Gauss-Legendre nodes, not sampled. Padding is
    treated as in `DeepExplainer`.

    References
    ----------
    Erion et al. 2021, expected gradients, arXiv:1906.10670.

    Examples
    --------
    >>> import keras, numpy as np
    >>> from keras_attn_xai.explain.drop_in import GradientExplainer
    >>> x = keras.Input((2,))
    >>> model = keras.Model(x, keras.ops.prod(x, axis=1, keepdims=True))
    >>> GradientExplainer(model, np.zeros((1, 2))).shap_values(np.array([[2.0, 3.0]]))[..., 0].round(6)
    array([[3., 3.]])
    """

    def __init__(self, model, data, session=None, batch_size=50, local_smoothing=0):
        if local_smoothing != 0:
            raise ArgumentError(
                f"local_smoothing must be 0: no noise is drawn; received {local_smoothing!r}. Average over rows with "
                "noise of your own instead."
            )
        if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
            raise ArgumentError(f"batch_size must be a positive integer; received {batch_size!r}.")
        super().__init__(model, data)
        self.batch_size = int(batch_size)
        self._engines = {}

    def shap_values(
        self, X, nsamples=200, ranked_outputs=None, output_rank_order="max", rseed=None, return_variances=False
    ):
        """Values of rows, one for each of their numbers and each output.

        Parameters
        ----------
        X, ranked_outputs, output_rank_order
            As in `DeepExplainer.shap_values`.
        nsamples : int, default 200
            Most gradients on the lines to a row, for each output; at least one per background row.
        rseed
            Ignored: nothing is random.
        return_variances : bool, default False
            Also return the variance of each value as a mean over background rows: of the values against each row
            alone, divided by R.

        Returns
        -------
        float64 array (N, ..., C), or a list or dict of them for several inputs
            As in `DeepExplainer.shap_values`. With ``ranked_outputs`` the numbers of outputs come last, with
            ``return_variances`` a list of variances second: for each output an array (N, ...), or a list or dict
            of them.

        Raises
        ------
        ShapeError, ArgumentError
            As in `DeepExplainer.shap_values`; variances of one background row.
        """
        variances: list = []
        answer = self._explained(
            X, nsamples, ranked_outputs, output_rank_order, variances if return_variances else None
        )
        found: list = [answer.rows.packed(answer.values)]
        if return_variances:
            spread = [by_output(np.concatenate(one), answer.classes) for one in zip(*variances, strict=True)]
            found.append([answer.rows.packed([one[..., k] for one in spread]) for k in range(answer.classes.shape[1])])
        found += [] if ranked_outputs is None else [answer.classes]
        return found[0] if len(found) == 1 else tuple(found)

    def __call__(self, X, nsamples=200):
        """Rows as a ``shap.Explanation``, as `DeepExplainer.__call__` gives it.

        Parameters
        ----------
        X, nsamples : as in `shap_values`

        Returns
        -------
        shap.Explanation
        """
        return self._explained(X, nsamples).to_shap()

    def _explained(self, x, nsamples, ranked=None, order="max", variances=None):
        if isinstance(nsamples, bool) or not isinstance(nsamples, (int, np.integer)) or nsamples < 1:
            raise ArgumentError(f"nsamples must be a positive integer; received {nsamples!r}.")
        return self._answer(x, ranked, order, partial(self._attribute, int(nsamples), variances))

    def _attribute(self, nsamples, variances, rows, index, asked, references):
        """Expected gradients; with a list for variances, background row by background row."""
        count = len(references[0])
        engine = self._engine(max(1, nsamples // count))
        if variances is None:
            return self._run(engine, rows, index, references)
        if count < 2:
            raise ArgumentError("return_variances=True needs at least 2 background rows; received 1.")
        each = [self._run(engine, rows, index, [one[r : r + 1] for one in references]) for r in range(count)]
        values = [np.stack(one) for one in zip(*(one.values for one in each), strict=True)]
        variances.append([one.var(0, ddof=1) / count for one in values])
        return replace(each[0], values=[one.mean(0) for one in values], base=np.mean([one.base for one in each], 0))

    def _engine(self, cap):
        if cap not in self._engines:
            self._engines[cap] = ExpectedGradients(
                self._output.chosen, layers=self._output.layers, cap=cap, batch_size=self.batch_size
            )
        return self._engines[cap]


def _reason(missed, nearer, blocking):
    """Why a pair fell back or could not, a sentence."""
    if np.isinf(missed):
        return "The traced model gives other outputs than the model; is it random?"
    through = f", and nothing passes through {', '.join(blocking)}" if blocking else ""
    then = "expected gradients come nearer and take its place" if nearer else "expected gradients come no nearer"
    return f"It missed the output by a relative gap above {CLOSE}{through}; {then}."


def _with_rows(found, numbers, other, taken):
    """``found`` with the rows of these numbers replaced by those ``taken`` of another."""

    def merged(one, two):
        one = one.copy()
        one[numbers] = two[taken]
        return one

    return replace(
        found,
        values=[merged(*two) for two in zip(found.values, other.values, strict=True)],
        **{name: merged(getattr(found, name), getattr(other, name)) for name in ("base", "output", "evaluations")},
    )


def _require_additivity(missed):
    off = missed > ADDS_UP
    if off.any():
        worst = missed[off].max()
        how = "the traced model gives other outputs than the model" if np.isinf(worst) else f"up to {worst:.2g}"
        raise AssertionError(
            f"The SHAP values of {int(off.sum())} of {off.size} pairs of a row and an output do not add up to the "
            f"output: a relative gap above {ADDS_UP}, {how}. Use GradientExplainer with more nsamples, or "
            "AttentionExplainer, which evaluates coalitions; check_additivity=False lets it be."
        )

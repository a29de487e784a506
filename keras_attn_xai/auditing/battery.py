"""`audit`: agreement, faithfulness and the tests of the weights, in the time that is given, to one verdict."""

import numpy as np
from tqdm import tqdm

from keras_attn_xai.alignment import align
from keras_attn_xai.auditing.adversarial import adversarial_attention
from keras_attn_xai.auditing.attention_tests import (
    erasure_test,
    permutation_test,
    randomized_copy,
    uniform_test,
    weight_randomization,
)
from keras_attn_xai.auditing.coalition_orders import leave_one_out, random_order
from keras_attn_xai.auditing.faithfulness_table import faithfulness
from keras_attn_xai.auditing.record import Audit
from keras_attn_xai.auditing.swapped_weights import SwappedWeights
from keras_attn_xai.auditing.verdict import judge
from keras_attn_xai.capture.view import opened
from keras_attn_xai.errors import ArgumentError, ModelError, ShapeError
from keras_attn_xai.explain.explainer import AttentionExplainer
from keras_attn_xai.layers.arguments import require_choice
from keras_attn_xai.metrics import agreement, bootstrap_interval, entropy, jensen_shannon, kendall_tau, top_k_overlap
from keras_attn_xai.metrics.rows import quotient

QUICK, FULL = "quick", "full"
ROWS = 100  # of a quick audit
BUDGET = {QUICK: 500, FULL: 2000}  # evaluations of SHAP a row
PERMUTATIONS = {QUICK: 100, FULL: 1000}
SEARCHED = {QUICK: 32, FULL: 128}  # players of a row up to which the best order is searched
FEW = 30  # rows
RETRAINED = (
    "Whether another seed of training gives other weights, and whether a model trained with uniform weights does as "
    "well: both need the training, see seed_variance."
)


def audit(
    model, x, y=None, *, background, effort=QUICK, target=None, players="auto", tokenizer=None, seed=0, progress=None
):
    """Measure how far the attention of a model can be read as an explanation of its answers.

    Parameters
    ----------
    model : keras.Model
        With attention; as `AttentionExplainer` and `intervene` take it. It is not changed.
    x : as `AttentionExplainer` takes it
        Rows the model was not trained on, at least 2 and better 100.
    y : int array (B,), optional
        The right classes, to say how often the model is right on these rows.
    background, target, players, tokenizer
        As in `AttentionExplainer`; the players lie along the positions: tokens, words or steps.
    effort : {"quick", "full"}
        "quick" takes 100 rows at most, drawn by the seed, 500 evaluations of SHAP each and 100 permutations. "full"
        takes all rows, 2000 evaluations and 1000 permutations, looks for adversarial weights, and compares with a model
        of random weights. Neither trains anything.
    seed : int, default 0
    progress : bool, optional
        True shows a bar (on standard error); by default nothing is shown.

    Returns
    -------
    Audit
        ``print`` shows the verdict, its reasons and what was not tested; ``.tables`` and ``.to_frame()`` hold every
        number, ``.to_html(path)`` writes a page.

    Raises
    ------
    ModelError
        A model without attention.
    ArgumentError
        Less than two rows, players that are no positions, another effort.
    ShapeError
        Rows the model does not take, or classes that are not one for each row.

    Notes
    -----
    The map audited is the last with a key for each position, its weights the mean over heads and real queries. The
    orders compared are attention, a random one, and SHAP, leave-one-out and expected gradients, each with its signs and
    by magnitude; attention, which has no sign, is judged beside the magnitudes. The rules of the verdict are in
    ``keras_attn_xai.auditing.verdict.judge``; it is about these rows, this map and this background.

    References
    ----------
    Jain and Wallace 2019 (arXiv:1902.10186). Wiegreffe and Pinter 2019 (arXiv:1908.04626). Serrano and Smith 2019
    (arXiv:1906.03731). Adebayo et al. 2018 (arXiv:1810.03292). Pruthi et al. 2020, "Learning to deceive with
    attention-based explanations" (arXiv:1909.07913).
    """
    require_choice("effort", effort, tuple(BUDGET))
    opened(model, "audit")
    rows = _row_count(x)
    if rows < 2:
        raise ArgumentError(f"An audit needs at least two rows, for its intervals; received {rows}.")
    chosen = np.arange(rows)
    if effort == QUICK and rows > ROWS:
        chosen = np.sort(np.random.default_rng(seed).choice(rows, ROWS, replace=False))
    x, y = taken(x, chosen), None if y is None else _classes(y, rows)[chosen]
    battery = _Battery(model, x, effort, seed, {"target": target, "tokenizer": tokenizer})
    stages = (
        lambda: battery.explain(background, players),
        battery.measure_agreement,
        battery.measure_faithfulness,
        battery.test_weights,
        *((battery.test_further,) if effort == FULL else ()),
    )
    for stage in tqdm(stages, desc="audit", unit="stage", disable=not progress):
        stage()
    return battery.audit(y, rows)


class _Battery:
    """The stages of an audit and what they found."""

    def __init__(self, model, x, effort, seed, options):
        self._model, self._x, self._effort, self._seed, self._options = model, x, effort, seed, options
        self._numbers, self._tables, self._tests, self._untested, self._swapped = {}, {}, [], [], None

    def explain(self, background, players):
        """SHAP and gradients of the rows."""
        given = {"players": players, "seed": self._seed, **self._options}
        self._explainer = AttentionExplainer(self._model, background, **given)
        self._found = self._explainer(self._x, budget=BUDGET[self._effort], progress=False)
        self._seen = align(self._found)
        try:
            walker = AttentionExplainer(self._model, background, method="expected_gradients", **given)
            self._gradients = walker(self._x, progress=False).attribution.values
        except (TypeError, ValueError) as error:  # TensorFlow's own too, of a loop it cannot differentiate
            self._gradients = None
            self._untested.append(f"The order of gradients: {str(error).splitlines()[0]}")

    def measure_agreement(self):
        """What the weights are like, and how they agree with SHAP."""
        seen, sizes = self._seen, np.abs(self._seen.attribution)
        self._tables["agreement"] = agreement(self._found, maps=seen.map, seed=self._seed)
        top = top_k_overlap(seen.attention, sizes, k=1, mask=seen.mask)
        self._keep("entropy", entropy(seen.attention, mask=seen.mask))
        self._keep("difference between rows", difference_between_rows(seen.attention, seen.mask))
        self._keep("agreement", kendall_tau(seen.attention, sizes, mask=seen.mask))
        self._keep("top", top)
        self._keep("top above chance", top - quotient(np.ones(len(top)), seen.mask.sum(1)))

    def measure_faithfulness(self):
        """Attention beside the other orders."""
        coalitions = self._explainer.coalitions(self._x)
        signed = {"SHAP": self._found.attribution.values, "leave-one-out": leave_one_out(coalitions)}
        if self._gradients is not None:
            signed["gradients"] = self._gradients
        unsigned = {f"|{name}|": np.abs(values) for name, values in signed.items()}
        orders = {
            "attention": self._seen.attention,
            "random": random_order(coalitions.mask.shape, seed=self._seed),
            **unsigned,
            **signed,
        }
        longest = int(coalitions.mask.sum(1).max())
        search = longest <= SEARCHED[self._effort]
        if not search:
            self._untested.append(f"The best order there is: rows of up to {longest} players were not searched for it.")
        table = faithfulness(self._explainer, self._x, orders, search=search, seed=self._seed)
        self._tables["faithfulness"] = table
        drops = {name: table.values[name, "comprehensiveness"] for name in orders}
        gain = drops["attention"] - drops["random"]
        self._keep("faithful", gain)
        others = [drops[name] - drops["random"] for name in unsigned]  # attention has no sign either
        best = max(others, key=np.mean)
        if best.mean() > 0:
            self._keep("share of the best", gain / best.mean())

    def test_weights(self):
        """The weights shuffled, made uniform, and erased."""
        try:
            swapped = SwappedWeights(self._model, self._x, call=self._seen.map, **self._options)
        except ModelError as error:
            self._untested.append(f"Whether the answer depends on the weights: {error}")
            return
        self._swapped = swapped
        shuffles = permutation_test(swapped, None, permutations=PERMUTATIONS[self._effort], seed=self._seed)
        flat, gone = uniform_test(swapped, None, seed=self._seed), erasure_test(swapped, None, seed=self._seed)
        self._tests += [shuffles, flat, gone]
        self._numbers |= {"permutation": shuffles.mean, "uniform": flat.mean, "erasure": gone.mean}

    def test_further(self):
        """Other weights with the same answer, and a model that knows nothing."""
        if self._swapped is None:
            return
        self._tests.append(adversarial_attention(self._swapped, None, seed=self._seed))
        self._numbers["adversarial"] = self._tests[-1].mean
        try:
            copy = randomized_copy(self._model, seed=self._seed)
        except ModelError as error:
            self._untested.append(f"A model of random weights: {error}")
            return
        self._tests.append(weight_randomization(self._swapped, copy, None, seed=self._seed))
        self._numbers["weight randomization"] = self._tests[-1].mean

    def audit(self, y, rows):
        """All of it, judged."""
        verdict, checks = judge(self._numbers)
        self._tables["tests"] = tuple(self._tests)
        seen = self._seen
        others = [one.name for one in self._found.attention if one.name != seen.map]
        if others:
            self._untested.append(f"Other attention calls: {', '.join(others)}.")
        if self._effort == QUICK:
            self._untested.append('Other weights with the same answer, and a model of random weights: effort="full".')
        if len(seen) < FEW:
            self._untested.append(f"More than {len(seen)} rows; the intervals of so few are rough.")
        return Audit(verdict, checks, (*self._untested, RETRAINED), self._tables, (self._note(rows), *self._right(y)))

    def _note(self, rows):
        seen, origin = self._seen, self._found.provenance
        return (
            f"Model {origin.model}, map {seen.map} (heads: {seen.heads}, query: {seen.query}), {len(seen)} of {rows} "
            f"rows, SHAP by {self._found.attribution.method}, background: {origin.background}, seed {self._seed}."
        )

    def _right(self, y):
        if y is None or self._swapped is None:
            return ()
        share = bootstrap_interval(self._swapped.probabilities.argmax(1) == y, seed=self._seed)
        return (f"The model is right on {share.mean:.3f} [{share.low:.3f}, {share.high:.3f}] of these rows.",)

    def _keep(self, name, values):
        """A number over rows, unless it is defined for less than two."""
        interval = bootstrap_interval(values, seed=self._seed)
        if interval.rows > 1:
            self._numbers[name] = interval
        else:
            self._untested.append(f"The {name}: it is defined for {interval.rows} of {len(values)} rows.")


def difference_between_rows(attention, mask):
    """How far each row's weights are from the mean of the other rows of its length.

    Parameters
    ----------
    attention : float array (B, S)
    mask : bool array (B, S)

    Returns
    -------
    float array (B,)
        In nats, 0 to 0.693; near 0, the weights depend on the position alone. NaN where no other row is as long.
    """
    found = np.full(len(mask), np.nan)
    for shape in np.unique(mask, axis=0):
        rows = np.flatnonzero((mask == shape).all(1))
        if len(rows) < 2 or shape.sum() < 2:
            continue
        here = attention[rows]
        others = (here.sum(0) - here) / (len(rows) - 1)
        found[rows] = jensen_shannon(here, np.maximum(others, 0), mask=mask[rows])
    return found


def _classes(y, rows):
    """A class for each row, int array (B,)."""
    y = np.asarray(y)
    if y.dtype.kind not in "iub" or y.size != rows or y.shape[:1] != (rows,):
        raise ShapeError(f"y must be the class of each of {rows} rows, integers; received {y.shape}, dtype {y.dtype}.")
    return y.ravel()


def _row_count(x):
    if isinstance(x, str):
        return 1
    if isinstance(x, dict):
        return _row_count(next(iter(x.values()), ()))
    return _row_count(x[0]) if _are_inputs(x) else len(x)


def taken(x, rows):
    """Some rows of data of one input or several.

    Parameters
    ----------
    x : array, list of texts, or a list, tuple or dict of these, one per input
    rows : int array (N,)

    Returns
    -------
    the same structure
    """
    if isinstance(x, dict):
        return {name: taken(one, rows) for name, one in x.items()}
    if _are_inputs(x):
        return type(x)(taken(one, rows) for one in x)
    return [x[row] for row in rows] if isinstance(x, (list, tuple)) else np.asarray(x)[rows]


def _are_inputs(x):
    """Whether a list holds one thing per input rather than one per row."""
    return isinstance(x, (list, tuple)) and len(x) > 0 and np.ndim(x[0]) > 1

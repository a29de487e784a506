"""`audit`: agreement, faithfulness and the tests of the weights, in the time that is given, to one verdict."""

from functools import cache, cached_property

import numpy as np
from tqdm import tqdm

from keras_attn_xai.alignment import align
from keras_attn_xai.auditing.adversarial import adversarial_attention
from keras_attn_xai.auditing.attention_robustness import robustness
from keras_attn_xai.auditing.attention_tests import (
    erasure_test,
    permutation_test,
    same_call,
    seed_variance,
    uniform_test,
)
from keras_attn_xai.auditing.checkpoint import Checkpoint, Stage
from keras_attn_xai.auditing.coalition_orders import leave_one_out, random_order
from keras_attn_xai.auditing.diagnostic import compared, guided
from keras_attn_xai.auditing.faithfulness_table import faithfulness
from keras_attn_xai.auditing.randomization import cascading_randomization, randomized_copy, weight_randomization
from keras_attn_xai.auditing.record import Audit
from keras_attn_xai.auditing.retraining import classes, require_change, uniform_retrained
from keras_attn_xai.auditing.swapped_weights import SwappedWeights
from keras_attn_xai.auditing.verdict import judge
from keras_attn_xai.capture.view import opened
from keras_attn_xai.errors import ArgumentError, ModelError
from keras_attn_xai.explain.explainer import AttentionExplainer
from keras_attn_xai.explain.inputs import InputReader
from keras_attn_xai.layers.arguments import require_choice
from keras_attn_xai.metrics import agreement, bootstrap_interval, entropy, jensen_shannon, kendall_tau, top_k_overlap
from keras_attn_xai.metrics.rows import quotient

QUICK, FULL = "quick", "full"
ROWS = 100  # of a quick audit
BUDGET = {QUICK: 500, FULL: 2000}  # evaluations of SHAP a row
CHANGED = {QUICK: 20, FULL: 100}  # rows that are changed a little
PERMUTATIONS = {QUICK: 100, FULL: 1000}
SEARCHED = {QUICK: 32, FULL: 128}  # players of a row up to which the best order is searched
FEW = 30  # rows
TRAININGS = 3
RETRAINED = (
    "Whether another seed of training gives other weights, whether a model trained with uniform weights does as well, "
    "and whether the weights help a model that reads each position alone"
)


def audit(
    model, x, y=None, *, background, effort=QUICK, target=None, players="auto", tokenizer=None, build_and_fit=None,
    checkpoint=None, seed=0, progress=None,
):  # fmt: skip
    """Measure how far the attention of a model can be read as an explanation of its answers.

    Parameters
    ----------
    model : keras.Model
        With attention; as `AttentionExplainer` and `intervene` take it. It is not changed.
    x : as `AttentionExplainer` takes it
        Rows the model was not trained on, at least 2 and better 100.
    y : int array (B,), optional
        The right classes, to say how often the model is right on these rows, and for two of the tests that train.
    background, target, players, tokenizer
        As in `AttentionExplainer`; the players lie along the positions: tokens, words or steps.
    effort : {"quick", "full"}
        "quick" takes 100 rows at most, drawn by the seed, 500 evaluations of SHAP each and 100 permutations. "full"
        takes all rows, 2000 evaluations and 1000 permutations, looks for adversarial weights, compares with a model of
        random weights, and trains where it is told how.
    build_and_fit : callable, optional
        As in `uniform_retrained`. "full" then trains three models and, with ``y``, three more whose weights are
        uniform, and a small one that reads each position alone, on half of the rows for the other.
    checkpoint : str or path, optional
        A folder, where each finished stage is kept; an audit that was interrupted goes on from there. Of a tokenizer, a
        callable target or ``build_and_fit`` only the name is compared.
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
        Less than two rows, players that are no positions, another effort, a ``build_and_fit`` that takes no change, or
        a checkpoint of an audit with other weights, rows or options.
    ShapeError
        Rows the model does not take, or classes that are not one for each row.
    FileExistsError
        The checkpoint's folder holds other files.

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
    x, y = taken(x, chosen), None if y is None else classes(y, rows)[chosen]
    if build_and_fit is not None:
        require_change(build_and_fit)
    options = {"background": background, "players": players, "target": target, "tokenizer": tokenizer}
    battery = _Battery(model, x, y, effort, seed, options, build_and_fit)
    kept = Checkpoint(
        checkpoint, lambda: options | {"model": model, "rows": [x, battery.read_rows], "classes": y, "effort": effort,
                                       "build_and_fit": build_and_fit, "seed": seed}
    )  # fmt: skip
    for name, stage in tqdm(battery.stages.items(), desc="audit", unit="stage", disable=not progress):
        battery.done[name] = kept.stage(name, stage)
    return battery.audit(rows)


class _Battery:
    """The stages of an audit, each of which gives a `Stage`, and those that are done."""

    def __init__(self, model, x, y, effort, seed, options, build_and_fit):
        self._model, self._x, self._y, self._effort, self._seed = model, x, y, effort, seed
        self._options, self._build_and_fit = options, build_and_fit
        self._reading = {name: options[name] for name in ("target", "tokenizer")}
        self.done: dict[str, Stage] = {}

    @property
    def stages(self):
        """Stage by name, in their order."""
        quick = {
            "explanation": self.explain,
            "faithfulness": self.measure_faithfulness,
            "weights": self.test_weights,
            "small changes": self.change_a_little,
        }
        full = {"adversary": self.look_for_others, "random weights": self.test_random_weights}
        trains = {"training": self.train_again, "diagnostic": self.diagnose}
        return quick | (full | (trains if self._build_and_fit else {}) if self._effort == FULL else {})

    @property
    def read_rows(self):
        """The rows as arrays, as the model gets them."""
        sides, _ = InputReader(self._model, self._options["tokenizer"]).read(self._x)
        return [side.array for side in sides]

    @cached_property
    def _explainer(self):
        return AttentionExplainer(self._model, seed=self._seed, **self._options)

    @cached_property
    def _seen(self):
        return align(self.done["explanation"].explanation)

    @cached_property
    def _swapped(self):
        return SwappedWeights(self._model, self._x, call=self._seen.map, **self._reading)

    def explain(self):
        """SHAP and gradients of the rows."""
        found = self._explainer(self._x, budget=BUDGET[self._effort], progress=False)
        align(found)  # refuses players that are no positions before anything else is done
        walker = AttentionExplainer(self._model, method="expected_gradients", seed=self._seed, **self._options)
        try:
            gradients = {"gradients": walker(self._x, progress=False).attribution.values}
        except (TypeError, ValueError) as error:  # TensorFlow's own too, of a loop it cannot differentiate
            return Stage(explanation=found, untested=(f"The order of gradients: {str(error).splitlines()[0]}",))
        return Stage(explanation=found, arrays=gradients)

    def measure_faithfulness(self):
        """Attention beside the other orders."""
        coalitions, explained = self._explainer.coalitions(self._x), self.done["explanation"]
        shap = explained.explanation.attribution.values
        signed = {"SHAP": shap, "leave-one-out": leave_one_out(coalitions), **explained.arrays}
        unsigned = {f"|{name}|": np.abs(values) for name, values in signed.items()}
        orders = {
            "attention": self._seen.attention,
            "random": random_order(coalitions.mask.shape, seed=self._seed),
            **unsigned,
            **signed,
        }
        longest = int(coalitions.mask.sum(1).max())
        search = longest <= SEARCHED[self._effort]
        table = faithfulness(self._explainer, self._x, orders, search=search, seed=self._seed)
        drops = {name: table.values[name, "comprehensiveness"] for name in orders}
        gain = drops["attention"] - drops["random"]
        others = [drops[name] - drops["random"] for name in unsigned]  # attention has no sign either
        best = max(others, key=np.mean)
        share = {"share of the best": gain / best.mean()} if best.mean() > 0 else {}
        numbers, untested = self._over_rows({"faithful": gain, **share})
        if not search:
            untested += (f"The best order there is: rows of up to {longest} players were not searched for it.",)
        return Stage(numbers, untested=untested, table=table)

    def test_weights(self):
        """The weights shuffled, made uniform, and erased."""
        try:
            swapped = self._swapped
        except ModelError as error:
            return Stage(untested=(f"Whether the answer depends on the weights: {error}",))
        shuffles = permutation_test(swapped, None, permutations=PERMUTATIONS[self._effort], seed=self._seed)
        flat, gone = uniform_test(swapped, None, seed=self._seed), erasure_test(swapped, None, seed=self._seed)
        numbers = {"permutation": shuffles.mean, "uniform": flat.mean, "erasure": gone.mean}
        said = swapped.probabilities.argmax(1)
        return Stage(numbers, (shuffles, flat, gone), arrays={"said": said})

    def change_a_little(self):
        """Small changes of some rows that keep their answers."""
        if not self._can_swap:
            return Stage()
        rows = np.arange(min(len(self._seen), CHANGED[self._effort]))
        players = self._options["players"]
        options = self._options | {"players": "auto" if players in ("words", "sentences") else players}
        try:
            tests = robustness(self._model, taken(self._x, rows), map=self._seen.map, seed=self._seed, **options)
        except (ModelError, ArgumentError) as error:
            return Stage(untested=(f"Whether small changes move attention: {error}",))
        numbers = {f"{test.name}, {name}": test.intervals[name] for test in tests for name in ("attention", "SHAP")}
        return Stage(numbers, tests)

    def look_for_others(self):
        """Other weights with the same answer."""
        if not self._can_swap:
            return Stage()
        test = adversarial_attention(self._swapped, None, seed=self._seed)
        return Stage({"adversarial": test.mean}, (test,))

    def test_random_weights(self):
        """A model that knows nothing, all at once and from the top."""
        if not self._can_swap:
            return Stage()
        try:
            copy = randomized_copy(self._model, seed=self._seed)
        except ModelError as error:
            return Stage(untested=(f"A model of random weights: {error}",))
        test = weight_randomization(self._swapped, copy, None, seed=self._seed)
        cascade = cascading_randomization(self._swapped, None, seed=self._seed)
        return Stage({"weight randomization": test.mean}, (test, cascade))

    def train_again(self):
        """Models of other seeds, and with uniform weights."""
        trained = cache(self._build_and_fit)
        call = same_call(self._seen.map, self._model, trained(self._trainings[0]))
        given = self._where | {"map": call}

        def build(seed, change=None):
            """A model, trained once for each seed without a change."""
            return trained(seed) if change is None else self._build_and_fit(seed, change)

        apart = seed_variance(build, self._x, self._trainings, **given)
        if self._y is None:
            missing = "Whether a model trained with uniform weights does as well: it needs y."
            return Stage({"seeds": apart.mean}, (apart,), (missing,))
        even = uniform_retrained(build, self._x, self._y, self._trainings, **given)
        return Stage({"seeds": apart.mean, "uniform retrained": even.mean}, (apart, even))

    def diagnose(self):
        """A model that reads each position alone, guided by the weights: trained on each half, tried on the other."""
        if self._y is None:
            return Stage(untested=("Whether the weights help a model that reads each position alone: it needs y.",))
        halves = np.array_split(np.random.default_rng(self._seed).permutation(len(self._y)), 2)
        found = []
        try:
            for one, other in (halves, halves[::-1]):
                (x, y), (unseen, right) = ((taken(self._x, rows), self._y[rows]) for rows in (one, other))
                found.append(guided(self._model, x, y, unseen, right, self._trainings, **self._where))
        except ModelError as error:
            return Stage(untested=(f"Whether the weights help a model that reads each position alone: {error}",))
        tried = np.argsort(np.concatenate(halves[::-1]))
        test = compared(np.concatenate(found, axis=2)[:, :, tried], seed=self._seed)
        return Stage({"diagnostic": test.mean}, (test,))

    def audit(self, rows):
        """All of it, judged."""
        numbers, untested = self._agreement_numbers()
        stages = self.done.values()
        for stage in stages:
            numbers |= stage.numbers
            untested += stage.untested
        verdict, checks = judge(numbers)
        tables = {
            "agreement": agreement(self.done["explanation"].explanation, maps=self._seen.map, seed=self._seed),
            "faithfulness": self.done["faithfulness"].table,
            "tests": tuple(test for stage in stages for test in stage.tests),
        }
        untested += tuple(self._left_out())
        return Audit(verdict, checks, untested, tables, (self._note(rows), *self._right()))

    def _agreement_numbers(self):
        """What the weights are like, and how they agree with SHAP."""
        seen, sizes = self._seen, np.abs(self._seen.attribution)
        top = top_k_overlap(seen.attention, sizes, k=1, mask=seen.mask)
        return self._over_rows(
            {
                "entropy": entropy(seen.attention, mask=seen.mask),
                "difference between rows": difference_between_rows(seen.attention, seen.mask),
                "agreement": kendall_tau(seen.attention, sizes, mask=seen.mask),
                "top": top,
                "top above chance": top - quotient(np.ones(len(top)), seen.mask.sum(1)),
            }
        )

    def _left_out(self):
        """What was not tried, for want of effort, training or rows."""
        seen = self._seen
        others = [one.name for one in self.done["explanation"].explanation.attention if one.name != seen.map]
        if others:
            yield f"Other attention calls: {', '.join(others)}."
        if self._effort == QUICK:
            yield 'Other weights with the same answer, and a model of random weights: effort="full".'
        if self._build_and_fit is None:
            yield f"{RETRAINED}: these need the training, build_and_fit."
        elif self._effort == QUICK:
            yield f'{RETRAINED}: effort="full".'
        if len(seen) < FEW:
            yield f"More than {len(seen)} rows; the intervals of so few are rough."

    @property
    def _can_swap(self):
        return "said" in self.done["weights"].arrays

    @property
    def _trainings(self):
        return tuple(range(self._seed, self._seed + TRAININGS))

    @property
    def _where(self):
        return {"map": self._seen.map, "tokenizer": self._options["tokenizer"], "seed": self._seed}

    def _note(self, rows):
        seen, explained = self._seen, self.done["explanation"].explanation
        origin = explained.provenance
        return (
            f"Model {origin.model}, map {seen.map} (heads: {seen.heads}, query: {seen.query}), {len(seen)} of {rows} "
            f"rows, SHAP by {explained.attribution.method}, background: {origin.background}, seed {self._seed}."
        )

    def _right(self):
        if self._y is None or not self._can_swap:
            return ()
        share = bootstrap_interval(self.done["weights"].arrays["said"] == self._y, seed=self._seed)
        return (f"The model is right on {share.mean:.3f} [{share.low:.3f}, {share.high:.3f}] of these rows.",)

    def _over_rows(self, values):
        """Intervals over rows, and a sentence for each number that is defined for less than two."""
        intervals = {name: bootstrap_interval(one, seed=self._seed) for name, one in values.items()}
        untested = tuple(
            f"The {name}: it is defined for {one.rows} of {len(values[name])} rows."
            for name, one in intervals.items()
            if one.rows < 2
        )
        return {name: one for name, one in intervals.items() if one.rows > 1}, untested


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

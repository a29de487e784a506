"""From what was measured to what may be said: the rules, in one place, of numbers alone."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

YES = "attention can be read as an explanation here"
PARTLY = "partly"
NO = "attention does not explain this model"
NOTHING = "nothing can be read"

EVEN = 0.99  # entropy above which weights are uniform
FIXED = 0.005  # nats; divergence from the mean of other rows below which weights do not depend on the row
UNMOVED = 0.01  # total variation below which an answer does not depend on the weights
CHANCE = 1.5  # times an interval's half: 99.7 % instead of 95 %, because three are looked at and rows share words
CHANCE_NEEDS = ("agreement", "top above chance", "faithful")
MOVED = 0.05  # total variation above which it does: the limit of Jain and Wallace's adversary
HALF = 0.5
OTHER = np.log(2) / 2  # nats; divergence above which other weights are quite other ones
CHANGES = {
    "moved at random": "Small random moves of the input",
    "moved against attention": "Small moves of the input, sought to move attention,",
    "other words": "Near words in the place of a tenth, sought to move attention,",
}


class Check(NamedTuple):
    """One thing that was looked at: whether it speaks for reading attention, against it, or neither, and why."""

    name: str
    speaks: str  # "for", "against", "neither"
    sentence: str


def judge(numbers):
    """The verdict and its reasons.

    Parameters
    ----------
    numbers : dict of str to Interval
        What was measured; what was not is left out. "entropy", "difference between rows", "agreement" (Kendall tau with
        sizes of SHAP), "top" (same position on top), "top above chance", "faithful" (comprehensiveness less that of a
        random order, row by row), "share of the best" (that difference as a share of the best one's), "permutation",
        "uniform", "erasure" (top less random), "moved at random", "moved against attention" and "other words" (each
        with ", attention" and ", SHAP": how far these move), "adversarial", "weight randomization", "seeds"
        (divergence between trainings), "uniform retrained" and "diagnostic" (accuracy with attention less that with
        uniform weights).

    Returns
    -------
    verdict : str
        One of the four.
    checks : tuple of Check

    Notes
    -----
    In this order, with ``low`` and ``high`` the ends of 95 % intervals:

    1. *nothing can be read*: the weights are uniform (entropy low > 0.99), or the same whatever the row (difference
       high < 0.005), or their order is that of chance: the intervals of Kendall tau with sizes of SHAP, of the same
       position on top above chance, and of comprehensiveness above a random order all hold 0, each made 1.5 times as
       wide (99.7 %).
    2. *attention does not explain this model*: its order is not seen to be more faithful than a random one (low <= 0),
       or the answer stays when the weights are shuffled and when they are made uniform (both high < 0.01).
    3. *attention can be read as an explanation here*: every check was made that "quick" makes, and all speak for it.
       "full" adds the adversary and random weights, and what is trained again, which must not speak against it.
    4. *partly*: everything else.

    For reading attention speak: the same position on top in half of the rows and more often than by chance (low > 0),
    with a Kendall tau that is not below 0 (high > 0; tau is not asked for more, for it ranks the positions that do not
    matter too); more faithful than a random order (low > 0); at least half of what the best order of magnitudes gains
    (mean >= 0.5, low > 0); an answer that moves when the weights are shuffled (low > 0.05); and a largest weight whose
    erasure flips more decisions than another's (low > 0). Against it speak: a tau below 0 (high <= 0), decisions
    flipped less often (high < 0), other weights with the same answer (low > half of log 2), the same attention from a
    model of random weights (high < 0.005), quite other attention from another seed of training (low > half of log 2),
    or after a small change that keeps the answer, where SHAP moves less (low > its high). Uniform weights in training,
    and in the model that reads each position alone, speak for reading attention where they do worse (low > 0) and
    against it where they do better (high < 0); that they do as well says something of the task, not of this model.
    These limits are conventions; the numbers stand beside them.

    Examples
    --------
    >>> from keras_attn_xai.auditing.verdict import judge
    >>> from keras_attn_xai.metrics import Interval
    >>> verdict, (check,) = judge({"entropy": Interval(1.0, 1.0, 1.0, 8)})
    >>> print(verdict)
    nothing can be read
    >>> print(check.sentence)
    The weights are uniform: entropy 1.000 [1.000, 1.000] of at most 1.
    """
    checks = tuple(rule(numbers) for names, rule in RULES if all(name in numbers for name in names))
    speaks = {check.name: check.speaks for check in checks}
    if "nothing" in speaks.values():
        verdict = NOTHING
    elif speaks.get("faithful") == "against" or speaks.get("needed") == "no":
        verdict = NO
    elif all(speaks.get(name) == "for" for name in NEEDED) and "against" not in speaks.values():
        verdict = YES
    else:
        verdict = PARTLY
    words = {"nothing": "against", "no": "against"}
    return verdict, tuple(check._replace(speaks=words.get(check.speaks, check.speaks)) for check in checks)


def _said(interval):
    return f"{interval.mean:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def _entropy(numbers):
    one = numbers["entropy"]
    even = one.low > EVEN
    head = "The weights are uniform" if even else "The weights single out positions"
    return Check("entropy", "nothing" if even else "neither", f"{head}: entropy {_said(one)} of at most 1.")


def _difference(numbers):
    one = numbers["difference between rows"]
    fixed = one.high < FIXED
    head = "The weights are the same whatever the row" if fixed else "The weights depend on the row"
    sentence = f"{head}: divergence {_said(one)} nats from the mean of rows of the same length."
    return Check("difference between rows", "nothing" if fixed else "neither", sentence)


def _chance(numbers):
    found = [numbers[name] for name in CHANCE_NEEDS]
    like = all(_widened(one, one.low) <= 0 <= _widened(one, one.high) for one in found)
    sentence = (
        "The order of the weights is not seen to differ from chance, in none of the three that follow."
        if like
        else "The order of the weights is not that of chance, in at least one of the three that follow."
    )
    return Check("chance", "nothing" if like else "neither", sentence)


def _widened(interval, end):
    return interval.mean + CHANCE * (end - interval.mean)


def _agreement(numbers):
    tau, top, above = (numbers[name] for name in ("agreement", "top", "top above chance"))
    chance = top.mean - above.mean
    on_top = above.low > 0 and top.mean >= HALF
    speaks = "for" if on_top and tau.high > 0 else _against_if(tau.high <= 0)
    sentence = (
        f"Kendall tau of attention with |SHAP| is {_said(tau)}; the same position is on top in {_said(top)} of the "
        f"rows, {chance:.3f} by chance."
    )
    return Check("agreement", speaks, sentence)


def _faithful(numbers):
    one = numbers["faithful"]
    better = one.low > 0
    head = "moves the answer more than" if better else "is not seen to move the answer more than"
    sentence = f"Taking players away in the order of attention {head} in a random one: {_said(one)} further."
    return Check("faithful", "for" if better else "against", sentence)


def _share(numbers):
    one = numbers["share of the best"]
    speaks = "for" if one.mean >= HALF and one.low > 0 else "neither"
    sentence = f"Of what the best order of magnitudes gains over a random one, attention gains {_said(one)}."
    return Check("share of the best", speaks, sentence)


def _needed(numbers):
    shuffled, flat = numbers["permutation"], numbers["uniform"]
    if shuffled.high < UNMOVED and flat.high < UNMOVED:
        head, speaks = "The answer does not depend on the weights", "no"
    else:
        moved = shuffled.low > MOVED
        head, speaks = ("The answer depends on the weights", "for") if moved else ("It hardly moves", "neither")
    sentence = f"{head}: shuffled, it moves by {_said(shuffled)}; made uniform, by {_said(flat)} (total variation)."
    return Check("needed", speaks, sentence)


def _erasure(numbers):
    one = numbers["erasure"]
    speaks = _for_if_above(one)
    sentence = f"Erasing the largest weight flips decisions more often than erasing a random one by {_said(one)}."
    return Check("erasure", speaks, sentence)


def _changed(name, numbers):
    seen, moved = (numbers[f"{name}, {of}"] for of in ("attention", "SHAP"))
    sentence = (
        f"{CHANGES[name]} keep the answer and move attention by {_said(seen)} nats, the shares of |SHAP| by "
        f"{_said(moved)}."
    )
    return Check(name, _against_if(seen.low > max(OTHER, moved.high)), sentence)


def _adversarial(numbers):
    one = numbers["adversarial"]
    speaks = _against_if(one.low > OTHER)
    sentence = f"Other weights with the same answer were found at a divergence of {_said(one)} nats of at most 0.693."
    return Check("adversarial", speaks, sentence)


def _randomization(numbers):
    one = numbers["weight randomization"]
    speaks = _against_if(one.high < FIXED)
    sentence = f"A model with random weights attends at a divergence of {_said(one)} nats from this one."
    return Check("weight randomization", speaks, sentence)


def _seeds(numbers):
    one = numbers["seeds"]
    speaks = _against_if(one.low > OTHER)
    sentence = f"Trained from other seeds, models attend at a divergence of {_said(one)} nats from one another."
    return Check("seeds", speaks, sentence)


def _retrained(numbers):
    one = numbers["uniform retrained"]
    sentence = f"Trained with attention, models are right more often than with uniform weights by {_said(one)}."
    return Check("uniform retrained", _for_if_above(one), sentence)


def _diagnostic(numbers):
    one = numbers["diagnostic"]
    sentence = (
        "A model that reads each position alone is right more often with the weights of attention than with uniform "
        f"ones by {_said(one)}."
    )
    return Check("diagnostic", _for_if_above(one), sentence)


def _for_if_above(one):
    """For where it is surely above 0, against where it is surely below."""
    return "for" if one.low > 0 else _against_if(one.high < 0)


def _against_if(condition):
    return "against" if condition else "neither"


RULES: tuple[tuple[tuple[str, ...], Callable], ...] = (  # what each needs, and what it says of it
    (("entropy",), _entropy),
    (("difference between rows",), _difference),
    (CHANCE_NEEDS, _chance),
    (("agreement", "top", "top above chance"), _agreement),
    (("faithful",), _faithful),
    (("share of the best",), _share),
    (("permutation", "uniform"), _needed),
    (("erasure",), _erasure),
    *(((f"{name}, attention", f"{name}, SHAP"), partial(_changed, name)) for name in CHANGES),
    (("adversarial",), _adversarial),
    (("weight randomization",), _randomization),
    (("seeds",), _seeds),
    (("uniform retrained",), _retrained),
    (("diagnostic",), _diagnostic),
)
NEEDED = ("agreement", "faithful", "share of the best", "needed", "erasure")

"""What the model said about a row, in words and in its unit."""

from typing import NamedTuple

from scipy.special import expit

from keras_attn_xai.errors import ArgumentError


class Answer(NamedTuple):
    """The explained target of one row."""

    name: str
    probability: float | None  # None where the unit is not log-odds
    output: float
    unit: str

    def __str__(self):
        if self.probability is None:
            return f"{self.name} = {self.output:.3g}"
        return f"{self.name}, {self.probability:.0%} (log-odds {self.output:+.2f})"


def answer(attribution, class_names=None):
    """The answer an attribution of one row explains.

    Parameters
    ----------
    attribution : Attribution
        Of one row.
    class_names : sequence of str, optional
        A name for each class of the model's output.

    Returns
    -------
    Answer

    Raises
    ------
    ArgumentError
        There is no name for the row's class.
    """
    target, output = int(attribution.target[0]), float(attribution.output[0])
    if class_names is not None and not 0 <= target < len(class_names):
        raise ArgumentError(f"class_names has {len(class_names)} names; a row's target is class {target}.")
    unnamed = f"output {target}" if target >= 0 else "the target"
    name = unnamed if class_names is None else str(class_names[target])
    is_log_odds = attribution.unit == "log-odds"
    return Answer(name, float(expit(output)) if is_log_odds else None, output, attribution.unit)

"""What a model said about a row: the name, the probability, the unit."""

import numpy as np
import pytest

from keras_attn_xai import Attribution
from keras_attn_xai.answer import answer
from keras_attn_xai.errors import ArgumentError


def row(output, *, target=1, unit="log-odds"):
    return Attribution(
        values=[[output]], base=[0.0], output=[output], target=[target], unit=unit, method="exact", evaluations=[2],
        player_labels=[["film"]],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("output", "probability"), [(0, 0.5), (np.log(3), 0.75), (-np.log(3), 0.25), (-800, 0), (800, 1)]
)
def test_log_odds_become_a_probability(output, probability):
    said = answer(row(output))
    assert said.probability == pytest.approx(probability)
    assert said.output == output


def test_it_reads_as_a_person_would_say_it():
    assert str(answer(row(np.log(3)), ["bad", "good"])) == "good, 75% (log-odds +1.10)"
    assert str(answer(row(1.25, unit="output"))) == "output 1 = 1.25"
    assert str(answer(row(1.25, target=-1, unit="output"))) == "the target = 1.25"


@pytest.mark.parametrize(("target", "names"), [(2, ["bad", "good"]), (-1, ["bad", "good"])])
def test_a_class_without_a_name_gets_a_sentence(target, names):
    with pytest.raises(ArgumentError, match=f"class_names has 2 names; a row's target is class {target}"):
        answer(row(1.0, target=target), names)

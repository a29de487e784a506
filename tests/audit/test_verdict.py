"""The rules of the verdict, number by number."""

import pytest

from keras_attn_xai.auditing.verdict import CHANGES, NO, NOTHING, PARTLY, YES, judge
from keras_attn_xai.metrics import Interval


def around(mean, reach=0.01):
    return Interval(mean, mean - reach, mean + reach, 97)


GOOD = {
    "entropy": around(0.4),
    "difference between rows": around(0.3),
    "agreement": around(0.2),
    "top": around(0.8),
    "top above chance": around(0.7),
    "faithful": around(3.0),
    "share of the best": around(0.9),
    "permutation": around(0.4),
    "uniform": around(0.4),
    "erasure": around(0.3),
}


def test_all_that_speaks_for_it_is_needed():
    verdict, checks = judge(GOOD)
    assert verdict == YES
    assert [check.name for check in checks if check.speaks == "for"] == [
        "agreement", "faithful", "share of the best", "needed", "erasure"
    ]  # fmt: skip
    for name in ("agreement", "faithful", "share of the best", "permutation", "erasure"):
        assert judge({one: GOOD[one] for one in GOOD if one != name})[0] == PARTLY


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"entropy": around(1.0, 0.001)}, NOTHING),
        ({"entropy": Interval(0.995, 0.98, 1.0, 97)}, YES),
        ({"difference between rows": around(0.001, 0.001)}, NOTHING),
        ({"agreement": around(0, 0.1), "top above chance": around(0, 0.1), "faithful": around(0, 1)}, NOTHING),
        ({"agreement": around(0.14, 0.1), "top above chance": around(0, 0.1), "faithful": around(-1.4, 1)}, NOTHING),
        ({"agreement": around(0.16, 0.1), "top above chance": around(0, 0.1), "faithful": around(0, 1)}, NO),
        ({"agreement": around(0, 0.1), "top above chance": around(0, 0.1), "faithful": around(-1.6, 1)}, NO),
        ({"agreement": around(0, 0.1), "top above chance": around(0, 0.1)}, PARTLY),
        ({"faithful": around(0, 1)}, NO),
        ({"faithful": around(-2)}, NO),
        ({"permutation": around(0.001, 0.001), "uniform": around(0.001, 0.001)}, NO),
        ({"permutation": around(0.001, 0.001)}, PARTLY),
        ({"top": around(0.4)}, PARTLY),
        ({"agreement": around(-0.2)}, PARTLY),
        ({"top above chance": around(0)}, PARTLY),
        ({"share of the best": around(0.3)}, PARTLY),
        ({"erasure": around(0)}, PARTLY),
        ({"permutation": around(0.05)}, PARTLY),
        ({"adversarial": around(0.2), "weight randomization": around(0.3)}, YES),
        ({"adversarial": around(0.5)}, PARTLY),
        ({"weight randomization": around(0.001, 0.001)}, PARTLY),
        ({"seeds": around(0.2), "uniform retrained": around(0.3), "diagnostic": around(0.3)}, YES),
        ({"uniform retrained": around(0), "diagnostic": around(0)}, YES),
        *(({f"{name}, attention": around(0.2), f"{name}, SHAP": around(0.5)}, YES) for name in CHANGES),
        *(({f"{name}, attention": around(0.5), f"{name}, SHAP": around(0.2)}, PARTLY) for name in CHANGES),
        *(({f"{name}, attention": around(0.5), f"{name}, SHAP": around(0.5)}, YES) for name in CHANGES),
        ({"seeds": around(0.5)}, PARTLY),
        ({"uniform retrained": around(-0.2)}, PARTLY),
        ({"diagnostic": around(-0.2)}, PARTLY),
    ],
)
def test_each_rule_has_its_number(changed, expected):
    assert judge(GOOD | changed)[0] == expected


def test_what_is_trained_again_speaks_for_it_where_uniform_weights_do_worse():
    for name in ("uniform retrained", "diagnostic"):
        for mean, speaks in ((0.3, "for"), (0.0, "neither"), (-0.3, "against")):
            (check,) = judge({name: around(mean)})[1]
            assert (check.name, check.speaks) == (name, speaks)
            assert f"{mean:.3f} [" in check.sentence


def test_how_far_attention_and_shap_move_stands_side_by_side():
    for name in CHANGES:
        (check,) = judge({f"{name}, attention": around(0.1), f"{name}, SHAP": around(0.3)})[1]
        assert check.name == name
        assert check.sentence.index("attention by 0.100 [") < check.sentence.index("|SHAP| by 0.300 [")


def test_the_numbers_are_in_the_sentences():
    _, checks = judge(GOOD)
    sentences = " ".join(check.sentence for check in checks)
    for name in ("entropy", "agreement", "top", "faithful", "share of the best", "permutation", "uniform", "erasure"):
        one = GOOD[name]
        assert f"{one.mean:.3f} [{one.low:.3f}, {one.high:.3f}]" in sentences
    assert "0.100 by chance" in sentences


def test_nothing_measured_is_no_explanation():
    assert judge({}) == (PARTLY, ())

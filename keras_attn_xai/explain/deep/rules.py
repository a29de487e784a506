"""The table: what a type of operation does to a multiplier.

A rule is a function of a `Step` and the multipliers of its outputs; it returns one multiplier for each input,
None where nothing flows, or None for all when this operation is not of the form it knows. A rule conserves:
``sum m_in * delta_in == sum m_out * delta_out``.
"""

from keras_attn_xai.explain.deep import (
    rules_choice,
    rules_elementwise,
    rules_linear,
    rules_max,
    rules_quotient,
    rules_softmax,
)
from keras_attn_xai.explain.deep.quadrature import quadrature

RULES = {
    **rules_linear.RULES,
    **rules_quotient.RULES,
    **rules_elementwise.RULES,
    **rules_softmax.RULES,
    **rules_max.RULES,
    **rules_choice.RULES,
}
SOFTMAX = {"closed form": {}, "quadrature": {"Softmax": quadrature, "LogSoftmax": quadrature}}

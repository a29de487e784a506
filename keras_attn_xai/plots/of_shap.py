"""What shap explained, taken as a record of ours; told by its arrays, so that shap itself is not needed."""

from keras_attn_xai.records import Explanation, Interactions


def is_of_shap(given):
    """Whether something is a ``shap.Explanation``, or looks like one.

    Parameters
    ----------
    given : object

    Returns
    -------
    bool

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from keras_attn_xai.plots.of_shap import is_of_shap
    >>> is_of_shap(SimpleNamespace(values=[0.5], base_values=1.0, data=None)), is_of_shap([0.5])
    (True, False)
    """
    return all(hasattr(given, name) for name in ("values", "base_values", "data"))


def attribution_of(given):
    """The attribution of what shap explained.

    Parameters
    ----------
    given : object

    Returns
    -------
    Attribution, or anything else as it is

    Raises
    ------
    RecordError
        Values of several outputs.
    """
    return Explanation.from_shap(given).attribution if is_of_shap(given) else given


def interactions_of(given):
    """The interactions of what shap explained.

    Parameters
    ----------
    given : object

    Returns
    -------
    Interactions, or anything else as it is

    Raises
    ------
    RecordError
        Values that are not of pairs, or of several outputs.
    """
    return Interactions.from_shap(given) if is_of_shap(given) else given

"""Keras attention layers whose weights always come out, SHAP beside them, and pictures of both.

Importing this package loads neither TensorFlow, Keras, SHAP nor matplotlib: each public name brings
what it needs when it is first used.
"""

import importlib

_HOMES = {
    "layers": "keras_attn_xai.layers",
    "derived": "keras_attn_xai.derived",
    "metrics": "keras_attn_xai.metrics",
    "plots": "keras_attn_xai.plots",
    "callbacks": "keras_attn_xai.callbacks",
    "expose_attention": "keras_attn_xai.capture",
    "capture_attention": "keras_attn_xai.capture",
    "intervene": "keras_attn_xai.capture",
    "check_masks": "keras_attn_xai.capture",
    "repair_masks": "keras_attn_xai.capture",
    "AttentionExplainer": "keras_attn_xai.explain.explainer",
    "DeepExplainer": "keras_attn_xai.explain.drop_in",
    "GradientExplainer": "keras_attn_xai.explain.drop_in",
    "preflight": "keras_attn_xai.explain.deep",
    "repair_tensorflow": "keras_attn_xai.explain.repair_tensorflow",
    "choose_background": "keras_attn_xai.explain.choose_background",
    "capture_gradients": "keras_attn_xai.explain.attention_gradients",
    "export_saved_model": "keras_attn_xai.export",
    "align": "keras_attn_xai.alignment",
    "save_explanation": "keras_attn_xai.report",
    "load_explanation": "keras_attn_xai.report",
    "write_report": "keras_attn_xai.report",
    "audit": "keras_attn_xai.auditing",
    "AttentionMap": "keras_attn_xai.records",
    "Attribution": "keras_attn_xai.records",
    "Interactions": "keras_attn_xai.records",
    "Explanation": "keras_attn_xai.records",
    "Provenance": "keras_attn_xai.records",
    "Alignment": "keras_attn_xai.alignment",
}

__all__ = [*_HOMES, "__version__"]


def __getattr__(name):
    if name == "__version__":
        return _version()
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(_HOMES[name])
    value = module if module.__name__ == f"{__name__}.{name}" else getattr(module, name)
    globals()[name] = value
    return value


def _version():
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("keras-attn-xai")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "0+unknown"


def __dir__():
    return sorted({*globals(), *__all__})

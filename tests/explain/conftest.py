"""shap is imported here once: its colour maps use matplotlib in a way that newer matplotlib warns about."""

import warnings

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", r"The set_\w+ function will be deprecated", PendingDeprecationWarning)
    import shap  # noqa: F401

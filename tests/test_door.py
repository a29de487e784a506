"""The package's front door: light, lazy and honest, shown in fresh processes."""

import importlib
import json
import pkgutil
import subprocess
import sys
from types import ModuleType

import pytest

import keras_attn_xai
from keras_attn_xai import AttentionMap, Attribution, Explanation, Provenance, save_explanation

# matplotlib about the colour maps shap makes when it is first imported
pytestmark = pytest.mark.filterwarnings("ignore:The set_(bad|over|under) function:PendingDeprecationWarning")

SLOW = ("tensorflow", "keras", "shap", "matplotlib", "scipy", "pandas", "numpy")


def fresh(code):
    """What a new interpreter prints last, as JSON."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def loaded_after(code, packages=SLOW):
    """Which of ``packages`` a new interpreter has loaded after ``code``."""
    return fresh(f"{code}\nimport json, sys\nprint(json.dumps([name for name in {packages!r} if name in sys.modules]))")


def test_importing_loads_nothing_slow():
    assert loaded_after("import keras_attn_xai") == []


def test_asking_for_names_and_version_loads_nothing_slow():
    assert loaded_after("import keras_attn_xai; dir(keras_attn_xai); keras_attn_xai.__version__") == []


def test_importing_takes_at_most_three_times_as_long_as_numpy():
    clock = "from time import perf_counter as now; start = now(); import {}; print(now() - start)"
    ours, numpys = zip(
        *((fresh(clock.format("keras_attn_xai")), fresh(clock.format("numpy"))) for _ in range(3)), strict=True
    )
    assert min(ours) <= 3 * min(numpys)


def test_public_names_stay_what_they_are_once_every_submodule_is_imported():
    submodules = [f"keras_attn_xai.{found.name}" for found in pkgutil.iter_modules(keras_attn_xai.__path__)]
    code = f"""
import importlib, inspect, json, keras_attn_xai
for name in {submodules!r}:
    importlib.import_module(name)
print(json.dumps([name for name in keras_attn_xai.__all__ if inspect.ismodule(getattr(keras_attn_xai, name))]))
"""
    assert fresh(code) == ["layers", "derived", "metrics", "plots", "callbacks"]


def test_no_submodule_hides_a_public_name():
    submodules = {found.name for found in pkgutil.iter_modules(keras_attn_xai.__path__)}
    public = {name for name in keras_attn_xai.__all__ if not isinstance(getattr(keras_attn_xai, name), ModuleType)}
    assert not submodules & public


@pytest.mark.parametrize("first", ["keras_attn_xai.auditing.battery", "keras_attn_xai.cli"])
def test_audit_is_the_function_whatever_was_imported_first(first):
    code = f"import json, {first}, keras_attn_xai; print(json.dumps(callable(keras_attn_xai.audit)))"
    assert fresh(code) is True


def test_names_are_the_ones_of_their_homes():
    for name in keras_attn_xai.__all__:
        value = getattr(keras_attn_xai, name)
        if isinstance(value, type) or callable(value):
            assert value is getattr(importlib.import_module(value.__module__), name)


def test_there_are_few_public_names():
    names = set(keras_attn_xai.__all__) - {"__version__"}
    assert len(names) <= 32
    assert len(keras_attn_xai.__all__) == len(names) + 1


def test_dir_lists_the_public_names():
    assert set(keras_attn_xai.__all__) <= set(dir(keras_attn_xai))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'keras_attn_xai' has no attribute 'relevance'"):
        keras_attn_xai.relevance  # noqa: B018


def test_a_saved_explanation_needs_neither_a_model_nor_shap(tmp_path):
    words = [["a", "fine", "film"]]
    moved = Attribution(
        values=[[0.0, 2.0, 1.0]], base=[0.0], output=[3.0], target=[1], unit="log-odds", method="exact",
        evaluations=[8], player_labels=words,
    )  # fmt: skip
    seen = AttentionMap("att", [[[[0.1, 0.6, 0.3]]]], [["query"]], words)
    save_explanation(Explanation((seen,), (moved,), words, Provenance("m")), tmp_path / "bundle")
    code = f"""
import keras_attn_xai as xai
explanation = xai.load_explanation({str(tmp_path / "bundle")!r})
seen = xai.align(explanation)
xai.metrics.kendall_tau(seen.attention, abs(seen.attribution), mask=seen.mask)
xai.derived.rollout([xai.AttentionMap("mha", [[[[1.0]]]], [["a"]], [["a"]])])
xai.plots.plot_side_by_side(explanation).savefig({str(tmp_path / "picture.png")!r})
xai.write_report(explanation, {str(tmp_path / "report.html")!r})
"""
    assert loaded_after(code, ("tensorflow", "keras", "shap", "matplotlib.pyplot")) == []
    assert (tmp_path / "picture.png").stat().st_size > 0
    assert (tmp_path / "report.html").stat().st_size > 0

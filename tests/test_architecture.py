"""Who may import whom: the direction of the house, read from the source and kept here."""

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from itertools import chain
from pathlib import Path

import pytest

import keras_attn_xai

HOME = Path(keras_attn_xai.__file__).parent
ARRAY_SIDE = (
    ["errors"],
    ["writing", "frames"],
    ["records"],
    ["derived"],
    ["alignment"],
    ["metrics", "answer"],
    ["plots"],
    ["report", "terminal"],
)
KERAS_SIDE = (
    ["errors"],
    ["writing", "frames"],
    ["records"],
    ["text", "derived"],
    ["layers"],
    ["capture"],
    ["explain"],
    ["export"],
)
BOTH_SIDES = (["auditing"], ["datasets"], ["callbacks"], ["demo"], ["cli"])  # above all the others
LATE = {
    "records": {"to_shap", "from_shap", "to_frame", "_repr_html_"}
}  # functions that may import our own package; cli and the door are lazy
DRAINS = {"utils", "common", "helpers", "misc", "core", "base", "types"}
ONLY_IN = {  # an import, and the places that may have it
    "shap": {"explain.shap_bridge"},
    "matplotlib": {"plots", "report"},
    "rich": {"terminal"},
    "tensorflow": {"explain", "capture.compiled", "auditing", "callbacks"},
    "keras": {"layers", "capture", "explain", "export", "auditing", "callbacks", "demo", "cli"},
    "keras.src": {"capture.seams", "layers.keras_mask"},  # one file per concern: seams, masks
}


@cache
def read_imports():
    """Module to the names it imports, and module to the functions that import our own package."""
    imports, late = {}, {}
    for file in sorted(HOME.rglob("*.py")):
        module = ".".join(file.relative_to(HOME).with_suffix("").parts).removesuffix(".__init__")
        if module == "__init__":
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        within = {node: f.name for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) for node in ast.walk(f)}
        imports[module], late[module] = set(), set()
        for node in ast.walk(tree):
            names = _names(node)
            if node in within and any(name.startswith("keras_attn_xai") for name in names):
                late[module].add(within[node])
            if node not in within or module == "cli":
                imports[module] |= names
    return imports, late


def _names(node):
    if isinstance(node, ast.Import):
        return {one.name for one in node.names}
    if isinstance(node, ast.ImportFrom):
        return {f"{'.' * node.level}{node.module}.{one.name}" for one in node.names}
    return set()


def broken_rules(imports):
    """What is wrong with a graph, one sentence each; {module: names it imports}, modules without our prefix."""
    wrong = []
    graph = {module: set() for module in imports}
    for module, name in ((module, name) for module, names in imports.items() for name in names):
        if name.startswith("."):
            wrong.append(f"{module} has the relative import {name}")
        own = name.removeprefix("keras_attn_xai.")
        if own != name:
            target = next((one for one in _prefixes(own) if one in imports), own)
            graph[module] |= {target}
            area, reached = module.split(".")[0], target.split(".")[0]
            if area != reached and reached not in _below(area):
                wrong.append(f"{module} imports {target}")
        for package, places in ONLY_IN.items():
            if package in _prefixes(name) and not places & set(_prefixes(module)):
                wrong.append(f"{module} imports {package}")
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        wrong.append(f"cycle: {' < '.join(error.args[1])}")
    return wrong


def _prefixes(name):
    """``a.b.c``, ``a.b``, ``a``: the longest first."""
    parts = name.split(".")
    return [".".join(parts[:stop]) for stop in range(len(parts), 0, -1)]


def _below(area):
    """The areas that ``area`` may import."""
    if [area] in BOTH_SIDES:
        higher = BOTH_SIDES[: BOTH_SIDES.index([area])]
        return {*chain(*ARRAY_SIDE, *KERAS_SIDE, *higher)}
    for side in (ARRAY_SIDE, KERAS_SIDE):
        for height, areas in enumerate(side):
            if area in areas:
                return {*chain(*side[:height])}
    raise AssertionError(f"{area} has no place in the house; give it one above")


def test_imports_point_one_way():
    imports, _ = read_imports()
    assert len(imports) > 30
    assert broken_rules(imports) == []


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("records", "keras_attn_xai.alignment.align"),
        ("metrics", "keras_attn_xai.plots.plot_side_by_side"),
        ("plots.side_by_side", "keras_attn_xai.report.write_report"),
        ("layers.functional", "keras_attn_xai.capture.seams"),
        ("capture.expose", "keras_attn_xai.explain.target.Target"),
        ("report.page", "keras_attn_xai.text.tokenize"),
        ("report.page", "keras_attn_xai.capture.expose_attention"),
        ("datasets", "keras_attn_xai.demo.fit"),
        ("auditing.search", "keras_attn_xai.demo.fit"),
        ("metrics.curves", "keras_attn_xai.auditing.faithfulness"),
        ("explain.explainer", "keras_attn_xai.auditing.faithfulness"),
        ("capture.seams", "keras_attn_xai.capture.view.opened"),
        ("report.page", ".bundle.save_explanation"),
        ("derived.paths", "keras_attn_xai.alignment.align"),
        ("derived.paths", "keras_attn_xai.capture.expose_attention"),
        ("derived.maps", "keras_attn_xai.derived.paths.rollout"),
        ("derived.maps", "keras"),
        ("alignment", "keras"),
        ("layers.functional", "tensorflow"),
        ("explain.explainer", "shap"),
        ("metrics", "matplotlib.pyplot"),
        ("demo", "rich.table.Table"),
        ("terminal", "keras_attn_xai.demo.run_demo"),
        ("explain.explainer", "keras.src.backend.get_keras_mask"),
    ],
)
def test_a_reversed_arrow_is_found(module, name):
    imports, _ = read_imports()
    imports = imports | {module: imports[module] | {name}}
    assert broken_rules(imports) != []


def test_our_own_package_is_imported_late_only_where_that_is_said():
    _, late = read_imports()
    assert {module: found for module, found in late.items() if found and module != "cli"} == LATE


def test_no_module_is_a_drain():
    names = {part for module in read_imports()[0] for part in module.split(".")}
    assert not names & DRAINS

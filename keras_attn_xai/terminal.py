"""What a command prints: tables and colours on a terminal, plain lines everywhere else.

Whatever a user wrote is shown as it is: no markup is read in it, and control characters are spelled out.
"""

import io
import sys
import unicodedata
from functools import partial

from rich import box
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

UNBROKEN = 10**9  # characters of a line that is not for a terminal
TOWARD, AGAINST, ATTENTION = "#d75f00", "#0087d7", "#875fd7"  # the page's hues, to be read on dark and on light
VERDICTS = {"attention can be read as an explanation here": "green", "partly": "yellow"}  # the others are red
MARKS = {"for": ("+", "green"), "against": ("-", "red"), "neither": ("o", "dim")}
MEASURES = {"comprehensiveness": max, "sufficiency": min, "deletion_area": min, "insertion_area": max}  # what is better
LONGEST = 24  # columns that a word may take in a table on a terminal
SPELLED_OUT = ("Cc", "Cs", "Zl", "Zp")  # control characters, lone surrogates, line and paragraph separators


def show(command, document):
    """Print what a command made.

    On a terminal tables fit its width. A pipe, a file, a terminal without colours and ``NO_COLOR`` get the same without
    escape codes and lines of boxes, a sentence or a row of a table to a line, whatever its length.

    Parameters
    ----------
    command : {"demo", "explain", "report", "lint", "audit", "info"}
    document : dict
        What ``--json`` prints.

    Examples
    --------
    >>> from keras_attn_xai.terminal import show
    >>> show("info", {"versions": {"keras": "3.12.0", "shap": None}})
    keras 3.12.0
    shap not installed
    """
    open_console = partial(Console, markup=False, emoji=False, highlight=False)
    console, lines = open_console(), io.StringIO()
    rich = console.color_system is not None and not console.no_color
    if not rich:
        console = open_console(file=lines, width=UNBROKEN, force_terminal=False, color_system=None)
    for part in VIEWS[command](document, rich):
        console.print(part, soft_wrap=getattr(part, "no_wrap", None))
    if not rich:  # the last column is filled up with spaces
        print("\n".join(line.rstrip() for line in lines.getvalue().removesuffix("\n").split("\n")))


def _info(document, rich):
    versions = [(name, number or "not installed") for name, number in document["versions"].items()]
    if not rich:
        yield from (_text(f"{name} {number}") for name, number in versions)
        return
    table = _table(rich, "package", "version")
    for name, number in versions:
        table.add_row(_text(name), _text(number, "" if document["versions"][name] else "dim"))
    yield table


def _lint(document, rich):
    leaks = document["leaks"]
    if not rich:
        yield from (_text(leak["sentence"]) for leak in leaks)
    elif leaks:
        names = ("call", "on padding", "cause", "cure")
        table = _table(rich, *(Column(name, overflow="fold") for name in names), show_lines=True)
        for leak in leaks:
            worst = f"row {leak['worst_row']}: {_percent(leak['worst_share'])}"
            share = Text.assemble((_percent(leak["share"]), "red"), "\n", (worst, "dim"))
            table.add_row(_text(leak["name"], "bold"), share, _text(leak["cause"]), _text(leak["cure"]))
        yield table
        yield Text("")
    calls = {0: "No attention call reads", 1: "1 attention call reads"}.get(
        len(leaks), f"{len(leaks)} attention calls read"
    )
    yield _text(f"{calls} padding of {document['inputs']}.", "red" if leaks else "green")


def _explained(document, rich):
    names = ["answer", "by SHAP", *(["by attention"] if document["map"] else [])]
    table = _table(
        rich,
        Column("#", justify="right", no_wrap=True),
        *(Column(name, no_wrap=True, max_width=LONGEST if rich else None) for name in names),
        *([Column("tau", justify="right", no_wrap=True)] if document["map"] else []),
        Column("text", no_wrap=True, ratio=1),
        expand=rich,
    )
    for number, row in enumerate(document["rows"], 1):
        table.add_row(str(number), *_row(row, mapped=document["map"]), _text(row["text"]))
    yield table
    yield from (_text(line, "dim") for line in _how_to_read(document))
    yield from _written(document)


def _row(row, *, mapped):
    """The cells between a row's number and its text."""
    shap, looked, tau = (*(row["strongest"][by] for by in ("shap", "attention")), row["kendall_tau"])
    sure = f" = {row['output']:.3g}" if row["probability"] is None else f", {row['probability']:.0%}"
    yield _text(row["answer"] + sure, "bold")
    yield (
        _text("")
        if shap is None
        else _text(f"{shap['value']:+.3g} {shap['label']}", TOWARD if shap["value"] > 0 else AGAINST)
    )
    if mapped:
        yield _text("") if looked is None else _text(f"{looked['value']:.2g} {looked['label']}", ATTENTION)
        yield _text("none" if tau is None else f"{tau:+.2f}")


def _how_to_read(document):
    yield f"by SHAP: the position that moved the answer most, and how far ({document['unit']})"
    if not document["map"]:
        yield "There is no attention map to lay beside it."
        return
    of = "{name}, heads: {heads}, query: {query}".format(**document["map"])
    yield f"by attention: the position with the largest weight ({of})"
    yield "tau: Kendall tau of the weights with |SHAP|; 1 same order, 0 unrelated"


def _demo(document, rich):
    tau, overlap = document["kendall_tau"], document["top_3_overlap"]
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for name, number, meaning in (
        ("Validation accuracy", f"{document['accuracy']:.3f}", ""),
        ("Kendall tau", _interval(tau), "(attention against |SHAP|; 1 same order, 0 unrelated)"),
        ("Top-3 overlap", _interval(overlap), "(1 same words, 0 none)"),
    ):
        table.add_row(_text(name), _text(number, "bold"), _text(meaning, "dim"))
    yield Text("")
    yield table
    yield _text(f"over {tau['rows']} held-out sentences, with 95 % bootstrap intervals", "dim")
    yield from _written(document)
    page = next(path for path in document["written"] if path.endswith(".html"))
    yield Text("")
    yield _text(f"Open {page} in a browser.", "bold", unbroken=True)


def _audit(document, rich):
    verdict = document["verdict"]
    yield Text.assemble("Verdict: ", (verdict, f"bold {VERDICTS.get(verdict, 'red')}"))
    yield _listed((*MARKS[check["speaks"]], check["sentence"]) for check in document["checks"])
    if document["untested"]:
        yield Text("Not tested:", "bold")
        yield _listed((" ", "", sentence) for sentence in document["untested"])
    yield from (_text(note, "dim") for note in document["notes"])
    yield from _faithfulness(document, rich)
    yield from _written(document)


def _faithfulness(document, rich):
    """How far each order of the positions moves the answer, the best of each measure in bold."""
    means = {
        (one["method"], one["measure"]): one["mean"]
        for one in document["numbers"]
        if one["table"] == "faithfulness" and one["mean"] is not None
    }
    if not means:
        return
    best = {
        measure: better((mean for (_, name), mean in means.items() if name == measure), default=None)
        for measure, better in MEASURES.items()
    }
    names = [name.replace("_", "\n" if rich else " ") for name in MEASURES]
    table = _table(rich, Column("order", overflow="fold"), *(Column(name, justify="right") for name in names))
    for order in dict.fromkeys(order for order, _ in means):
        numbers = [(means.get((order, measure)), best[measure]) for measure in MEASURES]
        cells = [
            Text(f"{mean:z.3f}", "bold" if mean == most else "") if mean is not None else Text("")
            for mean, most in numbers
        ]
        table.add_row(_text(order, ATTENTION if order == "attention" else ""), *cells)
    yield Text("")
    yield table
    yield _text(
        f"means, in {document['unit']}; higher is better for comprehensiveness and insertion area, lower for the "
        "others. audit.csv has every measure and its interval.",
        "dim",
    )


def _written(document):
    yield Text("")
    yield from (_text(path, unbroken=True) for path in document["written"])


def _table(rich, *columns, **options):
    """A line below the head on a terminal, spaces alone elsewhere."""
    return Table(
        *columns, box=box.SIMPLE_HEAD if rich else None, show_edge=False, pad_edge=False, header_style="bold",
        border_style="dim", padding=(0, 1 if rich else 2, 0, 0), **options,
    )  # fmt: skip


def _listed(marked):
    """Sentences behind their marks, the lines of each below one another."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    for mark, style, sentence in marked:
        grid.add_row(Text(mark, style), _text(sentence))
    return grid


def _text(value, style="", *, unbroken=False):
    """A text that shows itself: no markup, no escape codes, nothing the output's encoding lacks."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    spelled = "".join(repr(one)[1:-1] if unicodedata.category(one) in SPELLED_OUT else one for one in str(value))
    shown = spelled.encode(encoding, "backslashreplace").decode(encoding)
    return Text(shown, style, no_wrap=unbroken or None)


def _percent(share):
    return f"{100 * share:.3g} %"


def _interval(one):
    if one["mean"] is None:
        return "not defined"
    return f"{one['mean']:+.2f}" + ("" if one["low"] is None else f" [{one['low']:+.2f}, {one['high']:+.2f}]")


VIEWS = {
    "info": _info, "lint": _lint, "explain": _explained, "report": _explained, "demo": _demo, "audit": _audit,
}  # fmt: skip

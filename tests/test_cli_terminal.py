"""What commands print: plain lines in a pipe, tables that fit on a terminal, and a user's text as it is in both."""

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest
from rich.cells import cell_len

from keras_attn_xai.terminal import show

ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
BOXES = re.compile("[\u2500-\u259f]")
INFO = {"versions": {"python": "3.11.9", "keras-attn-xai": "0.1.0", "shap": None}}
LEAK = {
    "name": "decoder/second",
    "share": 1 / 3,
    "worst_row": 7,
    "worst_share": 0.5,
    "cause": "The mask of 'embedding' was deleted by 'first', a keras MultiHeadAttention, which takes the masks off.",
    "cure": "Use repair_masks(model), or keras_attn_xai.layers.MultiHeadAttention in the place of 'first'.",
    "sentence": "decoder/second: 33.3 % of its weight lands on padded keys, and so on to the end of a long sentence.",
}
LINT = {"model": "reader", "inputs": "batch.npz", "leaks": [LEAK, LEAK | {"name": "decoder/third"}]}


def row(text="A fine film", *, shap="fine", attention="film", answer="good", tau=1 / 3, probability=0.75):
    return {
        "text": text,
        "answer": answer,
        "target": 1,
        "probability": probability,
        "output": 1.0986,
        "strongest": {
            "shap": {"label": shap, "position": 1, "value": -2.3456},
            "attention": {"label": attention, "position": 2, "value": 0.424},
        },
        "kendall_tau": tau,
    }


EXPLAINED = {
    "model": "reader",
    "method": "exact",
    "unit": "log-odds",
    "map": {"name": "att", "heads": "mean", "query": "mean over unmasked"},
    "rows": [row(), row("a dull film " * 30, shap="dull", tau=None), row(probability=None)],
    "written": ["out/explanations", f"out/{'deep/' * 40}report.html"],
}
DEMO = {
    "accuracy": 0.7571,
    "kendall_tau": {"mean": 0.321, "low": 0.281, "high": 0.361, "rows": 120},
    "top_3_overlap": {"mean": 0.5, "low": None, "high": None, "rows": 1},
    "written": ["demo-output/model.keras", "demo-output/report.html"],
}


def number(order, measure, mean):
    return {
        "table": "faithfulness",
        "method": order,
        "measure": measure,
        "mean": mean,
        "low": 0.0,
        "high": 1.0,
        "rows": 5,
    }


AUDIT = {
    "verdict": "partly",
    "checks": [
        {"name": "agreement", "speaks": "for", "sentence": "Both agree, " + "and agree again, " * 12 + "to the end."},
        {"name": "needed", "speaks": "against", "sentence": "The answer does not depend on the weights."},
        {"name": "entropy", "speaks": "neither", "sentence": "The weights single out positions."},
    ],
    "untested": ["Other seeds."],
    "notes": ["An absent position is id 2."],
    "numbers": [
        number("attention", "comprehensiveness", 1.25),
        number("attention", "sufficiency", 0.5),
        number("attention", "deletion_area", None),
        number("attention", "insertion_area", -1e-9),
        number("|expected gradients|", "comprehensiveness", 0.75),
        number("|expected gradients|", "sufficiency", 0.25),
        number("|expected gradients|", "insertion_area", 2.0),
        {
            "table": "agreement",
            "method": "att",
            "measure": "kendall_tau",
            "mean": 9.875,
            "low": 0,
            "high": 1,
            "rows": 5,
        },
    ],
    "unit": "log-odds",
    "curves": [],
    "written": ["audited/audit.html"],
}
DOCUMENTS = {"info": INFO, "lint": LINT, "explain": EXPLAINED, "report": EXPLAINED, "demo": DEMO, "audit": AUDIT}
every_command = pytest.mark.parametrize("command", DOCUMENTS)


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    """Nothing the person at this terminal has asked for."""
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "COLUMNS", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.fixture
def coloured(monkeypatch, capsys):
    """What is printed where colours are asked for, in so many columns."""

    def printed(command, document, columns=80):
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("COLUMNS", str(columns))
        show(command, document)
        monkeypatch.delenv("FORCE_COLOR")
        return capsys.readouterr().out

    return printed


@pytest.fixture
def plain(capsys):
    def printed(command, document):
        show(command, document)
        return capsys.readouterr().out

    return printed


@every_command
def test_plain_lines_have_no_escape_codes_boxes_or_spaces_at_the_end(plain, command):
    printed = plain(command, DOCUMENTS[command])
    assert "\x1b" not in printed
    assert not BOXES.search(printed)
    assert printed.endswith("\n")
    assert not printed.endswith("\n\n")
    assert all(line == line.rstrip() for line in printed.splitlines())


def test_plain_info_is_a_line_for_each_package(plain):
    assert plain("info", INFO) == "python 3.11.9\nkeras-attn-xai 0.1.0\nshap not installed\n"


def test_plain_leaks_are_a_sentence_a_line_and_a_summary(plain):
    assert plain("lint", LINT) == f"{LEAK['sentence']}\n" * 2 + "2 attention calls read padding of batch.npz.\n"
    assert plain("lint", LINT | {"leaks": [LEAK]}).endswith("\n1 attention call reads padding of batch.npz.\n")
    assert plain("lint", LINT | {"leaks": []}) == "No attention call reads padding of batch.npz.\n"


def test_a_plain_explanation_is_a_line_for_each_text_then_the_files(plain):
    lines = plain("explain", EXPLAINED).splitlines()
    assert lines[0].split() == ["#", "answer", "by", "SHAP", "by", "attention", "tau", "text"]
    assert re.split(" {2,}", lines[1]) == ["1", "good, 75%", "-2.35 fine", "0.42 film", "+0.33", "A fine film"]
    assert re.split(" {2,}", lines[2])[4:] == ["none", ("a dull film " * 30).strip()]
    assert re.split(" {2,}", lines[3])[1] == "good = 1.1"
    assert lines[4].endswith("and how far (log-odds)")
    assert lines[5].endswith("(att, heads: mean, query: mean over unmasked)")
    assert lines[6].startswith("tau: Kendall tau")
    assert lines[7:] == ["", *EXPLAINED["written"]]


def test_an_explanation_without_a_map_has_no_columns_for_it(plain):
    row_without = row(tau=None) | {"strongest": {"shap": None, "attention": None}}
    head, text, _, note, *_ = plain("report", EXPLAINED | {"map": None, "rows": [row_without]}).splitlines()
    assert "attention" not in head
    assert "tau" not in head
    assert text.split() == ["1", "good,", "75%", "A", "fine", "film"]
    assert note == "There is no attention map to lay beside it."


def test_numbers_far_from_one_are_still_numbers(plain):
    strongest = {"shap": {"label": "a", "position": 0, "value": 1.2345e-5}}
    strongest["attention"] = {"label": "b", "position": 0, "value": 0.00321}
    printed = plain("explain", EXPLAINED | {"rows": [row() | {"strongest": strongest}]})
    assert re.search("  [+]1.23e-05 a  0.0032 b  ", printed)


def test_the_plain_demo_ends_in_what_to_do(plain):
    lines = plain("demo", DEMO).splitlines()
    assert lines == [
        "",
        "Validation accuracy  0.757",
        "Kendall tau          +0.32 [+0.28, +0.36]  (attention against |SHAP|; 1 same order, 0 unrelated)",
        "Top-3 overlap        +0.50                 (1 same words, 0 none)",
        "over 120 held-out sentences, with 95 % bootstrap intervals",
        "",
        "demo-output/model.keras",
        "demo-output/report.html",
        "",
        "Open demo-output/report.html in a browser.",
    ]
    undefined = {"mean": None, "low": None, "high": None, "rows": 0}
    assert re.search("Kendall tau +not defined", plain("demo", DEMO | {"kendall_tau": undefined}))


def test_a_plain_audit_has_a_line_for_each_reason_and_each_order(plain):
    lines = plain("audit", AUDIT).splitlines()
    assert lines[:7] == [
        "Verdict: partly",
        f"+ {AUDIT['checks'][0]['sentence']}",
        "- The answer does not depend on the weights.",
        "o The weights single out positions.",
        "Not tested:",
        "  Other seeds.",
        "An absent position is id 2.",
    ]
    assert [re.split(" {2,}", line) for line in lines[8:11]] == [
        ["order", "comprehensiveness", "sufficiency", "deletion area", "insertion area"],
        ["attention", "1.250", "0.500", "0.000"],
        ["|expected gradients|", "0.750", "0.250", "2.000"],
    ]
    assert lines[11].startswith("means, in log-odds; ")
    assert lines[12:] == ["", "audited/audit.html"]


def test_an_audit_without_numbers_has_no_table(plain):
    lines = plain("audit", AUDIT | {"numbers": [], "untested": [], "notes": []}).splitlines()
    assert lines[4:] == ["", "audited/audit.html"]


@every_command
@pytest.mark.parametrize("columns", [40, 80, 140])
def test_on_a_terminal_everything_but_paths_fits(coloured, command, columns):
    printed = coloured(command, DOCUMENTS[command], columns)
    assert "\x1b[" in printed
    shown = ESCAPES.sub("", printed)
    lines = [line for line in shown.splitlines() if not line.startswith(("out/", "Open "))]
    assert max(map(cell_len, lines)) <= columns
    assert all(path in shown.splitlines() for path in DOCUMENTS[command].get("written", ()))


def test_a_wide_terminal_shows_more_of_a_text(coloured):
    narrow, wide = (ESCAPES.sub("", coloured("explain", EXPLAINED, columns)) for columns in (80, 140))
    assert narrow.count("dull film") < wide.count("dull film")
    assert len(narrow.splitlines()) >= len(wide.splitlines())
    assert all(len([line for line in one.splitlines() if "-2.35" in line]) == 3 for one in (narrow, wide))


def test_a_long_word_leaves_its_number_in_sight(coloured):
    long = "https://" + "long." * 100
    shown = ESCAPES.sub("", coloured("explain", EXPLAINED | {"rows": [row(long, shap=long, attention=long)]}))
    assert "-2.35 https" in shown
    assert "0.42 https" in shown
    assert "+0.33" in shown


def test_a_row_of_the_leaks_has_call_weight_cause_and_cure(coloured):
    shown = " ".join(ESCAPES.sub("", coloured("lint", LINT, 140)).split())
    for part in (
        "decoder/second 33.3 % The mask of",
        "row 7: 50 %",
        "decoder/third",
        "2 attention calls read padding",
    ):
        assert part in shown
    assert LEAK["sentence"] not in shown


@pytest.mark.parametrize(
    ("verdict", "colour"),
    [
        ("attention can be read as an explanation here", 32),
        ("partly", 33),
        ("attention does not explain this model", 31),
        ("nothing can be read", 31),
    ],
)
def test_a_verdict_has_its_colour(coloured, verdict, colour):
    assert f"Verdict: \x1b[1;{colour}m{verdict}\x1b[0m" in coloured("audit", AUDIT | {"verdict": verdict})


def test_lines_of_a_reason_hang_below_one_another(coloured):
    first, second, *_ = ESCAPES.sub("", coloured("audit", AUDIT)).splitlines()[1:]
    assert first.startswith("+ Both agree")
    assert second.startswith(("  and", "  agree", "  again"))


def test_the_best_order_is_bold(coloured):
    printed = coloured("audit", AUDIT)
    for best, other in (("1.250", "0.750"), ("0.250", "0.500"), ("2.000", "0.000")):
        assert re.search(rf"\x1b\[1m *{best}\x1b\[0m", printed)
        assert not re.search(rf"\x1b\[1m *{other}", printed)


def test_no_color_and_a_dumb_terminal_are_plain(coloured, plain, monkeypatch):
    for command, document in DOCUMENTS.items():
        expected = plain(command, document)
        monkeypatch.setenv("NO_COLOR", "1")
        assert coloured(command, document) == expected
        monkeypatch.delenv("NO_COLOR")
        monkeypatch.setenv("TERM", "dumb")
        assert coloured(command, document) == expected
        monkeypatch.setenv("TERM", "xterm-256color")


MARKUP = "[red]a[/] [/red] :smile: [link=x]b"


def with_markup(mark):
    """Each document with what a user may have written in every place a user writes in."""
    return {
        "lint": LINT | {
            "inputs": mark,
            "leaks": [LEAK | dict.fromkeys(("name", "cause", "cure", "sentence"), mark)],
        },
        "explain": EXPLAINED | {
            "map": {"name": mark, "heads": "mean", "query": "first"},
            "rows": [row(mark, shap=mark, attention=mark, answer=mark)],
            "written": [mark],
        },
        "demo": DEMO | {"written": [f"{mark}.html"]},
        "audit": AUDIT | {
            "notes": [mark],
            "untested": [mark],
            "checks": [{"name": "needed", "speaks": "for", "sentence": mark}],
            "numbers": [number(mark, "sufficiency", 1.0)],
            "written": [mark],
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    ("command", "in_lines", "in_cells"), [("lint", 2, 4), ("explain", 6, 6), ("demo", 2, 2), ("audit", 5, 5)]
)
def test_markup_in_a_users_text_is_text(plain, coloured, command, in_lines, in_cells):
    document = with_markup(MARKUP)[command]
    assert plain(command, document).count(MARKUP) == in_lines
    assert ESCAPES.sub("", coloured(command, document, 400)).count("[red]a[/]") == in_cells  # a cell may end sooner


@pytest.mark.parametrize("command", ["lint", "explain", "demo", "audit"])
def test_control_characters_are_spelled_out(plain, coloured, command):
    document = with_markup("a\x1b[2Jb\rc\u2028d\x07")[command]
    printed, shown = plain(command, document), coloured(command, document, 400)
    for one in (printed, shown):
        assert r"a\x1b[2Jb\rc\u2028d\x07" in one
        assert not set("\r\u2028\x07") & set(one)
        assert "\x1b[2J" not in one


def test_scripts_joiners_and_wide_characters_stay(plain):
    words = ["电影", "👩‍👩‍👧", "שלום", "ü"]
    printed = plain("explain", EXPLAINED | {"rows": [row(word, shap=word) for word in words]})
    assert all(printed.count(word) == 2 for word in words)


def test_what_an_encoding_lacks_is_spelled_out(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    show("explain", EXPLAINED | {"rows": [row("电影 \udcff", shap="ü")]})
    sys.stdout.flush()
    printed = raw.getvalue().decode("ascii")
    assert r"\u7535\u5f71 \udcff" in printed
    assert r"-2.35 \xfc" in printed


# real pipes and terminals

CODE = f"from keras_attn_xai.terminal import show; show('lint', {LINT!r})"


def in_terminal(code, columns, **environment):
    """What a process writes to a terminal of so many columns."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=follower, stdout=follower, stderr=follower, env=os.environ | environment
    ) as process:
        os.close(follower)
        written = bytearray()
        while part := read(leader):
            written += part
        assert process.wait() == 0, written.decode()
    os.close(leader)
    return written.decode().replace("\r\n", "\n")


def read(leader):
    try:
        return os.read(leader, 4096)
    except OSError:  # Linux says so where others return nothing
        return b""


@pytest.mark.parametrize("columns", [80, 140])
def test_a_real_terminal_gets_a_table_of_its_width(columns):
    printed = in_terminal(CODE, columns)
    assert "\x1b[" in printed
    lines = ESCAPES.sub("", printed).splitlines()
    assert columns - 25 < max(map(cell_len, lines)) <= columns
    assert LEAK["sentence"] not in lines


def test_a_real_pipe_and_a_terminal_without_colours_get_lines():
    piped = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True).stdout
    assert piped == f"{LEAK['sentence']}\n" * 2 + "2 attention calls read padding of batch.npz.\n"
    assert in_terminal(CODE, 80, NO_COLOR="1") == piped

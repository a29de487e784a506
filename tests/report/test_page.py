"""The page: self-contained, inert, and true to the records."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from keras_attn_xai import AttentionMap, align, write_report
from keras_attn_xai.alignment import QUERY_REDUCTIONS
from keras_attn_xai.errors import ArgumentError
from keras_attn_xai.metrics import kendall_tau
from keras_attn_xai.report import embedded
from keras_attn_xai.report import page as page_module
from keras_attn_xai.report.embedded import layers_of, pack
from tests.made import explanation

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "👍" * 7,
    "x" * 10_000,
    "{{ 7 * 7 }}",
    "&amp;",
]


class Page(HTMLParser):
    """Tags, attributes and the words of the page."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.words = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.words.append(data)


def written(tmp_path, *args, **kwargs):
    return write_report(*args, tmp_path / "report.html", **kwargs).read_text(encoding="utf-8")


def test_it_loads_nothing_and_runs_its_own_script_alone(tmp_path):
    html = written(tmp_path, explanation(5))
    page = Page(html)
    assert not {"link", "img", "iframe", "object", "form"} & set(page.tags)
    assert page.tags.count("script") == 2  # the numbers, and what looks them up
    script = html.split("<script>")[1].split("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', html)
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}';" in policy
    assert not [name for name, _ in page.attributes if name.startswith("on") or name in ("src", "href")]
    assert not re.search("innerHTML|outerHTML|insertAdjacent|document.write|eval|fetch|XMLHttp|import", script)
    assert "url(" not in html
    assert "@import" not in html


def test_hostile_words_stay_words(tmp_path):
    page = Page(written(tmp_path, explanation(len(HOSTILE), labels=HOSTILE), title="</title><script>x</script>"))
    assert page.tags.count("script") == 2
    assert "img" not in page.tags
    for word in HOSTILE:
        assert page.words.count(word) >= 3  # attention, SHAP, ruler


def test_the_numbers_are_those_of_the_records(tmp_path):
    shown = explanation(5, rows=3, padding=2)
    ruler = align(shown)
    html = written(tmp_path, shown, class_names=["bad", "good"])
    for tau in kendall_tau(ruler.attention, np.abs(ruler.attribution), mask=ruler.mask):
        assert f'<dd class="tau">{tau:+.2f}</dd>' in html
    assert html.count("<section") == 3
    assert "Over 3 texts" in html
    assert "Model reviews; background: token id 2" in html


def test_every_word_has_its_numbers_in_a_table(tmp_path):
    shown = explanation(5, rows=3, padding=2)
    html = written(tmp_path, [shown, explanation(3, attention=False)])
    lines = re.findall(r'<th scope="row">(.*)<td>([\d.]+)<td>([-+\d.]+)\n', html)
    assert [label for label, *_ in lines] == [label for row in shown.labels for label in row[:5]]
    looked, moved = np.array([line[1:] for line in lines], float).T
    np.testing.assert_allclose(looked, align(shown).attention[:, :5].ravel(), atol=6e-4)
    np.testing.assert_allclose(moved, shown.attribution.values[:, :5].ravel(), atol=6e-4)
    assert len(re.findall(r'<th scope="row">[^<]*<td>[-+][\d.]+\n', html)) == 3  # SHAP alone


@pytest.mark.parametrize("merge", [None, "words"])
def test_base_and_words_add_up_to_the_answer(tmp_path, merge):
    shown = explanation(7, rows=3, padding=2)
    html = written(tmp_path, shown, merge=merge)
    names = ("without the words", "words for the answer", "words against it", "with them")
    base, toward, against, output = (
        np.array(re.findall(rf"<dt>{name}</dt><dd>([-+\d.]+)</dd>", html), float) for name in names
    )
    np.testing.assert_allclose(base, shown.attribution.base, atol=6e-3)
    np.testing.assert_allclose(output, shown.attribution.output, atol=6e-3)
    np.testing.assert_allclose(base + toward + against, output, atol=0.021)
    assert (toward >= 0).all()
    assert (against <= 0).all()
    assert toward.any()
    assert against.any()


@pytest.mark.parametrize(("seed", "sign"), [(0, 1), (1, -1)])  # the strongest word speaks for the answer, against it
def test_the_longest_bar_is_the_strongest_word(tmp_path, seed, sign):
    shown = explanation(7, seed=seed)
    assert abs(shown.attribution.values).max() == (sign * shown.attribution.values).max()
    html = written(tmp_path, shown)
    up = np.array(re.findall(r'<div><i style="--s:([\d.]+)"><', html), float)
    down = np.array(re.findall(r'</b><i(?: class="n")? style="--s:([\d.]+)"', html), float)
    assert up.argmax() == align(shown).attention[0].argmax()
    assert up.max() == 1
    assert down.argmax() == np.abs(shown.attribution.values[0]).argmax()
    assert down.max() == 1


def test_a_model_without_attention_is_said_to_have_no_map(tmp_path):
    html = written(tmp_path, [explanation(3), explanation(4, attention=False)])
    assert html.count("This model has no attention map") == 1
    assert "Over 1 text with attention" in " ".join(html.split())


def test_pieces_are_merged_with_and_without_a_map(tmp_path):
    for attention in (True, False):
        shown = Page(written(tmp_path, explanation(4, attention=attention), merge="words")).words
        assert "thefilm" in shown  # two pieces a word
        assert "film" not in shown


def test_twenty_long_texts_stay_small(tmp_path):
    assert len(written(tmp_path, explanation(40, rows=20))) < 1_000_000


def test_nothing_to_show_and_a_missing_name_get_a_sentence(tmp_path):
    with pytest.raises(ArgumentError, match="at least one explained row"):
        write_report([], tmp_path / "r.html")
    with pytest.raises(ArgumentError, match="class_names has 1 names; a row's target is class 1"):
        write_report(explanation(3), tmp_path / "r.html", class_names=["only"])
    assert not list(tmp_path.iterdir())


def test_texts_without_an_order_have_no_summary(tmp_path):
    html = written(tmp_path, [explanation(1), explanation(1, seed=1)])
    assert "nan" not in html
    assert "no order" in html
    assert "with attention:" not in html


def test_maps_that_do_not_fit_are_named(tmp_path):
    shown = explanation(5, rows=2, padding=2)
    seen = shown.attention[0]
    keys = np.zeros((2, 1, 1, 11)) + 1 / 11
    other = AttentionMap("decoder/cross", keys, [["q"]] * 2, [["k"] * 11] * 2)
    hidden = replace(seen, name="hides a word", mask=seen.mask & (np.arange(7) != 3))
    html = written(tmp_path, replace(shown, attention=(other, hidden, seen)))
    left_out = (
        "Left out: &#39;decoder/cross&#39; (its 11 keys are not the 7 positions of the words); "
        "&#39;hides a word&#39; (it masks other words)."
    )
    assert html.count(left_out) == 2
    html = written(tmp_path, replace(shown, attention=(other,)))
    assert html.count("This model's attention is not over the words.") == 2
    assert html.count("(its 11 keys are not the 7 positions of the words).") == 2
    assert "with attention:" not in html


@pytest.mark.parametrize("scale", [1e-90, 3e-7, 0.2, 1.0, -1.0, 41.0, 7e4, 1e9])
def test_weights_of_any_size_keep_their_digits(scale):
    shown = explanation(7, rows=2)
    seen = replace(shown.attention[0], weights=shown.attention[0].weights * scale)
    shown = replace(shown, attention=(seen,))
    last = 1e-3 * (max(1.0, abs(scale)) if abs(scale) > 0.01 else abs(scale))
    for row, ((layer,), left_out) in enumerate(layers_of(shown, None, [align(shown[0]), align(shown[1])])):
        assert left_out == []
        assert layer.queries == QUERY_REDUCTIONS
        for place, heads in enumerate(("mean", "max", 0, 1)):
            for at, query in enumerate(QUERY_REDUCTIONS):
                expected = align(shown, heads=heads, query=query).attention[row]
                np.testing.assert_allclose(layer.ruler[place, at] * 10.0**-layer.digits, expected, atol=0.51 * last)
            per_query = [align(shown, heads=heads, query=query).attention[row] for query in range(3)]
            np.testing.assert_allclose(layer.weights[place] * 10.0**-layer.digits, per_query, atol=0.51 * last)


def test_a_page_far_too_large_keeps_the_mean_and_the_maximum_of_heads(tmp_path, monkeypatch):
    monkeypatch.setattr(page_module, "LIMIT", 1)
    shown = explanation(5)
    weights = np.random.default_rng(0).random((7, 1, 89, 3, 5))
    maps = tuple(replace(shown.attention[0], name=f"layer{i}", weights=one) for i, one in enumerate(weights))
    html = written(tmp_path, replace(shown, attention=maps))
    assert re.search(r"this page holds .*of the heads their mean and their maximum\. The attention of all", html)
    (text,) = json.loads(html.split('id="numbers">')[1].split("</script>")[0])
    assert {tuple(one["heads"]) for one in text["maps"]} == {("mean", "max")}


def test_numbers_of_many_weights_are_those_of_few(monkeypatch):
    shown = explanation(23, rows=2)
    words = [align(shown[0]), align(shown[1])]
    rows = [(layers, 23, "encoder/att") for layers, _ in layers_of(shown, None, words)]
    assert pack(rows, 10**6)[1:] == (None, True)
    monkeypatch.setattr(embedded, "MANY", 1)
    assert pack(rows, 10**6)[1:] == (16, True)
    assert pack(rows, 0)[1:] == (1, False)


def test_a_word_in_json_is_no_markup(tmp_path):
    shown = explanation(3)
    named = replace(shown.attention[0], query_labels=[["</script>", "<!--", "&"]])
    html = written(tmp_path, replace(shown, attention=(named,)))
    (text,) = json.loads(html.split('id="numbers">')[1].split("</script>")[0])
    assert text["maps"][0]["labels"] == ["</script>", "<!--", "&"]
    assert html.count("</script>") == 2


def test_a_row_of_padding_alone_has_a_section(tmp_path):
    shown = explanation(5, rows=2)
    nothing = np.zeros((2, 5), bool)
    moved = replace(shown.attribution, values=np.zeros((2, 5)), mask=nothing)
    empty = replace(shown, attributions=(moved,), attention=(replace(shown.attention[0], mask=nothing),))
    assert written(tmp_path, [shown, empty]).count("<section") == 4


def test_queries_that_are_padding_are_not_listed():
    shown = explanation(5)
    cross = replace(shown.attention[0], query_mask=[[True, False, True]])
    (((layer,), _),) = layers_of(replace(shown, attention=(cross,)), None, [align(shown)])
    assert layer.labels == ("q0", "q2")
    np.testing.assert_allclose(layer.weights[2:] / 1000, cross.weights[0][:, [0, 2]], atol=5.1e-4)

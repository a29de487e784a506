"""The page in a real Chromium: it reacts, says what `align` says, and stays inert."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from keras_attn_xai import AttentionMap, align, write_report
from keras_attn_xai.alignment import QUERY_REDUCTIONS
from keras_attn_xai.metrics import row_agreement
from keras_attn_xai.report import page as page_module
from tests.made import explanation

HOSTILE = [
    "</script><script>window.hit=1</script>",
    '"><img src=x onerror="window.hit=1">',
    "<!--<script>",
    "&lt;b&gt;",
    "👩‍👩‍👧‍👦" * 5,
    "مرحبا",
    "x" * 10_000,
    "\u2028",
    "{{ 7 * 7 }}",
    " ",
    "🎬",
]
VS_CODE = (  # what the outputs of its notebooks are held to
    "default-src 'none'; script-src https: 'unsafe-inline' 'unsafe-eval'; style-src https: 'unsafe-inline'; "
    "child-src https: data:"
)


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs a Chromium: apt-get install chromium")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def opened(browser, tmp_path):
    """A function that writes a page, opens it offline, and notes what goes wrong on it."""
    contexts, wrong = [], []

    def open_page(*args, html=None, wait="html.live", context=None, **kwargs):
        contexts.append(browser.new_context(**{"offline": True, **(context or {})}))
        page = contexts[-1].new_page()
        page.set_default_timeout(10_000)
        path = tmp_path / f"page{len(contexts)}.html"
        if html is None:
            write_report(*args, path, **kwargs)
        else:
            path.write_text(html, encoding="utf-8")
        page.on("console", lambda said: wrong.append(said.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda asked: None if asked.url == path.as_uri() else wrong.append(asked.url))
        page.goto(path.as_uri())
        if wait:
            page.wait_for_selector(wait)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


def with_maps(shown, shapes, *, seed=0):
    """``shown`` with a map of softmax weights for each name: (H, T, S), T queries of their own unless T = S."""
    draw, rows, maps = np.random.default_rng(seed), len(shown), []
    for name, (heads, queries, keys) in shapes.items():
        own = keys == len(shown.labels[0])
        mask = shown.attribution.mask if own else np.ones((rows, keys), bool)
        weights = np.where(mask[:, None, None], np.exp(draw.normal(size=(rows, heads, queries, keys))), 0)
        keys_are = shown.labels if own else [[f"k{i}" for i in range(keys)]] * rows
        square = own and queries == keys
        maps.append(
            AttentionMap(
                name,
                weights / weights.sum(-1, keepdims=True),
                keys_are if square else [[f"q{i}" for i in range(queries)]] * rows,
                keys_are,
                query_mask=mask if square else None,
                mask=mask,
            )
        )
    return replace(shown, attention=tuple(maps))


def titles(page, line=".looked"):
    """What the words of the text that is shown say when pointed at."""
    return page.locator(f"section:visible {line} > *").evaluate_all("all => all.map(one => one.title)")


def quoted(word):
    """A word as sentences hold it: isolated, so that its direction stays its own."""
    return f"“\u2068{word}\u2069”"


def said_attention(values, digits=3):
    return [f"attention {value:.{digits}f}" for value in values]


def test_every_choice_shows_the_numbers_of_align(opened):
    shown = with_maps(explanation(5, rows=2, padding=2), {"enc/first": (3, 7, 7), "enc/pool": (2, 1, 7)})
    page = opened(shown)
    checked = 0
    for row in range(2):
        page.locator("#list button").nth(row).click()
        for one in shown.attention:
            page.select_option("#map", one.name)
            for heads in ("mean", "max", *range(one.weights.shape[1])):
                page.select_option("#head", str(heads))
                for query in QUERY_REDUCTIONS[: 4 if one.name == "enc/first" else 1]:
                    if one.name == "enc/first":
                        page.select_option("#queries", query)
                    seen = align(shown[row], map=one.name, heads=heads, query=query)
                    assert titles(page) == said_attention(seen.attention[0, :5])
                    assert [ruler.split(": ")[1].split(", ")[0] for ruler in titles(page, ".ruler")] == titles(page)
                    tau = row_agreement(seen, measures=["kendall_tau"])["kendall_tau"][0]
                    shown_tau = page.locator("section:visible .tau").text_content()
                    assert float(shown_tau) == pytest.approx(tau, abs=0.0051)
                    assert page.locator("section:visible .map").text_content() == (
                        f"{seen.map} (heads: {seen.heads}, query: {seen.query})"
                    )
                    checked += 1
    assert checked == 2 * (5 * 4 + 4 * 1)


def test_a_word_shows_what_it_attends_to(opened):
    shown = with_maps(explanation(7), {"att": (3, 7, 7)})
    page = opened(shown)
    for heads in ("mean", 2):
        page.select_option("#head", str(heads))
        for word in range(7):
            row = align(shown, heads=heads, query=word).attention[0]
            for line in (".looked", ".moved", ".ruler"):
                page.locator(f"{line} > *").nth(word).hover()
                assert titles(page) == said_attention(row)
            strongest = shown.labels[0][row.argmax()]
            said = page.locator("#said").text_content()
            value = shown.attribution.values[0, word]
            assert said.startswith(
                f"{quoted(shown.labels[0][word])}, word {word + 1} of 7: SHAP {value:+.3f}, attention "
            )
            assert f"As a query it attends to {quoted(strongest)} {row.max():.3f}, " in said
            shares = page.locator(".looked > *").evaluate_all(
                "all => all.map(one => one.style.getPropertyValue('--s'))"
            )
            np.testing.assert_allclose(np.array(shares, float), row / row.max(), atol=1e-3 / row.max() + 5e-4)
    page.mouse.move(0, 0)
    assert titles(page) == said_attention(align(shown, heads=2).attention[0])


def test_a_word_of_several_pieces_asks_what_its_pieces_ask(opened):
    shown = with_maps(explanation(7), {"att": (2, 7, 7)})  # words of two pieces, and one of one
    page = opened(shown, merge="words")
    pieces = [align(shown, query=piece, merge="words").attention[0] for piece in range(7)]
    assert titles(page) == said_attention(align(shown, merge="words").attention[0])
    for word, of in enumerate(([0, 1], [2, 3], [4, 5], [6])):
        page.locator(".looked > *").nth(word).hover()
        assert titles(page) == said_attention(np.mean([pieces[i] for i in of], axis=0))


def test_queries_that_are_not_the_words_are_listed(opened):
    shapes = {"decoder/cross": (2, 3, 5), "other": (2, 3, 11)}
    shown = with_maps(explanation(5), shapes)
    page = opened(shown)
    assert "Left out: 'other' (its 11 keys are not the 5 positions of the words)." in page.locator("main").inner_text()
    page.locator(".looked > *").nth(1).hover()
    assert titles(page) == said_attention(align(shown).attention[0])
    for query in range(3):
        page.locator(".queries [role=button]").nth(query).hover()
        assert titles(page) == said_attention(align(shown, query=query).attention[0])
        assert page.locator("#said").text_content().startswith(f"The query {quoted(f'q{query}')} attends to ")


def test_the_keyboard_alone_reaches_everything(opened):
    shown = with_maps(explanation(5, rows=2), {"a": (2, 5, 5), "b": (3, 5, 5)})
    page = opened(shown)

    def focused():
        return page.evaluate("document.activeElement.id || document.activeElement.textContent")

    reached = []
    for _ in range(4):
        page.keyboard.press("Tab")
        reached.append(focused())
    assert reached == ["sort", "map", "head", "queries"]
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("2")  # the option "head 2" begins otherwise: nothing moves
    page.keyboard.press("ArrowDown")
    assert page.locator("section:visible .map").text_content().startswith("b (heads: max,")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.locator("section:visible h2").text_content().startswith("2.")
    page.keyboard.press("Tab")
    labels = shown.labels[1]
    assert focused() == labels[0]
    for key, word in (
        ("ArrowRight", 1),
        ("ArrowDown", 2),
        ("ArrowLeft", 1),
        ("End", 4),
        ("ArrowRight", 4),
        ("Home", 0),
    ):
        page.keyboard.press(key)
        assert focused() == labels[word]
        assert titles(page) == said_attention(align(shown[1], heads="max", query=word).attention[0])
        assert page.locator("#said").text_content().startswith(f"{quoted(labels[word])}, word {word + 1} of 5")
        assert page.locator(".looked:visible [aria-pressed=true]").count() == 1
    page.keyboard.press("Escape")
    assert titles(page) == said_attention(align(shown[1], heads="max").attention[0])
    assert page.locator("#said").text_content().startswith("Point at a word")


def test_arrows_follow_a_text_that_runs_from_right_to_left(opened):
    words = ["مرحبا", "بالعالم", "فيلم", "جميل", "جدا"]
    page = opened(with_maps(explanation(5, labels=words), {"att": (2, 5, 5)}))
    page.locator(".looked > *").first.focus()
    for key, word in (("ArrowLeft", 1), ("ArrowDown", 2), ("ArrowRight", 1)):
        page.keyboard.press(key)
        assert page.evaluate("document.activeElement.textContent") == words[word]
    places = [page.locator(".looked > *").nth(i).bounding_box()["x"] for i in range(2)]
    assert places[0] > places[1]


def test_texts_sort_by_disagreement(opened):
    shown = with_maps(explanation(7, rows=5), {"att": (2, 7, 7)})
    page = opened([shown, explanation(7, attention=False)])

    def order():
        return [int(name.split(".")[0]) - 1 for name in page.locator("#list b").all_text_contents()]

    for heads in ("mean", 1):
        page.select_option("#head", str(heads))
        assert order() == [0, 1, 2, 3, 4, 5]
        page.select_option("#sort", "disagreement")
        taus = row_agreement(align(shown, heads=heads), measures=["kendall_tau"])["kendall_tau"]
        assert order() == [*np.argsort(np.rint(100 * taus), kind="stable"), 5]
        page.select_option("#sort", "given")
    assert page.locator("#list span").last.text_content() == "no map"
    page.locator("#list button").last.click()
    assert page.locator("#map").is_disabled()
    page.locator("section:visible .moved > *").nth(2).focus()
    assert page.locator("#said").text_content().endswith(".")
    assert "word 3 of 7: SHAP" in page.locator("#said").text_content()
    assert ": SHAP " in page.locator("section:visible .ruler > *").nth(2).get_attribute("title")


def test_hostile_words_stay_words(opened):
    shown = with_maps(explanation(11, labels=HOSTILE), {"</script><script>window.hit=1</script>": (2, 3, 11)})
    shown = replace(shown, attention=(replace(shown.attention[0], query_labels=[HOSTILE[:3]]),))
    page = opened(shown, title=HOSTILE[0], class_names=["a", HOSTILE[1]])
    for place in range(11):
        page.locator(".looked > *").nth(place).focus()
        page.locator(".ruler > *").nth(place).hover(force=True)
    page.locator(".queries [role=button]").nth(0).hover()
    assert page.locator(".looked > *").all_text_contents() == HOSTILE
    assert page.evaluate("window.hit") is None
    assert page.locator("script").count() == 2
    assert page.locator("img").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= page.evaluate("innerWidth")


def test_every_control_has_a_name(opened):
    shown = with_maps(explanation(4, rows=2, labels=["a", " ", "", "b"]), {"att": (2, 4, 4), "cross": (2, 3, 4)})
    page = opened(shown)
    tree = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    roles = [(node["role"]["value"], node["name"]["value"]) for node in tree if not node["ignored"] and "name" in node]
    controls = [one for one in roles if one[0] in ("button", "combobox", "img", "image", "group", "navigation")]
    assert {role for role, _ in controls} >= {"button", "combobox", "group", "navigation"}
    assert [one for one in controls if not one[1].strip()] == []
    assert [role for role, _ in controls].count("button") == 1 + 2 + 4 + 3  # back, texts, words, the map's own queries


def test_without_the_script_every_text_is_there(opened):
    page = opened(explanation(5, rows=3), wait=None, context={"java_script_enabled": False})
    assert page.locator("section:visible").count() == 3
    assert not page.locator(".controls").is_visible()
    assert not page.locator("#said").is_visible()


def test_print_shows_every_text_and_no_controls(opened):
    page = opened(explanation(5, rows=3))
    assert page.locator("section:visible").count() == 1
    assert page.locator(".controls").is_visible()
    page.emulate_media(media="print", color_scheme="dark")
    assert page.locator("section:visible").count() == 3
    for hidden in (".controls", "nav", "#said"):
        assert not page.locator(hidden).is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_can_be_read_on_their_tints(opened, scheme):
    page = opened(explanation(11, rows=2), context={"color_scheme": scheme})
    blend = """word => {
        const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
        const style = getComputedStyle(word);
        return [parts(style.color), parts(style.backgroundColor),
                parts(getComputedStyle(word.closest("section")).backgroundColor)];
    }"""
    for line in (".looked", ".moved"):
        words = page.locator(f"section:visible {line} > *")
        for place in range(11):
            ink, tint, card = words.nth(place).evaluate(blend)
            alpha = tint[3] if len(tint) == 4 else 1.0
            behind = alpha * np.array(tint[:3]) + (1 - alpha) * np.array(card[:3])
            assert contrast(np.array(ink[:3]), behind) >= 4.5
    assert (card[0] > 128) == (scheme == "light")


def contrast(a, b):
    """WCAG 2 contrast of two colours in 0 to 255."""
    channels = np.array([a, b]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    low, high = np.sort(linear @ [0.2126, 0.7152, 0.0722])
    return (high + 0.05) / (low + 0.05)


def test_a_page_too_large_keeps_the_largest_weights_and_says_so(opened, monkeypatch):
    monkeypatch.setattr(page_module, "LIMIT", 1)  # room for as much as the words take
    shown = with_maps(explanation(31), {f"layer{i}": (11, 31, 31) for i in range(5)})
    page = opened(shown)
    kept = json.loads(page.locator("#numbers").text_content())[0]["maps"][0]["kept"]
    assert 1 <= kept <= 16
    assert (f"the {kept} largest weights of each query." if kept > 1 else "the largest weight of") in page.content()
    assert titles(page) == said_attention(align(shown).attention[0])
    page.locator(".looked > *").nth(3).hover()
    row = align(shown, query=3).attention[0]
    expected = np.array(["attention not kept"] * 31, dtype=object)
    for place in np.argsort(-np.rint(1000 * row), kind="stable")[:kept]:
        expected[place] = said_attention([row[place]])[0]
    assert titles(page) == list(expected)


def test_twenty_texts_of_72_heads_fit_into_a_megabyte_and_react(opened, tmp_path):
    shown = with_maps(explanation(40, rows=20), {f"layer{i}": (12, 40, 40) for i in range(6)})
    page = opened(shown)
    assert (tmp_path / "page1.html").stat().st_size < 1_000_000
    page.select_option("#map", "layer2")
    page.select_option("#head", "7")
    assert titles(page) == said_attention(align(shown[0], map="layer2", heads=7).attention[0])


@pytest.mark.parametrize("policy", ["", VS_CODE])
def test_two_in_a_notebook_react_apart(opened, policy):
    first = with_maps(explanation(5), {"att": (2, 5, 5)})
    second = with_maps(explanation(7, rows=2), {"att": (2, 7, 7)}, seed=1)
    html = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">'
        f"<p>A notebook</p>{first._repr_html_()}{second._repr_html_()}"
    )
    page = opened(html=html, wait=None)
    one, two = (page.frame_locator("iframe").nth(i) for i in range(2))
    two.locator("html.live").wait_for()
    one.locator("html.live").wait_for()
    one.locator(".looked > *").nth(2).focus()
    assert one.locator("#said").text_content().startswith(f"{quoted(first.labels[0][2])}, word 3 of 5")
    assert two.locator("#said").text_content().startswith("Point at a word")
    two.locator("#head").select_option("1")
    assert "head 1" in two.locator("section:visible .map").text_content()
    assert "heads: mean" in one.locator("section:visible .map").text_content()
    frame = page.frames[1]
    assert frame.evaluate("(() => { try { return parent.document.title } catch { return 'refused' } })()") == "refused"

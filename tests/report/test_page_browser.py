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

    def open_page(*args, html=None, wait="html.live", context=None, refused=None, **kwargs):
        contexts.append(browser.new_context(**{"offline": True, **(context or {})}))
        page = contexts[-1].new_page()
        page.set_default_timeout(10_000)
        path = tmp_path / f"page{len(contexts)}.html"
        if html is None:
            write_report(*args, path, **kwargs)
        else:
            path.write_text(html, encoding="utf-8")
        page.on("console", lambda said: None if refused and refused in said.text else wrong.append(said.text))
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


def test_a_word_shows_what_attends_to_it(opened):
    shown = with_maps(explanation(7), {"att": (3, 7, 7)})
    page = opened(shown)
    page.select_option("#way", "from")
    assert titles(page) == said_attention(align(shown).attention[0])
    for heads in ("mean", 2):
        page.select_option("#head", str(heads))
        weights = np.array([align(shown, heads=heads, query=query).attention[0] for query in range(7)])
        for word in range(7):
            page.locator(".moved > *").nth(word).hover()
            assert titles(page) == said_attention(weights[:, word])
            assert page.locator(".now").text_content() == f"each query gives {quoted(shown.labels[0][word])}"
            first = weights[:, word].argmax()
            most = f"It gets most from {quoted(shown.labels[0][first])} {weights[first, word]:.3f}, "
            assert most in page.locator("#said").text_content()


def test_queries_are_tinted_by_what_they_give_a_word(opened):
    shown = with_maps(explanation(5), {"decoder/cross": (2, 3, 5)})
    page = opened(shown)
    assert page.locator("#way").is_disabled()
    weights = np.array([align(shown, query=query).attention[0] for query in range(3)])
    shares = "all => all.map(one => Number(one.style.getPropertyValue('--s')))"
    for word in range(5):
        page.locator(".looked > *").nth(word).hover()
        found = page.locator(".queries > *").evaluate_all(shares)
        np.testing.assert_allclose(found, weights[:, word] / weights[:, word].max(), atol=5e-3)
        first = f"It gets most from {quoted(f'q{weights[:, word].argmax()}')} {weights[:, word].max():.3f}, "
        assert first in page.locator("#said").text_content()
    page.mouse.move(0, 0)
    assert page.locator(".queries > *").evaluate_all(shares) == [0, 0, 0]


def test_the_table_follows_what_is_shown(opened):
    shown = with_maps(explanation(5), {"att": (2, 5, 5)})
    page = opened([shown, explanation(3, attention=False)])
    page.locator("section:visible summary").click()
    cells = "all => all.map(one => one.innerText)"
    moved = [f"{value:+.3f}" for value in shown.attribution.values[0]]
    for heads, query in (("mean", None), ("1", None), ("1", 3)):
        page.select_option("#head", heads)
        if query is not None:
            page.locator(".looked > *").nth(query).focus()
        seen = align(shown, heads=heads if heads == "mean" else 1, **({} if query is None else {"query": query}))
        looked = [f"{value:.3f}" for value in seen.attention[0]]
        lines = zip(shown.labels[0], looked, moved, strict=True)
        assert page.locator("tbody :is(th, td):visible").evaluate_all(cells) == [
            cell for line in lines for cell in line
        ]
    page.locator("#list button").last.click()
    page.locator("section:visible .moved > *").nth(1).focus()
    page.locator("section:visible summary").click()
    assert page.locator("section:visible tr").nth(2).locator("th, td").count() == 2


def test_a_word_that_is_held_stays_while_heads_change(opened):
    shown = with_maps(explanation(5), {"att": (2, 5, 5), "cross": (2, 3, 5)})
    page = opened(shown)
    page.select_option("#map", "att")
    page.locator(".looked > *").nth(3).click()
    page.mouse.move(0, 0)
    page.select_option("#head", "1")
    assert titles(page) == said_attention(align(shown, map="att", heads=1, query=3).attention[0])
    page.select_option("#way", "from")
    assert page.locator(".now").text_content().startswith("each query gives")
    page.select_option("#queries", QUERY_REDUCTIONS[1])
    seen = align(shown, map="att", heads=1, query=QUERY_REDUCTIONS[1])
    assert titles(page) == said_attention(seen.attention[0])
    page.locator(".looked > *").nth(3).click()
    page.select_option("#map", "cross")  # its queries are others
    page.mouse.move(0, 0)
    assert page.locator("#all").is_disabled()


def open_overview(page):
    page.locator("#overview summary").click()
    page.wait_for_selector("#grid button")


def alphas(page, place):
    """How strongly each pixel of a head's square is drawn, (rows, columns)."""
    size, alpha = (
        page.locator("#grid canvas")
        .nth(place)
        .evaluate(
            """one => {
            const copy = new OffscreenCanvas(one.width, one.height).getContext("2d", { willReadFrequently: true });
            copy.drawImage(one, 0, 0);
            const data = [...copy.getImageData(0, 0, one.width, one.height).data];
            return [[one.height, one.width], data.filter((_, i) => i % 4 === 3)];
        }"""
        )
    )
    return np.array(alpha).reshape(size)


def test_every_head_at_a_glance(opened):
    shown = with_maps(explanation(5, rows=2), {"a": (2, 5, 5), "cross": (3, 7, 5), "pool": (2, 1, 5)})
    page = opened(shown)
    assert page.locator("#grid button").count() == 0  # drawn when it is asked for
    open_overview(page)
    for row in range(2):
        page.locator("#list button").nth(row).click()
        assert page.locator("#grid b").all_text_contents() == ["a", "cross"]
        weights = [head for one in shown.attention[:2] for head in one.weights[row]]
        for place, head in enumerate(weights):
            assert alphas(page, place).shape == head.shape
            np.testing.assert_allclose(alphas(page, place), 255 * head / head.max(), atol=1.5)
    taus = [
        f"{row_agreement(align(shown, map=name, heads=head), measures=['kendall_tau'])['kendall_tau'][1]:+.2f}"
        for name, heads in (("a", 2), ("cross", 3))
        for head in range(heads)
    ]
    assert page.locator("#grid button").all_text_contents() == taus
    page.locator("#grid button").nth(3).click()
    assert page.locator("section:visible .map").text_content().startswith("cross (heads: head 1,")
    assert titles(page) == said_attention(align(shown[1], map="cross", heads=1).attention[0])
    pressed = page.locator("#grid [aria-pressed=true]")
    assert pressed.get_attribute("aria-label") == f"cross, head 1, Kendall tau: {taus[3]}"
    page.select_option("#head", "mean")
    assert pressed.count() == 0


def test_the_squares_are_walked_by_keys(opened):
    page = opened(with_maps(explanation(5), {"a": (3, 5, 5), "b": (3, 5, 5)}))
    open_overview(page)
    page.keyboard.press("Tab")
    focused = "document.activeElement.title.split(',').slice(0, 2).join()"
    assert page.evaluate(focused) == "a, head 0"
    steps = (
        ("ArrowRight", 1),
        ("ArrowDown", 4),
        ("ArrowDown", 4),
        ("ArrowUp", 1),
        ("End", 5),
        ("Home", 0),
        ("ArrowLeft", 0),
    )
    for key, place in steps:
        page.keyboard.press(key)
        assert page.evaluate(focused) == f"{'ab'[place // 3]}, head {place % 3}"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.locator("section:visible .map").text_content().startswith("b (heads: head 0,")
    assert page.evaluate(focused) == "b, head 0"


def test_a_square_of_a_long_text_shows_the_largest_of_neighbours(opened):
    shown = with_maps(explanation(131), {"att": (1, 131, 131)})
    page = opened(shown)
    open_overview(page)
    expected = np.zeros((64, 64))
    at = np.arange(131) * 64 // 131
    np.maximum.at(expected, np.ix_(at, at), shown.attention[0].weights[0, 0])
    np.testing.assert_allclose(alphas(page, 0), 255 * expected / expected.max(), atol=1.5)


def test_a_text_without_heads_has_no_overview(opened):
    page = opened([explanation(5, attention=False), with_maps(explanation(5), {"pool": (2, 1, 5)})])
    for row in range(2):
        page.locator("#list button").nth(row).click()
        assert not page.locator("#overview").is_visible()


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
    for _ in range(6):
        page.keyboard.press("Tab")
        reached.append(focused())
    assert reached == ["sort", "map", "head", "queries", "way", "scale"]
    for _ in range(3):
        page.keyboard.press("Shift+Tab")
    page.keyboard.press("2")  # the option "head 2" begins otherwise: nothing moves
    page.keyboard.press("ArrowDown")
    assert page.locator("section:visible .map").text_content().startswith("b (heads: max,")
    for _ in range(4):
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


def test_texts_can_share_the_scale_of_shap(opened):
    strong, other = explanation(5, rows=2), explanation(3, unit="output")
    moved = strong.attribution
    weak = replace(moved, values=moved.values / 4, output=moved.base + moved.values.sum(1) / 4)
    page = opened([strong, replace(strong, attributions=(weak,)), other])
    largest = np.abs(np.concatenate([moved.values, weak.values])).max(1)
    expected = [*largest / largest.max(), 1]  # values in another unit are not compared
    tallest = "all => Math.max(...all.map((one) => one.getBoundingClientRect().height))"
    for choice, shares in (("own", [1] * 5), ("shared", expected)):
        page.select_option("#scale", choice)
        found = []
        for text in range(5):
            page.locator("#list button").nth(text).click()
            found.append(page.locator("section:visible .ruler i:last-child").evaluate_all(tallest))
        np.testing.assert_allclose(np.array(found) / max(found), shares, atol=0.03)


def test_hostile_words_stay_words(opened):
    shown = with_maps(explanation(11, labels=HOSTILE), {"</script><script>window.hit=1</script>": (2, 3, 11)})
    shown = replace(shown, attention=(replace(shown.attention[0], query_labels=[HOSTILE[:3]]),))
    page = opened(shown, title=HOSTILE[0], class_names=["a", HOSTILE[1]])
    for place in range(11):
        page.locator(".looked > *").nth(place).focus()
        page.locator(".ruler > *").nth(place).hover(force=True)
    page.locator(".queries [role=button]").nth(0).hover()
    page.locator(".figures summary").click()
    open_overview(page)
    assert page.locator(".looked > *").all_text_contents() == HOSTILE
    assert page.evaluate("window.hit") is None
    assert page.locator("script").count() == 2
    assert page.locator("img").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= page.evaluate("innerWidth")


def test_every_control_has_a_name(opened):
    shown = with_maps(explanation(4, rows=2, labels=["a", " ", "", "b"]), {"att": (2, 4, 4), "cross": (2, 3, 4)})
    page = opened(shown)
    page.locator("section:visible summary").click()
    open_overview(page)
    tree = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    roles = [(node["role"]["value"], node["name"]["value"]) for node in tree if not node["ignored"] and "name" in node]
    controls = [one for one in roles if one[0] in ("button", "combobox", "img", "image", "group", "navigation")]
    assert {role for role, _ in controls} >= {"button", "combobox", "group", "navigation"}
    nameless = [one for one in controls if not one[1].strip()]
    assert nameless == [("group", "")] * 2  # the two that fold: what folds them has a name
    assert [role for role, _ in controls].count(
        "button"
    ) == 1 + 2 + 4 + 3 + 4  # back, texts, words, the map's own queries, heads


def test_without_the_script_every_text_is_there(opened):
    page = opened(explanation(5, rows=3), wait=None, context={"java_script_enabled": False})
    assert page.locator("section:visible").count() == 3
    assert not page.locator(".controls").is_visible()
    for hidden in ("#said", "#overview"):
        assert not page.locator(hidden).is_visible()
    page.locator("section summary").nth(1).click()
    assert page.locator("tbody tr:visible").count() == 5


def test_print_shows_every_text_and_no_controls(opened):
    page = opened(explanation(5, rows=3))
    assert page.locator("section:visible").count() == 1
    assert page.locator(".controls").is_visible()
    page.emulate_media(media="print", color_scheme="dark")
    assert page.locator("section:visible").count() == 3
    for hidden in (".controls", "nav", "#said", "#overview"):
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


def test_a_notebook_without_scripts_shows_every_text(opened):
    policy = "<meta http-equiv='Content-Security-Policy' content=\"script-src 'none'\">"
    html = f"<!DOCTYPE html>{policy}<p>A notebook</p>{explanation(5, rows=3)._repr_html_()}"
    page = opened(html=html, wait=None, refused="script-src 'none'")
    inside = page.frame_locator("iframe")
    inside.locator("section:visible").nth(2).wait_for()
    assert inside.locator(".looked:visible > *").count() == 3 * 5
    assert not inside.locator(".controls").is_visible()
    assert page.locator("body").inner_text().strip() == "A notebook"  # what is inside the frame is for who drops it

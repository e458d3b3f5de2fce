"""The page of a graph, in a browser: skipped where Chromium or Playwright is missing."""

from __future__ import annotations

import shutil

import pytest
import rustgrad as rg
from rustgrad import nn
from rustgrad.autograd.explorer import Graph, diff, explore
from rustgrad.autograd.explorer.groups import default_view, hierarchy
from rustgrad.autograd.explorer.layout import arrange, place
from rustgrad.autograd.explorer.model import size_text
from rustgrad.autograd.explorer.style import (
    MEASURES,
    cards,
    limits,
    measured,
    sizes_of,
    value_color,
    value_text,
)
from rustgrad.autograd.explorer.view import seen

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(4)
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 4))

    def forward(self, x):
        return x + self.layers(self.norm(x))


def graph(blocks=4, **options):
    model = nn.Sequential(*[Block() for _ in range(blocks)])
    x = rg.ones(3, 4, requires_grad=True)
    return explore(lambda: model(x).square().mean(), module=model, names={"x": x}, **options)


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def show(browser, tmp_path):
    """Opens the page of a graph; at the end, nothing may have gone wrong or to the network."""
    contexts, wrong = [], []

    def open_page(graph, theme="light", width=1280, height=800):
        path = tmp_path / f"{len(contexts)}.html"
        graph.html(path)
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=theme
        )
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda e: wrong.append(f"error: {e}"))
        page.on("console", lambda m: wrong.append(f"console: {m.text}"))
        page.on("request", lambda r: r.url == path.as_uri() or wrong.append(f"request: {r.url}"))
        page.goto(path.as_uri())
        settle(page)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not wrong


def settle(page):
    page.evaluate("new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)))")


def titles(page):
    """What the boxes say."""
    return page.eval_on_selector_all("#cards .card .t", "all => all.map((t) => t.textContent)")


def box_of(page, title):
    return page.locator("#cards .card", has=page.locator(f'.t:text-is("{title}")')).first


def test_shows_the_default_view(show):
    page = show(graph())
    assert page.title() == "Sequential"
    assert "22 ops · 25 leaves" in page.inner_text("#summary")
    said = titles(page)
    assert said[0] == "xleaf"
    assert {"3 more × Block", "Square", "Mean"} < set(said)
    # Nothing lies outside of the window.
    inside = page.evaluate(
        """[...document.querySelectorAll('.card')].every((card) => {
            const b = card.getBoundingClientRect();
            return b.left >= 0 && b.right <= innerWidth;
        })"""
    )
    assert inside


def test_texts_fit_their_boxes(show):
    page = show(graph(gradients=True))
    page.keyboard.press("e")
    for mode in ("Kind", "Saved", "Time", "Gradient"):
        page.click(f'#colors >> text="{mode}"')
        settle(page)
        over = page.evaluate(
            """[...document.querySelectorAll('#cards .card')].filter((card) => {
                const b = card.querySelector('.c').getBBox();
                return [...card.querySelectorAll('text')].some((t) => {
                    const w = t.getBBox();
                    return w.x < b.x || w.x + w.width > b.x + b.width
                        || w.y + w.height > b.y + b.height;
                }) || [...card.querySelectorAll('.l')].map((t) => t.getBBox())
                    .some((w, i, all) => i && all[i - 1].x + all[i - 1].width > w.x);
            }).length"""
        )
        assert over == 0


def test_the_page_places_as_python_does(show):
    made = graph(backward=2)
    page = show(made)
    boxes = hierarchy(made)
    levels, _ = arrange(made, boxes)
    sizes = sizes_of(cards(made, boxes))
    opened = default_view(boxes, len(made), True)
    placed = place(boxes, levels, opened, sizes, len(made))
    want, _ = seen(made, boxes, levels, placed)
    found = page.evaluate(
        """([opened, sizes]) => scene(graph, new Set(opened), sizes).boxes
            .map((b) => [b.item, b.x, b.y, b.w, b.h])""",
        [sorted(opened), sizes],
    )
    assert len(found) == len(want)
    places = {item: rest for item, *rest in found}
    for box in want:
        expected = (box.x, box.y, box.width, box.height)
        assert places[box.item] == pytest.approx(expected, abs=0.01)


def test_groups_open_and_close(show):
    page = show(graph())
    before = titles(page)
    more = box_of(page, "3 more × Block")
    more.locator(".toggle").click()
    settle(page)
    assert len(titles(page)) > len(before) and "3 more × Block" not in titles(page)
    page.locator("#collapse").click()
    settle(page)
    assert titles(page)[1:] == ["Sequential", "Square", "Mean"]
    box_of(page, "Sequential").dblclick()
    settle(page)
    assert "4 × Block" in titles(page)
    page.locator("#expand").click()
    settle(page)
    assert sum(t.startswith("Linear") for t in titles(page)) == 8


def test_the_name_of_a_frame_chooses_its_group(show):
    page = show(graph())
    page.locator("#heads .h", has_text="4 × Block").click()
    assert page.locator("#details h2").inner_text() == "4 × Block"
    assert page.locator(".frame.chosen").count() == 2  # the border and the name
    page.locator("#details .action").click()
    settle(page)
    assert "4 × Block" in titles(page)


def test_details(show):
    page = show(graph(gradients=True))
    page.click('#cards .card:has(.t:text("LayerNorm")) .t')
    panel = page.locator("#details")
    text = panel.inner_text()
    assert "NativeLayerNormBackward0" in text and "test_explorer_page.py:" in text
    assert "return x + self.layers(self.norm(x))" in text
    assert "norm of what arrives" in text.lower() and "3 × 4" in text
    # Links lead on, and parameters have details too.
    panel.locator(".link", has_text="0.norm.weight").click()
    assert panel.locator("h2").inner_text() == "0.norm.weight"
    assert "norm of its gradient" in panel.inner_text()
    page.keyboard.press("Escape")
    assert panel.is_hidden()
    assert page.locator(".chosen").count() == 0


def test_chosen_wires_are_lit(show):
    page = show(graph())
    page.click('#cards .card:has(.t:text("LayerNorm")) .t')
    # It takes x, over the borders of three groups, and gives to one.
    assert page.locator("#lights .into").count() >= 1
    assert page.locator("#lights .lit:not(.into)").count() >= 1


def test_search(show):
    page = show(graph())
    page.keyboard.press("/")
    page.keyboard.type("linear 3x8")
    rows = page.locator("#results [role=option]")
    assert rows.count() == 4
    assert page.locator(".card.hit").count() == 2  # one that is seen, and the stack of the others
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    settle(page)
    # The second is in a closed block, which opens.
    assert "1.layers.0" in page.inner_text("#details")
    chosen = page.locator(".card.chosen")
    assert chosen.count() == 1
    area = chosen.bounding_box()
    assert area["x"] > 0 and area["y"] > 0 and area["y"] + area["height"] < 800
    page.keyboard.press("Escape")
    assert page.locator(".card.dim").count() == 0
    page.keyboard.press("/")
    for shape in ("3 x 8", "3×8", "3,8", "[3, 8]"):
        page.locator("#query").fill(f"linear {shape}")
        assert rows.count() == 4
    page.locator("#query").fill("mul")  # not accumulate
    assert "Nothing found" in page.inner_text("#results")
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.type("test_explorer_page.py nothing")
    assert "Nothing found" in page.inner_text("#results")


def test_zoom_pan_and_fit(show):
    page = show(graph())

    def view():
        settle(page)
        return page.evaluate("({...view})")

    start = view()
    page.mouse.move(300, 400)
    page.mouse.wheel(0, -300)
    near = view()
    assert near["k"] > start["k"]
    # What was under the mouse still is.
    top = page.locator("#canvas").bounding_box()["y"]
    for a, b in ((start, near),):
        assert (300 - a["x"]) / a["k"] == pytest.approx((300 - b["x"]) / b["k"])
        assert (400 - top - a["y"]) / a["k"] == pytest.approx((400 - top - b["y"]) / b["k"])
    page.mouse.down()
    page.mouse.move(380, 450, steps=4)
    page.mouse.up()
    moved = view()
    assert moved["x"] - near["x"] == pytest.approx(80) and moved["y"] - near["y"] == pytest.approx(
        50
    )
    assert page.locator("#details").is_hidden()  # a drag chooses nothing
    # A button that was let go elsewhere drags nothing.
    before = view()
    page.mouse.move(20, 300)
    page.mouse.down()
    page.mouse.move(21, 300)
    page.locator("#query").hover()
    page.mouse.up()
    page.mouse.move(200, 400, steps=3)
    assert view() == before
    page.keyboard.press("0")
    whole = view()
    picture = page.evaluate("[picture.width, picture.height]")
    assert whole["x"] >= 0 and whole["x"] + picture[0] * whole["k"] <= 1280
    page.click("[data-zoom=in]")
    assert view()["k"] == pytest.approx(whole["k"] * 1.25)
    page.keyboard.press("-")
    assert view()["k"] == pytest.approx(whole["k"])


def test_keyboard_alone(show):
    page = show(graph())
    page.locator("#canvas").focus()
    said = []
    for key in ("ArrowDown", "ArrowUp", "ArrowUp"):
        page.keyboard.press(key)
        said.append(page.inner_text("#say").split(",")[0])
    assert said == ["Mean", "Square", "3 more × Block"]
    page.keyboard.press("Enter")
    settle(page)
    assert "opened" in page.inner_text("#say")
    page.keyboard.press("Enter")
    assert "closed" in page.inner_text("#say")
    page.keyboard.press("?")
    assert page.locator("#keys").is_visible()
    page.keyboard.press("Escape")
    # Each control has a name.
    names = page.eval_on_selector_all(
        "button, input", "all => all.map((e) => e.getAttribute('aria-label') || e.textContent)"
    )
    assert all(name.strip() for name in names)


def test_themes_and_contrast(show):
    for theme in ("light", "dark"):
        page = show(graph(), theme)
        assert page.evaluate("document.documentElement.dataset.theme") == theme
        ratio = page.evaluate(
            """() => {
                const style = getComputedStyle(document.documentElement);
                const light = (name) => {
                    const hex = style.getPropertyValue(name).trim();
                    const [r, g, b] = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16) / 255)
                        .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
                    return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
                };
                const against = (a, b) => {
                    const [low, high] = [light(a), light(b)].sort((x, y) => x - y);
                    return high / low;
                };
                return [['--ink', '--card'], ['--soft', '--card'], ['--soft', '--ground']]
                    .map((pair) => against(...pair));
            }"""
        )
        assert min(ratio) >= 4.5  # what WCAG asks of small text
        page.keyboard.press("t")
        assert page.evaluate("document.documentElement.dataset.theme") != theme


def test_numbers_and_colours_are_those_of_python(show):
    made = graph(gradients=True)
    page = show(made)
    values = [0.0, 1.0, 9.994, 99.96, 999.7, 1234.5, 999_999.0, 3.2e-10, 0.00098, 0.0123, 7e12]
    for name, text in (
        ("bytesText", size_text),
        *(
            (f"{measure}Text", lambda v, m=measure: value_text(m, v))
            for measure in ("seconds", "gradient")
        ),
    ):
        assert page.evaluate(f"(values) => values.map({name})", values) == [text(v) for v in values]
    items = [*made.nodes, *hierarchy(made).groups]
    for measure in MEASURES:
        page.evaluate(f"paint('{measure}')")
        low, high = limits(made, measure)
        want = [list(value_color(measured(measure, item), low, high)) for item in items]
        assert page.evaluate("items.map((_, item) => colorOf(item))") == want


def test_a_group_is_added_only_if_all_of_it_is(show):
    both = diff(graph(2), graph(4)).graph()
    page = show(both)
    page.locator("#collapse").click()
    settle(page)
    marks = page.evaluate("graph.groups.map((group) => [group.title, group.mark])")
    assert ["4 × Block", "changed"] in marks and ["0", None] in marks
    assert any(mark == "added" for _, mark in marks)


def test_derivatives_side_by_side(show):
    page = show(graph(2, backward=2))
    heads = page.locator("#heads .p")
    assert heads.all_text_contents() == ["Forward", "Backward", "Double backward"]
    xs = [heads.nth(i).bounding_box()["x"] for i in range(3)]
    assert xs == sorted(xs)
    assert page.locator("#wires .x").count() > 0


def test_controls_without_a_use_are_not_there(show):
    page = show(explore(rg.ones(2, requires_grad=True).sum()))
    assert page.locator("#expand").is_hidden() and page.locator("#colors").is_hidden()
    page = show(graph(gradients=True))
    assert page.locator("#expand").is_visible() and page.locator("#colors button").count() == 4


def test_measures_without_numbers(show):
    x = rg.tensor([4.0, 0.0], requires_grad=True)
    page = show(explore(x.sqrt().sum(), gradients=True))
    page.click('#colors >> text="Gradient"')
    assert "inf" in page.text_content("#cards")


def test_ten_thousand_nodes(show):
    x = rg.ones(4, requires_grad=True)
    values = [x * float(i) for i in range(20)]
    for i in range(5000):
        a, b = i % 20, (i * 7 + 3) % 20
        values[a] = values[a] * values[b] if i % 3 else values[a].sin() + values[b]
    total = values[0]
    for value in values[1:]:
        total = total + value
    made = explore(total.sum())
    page = show(made)
    page.keyboard.press("e")
    page.keyboard.press("0")
    settle(page)
    # Seen from afar, boxes are one path of each colour.
    assert page.locator("#cards > *").count() < 20
    page.evaluate("goTo(4000)")
    settle(page)
    assert 0 < page.locator("#cards .card").count() < 1500
    assert page.locator(".card.chosen").count() == 1


# ------------------------------------------------------------------------------- extremes


KEYS = ("ArrowDown", "ArrowUp", "ArrowLeft", "Enter", "e", "E", "c", "t", "+", "0", "Escape")


def disconnected():
    leaves = [rg.ones(i + 1, requires_grad=True) for i in range(4)]
    return explore([leaf.exp() for leaf in leaves])


@pytest.mark.parametrize(
    ("make", "boxes"),
    [
        (lambda: Graph([], []), 0),
        (lambda: explore(rg.ones(2, requires_grad=True)), 1),
        (disconnected, 8),
    ],
)
def test_small_and_strange_graphs(show, make, boxes):
    page = show(make())
    assert page.locator(".card").count() == boxes
    page.locator("#canvas").focus()
    for key in KEYS:
        page.keyboard.press(key)
    page.set_viewport_size({"width": 380, "height": 500})
    settle(page)
    page.keyboard.press("0")
    settle(page)
    assert all(
        page.eval_on_selector_all(
            ".card",
            """all => all.map((card) => card.getBoundingClientRect())
                .map((b) => b.left >= 0 && b.right <= innerWidth && b.bottom <= innerHeight)""",
        )
    )


def test_a_smaller_window_shows_what_is_chosen(show):
    page = show(graph())
    box_of(page, "Mean").click()
    settle(page)
    for width in (1000, 800):
        page.set_viewport_size({"width": width, "height": 700})
        page.evaluate("choose(chosen)")
        settle(page)
        box, panel = page.locator(".chosen").bounding_box(), page.locator("#details").bounding_box()
        assert 0 <= box["x"] and box["x"] + box["width"] <= panel["x"]


def test_details_do_not_cover_what_was_clicked(show):
    page = show(graph(), width=900)
    page.evaluate("view.x += 250; draw()")
    page.locator(".card", has_text="leaf").click()
    settle(page)
    box, panel = page.locator(".chosen").bounding_box(), page.locator("#details").bounding_box()
    assert box["x"] + box["width"] <= panel["x"]


def test_long_names_lose_their_middle(show):
    name = "first" + "_and_on" * 60 + "_last"
    x = rg.ones(2, requires_grad=True)
    page = show(explore(x.exp().sum(), names={name: x}, title=name))
    (said,) = [t for t in titles(page) if t.startswith("first")]
    assert len(said) < 50 and "…" in said and said.endswith("_lastleaf")
    page.locator(".card", has_text="first").click()
    assert page.locator("#details h2").inner_text() == name
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 1280


def test_hostile_names_stay_text(show):
    x = rg.ones(2, requires_grad=True)
    name = (
        """'"><img src=x onerror="document.title='gone'"><script>document.title='gone'</script>"""
    )
    page = show(explore(x.exp().sum(), names={name: x}, title=name))
    title = page.title()
    page.keyboard.press("/")
    page.keyboard.type("img")
    page.keyboard.press("Enter")
    settle(page)
    assert page.locator("#details h2").inner_text() == name
    assert page.locator("img").count() == 0 and page.title() == title == name


def test_keyboard_focus_is_seen(show):
    page = show(graph())
    outline = "getComputedStyle(document.activeElement).outlineWidth"
    for selector in ("#query", "#canvas", "#theme", "#details .close"):
        if selector == "#details .close":
            page.evaluate("choose(0)")
        page.keyboard.press("Tab")  # the keyboard is in use
        page.locator(selector).focus()
        assert page.evaluate(outline) == "2px"


def test_a_notebook_keeps_its_styles(browser, tmp_path):
    path = tmp_path / "notebook.html"
    shown = graph()._repr_html_()
    path.write_text(f"<meta charset=utf-8><p id=text>above</p>{shown}<svg><text>a</text></svg>")
    page = browser.new_page()
    page.goto(path.as_uri())
    frame = page.frame_locator("iframe")
    frame.locator(".card").first.wait_for()
    assert page.evaluate("getComputedStyle(document.querySelector('svg text')).fill") == (
        "rgb(0, 0, 0)"
    )
    assert page.evaluate("getComputedStyle(document.body).overflow") == "visible"
    # Dialogs work in the sandbox.
    frame.locator("#help").click()
    frame.locator("#keys button").click()
    assert frame.locator("#keys").is_hidden()
    page.close()


def test_a_page_without_scripts_says_so(browser, tmp_path):
    path = tmp_path / "page.html"
    graph().html(path)
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(path.as_uri())
    assert "switched off" in page.inner_text("body")
    context.close()


@pytest.mark.parametrize("color", ["kind", "bytes", "gradient"])
def test_texts_of_the_picture_fit_their_boxes(browser, tmp_path, color):
    path = tmp_path / "graph.svg"
    made = graph(2, gradients=True)
    picture = made.svg(color=color, expand=True)
    path.write_text(picture, encoding="utf-8")
    page = browser.new_page()
    page.goto(path.as_uri())
    over = page.evaluate(
        """[...document.querySelectorAll('g:has(> .c)')].filter((card) => {
            const b = card.querySelector('.c').getBBox();
            const texts = [...card.querySelectorAll('text')].map((t) => t.getBBox());
            return texts.some((t) => t.x < b.x || t.x + t.width > b.x + b.width
                || t.y < b.y || t.y + t.height > b.y + b.height);
        }).map((card) => card.textContent)"""
    )
    assert over == []
    # What is drawn lies in the picture.
    whole = page.locator("svg").bounding_box()
    texts = page.eval_on_selector_all(
        "svg text", "all => all.map((t) => t.getBoundingClientRect().right)"
    )
    assert max(texts) <= whole["x"] + whole["width"]
    page.close()

"""The report's page in a real browser: Debian's chromium, opened from a file, without a network."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dart_tasks.grading import Verdict
from dart_tasks.report.page import html_page
from dart_tasks.report.results import Graded, Item, Run, Score, TaskResult
from dart_tasks.report.summary import summarise

pytestmark = pytest.mark.slow
HOSTILE = (
    "</script><script>document.title='pwned'</script><img src=x onerror=\"document.title='pwned'\">"
    "<svg onload=\"document.title='pwned'\"> \x1b[31m \u202etxt.exe\u202c <!-- ${document.title='pwned'} "
    "$\\text{<img src=x onerror=\"document.title='pwned'\">}$ $\\href{javascript:alert(1)}{x}$ \u2028 "
)
WIDE = "unbreakable" * 60 + " $$" + "x + " * 150 + "1$$ "


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip(f"needs a browser, one of {', '.join(names)} (Debian: apt-get install chromium-headless-shell)")
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield launched
        launched.close()


def a_run(label: str, offset: int) -> Run:
    """Twelve items of each of two benchmarks, every third (from the offset) right; hostile and wide texts."""
    tasks = []
    for name, cue in (("gsm8k", "boxed"), ("math", "last_number")):
        items = []
        for n in range(12):
            correct = (n + offset) % 3 == 0
            graded = Graded(
                correct=correct,
                answer="\\frac{1}{2}" if correct else HOSTILE[:60],
                source=cue,
                explicit=cue == "boxed",
                reason="same value" if correct else HOSTILE,
                flags=() if correct else (HOSTILE,),
                response=f"{label} {name} {n}: so $\\frac{{{n}}}{{2}}$ {HOSTILE} {WIDE}",
                truncated=n == 5,
                judged=Verdict(correct or n == 4, "0.5", "math-verify", True, "equal"),
            )
            query = f"Query number {n} of {name}: what is $x^2$? {HOSTILE}"
            items.append(
                Item(f"{name}/{n:03}", query, json.dumps("\\frac12"), {"level": n % 3, "x": HOSTILE}, (graded,))
            )
        accuracy = {"acc": Score(4 / 12, 0.1)}
        task = TaskResult(f"dart_math_{name}", name, "1", "1", "alpaca", 0, 1, 12, 12, accuracy, tuple(items))
        tasks.append(task)
    return Run(label, f"org/{label}", Path("results_x.json"), "today", tuple(tasks))


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    second = a_run("second", 1)
    second = replace(second, tasks=tuple(replace(task, items=task.items[::-1]) for task in second.tasks))
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(html_page(summarise([a_run(f"first {HOSTILE}", 0), second]), 5000), encoding="utf-8")
    return path


class Tab:
    """The page in a window of some width; nothing may be loaded, logged, or run but its own script."""

    def __init__(self, browser: Any, path: Path, width: int = 1400, scheme: str = "light") -> None:
        self.messages: list[str] = []
        self.page = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme).new_page()
        self.page.on("console", lambda message: self.messages.append(message.text))
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))
        self.page.on(
            "request", lambda request: self.messages.append(request.url) if request.url != path.as_uri() else 0
        )
        self.page.goto(path.as_uri())

    def shown(self, name: str = "responses") -> int:
        self.page.wait_for_timeout(250)  # a search waits for the typing to pause
        return int(self.page.locator(f"#{name}-filters output").inner_text().split(" of ")[0])

    def select(self, field: str, value: str, name: str = "responses") -> int:
        self.page.locator(f"#{name}-filters [name={field}]").select_option(value)
        return self.shown(name)

    def search(self, words: str, name: str = "responses") -> int:
        self.page.locator(f"#{name}-filters [name=words]").fill(words)
        return self.shown(name)

    def open_all(self) -> None:
        for row in self.page.locator("details").all():
            row.locator("summary").click()

    def check(self) -> None:
        """Raises AssertionError if anything ran, failed, or was asked for."""
        assert self.messages == []
        assert self.page.title() == "Evaluation report"
        assert self.page.evaluate("document.scripts.length") == 2
        assert self.page.evaluate("document.images.length") == 0
        self.page.context.close()


@pytest.mark.parametrize(("width", "scheme"), [(375, "light"), (375, "dark"), (768, "light"), (1920, "dark")])
def test_no_width_scrolls_sideways(browser: Any, page_file: Path, width: int, scheme: str) -> None:
    tab = Tab(browser, page_file, width, scheme)
    tab.open_all()
    assert tab.page.evaluate("document.documentElement.scrollWidth") == width
    back = tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert back == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(20, 25, 31)")
    tab.check()


def test_hostile_text_is_shown_as_text(browser: Any, page_file: Path) -> None:
    tab = Tab(browser, page_file)
    tab.open_all()
    text = tab.page.locator("#responses-rows").inner_text()
    assert "<script>document.title='pwned'</script>" in text and "\\x1b[31m" in text and "\\u202etxt.exe" in text
    assert tab.page.locator("[onerror], [onload], [href^=javascript]").count() == 0
    tab.check()


def test_search_and_filters(browser: Any, page_file: Path) -> None:
    tab = Tab(browser, page_file)
    assert tab.shown() == 48
    assert tab.search("QUERY number 7 OF math") == 2
    assert tab.search("second gsm8k 3:") == 1
    assert tab.search("nowhere") == 0
    assert tab.search("") == 48
    assert tab.select("verdict", "wrong") == 32
    assert tab.select("task", "0") == 16
    assert tab.select("run", "1") == 8
    tab.page.locator("#responses-filters button[type=reset]").click()
    assert tab.shown() == 48
    assert tab.select("source", "boxed") == 24
    assert tab.select("source", "explicit") == 24
    assert tab.select("source", "guess") == 24
    assert tab.select("truncated", "yes") == 2
    assert tab.select("source", "") == 4
    assert tab.select("truncated", "") == 48
    assert tab.select("judges", "differ") == 4
    first = tab.page.locator("#responses-rows details").first
    assert "judges differ" in first.inner_text()
    tab.check()


def test_a_closed_row_has_reference_and_answer_and_an_open_one_the_formulas(browser: Any, page_file: Path) -> None:
    tab = Tab(browser, page_file)
    assert tab.select("verdict", "right") == 16
    row = tab.page.locator("#responses-rows details").first
    assert row.locator(".sides math mfrac").count() == 2 and row.locator(".text").count() == 0
    row.locator("summary").click()
    row.locator(".text math mfrac").first.wait_for()  # it is made when the row has opened
    height = row.locator(".text math mfrac").first.evaluate("e => e.getBoundingClientRect().height")
    assert height > 20  # two storeys
    row.get_by_role("button", name="source").click()
    assert row.locator(".text math").count() == 2  # the query's
    assert "$\\frac{" in row.locator(".text").last.inner_text()
    tab.check()


def test_items_that_two_runs_differ_in(browser: Any, page_file: Path) -> None:
    tab = Tab(browser, page_file)
    assert tab.shown("differences") == 16  # 4 right of 12, never the same ones; both benchmarks
    assert tab.select("better", "a", "differences") == 8
    assert tab.select("task", "1", "differences") == 4
    row = tab.page.locator("#differences-rows details").first
    row.locator("summary").click()
    row.locator("h4").first.wait_for()
    names = row.locator("h4").all_inner_texts()
    assert [name.split()[0] for name in names] == ["first", "second:"] and "1 of 1 right" in names[0]
    numbers = [re.findall(r"gsm8k (\d+): so", text) for text in row.locator(".columns .text").all_inner_texts()]
    assert numbers == [["0"], ["0"]]  # the same item, though the second log is in another order
    assert tab.select("b", "0", "differences") == 0
    tab.check()


def test_links_lead_to_filtered_lists_and_single_responses(browser: Any, page_file: Path) -> None:
    tab = Tab(browser, page_file)
    tab.page.locator("#run-1-0 + p").get_by_text("wrong responses").click()
    assert tab.shown() == 8
    tab.page.locator("#differences ~ .scroll a").first.click()
    assert tab.shown("differences") == 4
    tab.page.goto(f"{page_file.as_uri()}#response-7")
    assert tab.shown() == 1
    assert tab.page.locator("#row-7[open]").count() == 1
    tab.check()


def test_rows_come_fifty_at_a_time(browser: Any, tmp_path: Path) -> None:
    run = a_run("many", 0)
    (task, _) = run.tasks
    items = tuple(replace(item, id=f"{n}-{item.id}") for n in range(10) for item in task.items)
    path = tmp_path / "report.html"
    path.write_text(html_page(summarise([replace(run, tasks=(replace(task, items=items),))]), 5000), encoding="utf-8")
    tab = Tab(browser, path)
    assert tab.page.locator("#responses-rows details").count() == 50
    for count in (100, 120):
        tab.page.locator("#responses-more").click()
        assert tab.page.locator("#responses-rows details").count() == count
    assert tab.page.locator("#responses-more").is_hidden()
    tab.check()

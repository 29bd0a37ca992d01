"""The dashboard in a real Chromium, as operators and scientists use it."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from .dashboard import GROUP, Site, Visitor

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
# Nothing of it may ask anybody on the network.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
# A busy machine takes its time.
PATIENCE_MS = 120_000
WIDTHS = (400, 1280, 1920)
TOO_WIDE = """() => {
    const page = document.documentElement;
    return page.scrollWidth - page.clientWidth;
}"""
OPERATORS_PAGES = {
    "/",
    "/messages",
    "/messages/TOPIC/N/N",
    "/problems",
    "/problems/FINGERPRINT",
    "/problems/FINGERPRINT/replay",
    "/problems/FINGERPRINT/discard",
    "/consumers",
    "/consumers/NAME",
    "/integrations",
    "/schemas/try",
    "/reconcile",
    "/tokens",
    "/audit",
    "/help/NAME",
}
EVERYBODYS_PAGES = {"/investigations", "/investigations/N", "/datasets/N"}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here: apt-get install chromium")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=list(ARGUMENTS)
        )
        yield browser
        browser.close()


class Tab:
    """A page, and what was wrong with it: of the script, the policy, the network."""

    def __init__(self, page: Page, site: Site) -> None:
        self.page = page
        self.site = site
        self.wrong: list[str] = []
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("request", self._request)

    def _console(self, message: Any) -> None:
        # Among them: what the policy for content forbids.
        if message.type in ("error", "warning"):
            self.wrong.append(f"{self.page.url}: {message.text}")

    def _request(self, request: Any) -> None:
        if urlsplit(request.url).netloc != urlsplit(self.site.url).netloc:
            self.wrong.append(f"{self.page.url} asks {request.url}")

    def go(self, path: str) -> None:
        answer = self.page.goto(urljoin(self.site.url, path))
        assert answer is not None
        assert answer.status == 200, (path, answer.status)

    def log_in(self, authenticator: str, user: str) -> None:
        """By keyboard alone."""
        self.page.goto(self.site.url)
        way = self.page.locator("details").filter(
            has=self.page.locator(f"input[value={authenticator}]")
        )
        if way.get_attribute("open") is None:
            way.locator("summary").press("Enter")
        way.get_by_label("Username").focus()
        self.page.keyboard.type(user)
        self.page.keyboard.press("Tab")
        self.page.keyboard.type(self.site.password(user))
        self.page.keyboard.press("Enter")
        self.page.get_by_role("button", name="Log out").wait_for()

    def links(self) -> list[str]:
        found = self.page.eval_on_selector_all(
            "a[href]", "all => all.map(a => a.getAttribute('href'))"
        )
        return [each for each in found if each.startswith("/")]


@contextmanager
def tab(chromium: Browser, site: Site, **context: Any) -> Iterator[Tab]:
    with chromium.new_context(**context) as made:
        made.set_default_timeout(PATIENCE_MS)
        tab = Tab(made.new_page(), site)
        yield tab
        assert tab.wrong == []


def shape(address: str) -> str:
    """Return what kind of page an address is of."""
    path = urlsplit(address).path
    path = re.sub(r"/\d+(?=/|$)", "/N", path)
    path = re.sub(r"^/messages/[^/]+", "/messages/TOPIC", path)
    path = re.sub(r"^/problems/[0-9a-f]{12}", "/problems/FINGERPRINT", path)
    return re.sub(r"^/(help|consumers)/.+", r"/\1/NAME", path)


def pages(tab: Tab, *starts: str) -> Iterator[str]:
    """Go to a page of each kind that links lead to, and tell its kind."""
    seen, ahead = set(map(shape, starts)), list(starts)
    while ahead:
        tab.go(ahead.pop(0))
        yield shape(tab.page.url)
        for link in tab.links():
            kind = shape(link)
            downloaded = kind.endswith(("/download", "/payload")) or "format=" in link
            if kind not in seen and not downloaded:
                seen.add(kind)
                ahead.append(link)


def check_look(tab: Tab) -> None:
    """Check that nothing is cut off, and that everybody can read it."""
    page = tab.page
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        too_wide = page.evaluate(TOO_WIDE)
        assert too_wide <= 0, f"{page.url} is {too_wide} px too wide at {width} px"
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        found = Axe().run(page).response["violations"]
        bad = [
            (page.url, scheme, each["id"], each["nodes"][0]["html"])
            for each in found
            if each["impact"] in ("serious", "critical")
        ]
        assert bad == []


@pytest.fixture(scope="module")
def dataset(operator: Visitor, scientist: Visitor) -> str:
    """Return the address of one that has files."""
    *_, one = operator.json("/messages?outcome=ingested")["messages"]
    [found] = scientist.json("/search?q=" + one["dataset"])["found"]["datasets"]
    return f"/datasets/{found['id']}"


def test_an_operator_walks_through_every_page(chromium, site, dataset):
    with tab(chromium, site) as mine:
        mine.log_in("simple", "useroffice")
        seen = set()
        for kind in pages(mine, "/", dataset):
            seen.add(kind)
            expect(mine.page.locator("h1")).to_have_count(1)
            check_look(mine)
    assert seen >= OPERATORS_PAGES | EVERYBODYS_PAGES


def test_a_scientist_walks_through_every_page(chromium, site, dataset):
    with tab(chromium, site) as mine:
        mine.log_in("db", "acord")
        seen = set()
        for kind in pages(mine, dataset):
            seen.add(kind)
            expect(mine.page.locator("h1")).to_have_count(1)
            check_look(mine)
    assert seen >= EVERYBODYS_PAGES | {"/search"}
    assert not seen & OPERATORS_PAGES - {"/"}


def test_the_login_page_can_be_read_by_everybody(chromium, site):
    with tab(chromium, site) as stranger:
        stranger.go("/login")
        check_look(stranger)


def test_times_are_those_of_the_viewers_zone(chromium, site, operator):
    [newest, *_] = operator.json("/messages")["messages"]
    where = "/messages/{topic}/{partition}/{offset}".format(**newest)
    for zone, offset in (
        ("Asia/Kolkata", r"\+05:30"),
        ("America/St_Johns", "-0[23]:30"),
    ):
        with tab(chromium, site, timezone_id=zone) as mine:
            mine.log_in("simple", "useroffice")
            mine.go(where)
            shown = mine.page.locator("time:not(.age)").first
            expect(shown).to_have_text(
                re.compile(rf"^\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d {offset}$")
            )
            # It can be looked for as it is shown.
            time = shown.inner_text()
            mine.go("/messages")
            mine.page.get_by_label("From").fill(time)
            mine.page.get_by_role("button", name="Show").click()
            expect(mine.page.locator("h1")).to_have_text("Messages")


def test_light_and_dark_are_a_matter_of_choice(chromium, site):
    with tab(chromium, site, color_scheme="light") as mine:
        mine.go("/login")
        ground = "getComputedStyle(document.body).backgroundColor"
        light = mine.page.evaluate(ground)
        mine.page.get_by_role("button", name="Light or dark").click()
        dark = mine.page.evaluate(ground)
        assert light != dark
        mine.page.reload()
        assert mine.page.evaluate(ground) == dark


def test_a_message_is_replayed_by_keyboard(chromium, site, operator):
    *_, one = operator.json("/messages?outcome=ingested")["messages"]
    where = "/messages/{topic}/{partition}/{offset}".format(**one)
    with tab(chromium, site) as mine:
        mine.log_in("simple", "useroffice")
        mine.go(where)
        again = mine.page.get_by_role("link", name="Have it handled again")
        again.focus()
        mine.page.keyboard.press("Enter")
        why = mine.page.get_by_label("Why?")
        why.focus()
        mine.page.keyboard.type("tried by keyboard")
        mine.page.keyboard.press("Enter")
        expect(mine.page.locator("h1")).to_have_text("1 records done")
    [act] = [
        each
        for each in operator.json("/audit")["acts"]
        if each["reason"] == "tried by keyboard"
    ]
    assert act["user"] == "simple/useroffice"
    assert act["subject"].startswith(f"message {GROUP}-scans[")

"""Uses the console of a running `trailhose serve` in headless Chromium, as a person does.

usage: .tools/browser/bin/python tests/browser/console.py SCENARIO.json

The scenario names the server and what its data contain:

  url            address of the server
  token          a token with the scopes read and write
  folder         a folder with logs that the server may read and that is not a source yet
  access_key     an access key with events in this folder
  hostile_event  the ID of an event with <script> in its user agent and its bucket name, and a character U+202E
  question       a question that has an answer
  screenshots    the folder for screenshots

Ends with status 1 at the first step that fails. axe-core examines every view in both colors and at 400 pixels. Its license (MPL)
is not that of this repository, so it is installed as a part of a Python package.
"""

import json
import os
import pathlib
import sys
import time
import urllib.parse

import axe_playwright_python
from selenium import webdriver
from selenium.common.exceptions import TimeoutException, WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

AXE = (pathlib.Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
WIDTHS = {"wide": 1280, "narrow": 400}
PATIENCE = 60


def start_browser(profile):
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    options.add_argument("--headless=new")
    options.add_argument("--disable-gpu")
    options.add_argument("--disable-dev-shm-usage")
    options.add_argument(f"--user-data-dir={profile}")
    if os.geteuid() == 0:
        # Chromium refuses to run its sandbox as root. The pages come from this computer.
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options, webdriver.ChromeService("/usr/bin/chromedriver"))


class Person:
    """What a person sees and does. Waits for what does not appear at once."""

    def __init__(self, browser, scenario):
        self.browser = browser
        self.url = scenario["url"].rstrip("/")
        self.screenshots = pathlib.Path(scenario["screenshots"])
        self.screenshots.mkdir(parents=True, exist_ok=True)
        # Parts of tables whose roles were examined.
        self.table_parts = 0

    def wait(self, what, condition):
        """Waits until the condition is true. An element may be replaced while it is examined: then waits too."""
        waiting = WebDriverWait(self.browser, PATIENCE, 0.05, ignored_exceptions=[WebDriverException])
        try:
            return waiting.until(lambda _: condition())
        except TimeoutException:
            raise AssertionError(f"not so after {PATIENCE} s: {what}; the page:\n{self.text()[:3000]}") from None

    def text(self, selector="body"):
        # innerText, because selenium returns no text of elements outside of the window.
        return self.browser.execute_script("return document.querySelector(arguments[0])?.innerText ?? ''", selector)

    def find(self, selector):
        return self.wait(f"{selector} is displayed", lambda: next((e for e in self.all(selector) if e.is_displayed()), None))

    def all(self, selector):
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def sees(self, text, selector="body"):
        self.wait(f"{selector} contains {text!r}", lambda: text in self.text(selector))

    def types(self, selector, text):
        element = self.find(selector)
        element.clear()
        element.send_keys(text)
        return element

    def presses(self, key):
        webdriver.ActionChains(self.browser).send_keys(key).perform()

    def active(self):
        return self.browser.switch_to.active_element

    def opens(self, view):
        self.browser.execute_script("location.hash = arguments[0]", f"#/{view}")

    def looks(self, theme, width):
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [{"name": "prefers-color-scheme", "value": theme}, {"name": "prefers-reduced-motion", "value": "reduce"}]
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def examine(self, name):
        """Takes a screenshot and runs axe-core, with every combination of colors and width."""
        for theme in ["light", "dark"]:
            for width_name, width in WIDTHS.items():
                self.looks(theme, width)
                time.sleep(0.15)
                file = self.screenshots / f"{name}-{theme}-{width_name}.png"
                self.browser.save_screenshot(str(file))
                violations = self.violations()
                assert not violations, f"axe-core, {name}, {theme}, {width} px:\n" + "\n".join(violations)
        # A table has another layout on narrow screens, and some browsers then drop the roles that its elements imply.
        parts = "table:not(.heat), table:not(.heat) :is(thead, tbody, tr, th, td)"
        self.table_parts += len(self.all(parts))
        implied = self.browser.execute_script(
            "return [...document.querySelectorAll(arguments[0])].filter((part) => !part.hasAttribute('role'))"
            ".map((part) => part.outerHTML.slice(0, 80))",
            parts,
        )
        assert not implied, f"{name}: parts of tables without an explicit role: {implied}"
        for width in [*WIDTHS.values(), 600, 820, 1100]:
            self.looks("light", width)
            overflow = self.browser.execute_script("return document.documentElement.scrollWidth - innerWidth")
            assert overflow <= 0, f"{name} is {overflow} px wider than a window of {width} px"
        self.looks("light", WIDTHS["wide"])

    def violations(self):
        if not self.browser.execute_script("return Boolean(window.axe)"):
            self.browser.execute_script(AXE)
        result = self.browser.execute_async_script(
            "const [rules, done] = arguments; axe.run(document, {runOnly: rules, resultTypes: ['violations']})"
            ".then(done, (error) => done({failed: String(error)}))",
            RULES,
        )
        assert "failed" not in result, result
        # Without a rule that passed, axe-core examined nothing.
        assert len(result["passes"]) > 10, result["passes"]
        return [f"{v['id']}: {n['html']} {n['failureSummary']}" for v in result["violations"] for n in v["nodes"]]


def signs_in(person, scenario):
    person.browser.get(f"{person.url}/")
    person.types("#token", "wrong")
    person.presses(Keys.ENTER)
    person.sees("Not signed in")
    person.examine("sign-in")
    person.types("#token", scenario["token"])
    person.presses(Keys.ENTER)
    person.sees("Sources", "h1")
    readable = person.browser.execute_script("return document.cookie + JSON.stringify({...localStorage})")
    assert scenario["token"] not in readable and "session" not in readable, readable


# Calls of functions of the console, and their results.
FUNCTIONS = [
    ("events", "classify", ["AKIAIOSFODNN7EXAMPLE"], ["access_key", "AKIAIOSFODNN7EXAMPLE"]),
    ("events", "classify", ["111122223333"], ["account", "111122223333"]),
    ("events", "classify", ["2001:db8::1"], ["address", "2001:db8::1"]),
    ("events", "classify", ["203.0.113.7"], ["address", "203.0.113.7"]),
    ("events", "classify", ["arn:aws:iam::111122223333:user/alice"], ["principal", "arn:aws:iam::111122223333:user/alice"]),
    ("events", "classify", ["principal:ec2.amazonaws.com"], ["principal", "ec2.amazonaws.com"]),
    ("events", "classify", ["s3.amazonaws.com"], ["service", "s3.amazonaws.com"]),
    ("events", "classify", ["us-gov-west-1"], ["region", "us-gov-west-1"]),
    ("events", "classify", ["AccessDenied"], ["error", "AccessDenied"]),
    ("events", "classify", ["__proto__:x"], ["name", "__proto__:x"]),
    ("events", "timeOf", ["2026-02-28", False], "2026-02-28T00:00:00Z"),
    ("events", "timeOf", ["2026-02-28", True], "2026-03-01T00:00:00Z"),
    ("events", "timeOf", ["2026-02-28T10:00:00Z", True], "2026-02-28T10:00:00Z"),
    ("events", "timeOf", ["2026-02-28 10:00", False], "2026-02-28T10:00:00Z"),
    ("days", "addDays", ["2026-03-01", -1], "2026-02-28"),
    ("dom", "indentJson", ['{"a":1.50e+07,"b":[],"c":"x\\"{,"}'], '{\n  "a": 1.50e+07,\n  "b": [],\n  "c": "x\\"{,"\n}'),
    ("dom", "visible", ["a\u202eb\u200b\u0007\u00e9"], "a\\u{202e}b\\u{200b}\\u{7}\u00e9"),
    ("dom", "shortPrincipal", ["arn:aws:sts::111122223333:assumed-role/deploy/session"], "deploy/session"),
    ("dom", "shortPrincipal", ["arn:aws:iam::111122223333:root"], "root"),
    ("dom", "link", ["events", {"name": "a&b=#", "since": ""}], "#/events?name=a%26b%3D%23"),
]


def functions_return_what_they_should(person, scenario):
    for module, function, arguments, expected in FUNCTIONS:
        result = person.browser.execute_async_script(
            "const [module, name, values, done] = arguments;"
            "import(new URL(`console/${module}.js`, document.baseURI)).then((loaded) => done(loaded[name](...values)))"
            ".catch((error) => done(String(error)))",
            *(module, function, arguments),
        )
        assert result == expected, f"{function}({arguments}) is {result!r}, not {expected!r}"


def adds_a_source(person, scenario):
    person.types("#source-place", "/no/such/folder")
    person.presses(Keys.ENTER)
    person.sees("The source was not added", ".add")
    person.types("#source-place", scenario["folder"])
    person.presses(Keys.ENTER)
    person.wait("the new source has delivered events", lambda: delivered(person, scenario["folder"]) > 0)
    person.sees("waiting", ".cards")
    assert "not added" not in person.text(".add")
    person.examine("sources")


def delivered(person, folder):
    for card in person.all("article.source"):
        if folder in card.text:
            names, numbers = [card.find_elements(By.CSS_SELECTOR, f".figures {tag}") for tag in ("dt", "dd")]
            figures = dict(zip([name.text for name in names], [number.text for number in numbers]))
            return int(figures.get("delivered", "0").replace(",", ""))
    return 0


def searches_an_access_key(person, scenario):
    key = scenario["access_key"]
    person.find("h1").click()
    person.presses("/")
    person.wait("the search has the focus", lambda: person.active().get_attribute("id") == "search")
    # New events are indexed a moment after they are delivered.
    person.wait("the search finds events", lambda: search(person, key))
    person.wait("the link of the search is in the address", lambda: f"access_key={key}" in person.browser.current_url)
    rows = person.all("table.events tbody tr")
    person.examine("events")
    person.all("a.open")[0].send_keys(Keys.ARROW_DOWN if len(rows) > 1 else "")
    position = 1 if len(rows) > 1 else 0
    person.wait("the arrow key moved the focus", lambda: person.active() == person.all("a.open")[position])
    person.presses(Keys.ENTER)
    person.sees(key, "aside.detail")
    person.find("aside.detail .json input").click()
    identifier = urllib.parse.parse_qs(person.browser.current_url.split("?", 1)[1])["event"][0]
    original = person.browser.execute_async_script(
        "const done = arguments[1]; fetch('v1/events/' + arguments[0]).then((r) => r.text()).then(done)", identifier
    )
    shown = person.browser.execute_script("return document.querySelector('aside.detail pre').textContent")
    # A character that reverses the direction of text is shown as an escape.
    assert shown == original.replace("\u202e", "\\u{202e}") and key in original, (shown, original)
    person.examine("event")
    # A shared link opens the same event.
    link = person.browser.current_url
    person.browser.get("about:blank")
    person.browser.get(link)
    person.sees(key, "aside.detail")
    person.presses(Keys.ESCAPE)
    person.wait("Esc closes the event", lambda: "event=" not in person.browser.current_url)
    person.wait("the row has the focus", lambda: "open" in person.active().get_attribute("class"))


def search(person, text):
    person.types("#search", text).send_keys(Keys.ENTER)
    return appears(person, "table.events a.open")


def appears(person, selector):
    """Whether an element appears within a second."""
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        if person.all(selector):
            return True
        time.sleep(0.05)
    return False


def opens_a_hostile_event(person, scenario):
    person.opens(f"events?event={scenario['hostile_event']}")
    person.sees("<script>", "aside.detail")
    person.sees("\\u{202e}", "aside.detail")
    scripts = person.browser.execute_script("return [...document.scripts].map((script) => script.getAttribute('src'))")
    assert scripts == ["console/theme.js", "console.js"], scripts
    assert person.browser.execute_script("return document.querySelectorAll('main script, main img').length") == 0
    owned = person.browser.execute_script("return window.owned === undefined && document.title.includes('trailhose')")
    assert owned, "a script of an event ran"
    person.examine("hostile-event")


def sees_the_days(person, scenario):
    person.opens("days")
    person.find(".heat td[tabindex='0']").click()
    person.sees("Events", "h1")
    person.wait("the day is searched", lambda: "since=" in person.browser.current_url)
    assert "account=" in person.browser.current_url
    person.browser.back()
    cell = person.find(".heat td[tabindex='0']")
    cell.send_keys(Keys.ARROW_LEFT)
    person.wait("the arrow key moved the focus", lambda: person.active().get_attribute("data-day"))
    person.wait("the cell is described", lambda: person.active().get_attribute("aria-label") == person.text(".described"))
    person.examine("days")


def changes_a_finding(person, scenario):
    person.opens("findings")
    person.sees("Findings", "h1")
    # The detection reads new events a moment after they are delivered.
    person.wait("there are findings", lambda: appears(person, "a.open") or person.browser.refresh())
    person.find("a.open").send_keys(Keys.ENTER)
    person.types("#note", "planned <b>work</b>")
    person.examine("findings")
    next(button for button in person.all(".changes button") if button.text == "Acknowledge").click()
    person.sees("acknowledged", "aside.detail")
    person.sees("planned <b>work</b>", "aside.detail")
    person.opens("findings?state=acknowledged")
    person.sees("acknowledged", ".results table")


def asks(person, scenario):
    person.opens("ask")
    person.types("#question", scenario["question"]).send_keys(Keys.ENTER)
    person.sees("Plan", ".answer")
    person.find(".answer table tbody tr")
    person.examine("ask")
    person.types("#question", "is it raining?").send_keys(Keys.ENTER)
    person.sees("The question cannot be answered")


def switches_colors(person, scenario):
    def background():
        return person.browser.execute_script("return getComputedStyle(document.body).backgroundColor")

    light = background()
    person.find("#theme").send_keys("Dark")
    person.wait("the switch makes the page dark", lambda: background() != light)
    dark = background()
    person.browser.refresh()
    person.wait("the page stays dark after it is loaded again", lambda: background() == dark)
    person.find("#theme").send_keys("Auto")
    person.wait("the colors of the system apply again", lambda: background() == light)


def deletes_the_source_and_signs_out(person, scenario):
    person.opens("sources")
    person.find("button[aria-label^='Delete']").click()
    person.find("dialog[open] button.danger").click()
    person.wait("the source is gone", lambda: scenario["folder"] not in person.text(".cards"))
    person.find("article.source")
    person.find("#sign-out").click()
    person.sees("You are signed out")
    status = person.browser.execute_async_script(
        "const done = arguments[0]; fetch('v1/sources').then((response) => done(response.status))"
    )
    assert status == 401, status


STEPS = [
    *(signs_in, functions_return_what_they_should, adds_a_source, searches_an_access_key, opens_a_hostile_event),
    *(sees_the_days, changes_a_finding, asks, switches_colors, deletes_the_source_and_signs_out),
]


def main():
    scenario = json.loads(pathlib.Path(sys.argv[1]).read_text())
    profile = pathlib.Path(sys.argv[1]).with_suffix(".profile")
    browser = start_browser(profile)
    try:
        person = Person(browser, scenario)
        person.looks("light", WIDTHS["wide"])
        for step in STEPS:
            started = time.monotonic()
            try:
                step(person, scenario)
            except Exception:
                browser.save_screenshot(str(person.screenshots / f"failed-{step.__name__}.png"))
                print(f"FAILED {step.__name__} at {browser.current_url}; the browser logged:", flush=True)
                for entry in browser.get_log("browser"):
                    print(f"  {entry['message']}", flush=True)
                raise
            print(f"ok {time.monotonic() - started:5.1f} s  {step.__name__}", flush=True)
            assert scenario["token"] not in browser.current_url
        assert person.table_parts > 20, f"only {person.table_parts} parts of tables were examined"
        # Refused requests are logged as errors of the network, with their status.
        messages = [entry["message"] for entry in browser.get_log("browser")]
        messages = [message for message in messages if "the server responded with a status of 4" not in message]
        assert not messages, "the browser logged:\n" + "\n".join(messages)
    finally:
        browser.quit()


main()

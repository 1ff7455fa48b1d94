"""One visit of one page with Chromium through Playwright, in a process of its own.

``chromium_pages`` starts it with a folder of its own as home, writes the order to its standard
input and reads what it leaves in the folder. It holds the input open: when that ends, so does this
process, and with it the browser.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.async_api import (
    BrowserContext,
    CDPSession,
    Error,
    Page,
    Playwright,
    ProxySettings,
    Response,
    TimeoutError,  # noqa: A004 - Playwright's name for its own
    async_playwright,
)

from shimmy_vision.adapters.web.line_exchange import LINE_HEADER
from shimmy_vision.domain.web.dom_elements import MOST_ELEMENTS

REPORT, PICTURE, ORDER = "report.json", "page.png", "order"
_MOST_NODES, _DEEPEST = 200_000, 16
_ATTEMPTS = 3
_SCROLL_STEPS, _SCROLL_PAUSE_MS = 40, 40
_FLAGS = (
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-domain-reliability",
    "--no-pings",
    "--gaia-url=http://127.0.0.1:9",  # it would ask Google who is signed in; nobody asks port 9
    # No way around the line: no UDP, no name looked up here, no address reached but the line's.
    "--disable-quic",
    "--dns-prefetch-disable",
    "--webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",  # its older name
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    # Roles and names as assistive technology gets them.
    "--enable-blink-features=ComputedAccessibilityInfo",
)
# Playwright's own wishes that suit its tests, not a stranger's page.
_UNWANTED = ("--disable-popup-blocking", "--enable-unsafe-swiftshader")
# Else the browser sends the shapes of a page's forms to its maker, and asks who is signed in.
_PREFERENCES = {
    "autofill": {"enabled": False, "profile_enabled": False, "credit_card_enabled": False},
    "credentials_enable_service": False,
    "download_restrictions": 3,  # none
    "net": {"network_prediction_options": 2},  # never
    "safebrowsing": {"enabled": False},
    "signin": {"allowed": False, "allowed_on_next_startup": False},
}
_ELEMENTS = Path(__file__).with_name("page_elements.js")
_SCROLL = """async ([steps, pause, bottom]) => {
  for (let step = 1; step <= steps && step * innerHeight < bottom; step += 1) {
    scrollTo({ top: step * innerHeight, behavior: "instant" });
    await new Promise((done) => setTimeout(done, pause));
  }
  scrollTo({ top: 0, left: 0, behavior: "instant" });
}"""
_FONTS = """async (wait) => {
  const late = new Promise((done) => setTimeout(done, wait, "late"));
  return await Promise.race([document.fonts.ready.then(() => "ready"), late]);
}"""
_SIZE = """() => {
  const page = document.documentElement;
  return [Math.max(page.scrollWidth, innerWidth), Math.max(page.scrollHeight, innerHeight)];
}"""


class VisitFailed(Exception):  # noqa: N818 - becomes an error of ours on the other side
    """``code`` is one of those in the port."""

    def __init__(self, code: str, said: str) -> None:
        super().__init__(said)
        self.code, self.said = code, said


@dataclass(slots=True)
class _Visit:
    """What is asked, and what is noted on the way."""

    order: Mapping[str, Any]
    notes: list[str] = field(default_factory=list)
    answer: Response | None = None
    popups: int = 0


def main() -> None:
    """Read the order, visit, leave the report in the folder that the order names."""
    order = json.loads(sys.stdin.buffer.readline())
    folder = Path(order["folder"])
    try:
        report = asyncio.run(_visit_while_wanted(order))
    except VisitFailed as failure:
        report = {"failure": {"code": failure.code, "said": failure.said}}
    except asyncio.CancelledError:
        # Nobody is left who could tidy up.
        shutil.rmtree(folder, ignore_errors=True)
        return
    (folder / REPORT).write_text(json.dumps(report))


async def _visit_while_wanted(order: Mapping[str, Any]) -> dict[str, Any]:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def wait_for_end() -> None:
        # Not the buffered one: its lock would be held at this process's own end.
        while os.read(sys.stdin.fileno(), 1):
            pass
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(task.cancel if task else loop.stop)

    threading.Thread(target=wait_for_end, daemon=True).start()
    async with async_playwright() as playwright:
        context = await _launch(playwright, order)
        try:
            return await _visit(context, _Visit(order))
        except Error as error:
            raise VisitFailed("page-crashed", _first_line(error)) from error
        finally:
            with suppress(Error):
                await context.close()


async def _launch(playwright: Playwright, order: Mapping[str, Any]) -> BrowserContext:
    folder, line = order["folder"], order["line"]
    preferences = Path(folder, "profile", "Default", "Preferences")
    preferences.parent.mkdir(parents=True)
    preferences.write_text(json.dumps(_PREFERENCES))
    try:
        return await playwright.chromium.launch_persistent_context(
            f"{folder}/profile",
            executable_path=order["browser"],
            headless=True,
            chromium_sandbox=order["sandbox"],
            args=list(_FLAGS),
            ignore_default_args=list(_UNWANTED),
            # The last entry takes back that loopback is reached without the proxy.
            proxy=ProxySettings(
                server=line["server"],
                username=line["username"],
                password=line["password"],
                bypass="<-loopback>",
            ),
            accept_downloads=False,
            downloads_path=f"{folder}/downloads",
            service_workers="block",
            viewport={"width": order["width"], "height": order["height"]},
            device_scale_factor=order["device_scale"],
            reduced_motion="reduce",
            permissions=[],
        )
    except Error as error:
        raise VisitFailed("browser-failed", _first_line(error)) from error


async def _visit(context: BrowserContext, visit: _Visit) -> dict[str, Any]:
    page = context.pages[0] if context.pages else await context.new_page()
    # An empty grant denies everything else.
    await context.grant_permissions([])
    context.on("page", lambda popup: asyncio.ensure_future(_close(popup, visit)))
    page.on("response", lambda answer: _remember(answer, page, visit))
    await _open(page, visit)
    if visit.order["full_page"]:
        await _scroll_through(page, visit)
    await _settle(page, visit)
    return await _record(page, visit)


async def _close(popup: Page, visit: _Visit) -> None:
    visit.popups += 1
    with suppress(Error):
        await popup.close()


def _remember(answer: Response, page: Page, visit: _Visit) -> None:
    """The answer that the page was made of; a page may go on to another one by itself."""
    with suppress(Error):
        if answer.request.is_navigation_request() and answer.frame == page.main_frame:
            visit.answer = answer


async def _open(page: Page, visit: _Visit) -> None:
    seconds = visit.order["load_seconds"]
    try:
        await page.goto(visit.order["url"], wait_until="commit", timeout=1000 * seconds)
    except TimeoutError as error:
        raise VisitFailed("page-unreachable", f"it did not answer within {seconds:g} s") from error
    except Error as error:
        if "Download is starting" in str(error):
            raise VisitFailed("page-not-shown", "it is a file to download") from error
        raise VisitFailed("page-unreachable", _network_reason(error)) from error
    try:
        await page.wait_for_load_state("load", timeout=1000 * seconds)
    except TimeoutError:
        visit.notes.append(f"not loaded completely within {seconds:g} s")


async def _scroll_through(page: Page, visit: _Visit) -> None:
    """So that what is loaded when it comes into view is there."""
    bottom = visit.order["max_height"] / visit.order["device_scale"]
    await _run(page, _SCROLL, [_SCROLL_STEPS, _SCROLL_PAUSE_MS, bottom])


async def _settle(page: Page, visit: _Visit) -> None:
    idle, fonts = visit.order["idle_seconds"], visit.order["font_seconds"]
    try:
        await page.wait_for_load_state("networkidle", timeout=1000 * idle)
    except TimeoutError:
        visit.notes.append(f"still loading after another {idle:g} s")
    if await _run(page, _FONTS, 1000 * fonts) == "late":
        visit.notes.append(f"fonts not loaded within {fonts:g} s")


async def _record(page: Page, visit: _Visit) -> dict[str, Any]:
    """Picture, then elements: nothing happens in between but what the page does itself."""
    order = visit.order
    clip = await _clip(page, visit)
    folder = Path(order["folder"])
    try:
        await page.screenshot(
            path=folder / PICTURE,
            full_page=order["full_page"],
            clip=clip,
            animations="disabled",
            caret="hide",
            timeout=1000 * order["load_seconds"],
        )
    except TimeoutError as error:
        raise VisitFailed("page-crashed", "it gives no picture") from error
    shown = clip or order
    wanted = {
        "width": shown["width"],
        "height": shown["height"],
        "fullPage": order["full_page"],
        "deviceScale": order["device_scale"],
        "mostElements": MOST_ELEMENTS,
        "mostNodes": _MOST_NODES,
        "deepest": _DEEPEST,
    }
    found = await _run(page, _ELEMENTS.read_text(encoding="utf-8"), wanted)
    visit.notes.extend(_notes_of(found["notes"], visit))
    return {
        "title": await page.title(),
        "final_url": page.url,
        "status": visit.answer.status if visit.answer else 0,
        "by_line": bool(visit.answer and LINE_HEADER in visit.answer.headers),
        "elements": found["elements"],
        "notes": visit.notes,
    }


async def _clip(page: Page, visit: _Visit) -> Any:
    order, scale = visit.order, visit.order["device_scale"]
    if not order["full_page"]:
        return None
    width, height = await _run(page, _SIZE, None)
    wide = min(width, int(order["max_width"] / scale))
    most = min(order["max_height"] / scale, order["max_pixels"] / (scale * scale * wide))
    tall = min(height, int(most))
    if (wide, tall) != (width, height):
        visit.notes.append(f"cut to {wide}x{tall} of {width}x{height} CSS pixels")
    return {"x": 0, "y": 0, "width": wide, "height": tall}


def _notes_of(counts: Mapping[str, Any], visit: _Visit) -> list[str]:
    notes = []
    if counts["cut"]:
        notes.append(f"more than {MOST_ELEMENTS:,} elements; the first are listed")
    if counts["others"]:
        notes.append(f"elements of {counts['others']} frames of other sites are not listed")
    if counts["unnamed"]:
        notes.append(f"{counts['unnamed']} elements without a unique selector are not listed")
    if visit.popups:
        notes.append(f"{visit.popups} popup windows were closed")
    return notes


async def _run(page: Page, function: str, argument: Any) -> Any:
    """In a world of our own in the page, where its scripts cannot put theirs in place of ours.

    A page that goes on to another one takes that world with it, so a few attempts are made.
    """
    session = await page.context.new_cdp_session(page)
    try:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return await _run_once(session, f"({function})({json.dumps(argument)})")
            except Error:
                if attempt == _ATTEMPTS:
                    raise
                await page.wait_for_load_state("load")
    finally:
        with suppress(Error):
            await session.detach()
    return None


async def _run_once(session: CDPSession, expression: str) -> Any:
    tree = await session.send("Page.getFrameTree")
    await _keep_accessibility(session, tree["frameTree"])
    frame = {"frameId": tree["frameTree"]["frame"]["id"], "worldName": "shimmy"}
    world = await session.send("Page.createIsolatedWorld", frame)
    asked = {
        "expression": expression,
        "contextId": world["executionContextId"],
        "returnByValue": True,
        "awaitPromise": True,
    }
    answer = await session.send("Runtime.evaluate", asked)
    if "exceptionDetails" in answer:
        said = answer["exceptionDetails"].get("exception", {}).get("description", "")
        raise VisitFailed("page-crashed", f"its elements cannot be read: {said[:200]}")
    return answer["result"].get("value")


async def _keep_accessibility(session: CDPSession, tree: Mapping[str, Any]) -> None:
    """Else the browser works out the whole document anew for every single role and name."""
    await session.send("Accessibility.enable")
    trees = [tree]
    for one in trees:
        trees.extend(one.get("childFrames", ()))
        with suppress(Error):  # Of another site, or gone.
            await session.send("Accessibility.getRootAXNode", {"frameId": one["frame"]["id"]})


def _network_reason(error: Error) -> str:
    found = re.search(r"net::ERR_([A-Z0-9_]+)", str(error))
    return found[1].lower().replace("_", " ") if found else _first_line(error)


def _first_line(error: Error) -> str:
    """Without URLs: what they carry is nobody's who reads messages."""
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return re.sub(r"""\b[a-z-]+://[^\s"']+""", "(URL)", said, flags=re.IGNORECASE)[:300]


if __name__ == "__main__":
    main()

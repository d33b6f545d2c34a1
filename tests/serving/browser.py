"""A headless chromium and what a person does with it, over the DevTools protocol.

Messages go through two pipes (`--remote-debugging-pipe`): no port, no library, and a
browser whose pipe is closed ends by itself. Protocol:
https://chromedevtools.github.io/devtools-protocol/
"""

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PATIENCE = 60.0  # seconds for anything; a slow machine is no failure

# name: (code, number of the key, modifiers)
KEYS = {
    "Tab": ("Tab", 9), "Enter": ("Enter", 13), "Escape": ("Escape", 27),
    " ": ("Space", 32), "End": ("End", 35), "Home": ("Home", 36),
    "ArrowLeft": ("ArrowLeft", 37), "ArrowUp": ("ArrowUp", 38),
    "ArrowRight": ("ArrowRight", 39), "ArrowDown": ("ArrowDown", 40),
    "Backspace": ("Backspace", 8), "a": ("KeyA", 65),
}  # fmt: skip
CTRL = 2  # a modifier


def find_chromium() -> str | None:
    """The path of a chromium, None where there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Browser:
    """A running chromium: `Browser(path, profile)`, `open_tab`, `close`."""

    def __init__(self, path: str, profile: Path) -> None:
        to_child, self._write = os.pipe()
        self._read, from_child = os.pipe()
        # Above 10, so that neither is in the other's way when they become 3 and 4.
        ends = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10)
                for fd in (to_child, from_child)]  # fmt: skip
        log = os.open(profile.with_suffix(".log"), os.O_WRONLY | os.O_CREAT, 0o600)
        # The sandbox needs rights that a container may not give; the pages are ours.
        self._pid = os.posix_spawn(
            path,
            [
                path, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
                "--hide-scrollbars", "--disable-dev-shm-usage", "--lang=en-US",
                "--disable-background-networking", "--disable-component-update",
                "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank",
            ],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, ends[0], 3),
                (os.POSIX_SPAWN_DUP2, ends[1], 4),
                (os.POSIX_SPAWN_DUP2, log, 1),
                (os.POSIX_SPAWN_DUP2, log, 2),
            ],
            setpgroup=0,
        )  # fmt: skip
        for fd in (to_child, from_child, log, *ends):
            os.close(fd)
        self._number, self._rest = 0, b""
        self.tabs: dict[str, Tab] = {}

    def call(self, method: str, session: str = "", **params: Any) -> dict[str, Any]:
        """The answer to one command of the protocol."""
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._write, data) :]
        until = time.monotonic() + PATIENCE
        while True:
            answer = self._next(until, f"an answer to {method}")
            if answer.get("id") == number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def _next(self, until: float, what: str) -> dict[str, Any]:
        """The next message; an event goes to its tab on the way."""
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], until - time.monotonic())
            assert ready, f"chromium gave no sign while waiting for {what}"
            chunk = os.read(self._read, 1 << 20)
            assert chunk, f"chromium ended while waiting for {what}"
            self._rest += chunk
        data, self._rest = self._rest.split(b"\0", 1)
        message = json.loads(data)
        tab = self.tabs.get(message.get("sessionId", ""))
        if tab and "method" in message:
            tab.happened(message["method"], message["params"])
        return message

    def open_tab(self, **screen: Any) -> "Tab":
        """A new tab with a store of its own; see Tab.screen."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call(
            "Target.createTarget", url="about:blank", browserContextId=context
        )["targetId"]
        session = self.call(
            "Target.attachToTarget", targetId=target, flatten=True
        )["sessionId"]  # fmt: skip
        tab = self.tabs[session] = Tab(self, session, context)
        for domain in ("Page", "Runtime", "Log", "Network"):
            tab.call(f"{domain}.enable")
        tab.screen(**screen)
        return tab

    def close(self) -> None:
        """Returns once the browser and all that it started have ended."""
        with contextlib.suppress(AssertionError, OSError):
            self.call("Browser.close")
        os.close(self._write)
        os.close(self._read)
        for _ in range(100):
            if os.waitpid(self._pid, os.WNOHANG)[0]:
                return
            time.sleep(0.05)
        os.killpg(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)


class Tab:
    """One page of a browser, with what it complained of."""

    def __init__(self, browser: Browser, session: str, context: str) -> None:
        self.browser, self._session, self._context = browser, session, context
        self.complaints: list[str] = []  # errors, refused policies, dialogs
        self.requests: list[str] = []  # addresses

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        return self.browser.call(method, self._session, **params)

    def happened(self, method: str, params: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(params["exceptionDetails"])[:2000])
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.complaints.append(f"{params['entry']['text']} {params['entry']}")
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(json.dumps(params["args"])[:2000])
        elif method == "Page.javascriptDialogOpening":
            self.complaints.append(f"a dialog: {params['message']}")
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])

    def screen(
        self, width: int = 1280, height: int = 900, *, dark: bool = False,
        is_phone: bool = False, reduced_motion: bool = True, scale: float = 1,
    ) -> None:  # fmt: skip
        """Takes on a screen and what its owner prefers."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=scale, mobile=is_phone,
        )  # fmt: skip
        self.call("Emulation.setTouchEmulationEnabled", enabled=is_phone)
        wishes = {
            "prefers-color-scheme": "dark" if dark else "light",
            "prefers-reduced-motion": "reduce" if reduced_motion else "no-preference",
        }
        features = [{"name": name, "value": value} for name, value in wishes.items()]
        self.call("Emulation.setEmulatedMedia", features=features)

    def go(self, url: str) -> None:
        """Returns once the page is loaded."""
        self.run("window.isOutdated = true")
        self.call("Page.navigate", url=url)
        self.wait_for("!window.isOutdated")
        self.wait_for("document.readyState === 'complete'")

    def run(self, expression: str) -> Any:
        """The value of an expression, of a promise when it is kept."""
        answer = self.call(
            "Runtime.evaluate",
            expression=expression, awaitPromise=True, returnByValue=True,
        )  # fmt: skip
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, expression: str) -> None:
        """Returns as soon as an expression is true."""
        until = time.monotonic() + PATIENCE
        while not self.run(f"Boolean({expression})"):
            assert time.monotonic() < until, f"{expression}; {self.complaints}"
            time.sleep(0.02)

    def text(self, selector: str) -> str:
        """What one reads in the first element of a selector."""
        return self.run(f"document.querySelector({json.dumps(selector)}).innerText")

    def type(self, text: str) -> None:
        """Types into what has the focus, as an input method does."""
        self.call("Input.insertText", text=text)

    def press(self, key: str, modifiers: int = 0, times: int = 1) -> None:
        """Presses and releases a key of KEYS."""
        code, number = KEYS[key]
        shared = {
            "key": key, "code": code, "windowsVirtualKeyCode": number,
            "modifiers": modifiers,
        }  # fmt: skip
        letter = {"Enter": "\r", " ": " "}.get(key)
        down = {"type": "keyDown", "text": letter} if letter else {"type": "rawKeyDown"}
        for _ in range(times):
            self.call("Input.dispatchKeyEvent", **shared, **down)
            self.call("Input.dispatchKeyEvent", **shared, type="keyUp")

    def middle(self, selector: str) -> tuple[float, float]:
        """The middle of the first line of an element, scrolled into view."""
        return tuple(
            self.run(
                f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
                "e.scrollIntoView({block: 'nearest'});"
                "const b = e.getClientRects()[0];"
                "return [b.left + b.width / 2, b.top + b.height / 2]; })()"
            )
        )

    def point_at(self, selector: str) -> None:
        x, y = self.middle(selector)
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def click(self, selector: str) -> None:
        self.point_at(selector)
        x, y = self.middle(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.call(
                "Input.dispatchMouseEvent",
                type=kind, x=x, y=y, button="left", clickCount=1,
            )  # fmt: skip

    def picture(self, path: Path, *, is_whole: bool = False) -> None:
        """Writes a PNG of what is seen, or of the whole page."""
        data = self.call(
            "Page.captureScreenshot", format="png", captureBeyondViewport=is_whole
        )["data"]
        path.write_bytes(base64.b64decode(data))

    def close(self) -> None:
        """Closes the tab and throws its store away."""
        self.browser.tabs.pop(self._session)
        self.browser.call(
            "Target.disposeBrowserContext", browserContextId=self._context
        )


@contextlib.contextmanager
def chromium(path: str, folder: Path) -> Iterator[Browser]:
    """A browser that has ended when the block has."""
    browser = Browser(path, folder / "profile")
    try:
        yield browser
    finally:
        browser.close()

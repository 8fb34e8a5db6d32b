"""A headless Chromium, driven by the DevTools protocol over the websockets that viser brings along."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import imageio.v3 as iio
import numpy as np

NAMES = "chromium", "chromium-browser", "google-chrome", "chrome"
SOFTWARE_GL = "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"


def find_chromium() -> str | None:
    """The browser of this machine: $CHROMIUM, or the first of the usual names."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """One page in a browser of its own. ``complaints`` holds what the console said in earnest, and exceptions."""

    def __init__(self, url: str, profile: Path, size: tuple[int, int] = (800, 600)):
        from websockets.sync.client import connect

        self.complaints: list[str] = []
        self._answers: dict[int, dict] = {}
        self._count = 0
        self._browser = subprocess.Popen(
            [
                find_chromium(), "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", *SOFTWARE_GL,
                "--remote-debugging-port=0", f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}",
                "--no-first-run", "--hide-scrollbars", "about:blank",
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )
        port = self.until(lambda: self._read(profile / "DevToolsActivePort"), "Chromium to start", 60).split()[0]
        from urllib.request import urlopen

        targets = json.load(urlopen(f"http://127.0.0.1:{port}/json", timeout=30))
        page = next(target for target in targets if target["type"] == "page")
        self._socket = connect(page["webSocketDebuggerUrl"], max_size=None, compression=None)
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        size = dict(width=size[0], height=size[1], deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Page.navigate", url=url)

    def close(self) -> None:
        self._socket.close()
        os.killpg(self._browser.pid, signal.SIGKILL)
        self._browser.wait(30)

    def call(self, method: str, **parameters) -> dict:
        """Does something and returns its result."""
        self._count += 1
        number = self._count
        self._socket.send(json.dumps(dict(id=number, method=method, params=parameters)))
        while number not in self._answers:
            self._take(60)
        answer = self._answers.pop(number)
        assert "error" not in answer, answer
        return answer["result"]

    def evaluate(self, expression: str):
        """The value of a JavaScript expression."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def screenshot(self) -> np.ndarray:
        """[H, W, 3] uint8."""
        return iio.imread(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))[..., :3]

    def click(self, text: str, selector: str = "button, label, span, div, p") -> None:
        """Clicks the middle of the smallest visible element that has exactly this text."""
        script = f"""(() => {{
            const found = [...document.querySelectorAll({selector!r})].filter(
                (e) => e.textContent.trim() === {text!r} && e.getBoundingClientRect().width > 0);
            if (!found.length) return null;
            const box = found[found.length - 1].getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2];
        }})()"""
        self.click_at(*self.until(lambda: self.evaluate(script), f"{text!r} to be on the page"))

    def choose(self, value: str, other: str) -> None:
        """Opens the drop-down list that shows a value, and chooses another one."""
        script = f"""(() => {{
            const box = [...document.querySelectorAll("input")].find((e) => e.value === {value!r})
                ?.getBoundingClientRect();
            return box && [box.x + box.width / 2, box.y + box.height / 2];
        }})()"""
        self.click_at(*self.until(lambda: self.evaluate(script), f"a list that shows {value!r}"))
        self.click(other, "[role=option]")

    def click_at(self, x: float, y: float) -> None:
        where = dict(x=x, y=y, button="left", clickCount=1)
        for event in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=event, **where)

    def drag(self, start: tuple[float, float], end: tuple[float, float], steps: int = 8) -> None:
        """With the left button."""
        points = np.linspace(start, end, steps + 1)
        self.call("Input.dispatchMouseEvent", type="mousePressed", x=start[0], y=start[1], button="left", clickCount=1)
        for x, y in points[1:]:
            self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y, button="left", buttons=1)
        self.call("Input.dispatchMouseEvent", type="mouseReleased", x=end[0], y=end[1], button="left", clickCount=1)

    def until(self, condition, what: str, seconds: float = 60.0):
        """Waits for a condition to have a true value, which it returns."""
        end = time.monotonic() + seconds
        while not (value := condition()):
            assert time.monotonic() < end, f"waited {seconds:.0f} s for {what}; the console says {self.complaints}"
            time.sleep(0.1)
        return value

    def _take(self, seconds: float) -> None:
        message = json.loads(self._socket.recv(timeout=seconds))
        if "id" in message:
            self._answers[message["id"]] = message
        elif message["method"] == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(message["params"]["exceptionDetails"])[:500])
        elif message["method"] == "Runtime.consoleAPICalled" and message["params"]["type"] in ("error", "assert"):
            said = [argument.get("value") or argument.get("description") for argument in message["params"]["args"]]
            self.complaints.append(" ".join(map(str, said))[:500])
        elif message["method"] == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
            self.complaints.append(str(message["params"]["entry"])[:500])

    @staticmethod
    def _read(file: Path) -> str:
        return file.read_text() if file.exists() else ""

"""Web applications as processes, and requests to them."""

import json
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from mailer.testing.ports import free_port
from mailer.testing.processes import Process


class FlaskProcess(Process):
    """``flask run``, on a free port."""

    def __init__(self, app: Path, settings: dict[str, str], log: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        super().__init__(
            ["flask", "--app", str(app.with_suffix("")), "run", "-p", str(self.port)], settings, log
        )

    def _ready(self) -> bool:
        return self.running and b"Running on" in self.log.read_bytes()


class UvicornProcess(Process):
    """``uvicorn``, on a free port."""

    def __init__(self, app: str, folder: Path, settings: dict[str, str], log: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        super().__init__(
            ["uvicorn", "--app-dir", str(folder), "--port", str(self.port), app], settings, log
        )

    def _ready(self) -> bool:
        return self.running and b"Uvicorn running on" in self.log.read_bytes()


def ask(url: str, **form: str | list[str]) -> tuple[int, dict]:
    """Get a page, or post a form where there is one."""
    return _answer(
        urllib.request.Request(url, urllib.parse.urlencode(form, doseq=True).encode() or None)
    )[:2]


def post_json(url: str, body: object, **headers: str) -> tuple[int, dict, dict[str, str]]:
    """Post JSON; returns status, answer and headers."""
    kind = {"Content-Type": "application/json"}
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return _answer(urllib.request.Request(url, json.dumps(body).encode(), kind | names))


def _answer(request: urllib.request.Request) -> tuple[int, dict, dict[str, str]]:
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, json.load(response), dict(response.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error), dict(error.headers)

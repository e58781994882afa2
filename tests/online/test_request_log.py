"""Logs that machines read, whatever comes from outside."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from tastemap.errors import ParameterError
from tastemap.online import Operating, create_app
from tastemap.online.request_log import JsonLines, LogFormat, PlainLines, log_to_stderr

NASTY = [
    "mallory\nforged: line",
    "tab\tbell\a",
    "\x1b[31mred",
    "nul\0",
    "next\x85line\u2028end",
    'a"b\\',
]


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Makes all logs go to a buffer, in a format, as they would go to standard error."""
    buffer = io.StringIO()
    root = logging.getLogger()
    before = root.handlers[:], root.level
    root.handlers = []

    def begin(form: LogFormat) -> io.StringIO:
        monkeypatch.setattr("sys.stderr", buffer)
        log_to_stderr(form)
        return buffer

    yield begin
    root.handlers, root.level = before[0], before[1]


def test_a_line_of_json_a_request_without_ids(
    small: Path, tmp_path: Path, written: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app(small, tmp_path / "state", operating=Operating(log_format="json"))
    with TestClient(app, raise_server_exceptions=False) as http:
        output = written("json")
        for user in NASTY:
            path = f"/users/{quote(user, safe='')}"
            http.get(f"{path}/recommendations", headers={"X-Request-ID": "mine-1.a_B"})
            http.post("/events", json={"user": user, "item": user})
            http.get(f"/{quote(user, safe='')}")
        lines = output.getvalue().splitlines()
        records = [json.loads(line) for line in lines]
        requests = [one for one in records if one["logger"] == "tastemap.requests"]
        assert len(requests) == 3 * len(NASTY)
        for record in requests:
            assert set(record) == {
                "time", "level", "logger", "message", "process", "request_id", "method", "route",
                "status", "seconds",
            }  # fmt: skip
            assert record["time"].endswith("+00:00")
            assert 0 < record["seconds"] < 60
        assert {(one["method"], one["route"], one["status"]) for one in requests} == {
            ("GET", "/users/{user:id}/recommendations", 200),
            ("POST", "/events", 404),
            ("GET", "other", 404),
        }
        for word in ("mallory", "forged", "bell", "31m", "next", "nul"):
            assert word not in "".join(json.dumps(one) for one in requests)
        # What the request logs below carries its name.
        monkeypatch.setattr(
            "tastemap.online.engine.Serving.answer",
            lambda *_, **__: (_ for _ in ()).throw(RuntimeError("no\nway")),
        )
        http.get("/users/u1/recommendations", headers={"X-Request-ID": "named"})
        last = [json.loads(line) for line in output.getvalue().splitlines()[len(lines) :]]
        failure = next(one for one in last if "failed" in one["message"])
        assert failure["level"] == "error"
        assert "no\nway" in failure["error"]
        assert any(one.get("request_id") == "named" for one in last)


def test_request_ids(small: Path, tmp_path: Path) -> None:
    http = TestClient(create_app(small, tmp_path / "state"))

    def named(given: bytes | None) -> str:
        headers = {} if given is None else {"X-Request-ID": given}
        answer = http.get("/nothing", headers=headers)  # type: ignore[arg-type]
        return answer.headers["x-request-id"]

    assert named(b"a.B-3_9") == "a.B-3_9"
    for bad in (None, b"", b"a b", b"x" * 65, b"\xe9", b'"', b"a;b", b"{}"):
        name = named(bad)
        assert len(name) == 16
        assert int(name, 16) >= 0
    assert len({named(None) for _ in range(50)}) == 50


@pytest.mark.parametrize("text", NASTY)
def test_nothing_from_outside_begins_a_line(text: str) -> None:
    record = logging.LogRecord("x", logging.INFO, "", 1, "of %s", (text,), None)
    plain = PlainLines().format(record)
    assert len(plain.splitlines()) == 1
    assert plain.isprintable()
    line = JsonLines().format(record)
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["message"] == f"of {text}"
    try:
        raise ValueError(f"bad\n2026-01-01 INFO {text}")
    except ValueError as error:
        record.exc_info = (ValueError, error, error.__traceback__)
        first, *more = PlainLines().format(record).split("\n")
        assert first == plain
        assert more
        assert all(line.startswith("    ") and line.isprintable() for line in more)


def test_another_format_is_refused() -> None:
    with pytest.raises(ParameterError, match="text or json"):
        log_to_stderr("xml")  # type: ignore[arg-type]

"""Whatever is sent: a 4xx that names the field, never a 5xx, and the service goes on."""

from __future__ import annotations

import json
import socket
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from served import Served

JSON = {"content-type": "application/json"}


def refused(response: httpx.Response, status: int) -> list[dict[str, Any]]:
    assert response.status_code == status, response.text
    detail = response.json()["detail"]
    assert all(set(one) == {"loc", "msg", "type"} for one in detail)
    return detail


@pytest.mark.parametrize("k", ["0", "-1", "1001", "ten", "1.5", "", "NaN", "9" * 500, "１０\0"])
@pytest.mark.parametrize("path", ["/users/1/recommendations", "/items/50/similar"])
def test_bad_k(served: Served, path: str, k: str) -> None:
    assert refused(served.http.get(path, params={"k": k}), 422)[0]["loc"] == ["query", "k"]


@pytest.mark.parametrize("item", ["0", "-1", "050", "nothing", "a/b", "%", "\0", "😀", "9" * 200])
def test_unknown_items(served: Served, item: str) -> None:
    path = f"/items/{quote(item, safe='')}/similar"
    detail = refused(served.http.get(path), 404)
    assert detail[0]["loc"] == ["path", "item"]
    answer = served.http.post("/recommendations", json={"history": ["50", item]})
    assert answer.status_code == 200
    assert answer.json()["unknown_items"] == [item]
    detail = refused(served.http.post("/events", json={"user": "x", "item": item}), 404)
    assert detail[0]["loc"] == ["body", 0, "item"]


def test_huge_ids(served: Served) -> None:
    huge = "u" * 5000
    assert refused(served.http.get(f"/users/{huge}/recommendations"), 422)[0]["loc"][-1] == "user"
    assert refused(served.http.get(f"/items/{huge}/similar"), 422)[0]["loc"][-1] == "item"
    body = {"user": huge, "item": "50"}
    assert refused(served.http.post("/events", json=body), 422)[0]["loc"] == ["body", 0, "user"]
    number = '{"user": ' + "9" * 5000 + ', "item": "50"}'
    assert served.http.post("/events", content=number, headers=JSON).status_code in (400, 422)


@pytest.mark.parametrize(
    "time",
    ["NaN", "Infinity", "-Infinity", "-1", "1e400", "99999999999", "1795317344000", "true", "[]",
     '"yesterday"', '"0000-00-00"', '"9999-12-31T23:59:59"', '"0001-01-01T00:00:00+23:59"', '""',
     "1" * 400],
)  # fmt: skip
def test_absurd_times(served: Served, time: str) -> None:
    body = f'[{{"user": "x", "item": "50"}}, {{"user": "x", "item": "50", "time": {time}}}]'
    detail = refused(served.http.post("/events", content=body, headers=JSON), 422)
    assert detail[0]["loc"] == ["body", 1, "time"]


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e300", '"5"', "true", "{}", "1" * 400])
def test_absurd_values(served: Served, value: str) -> None:
    body = f'{{"user": "x", "item": "50", "value": {value}}}'
    detail = refused(served.http.post("/events", content=body, headers=JSON), 422)
    assert detail[0]["loc"] == ["body", 0, "value"]


@pytest.mark.parametrize(
    "context",
    ["[]", '{"hour": NaN}', '{"hour": [1]}', '{"a": null}', '{"a": "\\ud800"}',
     json.dumps({"a": "x" * 257}), json.dumps({"x" * 257: "a"}),
     json.dumps({str(n): n for n in range(101)})],
    ids=lambda context: context[:16],
)  # fmt: skip
def test_absurd_circumstances_of_an_event(served: Served, context: str) -> None:
    body = f'{{"user": "x", "item": "50", "context": {context}}}'
    detail = refused(served.http.post("/events", content=body, headers=JSON), 422)
    assert detail[0]["loc"][:3] == ["body", 0, "context"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"null", b"[1]", b"[null]", b'"text"', b"5", b"\xff\xfe", b"[[[]]]", b"[[]]",
     b"[" * 100_000, b'{"a":' * 100_000, b'{"user": "x"} trailing', b'{"user": "\\ud800"}',
     b'{"\\ud800": 1}', b'{"user": ["x"], "item": {"y": 1}}', b"9" * 10_000],
    ids=lambda body: repr(body[:20]),
)  # fmt: skip
@pytest.mark.parametrize("path", ["/events", "/recommendations"])
def test_broken_bodies(served: Served, path: str, body: bytes) -> None:
    response = served.http.post(path, content=body, headers=JSON)
    assert response.status_code in (400, 422)
    assert response.json()["detail"][0]["loc"][0] == "body"


@pytest.mark.parametrize("path", ["/events", "/recommendations"])
@pytest.mark.parametrize(
    "kind", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "é"]
)
def test_other_content_types(served: Served, path: str, kind: str | None) -> None:
    headers = {} if kind is None else {"content-type": kind.encode()}
    body = b'{"user": "x", "item": "50", "history": []}'
    detail = refused(served.http.post(path, content=body, headers=headers), 415)
    assert detail[0]["loc"] == ["header", "content-type"]


def test_large_bodies(served: Served) -> None:
    large = b'{"history": ["' + b"x" * (5 << 20) + b'"]}'
    assert refused(served.http.post("/recommendations", content=large, headers=JSON), 413)

    def parts() -> Any:  # sent in chunks, without saying how much there will be
        for start in range(0, len(large), 65536):
            yield large[start : start + 65536]

    assert refused(served.http.post("/recommendations", content=parts(), headers=JSON), 413)
    many = [{"user": "x", "item": "50"}] * 10_001
    assert refused(served.http.post("/events", json=many), 422)[0]["loc"] == ["body"]


def test_a_body_that_never_ends_is_dropped_by_its_sender_alone(served: Served) -> None:
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            b"POST /events HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            b"content-length: 1000\r\n\r\n[{"
        )
    assert served.http.get("/health").status_code == 200


def test_wrong_paths_and_methods(served: Served) -> None:
    refused(served.http.get("/nothing/here"), 404)
    # That is a user called "/recommendations", who can be removed and not be got.
    refused(served.http.get("/users//recommendations"), 405)
    assert "POST" in served.http.get("/events").headers["allow"]
    refused(served.http.put("/events"), 405)
    refused(served.http.request("PATCH", "/health"), 405)
    # A method that HTTP does not know does not get past the parser.
    assert served.http.request("FROB", "/health").status_code == 400
    for path in ("/static/../__init__.py", "/static/%2e%2e/__init__.py", "/static/nothing.js"):
        refused(served.http.get(path), 404)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
ids = st.sampled_from(["50", "x", "\0", 50]) | st.text(max_size=8) | json_values
almost_events = st.fixed_dictionaries(
    {},
    optional={
        name: ids
        for name in ("user", "item", "kind", "time", "value", "id", "duration", "token", "more")
    },
)
almost_tastes = st.fixed_dictionaries(
    {}, optional={"history": st.lists(ids, max_size=3) | ids, "k": ids}
)


@settings(max_examples=60)
@given(
    path=st.sampled_from(["/events", "/recommendations"]),
    body=almost_events | st.lists(almost_events, max_size=3) | almost_tastes | json_values,
)
def test_any_json_is_answered_or_refused(served: Served, path: str, body: Any) -> None:
    sent = json.dumps(body).encode()
    response = served.http.post(path, content=sent, headers=JSON)
    assert response.status_code in (200, 400, 404, 409, 422), response.text
    assert response.json()


@settings(max_examples=50)
@given(
    path=st.sampled_from(
        ["/users/{}/recommendations", "/items/{}/similar", "/users/{}/history", "/items/{}", "/{}"]
    ),
    id_=st.text(min_size=1) | st.binary(min_size=1),
    query=st.dictionaries(
        st.sampled_from(["k", "limit", "query"]), st.text(max_size=10) | st.integers()
    ),
)
def test_any_path_is_answered_or_refused(
    served: Served, path: str, id_: str | bytes, query: dict[str, Any]
) -> None:
    url = path.format(quote(id_, safe="", errors="replace" if isinstance(id_, str) else None))
    response = served.http.get(url, params=query)
    assert response.status_code in (200, 307, 400, 404, 405, 422), response.text


def test_and_the_service_is_well(served: Served) -> None:
    assert served.http.get("/users/1/recommendations").status_code == 200
    assert served.process.poll() is None
    assert not any("Traceback" in line for line in served.output), "".join(served.output)

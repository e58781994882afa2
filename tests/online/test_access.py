"""Keys: who gets in, who may do what, and what other machines may never do unasked."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tastemap.online import Operating, create_app, serve
from tastemap.online.access import KeyFile, Keys, KeysError, add_key

ROLES = {"reader": ["read"], "writer": ["write"], "both": ["read", "write"], "boss": ["admin"]}


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A file of keys, and the keys by name."""
    path = tmp_path_factory.mktemp("keys") / "keys.toml"
    return path, {name: add_key(path, name, roles) for name, roles in ROLES.items()}


@pytest.fixture(scope="module")
def http(
    small: Path, secrets: tuple[Path, dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> TestClient:
    operating = Operating.of(secrets[0])
    app = create_app(small, tmp_path_factory.mktemp("state"), operating=operating)
    return TestClient(app)


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


READ = [
    ("GET", "/users/u1/recommendations"),
    ("POST", "/recommendations"),
    ("POST", "/recommendations/batch"),
    ("GET", "/items/i1/similar"),
    ("GET", "/users"),
    ("GET", "/items"),
    ("GET", "/users/u1/history"),
    ("GET", "/metrics"),
]
BODIES = {
    "/recommendations": {"history": ["i1"]},
    "/recommendations/batch": {"requests": [{"user": "u1"}]},
    "/events": {"user": "u1", "item": "i1"},
}


@pytest.mark.parametrize(("method", "path"), [*READ, ("POST", "/events")])
def test_each_role_may_do_its_own(
    http: TestClient, secrets: tuple[Path, dict[str, str]], method: str, path: str
) -> None:
    needed = "write" if path == "/events" else "read"
    for name, roles in ROLES.items():
        answer = http.request(method, path, json=BODIES.get(path), headers=bearer(secrets[1][name]))
        if needed in roles or roles == ["admin"]:
            assert answer.status_code == 200, (name, answer.text)
        else:
            assert answer.status_code == 403
            assert answer.json()["detail"][0]["type"] == "forbidden"
            assert needed in answer.json()["detail"][0]["msg"]
    for headers in (
        {}, bearer("tm_wrong"), {"Authorization": f"Basic {secrets[1]['boss']}"},
        {"Authorization": "Bearer"}, {"X-API-Key": secrets[1]["boss"][:-1]},
    ):  # fmt: skip
        answer = http.request(method, path, json=BODIES.get(path), headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert set(answer.json()["detail"][0]) == {"loc", "msg", "type"}
    assert http.request(
        method, path, json=BODIES.get(path), headers={"X-API-Key": secrets[1]["boss"]}
    ).is_success


def test_what_changes_or_exports_needs_an_admin(
    http: TestClient, secrets: tuple[Path, dict[str, str]]
) -> None:
    routes = {
        (method.upper(), path)
        for path, methods in http.get("/openapi.json").json()["paths"].items()
        for method in methods
    }
    known = {*((method, path.replace("u1", "{user}").replace("i1", "{item}"))
              for method, path in READ), ("POST", "/events"), ("GET", "/items/{item}"),
             ("GET", "/health"), ("GET", "/ready")}  # fmt: skip
    stock = {("POST", "/items"), ("DELETE", "/items/{item}")}
    for method, path in stock:
        url = path.format(item="nothing")
        answer = http.request(method, url, headers=bearer(secrets[1]["reader"]))
        assert answer.status_code == 403, f"{method} {path} is for more than readers"
    for method, path in routes - known - stock:
        url = path.format(user="nobody", item="nothing")
        answer = http.request(method, url, headers=bearer(secrets[1]["both"]))
        assert answer.status_code == 403, f"{method} {path} is for more than admins"


def test_what_is_open_is_open_and_says_nothing_of_anybody(http: TestClient) -> None:
    for path in ("/health", "/ready", "/openapi.json", "/docs", "/"):
        assert http.get(path).status_code == 200, path
    # Nothing gets in by looking like it.
    for path in ("/static/../users", "/health/../users", "/%2fusers", "/users/%2fhealth/history"):
        assert http.get(path).status_code in (401, 404), path


def test_a_key_can_be_taken_back_while_it_is_used(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    path.write_text("# made by hand\n")
    first, second = (add_key(path, name, ["read"]) for name in ("first", "second"))
    assert path.read_text().startswith("# made by hand\n")
    assert first not in path.read_text()
    keys = KeyFile(path)
    assert keys.find(first).name == "first"  # type: ignore[union-attr]
    assert keys.find(second) is not None
    blocks = path.read_text().split("[[keys]]")
    path.write_text("[[keys]]" + blocks[2])
    keys._looked = -1e9  # a second later
    assert keys.find(first) is None
    assert keys.find(second) is not None
    path.write_text("[[keys]")
    keys._looked = -1e9
    assert keys.find(second) is not None, "a broken file must not lock everybody out"


def test_a_new_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "keys.toml"
    secret = add_key(path, "a", ["read"])
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(secret) >= 43  # 256 bits
    with pytest.raises(KeysError, match=r"has a key of the name .a. already"):
        add_key(path, "a", ["read"])
    assert os.listdir(path.parent) == ["keys.toml"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[keys]", "not TOML"),
        ("keys = 5", "alone"),
        ("[other]\n[[keys]]\n", "alone"),
        ('[[keys]]\nname = "a"', "name, roles and sha256"),
        ('[[keys]]\nname = "a\\n"\nroles = ["read"]\nsha256 = "00"', "letters"),
        ('[[keys]]\nname = "a"\nroles = ["king"]\nsha256 = "00"', "read.*write.*admin"),
        ('[[keys]]\nname = "a"\nroles = []\nsha256 = "00"', "roles"),
        ('[[keys]]\nname = "a"\nroles = ["read"]\nsha256 = "secret"', "64 hexadecimal"),
    ],
)
def test_a_wrong_file_is_said(text: str, message: str) -> None:
    with pytest.raises(KeysError, match=message):
        Keys.parse(text, "keys.toml")


def test_other_machines_need_a_key_or_the_word(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for host in ("0.0.0.0", "::"):
        with pytest.raises(KeysError, match="--no-keys"):
            serve(small, tmp_path / "state", host=host, port=0)
    assert not (tmp_path / "state").exists()
    path = tmp_path / "keys.toml"
    with pytest.raises(KeysError, match="tastemap keys new"):
        Operating.of(path)
    secret = add_key(path, "a", ["read"])
    assert Operating.of(path).at("0.0.0.0").rate == 1000
    assert Operating.of(anybody=True).at("192.0.2.1").keys is None
    assert Operating.of().at("127.0.0.1").keys is None
    assert Operating.of().at("::1").rate == 0
    assert Operating.of(rate=5).at("127.0.0.1").rate == 5
    with pytest.raises(KeysError, match="together"):
        Operating.of(path, anybody=True)
    monkeypatch.setenv("TASTEMAP_KEYS", path.read_text())
    found = Operating.of().at("0.0.0.0").keys
    assert found is not None and found.find(secret) is not None
    monkeypatch.setenv("TASTEMAP_KEYS", "# none")
    with pytest.raises(KeysError, match="no key"):
        Operating.of()


def test_a_wrong_key_is_refused_in_the_time_of_a_right_one() -> None:
    """Hashes are compared whole, so that only the number of keys counts."""
    lines = [
        f'[[keys]]\nname = "k{n}"\nroles = ["read"]\nsha256 = "{n:064x}"\n' for n in range(200)
    ]
    keys = Keys.parse("".join(lines), "keys")
    began = time.perf_counter()
    for _ in range(100):
        assert keys.find("tm_nothing") is None
    assert time.perf_counter() - began < 1

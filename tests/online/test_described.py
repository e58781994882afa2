"""What the API describes is what it does, whatever is sent: no 5xx, nothing undescribed.

TASTEMAP_SCHEMATHESIS=N sends N requests to each operation; a few by default.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tastemap.online import Operating, create_app
from tastemap.online.access import add_key

EXAMPLES = int(os.environ.get("TASTEMAP_SCHEMATHESIS", "6"))
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


def known(sent: Any) -> Any:
    """What was made up, with ids that the release holds, without tokens, which nobody can make up,
    and without attributes that it has not."""
    if isinstance(sent, list):
        return [known(one) for one in sent]
    if not isinstance(sent, dict):
        return sent
    left = {"after", "token", "profile", "context", "tastes"}
    kept = {name: known(value) for name, value in sent.items() if name not in left}
    held = {"item": "i1", "user": "u1", "history": ["i1", "i20"]}
    return kept | {name: value for name, value in held.items() if name in kept}


def send(
    api: Any,
    mode: schemathesis.GenerationMode,
    statuses: set[int],
    headers: dict[str, str] | None = None,
) -> None:
    """Sends requests to each operation and notes what comes back."""
    for result in api.get_all_operations():
        operation = result.ok()
        if mode.is_negative and not list(operation.iter_parameters()) and not operation.body:
            continue  # nothing can be wrong

        @seed(20_260)
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode), knows=st.booleans())
        def sent(case: schemathesis.Case, knows: bool) -> None:
            if knows and mode.is_positive:
                case.path_parameters = known(case.path_parameters)
                case.query = known(case.query)
                case.body = known(case.body)
            response = case.call(headers=headers)
            case.validate_response(response, checks=CHECKS)
            statuses.add(response.status_code)

        sent()


def described(app: FastAPI) -> Any:
    return schemathesis.openapi.from_asgi("/openapi.json", app)


@pytest.fixture
def release(small: Path, tmp_path: Path) -> Path:
    """One of its own: what is sent may remove users."""
    return shutil.copytree(small, tmp_path / "release")


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: mode.value)
def test_nothing_undescribed(
    release: Path, tmp_path: Path, mode: schemathesis.GenerationMode
) -> None:
    statuses: set[int] = set()
    send(described(create_app(release, tmp_path / "state")), mode, statuses)
    assert {404, 422} <= statuses
    assert 200 in statuses or mode.is_negative


def test_nothing_undescribed_where_keys_and_rates_count(release: Path, tmp_path: Path) -> None:
    path, statuses = tmp_path / "keys.toml", set[int]()
    writer = {"X-API-Key": add_key(path, "writer", ["write"])}
    operating = Operating.of(path, rate=2)
    mode = schemathesis.GenerationMode.POSITIVE
    for headers in (writer, None):
        app = create_app(release, tmp_path / f"state-{len(headers or ())}", operating=operating)
        send(described(app), mode, statuses, headers)
    assert {401, 403, 429} <= statuses


def test_every_refusal_has_one_form_and_the_keys_are_described(small: Path, tmp_path: Path) -> None:
    schema = create_app(small, tmp_path / "state").openapi()
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            refusals = {status for status in operation["responses"] if status >= "400"}
            for status in refusals:
                (content,) = operation["responses"][status]["content"].items()
                assert content == (
                    "application/json",
                    {"schema": {"$ref": "#/components/schemas/Problems"}},
                )
            if path in ("/health", "/ready"):
                assert operation["security"] == []
                continue
            assert {"401", "403", "422", "429"} <= refusals, (method, path)
            assert {"bearer": []} in operation["security"]
            if "requestBody" in operation:
                assert {"400", "413", "415"} <= refusals
    assert {"404", "409", "503"} <= set(schema["paths"]["/events"]["post"]["responses"])
    assert "503" in schema["paths"]["/ready"]["get"]["responses"]
    assert set(schema["components"]["securitySchemes"]) == {"bearer", "key"}

"""What stands in deploy/ fits the service: metrics, commands, options, files and roles."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import typer
import yaml
from compose_spec import PyCompose
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

import tastemap as tm
from tastemap.cli import app as commands
from tastemap.online import create_app
from tastemap.online.answer_cache import CacheOptions

DEPLOY = Path(__file__).parents[2] / "deploy"
# What Prometheus itself adds.
ITS_OWN = {"up"}


def loaded(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text())


def expressions() -> Iterator[tuple[str, str]]:
    """Each query of the dashboard and of the alerts, with its name."""
    board = json.loads((DEPLOY / "grafana" / "tastemap.json").read_text())
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"].replace("$__rate_interval", "1m")
    for one in board["annotations"]["list"]:
        yield one["name"], one["expr"]
    for group in loaded("alerts.yml")["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


EXPRESSIONS = list(expressions())


@pytest.fixture(scope="module")
def exposed(
    small: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, set[str]]]:
    """What a service that has been asked some things tells: by name, by label, the values."""
    app = create_app(small, tmp_path_factory.mktemp("state"), cache=CacheOptions())
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    with TestClient(app) as http, pytest.MonkeyPatch.context() as patch:
        answer = http.get("/users/u1/recommendations").json()
        item = answer["items"][0]["item"]
        http.post("/events", json={"user": "u1", "item": item, "token": answer["token"]})
        for first in range(0, 30, 5):
            # Each with a k of its own, so that it is answered anew.
            ks = range(first, first + 480, 40)
            asks = [{"user": f"u{n}", "k": 1 + k} for n in range(40) for k in ks]
            http.post("/recommendations/batch", json={"requests": asks})

        def broken(*_: object, **__: object) -> None:
            raise RuntimeError("broken")

        patch.setattr(tm.ItemKNN, "answer", broken)
        http.get("/users/u2/recommendations?k=3")
        for family in text_string_to_metric_families(http.get("/metrics").text):
            # Also those of which nothing has been counted yet.
            counted = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}
            for end in counted.get(family.type, [""]):
                found[f"{family.name}{end}"]
            for sample in family.samples:
                for label, value in sample.labels.items():
                    found[sample.name][label].add(value)
    return found


def selected(expression: str) -> list[tuple[str, dict[str, str]]]:
    """The metrics that a query selects, each with its matchers."""
    text = re.sub(r'"[^"]*"', lambda quoted: quoted[0].replace("{", "(").replace("}", ")"),
                  expression)  # fmt: skip
    return [
        (name, dict(re.findall(r'(\w+)\s*=\s*"([^"]*)"', matchers or "")))
        for name, matchers in re.findall(r"\b((?:tastemap|process)_\w+|up)\b(?:\{([^}]*)\})?", text)
    ]


@pytest.mark.parametrize(
    ("title", "expression"), EXPRESSIONS, ids=[name for name, _ in EXPRESSIONS]
)
def test_every_query_is_promql_of_metrics_that_there_are(
    exposed: dict[str, dict[str, set[str]]], title: str, expression: str
) -> None:
    promql_parser.parse(expression)
    chosen = selected(expression)
    assert chosen, f"{title} asks for nothing of ours"
    labels: set[str] = set()
    for name, matchers in chosen:
        if name in ITS_OWN:
            return
        assert name in exposed, f"{title}: no metric {name}"
        labels |= set(exposed[name])
        for label, value in matchers.items():
            if label != "job":
                assert value in exposed[name][label], f"{title}: {name} has no {label}={value}"
    for listed in re.findall(r"\bby \(([^)]*)\)", expression):
        assert {label.strip() for label in listed.split(",")} <= labels, title


def test_the_dashboard_shows_what_is_watched() -> None:
    board = json.loads((DEPLOY / "grafana" / "tastemap.json").read_text())
    asked = {name for _, expression in EXPRESSIONS for name, _ in selected(expression)}
    for name in (
        "requests_total", "request_seconds_bucket", "stage_seconds_bucket", "clicks_total",
        "impressions_total", "stage_failures_total", "breaker_open", "events_total", "drift",
        "newest_event_age_seconds", "release_age_seconds", "release_info", "ready",
    ):  # fmt: skip
        assert f"tastemap_{name}" in asked
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert not cells & taken, f"{panel['title']} covers another panel"
        assert max(x for x, _ in cells) < 24
        taken |= cells
    (source,) = loaded("grafana/provisioning/datasources/prometheus.yaml")["datasources"]
    used = {panel["datasource"]["uid"] for panel in board["panels"] if panel["type"] != "row"}
    assert used == {source["uid"]}


def services() -> dict[str, Any]:
    found: dict[str, Any] = loaded("compose.yaml")["services"]
    return found


def test_the_composition_is_valid() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    merged = yaml.safe_load(text)
    for extension in [name for name in merged if name.startswith("x-")]:
        del merged[extension]
    composed = PyCompose.from_yaml(yaml.safe_dump(merged))
    composed.validate()
    assert set(composed.service_names()) == set(services()) >= {
        "serve", "ingest", "trainer", "kafka", "redis", "prometheus", "grafana"
    }  # fmt: skip
    volumes, secrets = set(merged["volumes"]), set(merged["secrets"])
    for name, service in services().items():
        for other in service.get("depends_on", []):
            assert other in services(), name
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in volumes or (DEPLOY / source).exists(), volume
        assert set(service.get("secrets", [])) <= secrets
        # Nothing listens to other machines.
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
    scraped = loaded("prometheus.yml")["scrape_configs"][0]["static_configs"][0]["targets"]
    assert scraped == ["serve:8000"]
    for name in loaded("prometheus.yml")["rule_files"]:
        assert f"./{name}:/etc/prometheus/{name}:ro" in services()["prometheus"]["volumes"]


OURS = {name: one["command"] for name, one in services().items() if one["image"] == "tastemap"}


@pytest.mark.parametrize("name", OURS)
def test_each_command_of_the_composition_exists(name: str) -> None:
    word, *arguments = OURS[name]
    root = typer.main.get_command(commands)
    command = root.commands[word]  # type: ignore[attr-defined]
    known = {option for parameter in command.params for option in parameter.opts}
    asked = {argument.split("=")[0] for argument in arguments if argument.startswith("--")}
    known |= {option for parameter in command.params for option in parameter.secondary_opts}
    assert asked <= known
    for parameter in command.params:
        if parameter.required:
            assert asked & set(parameter.opts), f"{name} lacks {parameter.opts[0]}"


def test_the_image_serves_as_the_composition_expects() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    said = defaultdict(list)
    for line in lines:
        if line and not line.startswith(("#", " ")):
            word, _, rest = line.partition(" ")
            said[word].append(rest.strip())
    assert said["USER"] == ["tastemap"], "not as root"
    assert json.loads(said["ENTRYPOINT"][0]) == ["tastemap"]
    word, *arguments = json.loads(said["CMD"][0])
    command = typer.main.get_command(commands).commands[word]  # type: ignore[attr-defined]
    command.make_context(word, arguments, resilient_parsing=False)
    assert "/ready" in said["HEALTHCHECK"][0]
    extras = re.search(r"ARG EXTRAS=(\S+)", "\n".join(lines))
    assert extras is not None
    project = (DEPLOY.parent / "pyproject.toml").read_text()
    for extra in extras[1].split(","):
        assert re.search(rf"^{extra} = \[", project, re.MULTILINE), extra
    kept = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    for copied in said["COPY"]:
        if not copied.startswith("--from"):
            for source in copied.split()[:-1]:
                assert (DEPLOY.parent / source).exists()
                assert f"!{source.removeprefix('./')}" in kept

"""What others see of the work: log lines, figures, spans."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr
from pathlib import Path

import httpx
import pytest

import tickerlake
from tickerlake import config
from tickerlake.cli import main
from tickerlake.errors import PortInUseError, UnreachableError, hide
from tickerlake.observe import (
    Family,
    LogSettings,
    log,
    prometheus_text,
    set_up_log,
    tell,
    trace_span,
)
from tickerlake.observe.server import MetricsServer
from tickerlake.testing.sample_records import sample_bars

SECRET = "correct-horse-battery"  # noqa: S105 - nobody's


@pytest.fixture(autouse=True)
def _the_log_as_it_was() -> Iterator[None]:
    """Other tests find `logging` as pytest made it."""
    root, level = logging.getLogger(), log.level
    handlers = root.handlers[:]
    yield
    root.handlers[:] = handlers
    log.setLevel(level)


def said(settings: LogSettings) -> list[str]:
    """Lines of a few remarks, with secrets in every place where one could stand."""
    hide([SECRET])
    stderr = io.StringIO()
    with redirect_stderr(stderr):
        set_up_log(settings)
        tell(10, "read", "read a batch", {"partition": "0"})
        tell(20, "delivered", f"two rows, {SECRET}", {"rows": 2, "rate": float("nan")})
        tell(30, "refused", "kafka://me:hidden-too@host:9092", {"urls": [f"x{SECRET}"], SECRET: 1})
        logging.getLogger("pyiceberg.io").info("not ours, not important")
        logging.getLogger("pyiceberg.io").warning("not ours, password=%s", SECRET)
    return stderr.getvalue().splitlines()


def test_text_is_for_people_and_json_for_programs() -> None:
    """The same remarks as words, or one object a line with time, level, event and fields."""
    text = said(LogSettings())
    assert text[0].startswith("two rows")
    assert text[1].startswith("warning: kafka://me:••••@host")
    assert text[2].startswith("warning: pyiceberg.io: not ours, password=")
    assert len(text) == 3

    lines = [json.loads(line) for line in said(LogSettings(format="json", level="debug"))]
    assert [line["event"] for line in lines] == ["read", "delivered", "refused", "log"]
    assert [line["level"] for line in lines] == ["debug", "info", "warning", "warning"]
    assert lines[0]["partition"] == "0"
    assert (lines[1]["rows"], lines[1]["rate"]) == (2, None)
    assert all(line["ts"].endswith("Z") and line["message"] for line in lines)
    assert lines[3]["logger"] == "pyiceberg.io"

    assert len(said(LogSettings(level="error"))) == 0


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_line_shows_a_secret(form: str) -> None:
    """Neither those of the settings nor a password inside an address, wherever they stand."""
    everything = "\n".join(said(LogSettings(format=form, level="debug")))  # type: ignore[arg-type]
    assert SECRET not in everything
    assert "hidden-too" not in everything
    assert "••••" in everything


def test_a_command_logs_as_its_flags_and_variables_ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Mistakes are objects on stderr, too; secrets of the settings stand in none."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TICKERLAKE_WEB_TOKEN", SECRET)
    monkeypatch.setenv("TICKERLAKE_SOURCES_NOBODY_API_KEY", SECRET)
    assert main(["init", ".", "--log-format", "json"]) == 0
    capsys.readouterr()
    catalog = "postgres://me:hidden-too@nowhere/x"
    assert main(["status", "--catalog", catalog, "--log-format=json"]) == 2
    printed = capsys.readouterr()
    lines = [json.loads(line) for line in printed.err.splitlines()]
    assert [line["level"] for line in lines] == ["warning", "error"]
    assert lines[1]["error"] == "ConfigError"
    assert lines[1]["exit_code"] == 2
    assert SECRET not in printed.err + printed.out
    assert "hidden-too" not in printed.err + printed.out

    monkeypatch.setenv("TICKERLAKE_LOG_FORMAT", "json")
    assert main(["status", "--catalog", catalog, "--log-level", "error"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert main(["status", "--log-level", "loud"]) == 2
    assert "loud" in json.loads(capsys.readouterr().err)["message"]


def test_figures_are_written_as_prometheus_reads_them() -> None:
    """HELP and TYPE once a family; labels escaped; what is not known is left out."""
    families = [
        Family(
            "lag",
            "gauge",
            "How far\\behind,\nin records.",
            [
                ({"topic": 'a"b\\c\nd', "partition": "0"}, 3),
                ({"topic": "x"}, None),
                ({"topic": "y"}, 0.25),
            ],
        ),
        Family("done_total", "counter", "All.", [({}, 12_345_678_901), ({"x": "1"}, float("inf"))]),
    ]
    assert prometheus_text(families).splitlines() == [
        r"# HELP lag How far\\behind,\nin records.",
        "# TYPE lag gauge",
        r'lag{topic="a\"b\\c\nd",partition="0"} 3',
        'lag{topic="y"} 0.25',
        "# HELP done_total All.",
        "# TYPE done_total counter",
        "done_total 12345678901",
        'done_total{x="1"} +Inf',
    ]


def test_a_process_without_a_page_serves_its_figures() -> None:
    """`/metrics` and `/healthz`; 503 while the figures cannot be had; a taken port is an error."""
    answers = iter(["one 1\n", UnreachableError("The broker cannot be reached.")])

    def metrics() -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with MetricsServer("127.0.0.1", 0, metrics) as server:
        answer = httpx.get(f"{server.address}metrics")
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert answer.text == "one 1\n"
        for path, status in (("healthz", 200), ("metrics", 503), ("elsewhere", 404)):
            assert httpx.get(f"{server.address}{path}").status_code == status
        port = int(server.address.rstrip("/").rpartition(":")[2])
        with pytest.raises(PortInUseError):
            MetricsServer("127.0.0.1", port, metrics)


def test_spans_reach_the_tracer_that_the_process_has(tmp_path: Path) -> None:
    """With an SDK, each piece of work is a span with its attributes, and errors stand in it."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)

    def deliver() -> None:
        with trace_span("deliver", table="bars_log"):
            with trace_span("read", partition="0", records=3, nothing=None):
                pass
            raise UnreachableError("gone")

    with pytest.raises(UnreachableError):
        deliver()
    read, deliver_ = exporter.get_finished_spans()
    assert read.name == "tickerlake.read"
    assert dict(read.attributes or {}) == {"tickerlake.partition": "0", "tickerlake.records": 3}
    assert read.parent is not None
    assert deliver_.context is not None
    assert read.parent.span_id == deliver_.context.span_id
    assert not deliver_.status.is_ok

    exporter.clear()
    folder, _ = config.make_workspace(tmp_path / "one")
    with tickerlake.open(folder, settings={"streams.partitions": 1}) as opened:
        opened.stream.topic("bar").publish(sample_bars(10))
        opened.deliver(["bar"], once=True)
    steps = {each.name: dict(each.attributes or {}) for each in exporter.get_finished_spans()}
    names = ("read", "decode", "write", "commit")
    assert set(steps) == {f"tickerlake.deliver.{name}" for name in names}
    assert all(each["tickerlake.table"] == "bars_log" for each in steps.values())
    assert steps["tickerlake.deliver.read"]["tickerlake.partition"] == "0"
    assert steps["tickerlake.deliver.commit"]["tickerlake.rows"] == 10
    provider.shutdown()


def test_without_opentelemetry_a_span_is_nothing() -> None:
    """Where the API is not installed spans cost nothing; nothing imports it before the first."""
    code = (
        "import sys, importlib.util as util\n"
        "util.find_spec = lambda name: None\n"
        "import tickerlake.observe as observe\n"
        "with observe.trace_span('read', partition='0'): pass\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)

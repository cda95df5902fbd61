"""`undegrade doctor` runs all checks, and its exit code is that of the first failure."""

import pytest
from redis import Redis as BlockingRedis

from cli.embedded_redis import EmbeddedRedis


def test_doctor_runs_every_check_on_this_machine(with_bundle):
    result = with_bundle("doctor")
    rows = [[cell.strip() for cell in line.split("│")] for line in result.text.splitlines()]
    outcomes = {cells[1]: cells[2] for cells in rows if len(cells) > 3}
    checks = {"python", "torch", "torchvision", "device", "bundle", "networks", "speed", "memory", "disk", "settings"}
    assert checks <= set(outcomes)
    failed = {name for name, outcome in outcomes.items() if outcome == "FAILED"}
    assert failed <= {"memory"}  # a busy machine may have too little
    assert (result.code == 0) == (not failed)


def test_doctor_reports_each_failure_and_continues(with_bundle, monkeypatch):
    monkeypatch.setenv("UNDEGRADE_DEVICE", "cuda:99")
    monkeypatch.setenv("UNDEGRADE_BUNDLE", "nowhere")
    result = with_bundle("doctor")
    assert result.code == 4
    assert "no bundle 'nowhere'" in " ".join(result.text.replace("│", " ").split())
    assert result.text.count("FAILED") >= 3


def details(result):
    return " ".join(result.text.replace("│", " ").split())


def test_doctor_says_that_graphs_and_compile_are_off_and_how_to_switch_them_on(with_bundle, monkeypatch):
    monkeypatch.setenv("UNDEGRADE_DEVICE", "cpu")
    said = details(with_bundle("doctor"))
    assert "CUDA graphs are off: they need a CUDA device" in said
    assert "UNDEGRADE_COMPILE=true" in said


def test_doctor_says_why_compile_is_off_although_it_was_asked_for(with_bundle, monkeypatch):
    monkeypatch.setenv("UNDEGRADE_DEVICE", "cpu")
    monkeypatch.setenv("UNDEGRADE_COMPILE", "true")
    monkeypatch.setenv("CXX", "/nowhere/c++")
    said = details(with_bundle("doctor"))
    assert "although UNDEGRADE_COMPILE is true" in said and "CXX=/nowhere/c++ is not a program" in said


@pytest.fixture
def redis_row(with_bundle, monkeypatch):
    """Runs the check on Redis alone; returns its result, its details and the exit code."""
    monkeypatch.setattr("cli.doctor.CHECKS", ())

    def check(*words):
        result = with_bundle("doctor", *words)
        rows = [[cell.strip() for cell in line.split("│")] for line in result.text.splitlines() if "│" in line]
        return rows[0][2], " ".join(" ".join(cells[3:-1]) for cells in rows), result.code

    return check


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with EmbeddedRedis(tmp_path_factory.mktemp("redis"), max_megabytes=512) as redis:
        yield redis.url


def test_doctor_looks_at_no_redis_where_none_is_configured(redis_row, monkeypatch, workplace):
    monkeypatch.setenv("XDG_STATE_HOME", str(workplace))
    result, details, code = redis_row()
    assert (result, code) == ("ok", 0) and "UNDEGRADE_REDIS_URL is not set" in details


def test_doctor_describes_a_redis_that_loses_no_job(redis_row, server):
    result, details, code = redis_row("--redis-url", server)
    assert (result, code) == ("ok", 0)
    assert "appendonly yes" in details and "appendfsync everysec" in details and "of 488 MiB" in details


@pytest.mark.parametrize(
    ("setting", "value", "result", "code", "words"),
    [
        ("maxmemory-policy", "allkeys-lru", "FAILED", 5, "noeviction"),
        ("appendonly", "no", "FAILED", 5, "loses all jobs"),
        ("maxmemory", "0", "warning", 0, "maxmemory is not set"),
        ("appendfsync", "no", "warning", 0, "everysec"),
    ],
)
def test_doctor_says_what_is_wrong_with_redis_and_what_to_do(redis_row, server, setting, value, result, code, words):
    with BlockingRedis.from_url(server) as redis:
        before = redis.config_get(setting)[setting]
        redis.config_set(setting, value)
        try:
            found, details, exit_code = redis_row("--redis-url", server)
        finally:
            redis.config_set(setting, before)
    assert (found, exit_code) == (result, code) and words in details


def test_doctor_hides_the_password_of_a_redis_that_is_away(redis_row, workplace):
    result, details, code = redis_row("--redis-url", "redis://tenant:hunter2@127.0.0.1:1/0")
    assert (result, code) == ("FAILED", 5)
    assert "redis://127.0.0.1:1/0" in details and "hunter2" not in details and "tenant" not in details

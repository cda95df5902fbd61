"""The rules of Prometheus and the configuration of Alertmanager, checked by promtool and amtool themselves."""

import re
import subprocess

import pytest
import yaml
from observe_files import ALERTS, OBSERVE, ROOT, RULES, RUNBOOKS, program, rules, scaled
from rule_cases import CASES, Case, requests

from jobs.metric_table import BY_NAME

HEADINGS = ["## Meaning", "## Impact", "## How to see it", "## How to mend it"]


def check(*words):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_accepts_the_rules():
    check(program("promtool"), "check", "rules", *sorted(RULES.glob("*.yml")))


def test_promtool_accepts_the_configuration():
    check(program("promtool"), "check", "config", OBSERVE / "prometheus" / "prometheus.yml")


def test_amtool_accepts_the_configuration():
    check(program("amtool"), "check-config", OBSERVE / "alertmanager" / "alertmanager.yml")


def test_a_page_goes_to_the_pager_and_a_ticket_to_the_tickets():
    config = OBSERVE / "alertmanager" / "alertmanager.yml"
    for severity, receiver in (("page", "pager"), ("ticket", "tickets")):
        words = ["config", "routes", "test", f"--config.file={config}", f"--verify.receivers={receiver}"]
        check(program("amtool"), *words, f"severity={severity}", "service=undegrade")


def rule_test(series, minute, expression, value):
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {"expr": expression, "eval_time": f"{minute}m", "exp_samples": [{"labels": "{}", "value": value}]}
        ],
    }


def needed_groups(alert):
    """The groups of the alert and of what it and they record: all of them would take promtool ten times as long."""
    groups = [group for path in sorted(RULES.glob("*.yml")) for group in yaml.safe_load(path.read_text())["groups"]]
    recorded_in = {rule["record"]: group["name"] for group in groups for rule in group["rules"] if "record" in rule}
    needed = {group["name"] for group in groups for rule in group["rules"] if rule.get("alert") == alert}
    while True:
        inside = [
            rule["expr"]
            for group in groups
            for rule in group["rules"]
            if group["name"] in needed and rule.get("alert", alert) == alert
        ]
        more = {group for name, group in recorded_in.items() if any(name in expr for expr in inside)} - needed
        if not more:
            return [group for group in groups if group["name"] in needed]
        needed |= more


def run_rule_tests(folder, alert, every, *tests):
    tool, groups = program("promtool"), needed_groups(alert)
    for group in groups:  # other alerts need recordings of their own
        group["rules"] = [rule for rule in group["rules"] if rule.get("alert", alert) == alert]
    groups.sort(key=lambda group: any("alert" in rule for rule in group["rules"]))
    (folder / "rules.yml").write_text(yaml.safe_dump({"groups": groups}))
    content = {"rule_files": ["rules.yml"], "evaluation_interval": every, "tests": list(tests)}
    (folder / "tests.yml").write_text(yaml.safe_dump(content))
    check(tool, "test", "rules", folder / "tests.yml")


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_fires_with_its_cause_and_is_quiet_otherwise(alert, tmp_path):
    case: Case = CASES[alert]
    firing = f'clamp_max(count(ALERTS{{alertname="{alert}", alertstate="firing"}}) or vector(0), 1)'
    cases = [(series, 1) for series in (case.fires, *case.also)] + [(case.quiet, 0)]
    run_rule_tests(tmp_path, alert, "1m", *(rule_test(series, case.at, firing, value) for series, value in cases))


def test_an_alert_on_the_budget_fires_for_a_slow_burn_in_its_longer_windows(tmp_path):
    alert = "UndegradeRequestErrorBudgetBurn"
    for window, bad, value in (("6h", "0+1x400", 1), ("1h", "0+1x400", 0), ("6h", "0+0x400", 0)):
        firing = f'count(ALERTS{{alertname="{alert}", window="{window}", alertstate="firing"}}) or vector(0)'
        slow = rule_test(requests("0+99x400", bad), 390, firing, value)
        run_rule_tests(tmp_path, alert, "5m", slow)


def test_an_alert_says_what_where_and_how_to_mend(tmp_path):
    tool = program("promtool")
    page = "https://wiki.example/undegrade/"
    alert = {
        "eval_time": "5m", "alertname": "UndegradeRedisDown",
        "exp_alerts": [{
            "exp_labels": {"severity": "page", "service": "undegrade"},
            "exp_annotations": {
                "summary": "Redis does not answer",
                "description": "At least one API cannot reach Redis. It answers 503, and no job can be submitted "
                "there.",
                "runbook_url": f"{page}docs/runbooks/UndegradeRedisDown.md",
            },
        }],
    }  # fmt: skip
    test = {
        "interval": "1m", "external_labels": {"runbook_base": page}, "alert_rule_test": [alert],
        "input_series": [{"series": "undegrade_redis_up", "values": "0+0x10"}],
    }  # fmt: skip
    file = tmp_path / "tests.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES / "alerts.yml")], "tests": [test]}))
    check(tool, "test", "rules", file)


def test_every_alert_has_a_case_and_every_case_an_alert():
    assert sorted(CASES) == ALERTS


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_has_a_runbook_with_what_an_operator_needs(alert):
    text = (RUNBOOKS / f"{alert}.md").read_text()
    assert text.startswith(f"# {alert}\n")
    assert re.findall(r"^## .*$", text, re.MULTILINE) == HEADINGS
    for rule in rules():
        if rule.name == alert:
            url = rule.fields["annotations"]["runbook_url"]
            assert url == "{{ $externalLabels.runbook_base }}" + f"docs/runbooks/{alert}.md"
            assert rule.fields["labels"]["severity"] in ("page", "ticket")


def test_every_runbook_is_of_an_alert():
    assert sorted(path.stem for path in RUNBOOKS.glob("*.md")) == ALERTS


def test_every_alert_is_in_the_page_of_alerts():
    text = (ROOT / "docs" / "alerts.md").read_text()
    assert sorted(re.findall(r"^\| \[(\w+)\]\(runbooks/\1\.md\)", text, re.MULTILINE)) == ALERTS


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.name)
def test_a_rule_names_metrics_and_recordings_that_exist(rule):
    recorded = {other.name for other in rules() if not other.alert}
    for name in re.findall(r"\bundegrade:[a-z0-9_:]+", rule.expr):
        assert name in recorded
    for name in re.findall(r"(?<!:)\b(undegrade_[a-z_]+)", rule.expr):
        parts = re.fullmatch(r"(.+?)_(?:bucket|sum|count)", name)
        of_histogram = parts is not None and BY_NAME.get(parts[1]) is not None and BY_NAME[parts[1]].kind == "histogram"
        assert name in BY_NAME or of_histogram


def test_the_targets_of_the_lanes_are_the_bounds_that_are_counted_and_buckets_of_the_histogram():
    for metric in ("job_seconds", "queue_wait_seconds"):
        targets = {
            rule.fields["labels"]["lane"]: float(re.fullmatch(r"vector\((\d+)\)", rule.expr)[1])
            for rule in rules()
            if rule.name == f"undegrade:{metric}:target"
        }
        assert targets.keys() == {"interactive", "standard", "bulk"}
        assert set(targets.values()) <= set(BY_NAME[f"undegrade_{metric}"].buckets)
        slow = [rule for rule in rules() if rule.name.startswith(f"undegrade:{metric}_slow:")]
        assert len(slow) == 5
        for rule in slow:
            assert {lane: float(le) for lane, le in re.findall(r'lane="(\w+)", le="([\d.]+)"', rule.expr)} == targets


def test_a_recording_differs_between_windows_in_the_window_alone():
    by_name = {}
    for rule in rules():
        name, _, window = rule.name.rpartition("_rate")
        if (not rule.alert and "_slow:" in name) or name.endswith("errors:ratio"):
            assert set(re.findall(r"\[(\w+)\]", rule.expr)) == {window}
            by_name.setdefault(name, set()).add(rule.expr.replace(f"[{window}]", "[]"))
    assert len(by_name) == 4
    assert all(len(expressions) == 1 for expressions in by_name.values())


def test_shorter_rules_for_tests_have_the_same_expressions():
    text = "- alert: A5m\n  expr: rate(a_rate5m[5m]) > 300 and b[1h] > 2\n  for: 10m\n  labels: {window: 1h}\n"
    shorter = "- alert: A5m\n  expr: rate(a_rate5m[10s]) > 300 and b[120s] > 2\n  for: 20s\n  labels: {window: 1h}\n"
    assert scaled(text, 30) == shorter

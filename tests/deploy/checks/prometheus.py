"""Recording and alert rules, by promtool."""

import functools
import re

import yaml

import incidents
from checks.helm import FULL, _render
from checks.kubernetes import of_kind
from lib import DEPLOY, ROOT, check, equal, folder, holds, tool

RULES = [DEPLOY / "prometheus" / name for name in ("recording.rules.yaml", "alerts.rules.yaml")]
RUNBOOK = ROOT / "docs" / "runbook.md"


@functools.cache
def rules():
    """Every rule of the two files."""
    return [rule for path in RULES for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


def alerts():
    """The alerts, by name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


@functools.cache
def known_metrics():
    """Names that the source declares, those that the rules record, and those of Prometheus itself."""
    declared = set()
    for path in (ROOT / "src" / "telemetry").rglob("*.rs"):
        declared |= set(re.findall(r'"((?:tollgate|process)_\w+)"', path.read_text()))
    parts = {f"{name}_{part}" for name in declared for part in ("bucket", "sum", "count")}
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    return declared | parts | recorded


def unknown_metrics(expression):
    """Names of ours in an expression that nothing makes, and values of closed labels that the source does not know."""
    chosen = [name for names in re.findall(r'__name__=~"([^"]+)"', expression) for name in names.split("|")]
    names = set(re.findall(r"\b(?:tollgate|process)[_:][\w:]*", re.sub(r'"[^"]*"', "", expression))) | set(chosen)
    return sorted(names - known_metrics())


def unknown_values(expression):
    """Values of labels with a closed set, named in an expression, that do not stand in the source."""
    source = _source()
    named = re.findall(r'\b(?:reason|state|outcome|judge)\s*!?=~?\s*"([^"]+)"', expression)
    values = {value for each in named for value in each.split("|")}
    return sorted(value for value in values if f'"{value}"' not in source)


@functools.cache
def _source():
    return "".join(path.read_text() for part in ("telemetry", "event") for path in (ROOT / "src" / part).rglob("*.rs"))


@check("promtool takes the rules")
def taken():
    tool("promtool", "check", "rules", "--lint=all", "--lint-fatal", *RULES)


@check("scripted incidents fire exactly the alerts that belong to them, and a quiet day none")
def fire():
    with folder() as here:
        tests = {"rule_files": [str(path) for path in RULES], "evaluation_interval": "1m", "tests": incidents.tests(incidents.INCIDENTS)}
        (here / "incidents.yaml").write_text(yaml.safe_dump(tests))
        tool("promtool", "test", "rules", here / "incidents.yaml")


@check("every alert fires in an incident, and has a severity, a summary and an entry of the runbook")
def documented():
    fired = {name for incident in incidents.INCIDENTS for names in incident.firing.values() for name in names}
    equal(fired, set(alerts()), "the alerts that fire")
    entries = re.findall(r"(?m)^### (Tollgate\w+)$", RUNBOOK.read_text())
    equal(sorted(entries), sorted(alerts()), "the entries of the runbook")
    for name, rule in alerts().items():
        holds(rule["labels"]["severity"] in {"critical", "warning"}, f"{name} has a severity")
        equal(rule["annotations"]["runbook"], f"docs/runbook.md#{name.lower()}", f"the entry of {name}")
        holds(rule["annotations"]["summary"], f"{name} has a summary")


@check("each entry of the runbook says what it means, what to look at and what to do")
def entries():
    text = RUNBOOK.read_text()
    for name in alerts():
        entry = re.search(rf"(?ms)^### {name}\n(.*?)(?=^##|\Z)", text)[1]
        for heading in ("**Means.**", "**Look.**", "**Do.**"):
            holds(heading in entry, f"{name} has {heading}")


@check("every metric and every value of a label in the rules exists in the source")
def exist():
    for rule in rules():
        name = rule.get("alert") or rule["record"]
        equal(unknown_metrics(rule["expr"]), [], f"metrics of {name} that nothing makes")
        equal(unknown_values(rule["expr"]), [], f"values of labels of {name} that do not exist")
    for series in incidents.QUIET:
        equal([name for name in unknown_metrics(series)], [], "metrics of the incidents that nothing makes")


@check("the rules of the chart are those of the files")
def of_the_chart():
    groups = of_kind(_render(FULL, "edge"), "PrometheusRule")["spec"]["groups"]
    equal([rule for group in groups for rule in group["rules"]], rules(), "the rules")
    with folder() as here:
        (here / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))
        tool("promtool", "check", "rules", here / "rules.yaml")


@check("the configuration of Prometheus in compose.yaml is taken by promtool")
def configured():
    text = (DEPLOY / "compose" / "prometheus.yaml").read_text()
    with folder() as here:
        (here / "prometheus.yaml").write_text(text.replace("/etc/prometheus/", f"{DEPLOY / 'prometheus'}/"))
        tool("promtool", "check", "config", here / "prometheus.yaml")


@check("the adapter of the autoscaler makes the metric that it asks for, of metrics that exist")
def adapted():
    [rule] = yaml.safe_load((DEPLOY / "prometheus" / "adapter.yaml").read_text())["rules"]["custom"]
    wanted = yaml.safe_load((DEPLOY / "kubernetes" / "base" / "horizontalpodautoscaler.yaml").read_text())
    equal(rule["name"]["as"], wanted["spec"]["metrics"][0]["pods"]["metric"]["name"], "the metric")
    equal(unknown_metrics(rule["seriesQuery"] + rule["metricsQuery"]), [], "metrics that nothing makes")
    query = rule["metricsQuery"].replace("<<.GroupBy>>", "pod").replace("<<.LabelMatchers>>", 'namespace="a"')
    with folder() as here:
        (here / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "a", "rules": [{"record": "a:b", "expr": query}]}]}))
        tool("promtool", "check", "rules", here / "rules.yaml")

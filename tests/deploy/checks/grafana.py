"""The dashboard of Grafana and how it is provisioned. Grafana itself is not run here; its queries are, against a real
Prometheus, by the client tests (tests/clients/cases/prometheus.py)."""

import json
import re

import yaml

from checks.prometheus import unknown_metrics, unknown_values
from lib import DEPLOY, check, equal, folder, holds, tool

GRAFANA = DEPLOY / "grafana"
DASHBOARD = GRAFANA / "dashboards" / "tollgate.json"


def _panels():
    return json.loads(DASHBOARD.read_text())["panels"]


def _queries():
    return [(panel["title"], target["expr"]) for panel in _panels() for target in panel.get("targets", [])]


def plain(expression):
    """An expression with what Grafana would put for its variables."""
    expression = re.sub(r"\$__(rate_interval|range|interval)", "5m", expression)
    return re.sub(r"\$(job|instance|project|logstore)\b", ".*", expression)


@check("the panels of the dashboard have titles and ids of their own, and none lies on another")
def laid_out():
    dashboard = json.loads(DASHBOARD.read_text())
    equal(dashboard["uid"], "tollgate", "the uid")
    panels = _panels()
    ids = [panel["id"] for panel in panels]
    equal(len(set(ids)), len(ids), "ids that are their own")
    titles = [panel["title"] for panel in panels if panel["type"] != "row"]
    holds(all(titles), "every panel has a title")
    cells = set()
    for panel in panels:
        place = panel["gridPos"]
        holds(place["x"] + place["w"] <= 24, f"{panel['title']} is within the width")
        taken = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        holds(not cells & taken, f"{panel['title']} lies on another panel")
        cells |= taken
    for panel in panels:
        if panel["type"] != "row":
            holds(panel["targets"] and panel["fieldConfig"]["defaults"]["unit"], f"{panel['title']} has queries and a unit")
    variables = {each["name"] for each in dashboard["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", DASHBOARD.read_text())) - {"__rate_interval", "__range", "__all"}
    equal(used - variables, set(), "variables that are used and not made")
    equal(variables - used, set(), "variables that nothing uses")


@check("every query of the dashboard is PromQL, of metrics and values of labels that exist")
def queries():
    found = _queries()
    holds(len(found) >= 30, f"there are queries: {len(found)}")
    for title, expression in found:
        equal(unknown_metrics(expression), [], f"metrics of {title} that nothing makes")
        equal(unknown_values(expression), [], f"values of labels of {title} that do not exist")
    with folder() as here:
        records = [{"record": f"panel:{number}", "expr": plain(expression)} for number, (_, expression) in enumerate(found)]
        (here / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": records}]}))
        tool("promtool", "check", "rules", here / "rules.yaml")


@check("the totals of the dashboard leave copies for a second destination out, and count what is counted for the first time")
def totals():
    def lane(logstore):
        return f'{{instance="edge-0:8081",job="tollgate",project="shop",logstore="{logstore}"}}'

    series = []
    for logstore in ("web", "app", "web@archive"):
        place = lane(logstore)
        series += [
            {"series": f"tollgate_events_accepted_total{place}", "values": "0+600x60"},
            {"series": f"tollgate_events_held{place}", "values": "30x60"},
            {"series": f"tollgate_spool_events{place}", "values": "70x60"},
        ]
    dropped = "tollgate_events_dropped_total" + lane("web")[:-1]
    series += [
        # Seven that are counted at once, and nothing before them.
        {"series": f'{dropped},reason="stopped"}}', "values": "_x57 7x2"},
        {"series": "tollgate_spool_shed_events_total" + lane("app"), "values": "0x60"},
        {"series": "tollgate_events_dropped_total" + lane("web@archive")[:-1] + ',reason="no_room"}', "values": "_x57 9x2"},
        {"series": "tollgate_spool_expired_events_total" + lane("web@archive"), "values": "_x57 9x2"},
    ]
    panels = {panel["title"]: panel["targets"] for panel in _panels() if panel["type"] == "stat"}
    wanted = {"Events in": 20, "Events waiting": 200, "Events lost": 7}
    tests = [
        {"expr": plain(panels[title][0]["expr"]), "eval_time": "59m", "exp_samples": [{"labels": "{}", "value": value}]}
        for title, value in wanted.items()
    ]
    with folder() as here:
        test = {"name": "totals", "interval": "1m", "input_series": series, "promql_expr_test": tests}
        rules = [str(DEPLOY / "prometheus" / "recording.rules.yaml")]
        (here / "totals.yaml").write_text(yaml.safe_dump({"rule_files": rules, "evaluation_interval": "1m", "tests": [test]}))
        tool("promtool", "test", "rules", here / "totals.yaml")


@check("the provisioning names a source of data and the folder that compose.yaml mounts")
def provisioned():
    [source] = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "prometheus.yaml").read_text())["datasources"]
    services = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text())["services"]
    equal(source["url"], "http://prometheus:9090", "the source of data")
    holds("prometheus" in services, "the service of that name")
    [provider] = yaml.safe_load((GRAFANA / "provisioning" / "dashboards" / "tollgate.yaml").read_text())["providers"]
    mounts = [volume.split(":")[1] for volume in services["grafana"]["volumes"]]
    holds(provider["options"]["path"] in mounts, "the folder of dashboards is mounted")
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    equal(home, f"{provider['options']['path']}/{DASHBOARD.name}", "the page that is shown first")

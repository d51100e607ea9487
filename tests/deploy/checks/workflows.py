"""Workflow files, and the style of all YAML."""

import re

import yaml

from lib import DEPLOY, ROOT, TOOLS, check, equal, holds, tool

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
HERE = ROOT / "tests" / "deploy"


@check("yamllint finds no fault in the YAML files")
def style():
    chart = DEPLOY / "helm" / "tollgate"
    places = [ROOT / ".github", *(DEPLOY / name for name in ("compose", "kubernetes", "prometheus", "grafana")), chart / "Chart.yaml", chart / "values.yaml"]
    tool(TOOLS / "yamllint", "--strict", "--config-file", HERE / "yamllint.yaml", *places)


@check("actionlint, zizmor and the schema of workflows find no fault in .github/workflows")
def linted():
    equal([path.name for path in WORKFLOWS], ["ci.yml", "release.yml"], "the workflows")
    tool("node", HERE / "actionlint.mjs", *WORKFLOWS)
    tool(TOOLS / "zizmor", "--offline", "--quiet", *WORKFLOWS)
    tool(TOOLS / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS)


@check("actions are named by commit, every job has an end, and nothing may be written that is not named")
def bounded():
    for path in WORKFLOWS:
        text = path.read_text()
        for action in re.findall(r"uses: (\S+)", text):
            holds(re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", action), f"{action} is named by its commit")
        workflow = yaml.safe_load(text)
        equal(workflow["permissions"], {}, f"permissions of {path.name}")
        for name, job in workflow["jobs"].items():
            holds(job.get("timeout-minutes") and job.get("permissions"), f"{name} of {path.name} has an end and permissions")


@check("the scripts of the workflows name files and arguments that exist")
def exist():
    release = (ROOT / ".github" / "workflows" / "release.yml").read_text()
    dockerfile = (DEPLOY / "docker" / "Dockerfile").read_text()
    for name in set(re.findall(r"--build-arg (\w+)=", release)):
        holds(re.search(rf"(?m)^ARG {name}=", dockerfile), f"the Dockerfile takes {name}")
    for name in ("LICENSE", "README.md", "CHANGELOG.md", "SECURITY.md", "config", "deploy", "docs", ".ci/run"):
        holds((ROOT / name).exists(), f"{name} is there")

"""The image and the Compose file."""

import json
import re
import shutil
import tomllib

import yaml

from lib import DEPLOY, ROOT, TOOLS, binary, check, checked, equal, folder, holds, probed, seconds, size, tool

DOCKERFILE = DEPLOY / "docker" / "Dockerfile"
COMPOSE = DEPLOY / "compose"
SECRETS = "/run/secrets"


def _compose():
    return yaml.safe_load((COMPOSE / "compose.yaml").read_text())


@check("hadolint finds no fault in the Dockerfile")
def linted():
    tool(TOOLS / "hadolint", "--failure-threshold", "style", DOCKERFILE)


@check("the files that .dockerignore lets through are all that the build reads")
def whole_context():
    patterns = (ROOT / ".dockerignore").read_text().splitlines()
    kept = [line[1:] for line in patterns if line.startswith("!")]
    equal([line for line in patterns if line and not line.startswith(("#", "!"))], ["*"], "what is left out")
    with folder() as here:
        for name in kept:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, here / name)
        told = json.loads(tool("cargo", "metadata", "--locked", "--offline", "--no-deps", "--format-version", "1", cwd=here))
        [package] = told["packages"]
        wanted = [target["src_path"] for target in package["targets"] if target["kind"] != ["test"]]
        holds(len(wanted) >= 3, f"there is a library, a program and a build script: {wanted}")
        for source in here.glob("src/**/*.rs"):
            for name in re.findall(r'include_(?:str|bytes)!\("([^"]+)"\)', source.read_text()):
                holds((source.parent / name).resolve().is_relative_to(here) and (source.parent / name).exists(), f"{source} includes {name}")


@check("the image is of the Rust that Cargo.toml asks for, runs as a number, and asks itself how it is by a command that exists")
def in_step():
    text = DOCKERFILE.read_text()
    wanted = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["rust-version"]
    equal(re.search(r"ARG RUST_IMAGE=\S+/rust:([\d.]+)-", text)[1], wanted, "the version of Rust")
    holds(re.search(r"(?m)^USER \d+:\d+$", text), "the user is a number, as Kubernetes asks for")
    [command] = re.findall(r"(?m)^    CMD (\[.*\])$", text)
    tool(binary(), *json.loads(command)[1:], "--help")
    [command] = re.findall(r"(?m)^CMD (\[.*\])$", text)
    equal(json.loads(command)[:2], ["run", "--config"], "what it runs")


@check("compose.yaml is of the Compose specification, and its ports, mounts and secrets fit together")
def composed():
    tool(TOOLS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE / "compose.yaml")
    services = _compose()["services"]
    for name, service in services.items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                holds((COMPOSE / source).exists(), f"{name} mounts {source}, which is not there")
        for port in service["ports"] if "ports" in service else []:
            holds(port.startswith("127.0.0.1:") or port == "8080:8080", f"{name} publishes {port} beyond loopback")
    config = tomllib.loads((COMPOSE / "tollgate.toml").read_text())
    held = {port.split(":")[-1] for port in services["tollgate"]["ports"]}
    equal({config[part]["listen"].split(":")[-1] for part in ("ingest", "admin", "embedded")}, held, "the ports")
    grace = seconds(services["tollgate"]["stop_grace_period"])
    holds(grace >= 45, "stop_grace_period is stop_deadline and 20 s")
    [target] = yaml.safe_load((COMPOSE / "prometheus.yaml").read_text())["scrape_configs"][0]["static_configs"][0]["targets"]
    equal(target, "tollgate:8081", "what Prometheus asks")


@check("secrets.sh makes every secret of compose.yaml, and keeps those that are there")
def secrets_made():
    with folder() as here:
        script = shutil.copy(COMPOSE / "secrets.sh", here)
        wanted = {each["file"].removeprefix("./secrets/") for each in _compose()["secrets"].values()}
        tool("sh", script)
        made = {path.name: path.read_text() for path in (here / "secrets").iterdir()}
        equal(set(made), wanted, "the secrets")
        holds(all(len(secret) >= 40 for secret in made.values()), "they are long")
        tool("sh", script)
        equal({path.name: path.read_text() for path in (here / "secrets").iterdir()}, made, "the secrets after a second run")
        equal((here / "secrets").stat().st_mode & 0o777, 0o700, "the mode of the folder")


@check("the configuration of compose.yaml is taken by `tollgate check`, and runs though Valkey is away")
def configured():
    text = (COMPOSE / "tollgate.toml").read_text()
    checked(text, SECRETS)
    config = tomllib.loads(text)
    holds(size(config.get("limits", {}).get("memory", "256MiB")) <= 512 << 20, "limits.memory")
    text = text.replace("redis://valkey:6379", "redis://127.0.0.1:1").replace("0.0.0.0:8082", "127.0.0.1:0")
    probed(text, SECRETS, ["/healthz", "/readyz", "/metrics"])

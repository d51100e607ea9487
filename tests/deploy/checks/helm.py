"""The Helm chart, linted and rendered by helm itself."""

import tomllib

import yaml

from checks.kubernetes import configuration, in_step, of_kind, rendered, valid
from lib import DEPLOY, LAYER, check, documents, equal, folder, holds, tool

HELM = LAYER / "helm" / "helm"
CHART = DEPLOY / "helm" / "tollgate"
DIGEST = "sha256:" + "a" * 64
FULL = {
    "image": {"digest": DIGEST},
    "service": {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "annotations": {"example.com/a": "b"}},
    "ingress": {"enabled": True, "className": "alb", "hosts": [{"host": "track.example.com"}], "tls": [{"hosts": ["track.example.com"], "secretName": "track"}]},
    "autoscaling": {"enabled": False},
    "replicas": 3,
    "shutdown": {"drainDelay": 0},
    "config": yaml.safe_load((CHART / "values.yaml").read_text())["config"].replace('drain_delay = "10s"\n', ""),
    "secrets": {"create": {"admin-token": "x" * 40}},
    "persistence": {"storageClass": "fast", "whenScaled": "Delete"},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "prometheusRule": {"enabled": True},
    "serviceAccount": {"create": False, "name": "other"},
    "podLabels": {"team": "web"},
    "podAnnotations": {"example.com/c": "d"},
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "edge", "operator": "Exists"}],
    "imagePullSecrets": [{"name": "pull"}],
    "priorityClassName": "edge",
    "extraEnv": [{"name": "TZ", "value": "UTC"}],
}


def _render(values=None, release="tollgate"):
    with folder() as here:
        (here / "values.yaml").write_text(yaml.safe_dump(values or {}))
        command = [HELM, "template", release, CHART, "--namespace", "edge", "--kube-version", "1.35.0", "--values", here / "values.yaml"]
        return documents(tool(*command))


@check("helm lint finds no fault in the chart")
def linted():
    tool(HELM, "lint", "--strict", CHART)


@check("the chart renders resources that the schemas of Kubernetes take, by its defaults and with every value set")
def renders():
    resources = _render()
    valid(resources)
    in_step(resources)
    holds("replicas" not in of_kind(resources, "StatefulSet")["spec"], "the autoscaler says how many pods there are")
    full = _render(FULL, "edge")
    valid(full)
    in_step(full)
    stateful = of_kind(full, "StatefulSet")
    equal(stateful["metadata"]["name"], "edge-tollgate", "the name")
    equal(stateful["spec"]["replicas"], 3, "replicas")
    pod = stateful["spec"]["template"]["spec"]
    equal(pod["containers"][0]["image"], f"registry.example.com/tollgate@{DIGEST}", "the image")
    equal(pod["terminationGracePeriodSeconds"], 45, "the time for a stop without a delay")
    equal(pod["serviceAccountName"], "other", "the service account")
    equal({each["kind"] for each in full} - {each["kind"] for each in resources}, {"Ingress", "Secret", "ServiceMonitor", "PrometheusRule"}, "what is there besides")
    equal(of_kind(full, "Secret")["metadata"]["name"], "edge-tollgate", "the Secret")
    [volume] = [each["secret"] for each in pod["volumes"] if each["name"] == "secrets"]
    equal(volume["secretName"], "edge-tollgate", "the Secret that is mounted")


@check("a changed configuration replaces the pods, and so does a changed secret of the chart")
def rolls():
    def annotations(values):
        return of_kind(_render(values), "StatefulSet")["spec"]["template"]["metadata"]["annotations"]

    one = {"secrets": {"create": {"a": "b"}}}
    other = {"secrets": {"create": {"a": "c"}}}
    holds(annotations(one) != annotations(other), "a secret")
    holds(annotations({}) != annotations({"config": "data_dir = \"/var/lib/tollgate\"\n"}), "the configuration")


@check("values that are wrong are refused, by name")
def refused():
    for values, said in (
        ({"replicas": 0}, "replicas"),
        ({"autoscalling": {}}, "autoscalling"),
        ({"image": {"digest": "sha256:12"}}, "digest"),
        ({"secrets": {"existingSecret": "", "create": {}}}, "existingSecret"),
        ({"ingress": {"enabled": True}}, "ingress.hosts"),
        ({"autoscaling": {"metric": {"enabled": False}, "cpu": 0}}, "autoscaling needs"),
    ):
        with folder() as here:
            (here / "values.yaml").write_text(yaml.safe_dump(values))
            told = tool(HELM, "template", "tollgate", CHART, "--values", here / "values.yaml", ok=False)
            holds(said in told, f"{values} is refused for {said}: {told}")


@check("the chart and the manifests make the same pods, autoscaler, budget and policies")
def same():
    chart, manifests = _render(), rendered("base")
    pods = []
    for resources in (chart, manifests):
        pod = of_kind(resources, "StatefulSet")["spec"]["template"]["spec"]
        [container] = pod["containers"]
        container.pop("image")
        container.pop("imagePullPolicy", None)
        for volume in pod["volumes"]:
            volume.pop("configMap", None)
        pods.append(pod)
    equal(pods[0], pods[1], "the pod of the chart")
    for kind in ("HorizontalPodAutoscaler", "PodDisruptionBudget"):
        equal(of_kind(chart, kind)["spec"], of_kind(manifests, kind)["spec"], kind)
    for resources in (chart, manifests):
        ports = [port["port"] for rule in of_kind(resources, "NetworkPolicy")["spec"]["egress"] for port in rule["ports"]]
        equal(sorted(ports), [53, 53, 443, 6379], "ports that pods may connect to")
    equal(*(tomllib.loads(configuration(each)) for each in (chart, manifests)), "the configuration of the chart")

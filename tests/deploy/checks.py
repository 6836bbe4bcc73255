"""Holds the files of deploy/ to each other and to the program: `FRACTALLY_BIN=... python3 tests/deploy/checks.py`.

What can be seen without starting anything: variables and options that exist, times that suffice, labels, names and ports that
meet, who may reach whom, what the image is built from. Says all that is wrong, and exits 1 if anything is.
"""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import stacks
import yaml
from stacks import DEPLOY, ROOT

# What ending may take after the time to drain (src/life.rs).
ENDING_S = 8
PROGRAM = os.environ["FRACTALLY_BIN"]
wrong: list[str] = []


def check(holds: bool, otherwise: str) -> None:
    if not holds:
        wrong.append(otherwise)


def manual(role: str) -> str:
    """What a role says of its options, with nothing set around it."""
    return subprocess.run([PROGRAM, role, "--help"], capture_output=True, text=True, check=True, env={}).stdout


def what_the_program_knows() -> None:
    """Each variable is one that the role reads, and each process has more time to end than it gives itself."""
    for stack in stacks.every_stack():
        check(
            [process.role for process in stack.processes] == list(stacks.ROLES),
            f"{stack.name}: not a broker, a worker and a gateway",
        )
        for process in stack.processes:
            text = manual(process.role)
            known = set(re.findall(r"\[env:\s+(\w+)=", text))
            for name in process.env:
                check(name in known, f"{process.source}: `fractally {process.role}` does not read {name}")
            option = text[text.index("--drain-timeout") :]
            drain = process.option("--drain-timeout") or process.env.get("FRACTALLY_DRAIN_TIMEOUT")
            drain = float(drain or re.search(r"\[default:\s+(\d+)\]", option)[1])
            check(
                process.grace_s > drain + ENDING_S,
                f"{process.source}: {process.grace_s} s to end, where draining takes {drain} s and ending {ENDING_S} s",
            )


def systemd() -> None:
    """How units end and begin again, which systemd-analyze has no opinion of."""
    for role in stacks.ROLES:
        unit = DEPLOY / f"systemd/fractally-{role}.service"
        settings = stacks.unit_settings(unit)
        check(settings.get("KillSignal") == ["SIGTERM"], f"{unit.name}: does not drain")
        check(settings.get("RestartPreventExitStatus") == ["2"], f"{unit.name}: tries wrong options for ever")


def compose() -> None:
    """Nobody but the gateway can be reached, and from this host alone; nobody has a right that he does not need."""
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    check(services["networks"]["grid"].get("internal") is True, "compose: the grid's network leads elsewhere")
    for name, service in services["services"].items():
        check(name == "gateway" or not service.get("ports"), f"compose: {name} has ports outside")
        check(name == "gateway" or service["networks"] == ["grid"], f"compose: {name} is in other networks than the grid's")
        check(service["read_only"] and service["cap_drop"] == ["ALL"], f"compose: {name} may do more than it needs")
        check("no-new-privileges:true" in service["security_opt"], f"compose: {name} may get new privileges")
        check(name == "broker" or "broker" in service["depends_on"], f"compose: {name} does not wait for the broker")
    volume = services["services"]["broker"]["volumes"][0].split(":")[0]
    check(volume in services["volumes"], f"compose: there is no volume {volume}")


def selects(selector: dict, labels: dict) -> bool:
    """Whether a label selector chooses a pod with these labels; an empty one chooses all."""
    check(set(selector) <= {"matchLabels"}, f"kubernetes: {selector} asks for more than checks.py understands")
    return (selector.get("matchLabels") or {}).items() <= labels.items()


def kubernetes() -> None:
    """Selectors meet pods, ports have names that exist, and the strictest security standard is kept."""
    objects = stacks.manifests()
    pods = {entry["metadata"]["name"]: entry["spec"]["template"] for entry in objects if "template" in entry.get("spec", {})}
    for name, template in pods.items():
        pod, (container,) = template["spec"], template["spec"]["containers"]
        # Its variables would be taken for settings: a service fractally-worker sets FRACTALLY_WORKER_PORT, which the broker
        # reads.
        check(pod.get("enableServiceLinks") is False, f"kubernetes: {name} gets variables of services")
        check(pod.get("automountServiceAccountToken") is False, f"kubernetes: {name} gets a token that it does not need")
        context = pod["securityContext"]
        check(
            context["runAsNonRoot"] and context["seccompProfile"]["type"] == "RuntimeDefault",
            f"kubernetes: {name} is not restricted",
        )
        check(
            (context["runAsUser"], context["runAsGroup"]) == stacks.image().user,
            f"kubernetes: {name} runs as another than the image's user",
        )
        inner = container["securityContext"]
        check(
            inner["readOnlyRootFilesystem"]
            and not inner["allowPrivilegeEscalation"]
            and inner["capabilities"] == {"drop": ["ALL"]},
            f"kubernetes: {name} may do more than it needs",
        )
        volumes = [volume["name"] for volume in pod.get("volumes", [])]
        claims = [
            claim["metadata"]["name"]
            for entry in objects
            if entry["metadata"]["name"] == name
            for claim in entry["spec"].get("volumeClaimTemplates", [])
        ]
        mounted = [mount["name"] for mount in container.get("volumeMounts", [])]
        check(sorted(mounted) == sorted(volumes + claims), f"kubernetes: {name} has {volumes + claims}, and mounts {mounted}")
        check("memory" in container["resources"]["limits"], f"kubernetes: {name} has no limit of memory")

    def named_ports(labels: dict) -> dict[str, int]:
        return {
            port["name"]: port["containerPort"]
            for template in pods.values()
            if labels.items() <= template["metadata"]["labels"].items()
            for port in template["spec"]["containers"][0].get("ports", [])
        }

    for entry in objects:
        kind, name, spec = entry["kind"], entry["metadata"]["name"], entry.get("spec", {})
        where = f"kubernetes, {kind} {name}"
        if kind in ("Deployment", "StatefulSet"):
            check(selects(spec["selector"], spec["template"]["metadata"]["labels"]), f"{where}: does not select its own pods")
        if kind == "Service":
            ports = named_ports(spec["selector"])
            check(all(port["targetPort"] in ports for port in spec["ports"]), f"{where}: leads to ports that no pod has")
        if kind == "PodDisruptionBudget":
            chosen = [template for template in pods.values() if selects(spec["selector"], template["metadata"]["labels"])]
            check(len(chosen) == 1, f"{where}: is for {len(chosen)} kinds of pods")
        if kind == "HorizontalPodAutoscaler":
            target = spec["scaleTargetRef"]
            check(
                any((e["kind"], e["metadata"]["name"]) == (target["kind"], target["name"]) for e in objects),
                f"{where}: has no target",
            )
        if kind == "StatefulSet":
            check(
                any(e["kind"] == "Service" and e["metadata"]["name"] == spec["serviceName"] for e in objects),
                f"{where}: has no service",
            )

    reach(objects, pods, named_ports)

    customs = yaml.safe_load((DEPLOY / "kubernetes/kustomization.yaml").read_text())
    text = (DEPLOY / "kubernetes/kustomization.yaml").read_text()
    for path in (DEPLOY / "kubernetes").glob("*.yaml"):
        check(
            path.name == "kustomization.yaml" or f"- {path.name}\n" in text,
            f"kubernetes: {path.name} is not in kustomization.yaml",
        )
    version = re.search(r'^\[workspace\.package\]\nversion = "(.+)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
    (image,) = customs["images"]
    check(image["newTag"] == version, f"kubernetes: the image is of {image['newTag']}, the program of {version}")


def reach(objects: list[dict], pods: dict[str, dict], named_ports) -> None:
    """Who may reach which of a pod's ports, by the network policies: what the broker needs, and nobody else."""
    policies = [entry["spec"] for entry in objects if entry["kind"] == "NetworkPolicy"]

    def may(source: dict, target: dict, port: str) -> bool:
        applied = [policy for policy in policies if selects(policy["podSelector"], target)]
        if not applied:
            return True
        for rule in (rule for policy in applied for rule in policy.get("ingress", [])):
            peers = rule.get("from")
            is_peer = peers is None or any("podSelector" in peer and selects(peer["podSelector"], source) for peer in peers)
            if is_peer and any(entry["port"] == port for entry in rule["ports"]):
                return True
        return False

    labels = {template["spec"]["containers"][0]["args"][0]: template["metadata"]["labels"] for template in pods.values()}
    for policy in policies:
        ports = {entry["port"] for rule in policy.get("ingress", []) for entry in rule["ports"]}
        check(
            ports <= set(named_ports((policy["podSelector"] or {}).get("matchLabels", {}))),
            f"kubernetes: a policy names other ports: {ports}",
        )
    someone = {"app": "somebody-else"}
    for source, target, port, wanted in (
        (labels["gateway"], "broker", "clients", True),
        (labels["worker"], "broker", "workers", True),
        ({"fractally-client": "true"}, "broker", "clients", True),
        (labels["gateway"], "broker", "workers", False),
        (labels["worker"], "broker", "clients", False),
        (someone, "broker", "clients", False),
        (someone, "broker", "workers", False),
        (someone, "broker", "metrics", False),
        (someone, "gateway", "http", True),
        (someone, "worker", "http", False),
    ):
        check(
            may(source, labels[target], port) == wanted,
            f"kubernetes: {source} {'cannot' if wanted else 'can'} reach {target}'s {port}",
        )


def image() -> None:
    """The image is built with the compiler that the project asks for, from what .dockerignore leaves, and says its ports."""
    said = stacks.image()
    wanted = re.search(r'^rust-version = "(.+)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
    check(said.base == f"rust:{wanted}-alpine", f"Dockerfile: is built by {said.base}, and the project asks for Rust {wanted}")
    check(said.entrypoint == [stacks.PROGRAM], f"Dockerfile: begins with {said.entrypoint}")
    exposed = {
        int(word.rsplit(":", 1)[1])
        for process in stacks.of_compose().processes
        for word in process.args
        if re.search(r":\d+$", word)
    }
    check(exposed == said.exposed, f"Dockerfile: exposes {said.exposed}")

    patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]

    def is_left_out(path: str) -> bool:
        # As Docker does: patterns are for whole paths from the root, and one for a folder is for all that is in it.
        parts = path.split("/")
        heads = ["/".join(parts[: end + 1]) for end in range(len(parts))]
        return any(
            fnmatch.fnmatch(head, pattern.removeprefix("**/")) and ("**/" in pattern or head.count("/") == pattern.count("/"))
            for pattern in patterns
            for head in (heads + parts if "**/" in pattern else heads)
        )

    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\0"
    )[:-1]
    sent = [path for path in tracked if not is_left_out(path) and (ROOT / path).is_file()]
    for path in (".git/config", "target/debug/fractally", "fuzz/target/x"):
        check(is_left_out(path), f".dockerignore: {path} is sent")
    sources = [
        path
        for path in tracked
        if re.search(r"(^|/)(src|web)/|(^|/)Cargo\.(toml|lock)$", path) and not path.startswith(("fuzz/", "tests/"))
    ]
    check(set(sources) <= set(sent), f".dockerignore: the build lacks {sorted(set(sources) - set(sent))[:5]}")
    with tempfile.TemporaryDirectory() as folder:
        for path in sent:
            target = Path(folder, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, target)
        told = subprocess.run(
            ["cargo", "metadata", "--locked", "--no-deps", "--format-version", "1"], cwd=folder, capture_output=True, text=True
        )
        check(told.returncode == 0, f".dockerignore: cargo does not find its way in what is left: {told.stderr.strip()}")


def readme() -> None:
    """What README.md names is there, and what is there it names."""
    text = (DEPLOY / "README.md").read_text()
    for path in re.findall(r"\]\(([^)#:]+)\)", text):
        check((DEPLOY / path).exists(), f"README.md: links to {path}, which is not there")
    for path in DEPLOY.iterdir():
        check(path.name in text or path.name == "README.md", f"README.md: does not name {path.name}")


if __name__ == "__main__":
    for part in (what_the_program_knows, systemd, compose, kubernetes, image, readme):
        part()
    print(*wrong, sep="\n", end="\n" if wrong else "", file=sys.stderr)
    sys.exit(bool(wrong))

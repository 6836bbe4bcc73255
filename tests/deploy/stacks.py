"""What the files of deploy/ say: as lists of processes, whoever is meant to start them.

A `Process` is what systemd, a container engine or a kubelet would start: arguments, variables, what is mounted, who is asked
whether it is well, and how long it may take to end. lab.py starts them; checks.py holds them to each other. The files are read
as they are; what has no meaning here (hardening, limits of memory) is left to the tools that know it.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
PROGRAM = "/usr/local/bin/fractally"
ROLES = ("broker", "worker", "gateway")


@dataclass
class Probe:
    """A question to a process: a command in its place, or a path over HTTP. The seconds are those that an answer may take."""

    command: list[str] | None = None
    port: int | None = None
    path: str | None = None
    timeout_s: float = 1


@dataclass
class Process:
    """One role, as somebody starts it. `args` has no program in front; `host` are the names that others find it by."""

    role: str
    source: str
    args: list[str]
    env: dict[str, str] = field(default_factory=dict)
    host: list[str] = field(default_factory=list)
    published: dict[int, int] = field(default_factory=dict)
    writable: list[str] = field(default_factory=list)
    state: str | None = None
    probes: list[Probe] = field(default_factory=list)
    grace_s: float = 0

    def option(self, name: str) -> str | None:
        """The value of an option on its command line, as `--name value` or `--name=value`."""
        words = [part for word in self.args for part in (word.split("=", 1) if word.startswith("--") else [word])]
        return words[words.index(name) + 1] if name in words else None


@dataclass
class Stack:
    """A grid as one way of running it starts it."""

    name: str
    processes: list[Process]

    def __getitem__(self, role: str) -> Process:
        return next(process for process in self.processes if process.role == role)


def seconds(text: str) -> float:
    """Seconds of `45s`, `2m` or `45`."""
    number, unit = re.fullmatch(r"(\d+)(s|m)?", str(text)).groups()
    return int(number) * (60 if unit == "m" else 1)


# systemd
# ------------------------------------------------------------------------------------------------------------------------------


def unit_settings(path: Path) -> dict[str, list[str]]:
    """All values of each setting of a unit, in order."""
    settings: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith(("#", ";", "[")):
            settings.setdefault(name.strip(), []).append(value.strip())
    return settings


def env_file(path: Path, with_examples: bool) -> dict[str, str]:
    """The variables that a file for EnvironmentFile= sets; with its examples, the lines `# NAME=value`, if they are wanted."""
    pattern = re.compile(r"^(?:# )?([A-Z][A-Z_]*)=(.*)$" if with_examples else r"^([A-Z][A-Z_]*)=(.*)$")
    return dict(match.groups() for match in map(pattern.match, path.read_text().splitlines()) if match)


def of_systemd(with_examples: bool) -> Stack:
    """The three units, with their settings as shipped, or with every example in them put to use."""
    processes = []
    for role in ROLES:
        unit = DEPLOY / f"systemd/fractally-{role}.service"
        settings = unit_settings(unit)
        env = dict(pair.split("=", 1) for pair in settings["Environment"])
        for name, value in env.items():
            env[name] = value.replace("%S", "/var/lib")
        (file,) = settings["EnvironmentFile"]
        assert file == f"-/etc/fractally/{role}.env", f"{unit}: EnvironmentFile={file}"
        env |= env_file(DEPLOY / f"systemd/{role}.env", with_examples)
        program, *args = settings["ExecStart"][-1].split()
        assert program == PROGRAM, f"{unit}: ExecStart= runs {program}"
        words = []
        for word in args:
            words += env.get(word[1:], "").split() if word.startswith("$") else [word]
        state = f"/var/lib/{settings['StateDirectory'][0]}" if "StateDirectory" in settings else None
        processes.append(
            Process(
                role=role,
                source=str(unit.relative_to(ROOT)),
                args=words,
                env={name: value for name, value in env.items() if name != "OPTIONS"},
                host=[f"{role}.lan"],
                # PrivateTmp= and StateDirectory=.
                writable=["/tmp"] if settings.get("PrivateTmp") == ["yes"] else [],
                state=state,
                grace_s=seconds(settings["TimeoutStopSec"][-1]),
            )
        )
    return Stack("systemd, every example" if with_examples else "systemd", processes)


# Containers
# ---------------------------------------------------------------------------------------------------------------------------


def of_compose() -> Stack:
    """The services of compose.yaml; of the workers, one."""
    path = DEPLOY / "compose.yaml"
    compose = yaml.safe_load(path.read_text())
    processes = []
    for name, service in compose["services"].items():
        writable = [entry.split(":")[0] for entry in service.get("tmpfs", [])]
        volumes = [entry.split(":")[1] for entry in service.get("volumes", [])]
        published = {}
        for port in service.get("ports", []):
            address, outside, inside = re.fullmatch(r"([\d.]+):(?:\$\{\w+:-)?(\d+)\}?:(\d+)", port).groups()
            assert address == "127.0.0.1", f"{path}: {name} is published at {address}"
            published[int(outside)] = int(inside)
        health = service.get("healthcheck")
        probes = []
        if health:
            assert health["test"][0] == "CMD", f"{path}: {name}'s health check needs a shell, which the image has not"
            probes.append(Probe(command=health["test"][1:], timeout_s=seconds(health["timeout"])))
        processes.append(
            Process(
                role=service["command"][0],
                source=f"{path.relative_to(ROOT)}, {name}",
                args=list(map(str, service["command"])),
                env={key: str(value) for key, value in service.get("environment", {}).items()},
                host=[name],
                published=published,
                writable=writable + ([] if service["read_only"] else ["/"]),
                state=volumes[0] if volumes else None,
                probes=probes,
                grace_s=seconds(service["stop_grace_period"]),
            )
        )
    return Stack("compose", processes)


def manifests() -> list[dict]:
    """Every object of deploy/kubernetes/, those that are optional included."""
    paths = sorted(path for path in (DEPLOY / "kubernetes").glob("*.yaml") if path.name != "kustomization.yaml")
    return [entry for path in paths for entry in yaml.safe_load_all(path.read_text())]


def of_kubernetes() -> Stack:
    """A pod of each StatefulSet and Deployment."""
    processes = []
    objects = manifests()
    services = [entry for entry in objects if entry["kind"] == "Service"]
    for entry in objects:
        if entry["kind"] not in ("Deployment", "StatefulSet"):
            continue
        template = entry["spec"]["template"]
        pod = template["spec"]
        (container,) = pod["containers"]
        ports = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
        mounts = {mount["name"]: mount["mountPath"] for mount in container.get("volumeMounts", [])}
        claims = [claim["metadata"]["name"] for claim in entry["spec"].get("volumeClaimTemplates", [])]
        env = {}
        for variable in container.get("env", []):
            reference = variable.get("valueFrom", {}).get("resourceFieldRef")
            limits = container["resources"]["limits"]
            env[variable["name"]] = str(limits[reference["resource"].split(".")[1]] if reference else variable["value"])
        probes = []
        for kind in ("readinessProbe", "livenessProbe"):
            probe = container.get(kind)
            if probe and "exec" in probe:
                probes.append(Probe(command=probe["exec"]["command"], timeout_s=probe.get("timeoutSeconds", 1)))
            elif probe:
                http = probe["httpGet"]
                probes.append(Probe(port=ports[http["port"]], path=http["path"], timeout_s=probe.get("timeoutSeconds", 1)))
        selected = [s for s in services if s["spec"]["selector"].items() <= template["metadata"]["labels"].items()]
        processes.append(
            Process(
                role=container["args"][0],
                source=f"deploy/kubernetes, {entry['kind']} {entry['metadata']['name']}",
                args=container["args"],
                env=env,
                host=[service["metadata"]["name"] for service in selected],
                writable=[path for name, path in mounts.items() if name not in claims],
                state=next((mounts[claim] for claim in claims), None),
                probes=probes,
                grace_s=pod["terminationGracePeriodSeconds"],
            )
        )
    return Stack("kubernetes", sorted(processes, key=lambda process: ROLES.index(process.role)))


def every_stack() -> list[Stack]:
    """All ways of running a grid that deploy/ has, but Slurm's, which has a test of its own."""
    return [of_systemd(False), of_systemd(True), of_compose(), of_kubernetes()]


# The image
# ----------------------------------------------------------------------------------------------------------------------------


@dataclass
class Image:
    """What the Dockerfile says of the image: what is done to /image before it is copied, and how a container begins."""

    base: str
    layout: list[str]
    entrypoint: list[str]
    user: tuple[int, int]
    path: str
    exposed: set[int]


def image() -> Image:
    """The Dockerfile, read."""
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]

    def last(word: str) -> str:
        return [line.split(None, 1)[1] for line in lines if line.split()[0] == word][-1]

    layout = [line.split(None, 1)[1] for line in lines if line.startswith("RUN install -d")]
    user, group = last("USER").split(":")
    return Image(
        base=next(line.split()[1] for line in lines if line.startswith("FROM ")),
        layout=layout,
        entrypoint=yaml.safe_load(last("ENTRYPOINT")),
        user=(int(user), int(group)),
        path=dict(pair.split("=", 1) for pair in shlex.split(last("ENV")))["PATH"],
        exposed=set(map(int, last("EXPOSE").split())),
    )

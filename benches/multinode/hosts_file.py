"""The hosts file: which machines there are, one a line. No connections are made here.

[user@]host[:port] [threads=N] [dir=PATH] [role=broker|worker|client] [address=IP]      # a comment
"""

import dataclasses
import ipaddress
import re

from errors import Usage

THREADS_MAX = 128  # of one worker process, as the protocol has it
HOSTS_MAX = 256
FOLDER = "fractally-multinode"
ROLES = ("broker", "worker", "client")
WHERE = re.compile(r"(?:(?P<user>[^@\s]+)@)?(?P<host>\[[0-9A-Fa-f:.]+\]|[^@:\s\[\]]+)(?::(?P<port>[^:]*))?")


@dataclasses.dataclass(frozen=True)
class HostLine:
    """One host as its line describes it."""

    line: int
    name: str  # what logs and tables call it; no two are the same
    user: str | None
    host: str
    port: int | None
    threads: int | None  # of its worker; None leaves it to the program: one a core
    folder: str  # absolute, or below the user's home
    role: str | None
    address: str | None  # where other hosts reach it

    @property
    def destination(self):
        return f"{self.user}@{self.host}" if self.user else self.host


def read(path):
    """The hosts of a file, in its order."""
    try:
        with open(path, encoding="utf-8-sig") as file:  # as some editors write it, with a mark before the first line
            return parse(file.read(), path)
    except (OSError, UnicodeDecodeError) as error:
        raise Usage(f"{path}: the hosts file cannot be read: {error}") from None


def parse(text, source):
    """The hosts that a text names. Every line that is wrong is told, with its number."""
    found, wrong = [], []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#", 1)[0].split()
        if not words:
            continue
        try:
            found.append(host_line(number, words, found))
        except ValueError as error:
            wrong.append(f"{source}:{number}: {error}")
    wrong += [] if wrong else wrong_together(found, source)
    if wrong:
        raise Usage("\n".join(wrong))
    return found


def host_line(number, words, before):
    unseen = [word for word in words if not word.isprintable()]
    if unseen:
        raise ValueError(f"{unseen[0]!r} has characters in it that nobody sees")
    where = WHERE.fullmatch(words[0])
    if not where or words[0].startswith("-") or where["host"].startswith("-"):
        raise ValueError(f"{words[0]!r} is not [user@]host[:port]; an IPv6 address stands in brackets")
    options = {}
    for word in words[1:]:
        key, is_option, value = word.partition("=")
        if not is_option or key not in READERS:
            raise ValueError(f"{word!r} is none of threads=N, dir=PATH, role={'|'.join(ROLES)}, address=IP")
        if key in options:
            raise ValueError(f"{key}= stands there twice")
        options[key] = READERS[key](value)
    host, port = where["host"].strip("[]"), where["port"]
    port = None if port is None else whole(port, "the port", 65535)
    folder = options.get("dir", FOLDER)
    for other in before:
        if (other.user, other.host, other.port, other.folder) == (where["user"], host, port, folder):
            raise ValueError(f"{words[0]} with this folder stands on line {other.line} already; give one of them another dir=")
    name = unused_name(words[0].split("@")[-1], before)
    return HostLine(
        number, name, where["user"], host, port, options.get("threads"), folder, options.get("role"), options.get("address")
    )


def unused_name(wanted, before):
    taken = {other.name for other in before}
    names = [wanted] + [f"{wanted}-{number}" for number in range(2, len(taken) + 3)]
    return next(name for name in names if name not in taken)


def whole(text, what, most):
    if not re.fullmatch(r"[0-9]{1,6}", text) or not 1 <= int(text) <= most:
        raise ValueError(f"{what} must be a whole number from 1 to {most}, not {text!r}")
    return int(text)


def folder(text):
    if not text or text.startswith("~") or ".." in text.split("/"):
        raise ValueError(f"dir= must be an absolute path, or one below the home folder without ~ or .., not {text!r}")
    return text.rstrip("/") or "/"


def role(text):
    if text not in ROLES:
        raise ValueError(f"role= must be one of {', '.join(ROLES)}, not {text!r}")
    return text


def address(text):
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(f"address= must be an IP address, not {text!r}") from None


READERS = {"threads": lambda text: whole(text, "threads=", THREADS_MAX), "dir": folder, "role": role, "address": address}


def wrong_together(found, source):
    """What no single line is to blame for."""
    if not found:
        return [f"{source}: there is no host in it"]
    if len(found) > HOSTS_MAX:
        return [f"{source}: {len(found)} hosts; {HOSTS_MAX} is the limit"]
    wrong = []
    for only in ("broker", "client"):
        of_role = [host for host in found if host.role == only]
        wrong += [f"{source}:{host.line}: line {of_role[0].line} has role={only} already" for host in of_role[1:]]
    if all(host.role in ("broker", "client") for host in found):
        wrong.append(f"{source}: no host is left for a worker; leave role= out where one may work too")
    return wrong


def broker_of(hosts):
    """The host with role=broker, or the first that is no client: that one works too, where it has no role."""
    with_role = [host for host in hosts if host.role == "broker"]
    return (with_role or [host for host in hosts if host.role != "client"])[0]


def client_of(hosts):
    """The host with role=client, or the broker's."""
    with_role = [host for host in hosts if host.role == "client"]
    return with_role[0] if with_role else broker_of(hosts)


def workers_of(hosts):
    """The hosts that work, in the order of the file."""
    return [host for host in hosts if host.role in (None, "worker")]

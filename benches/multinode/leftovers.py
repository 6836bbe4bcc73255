"""`--clean`: what runs that were killed left, here and on the hosts of a file. A run that lives is left alone."""

import os
import platform
import re
import shutil

import hosts_file
import namespaces
import ssh
from errors import Failure
from host import end_marked, quoted


def clean(options, say):
    """Removes what killed runs left: here, and on the hosts of a file. A host that cannot be reached costs no other."""
    removed = namespaces.clean(say) if os.geteuid() == 0 or not options.hosts else 0
    missed = []
    if options.hosts:
        ssh.needed()
        lines = hosts_file.read(options.hosts)
        folder = namespaces.folder_for(namespaces.owner())
        try:
            for line in lines:
                host = ssh.SshHost(
                    line,
                    f"clean-{namespaces.owner()}",
                    folder,
                    config=options.ssh_config,
                    connect_timeout_s=options.connect_timeout,
                )
                try:
                    removed += clean_host(host, say)
                except Failure as failure:
                    say(str(failure))
                    missed.append(host.name)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    say(f"removed: {removed}" if removed else "nothing was found")
    if missed:
        raise Failure(f"what is left there is not known: {', '.join(missed)}")


def clean_host(host, say):
    """Ends processes of runs that were begun on this machine and are over, and removes their folders."""
    try:
        host.connect()
        return clean_connected(host, say)
    finally:
        if host.master:
            host.close()


def clean_connected(host, say):
    parent, removed = os.path.dirname(host.folder), 0
    for name in host.run(f"cd {quoted(parent)} && ls").decode().split():
        known = re.fullmatch(r"run-(?P<id>(?P<node>.+)-(?P<owner>[0-9]+-[0-9]+))", name)
        if known and known["node"] == (platform.node() or "host") and not namespaces.is_alive(known["owner"]):
            end_marked([host], say, known["id"])
            host.run(f"rm -rf {quoted(os.path.join(parent, name))}")
            say(f"{host.name}: removed {name}")
            removed += 1
    return removed

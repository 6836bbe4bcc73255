"""`--clean`: what runs that were killed left, here and on the hosts of a file. A run that lives is left alone."""

import os
import platform
import re
import shutil

import hosts_file
import namespaces
import ssh
from host import end_marked, quoted


def clean(options, say):
    """Removes what killed runs left: here, and on the hosts of a file."""
    removed = namespaces.clean(say) if os.geteuid() == 0 or not options.hosts else 0
    if options.hosts:
        ssh.needed()
        folder = namespaces.folder_for(namespaces.owner())
        try:
            for line in hosts_file.read(options.hosts):
                host = ssh.SshHost(
                    line,
                    f"clean-{namespaces.owner()}",
                    folder,
                    config=options.ssh_config,
                    connect_timeout_s=options.connect_timeout,
                )
                try:
                    removed += clean_host(host, say)
                finally:
                    host.close()
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    say(f"{removed} leftovers removed" if removed else "nothing was left")


def clean_host(host, say):
    """Ends processes of runs that were begun on this machine and are over, and removes their folders."""
    host.connect()
    parent, removed = os.path.dirname(host.folder), 0
    for name in host.run(f"cd {quoted(parent)} && ls").decode().split():
        known = re.fullmatch(r"run-(?P<id>(?P<node>.+)-(?P<owner>[0-9]+-[0-9]+))", name)
        if known and known["node"] == (platform.node() or "host") and not namespaces.is_alive(known["owner"]):
            end_marked([host], say, known["id"])
            host.run(f"rm -rf {quoted(os.path.join(parent, name))}")
            say(f"{host.name}: removed {name}")
            removed += 1
    return removed

"""One run: hosts, a grid on them, what is measured, and how all of it is taken down again."""

import concurrent.futures
import os
import platform
import shutil

import bench
import faults
import hosts_file
import namespaces
import options as options_module
import ssh
from errors import Failure
from grid import Grid, listening
from host import MARK, Here, copy_program, end_marked

AT_ONCE = 16  # hosts that are connected to, or copied to, at the same time


class Run:
    """One run from its options to its record. `close` undoes whatever was done, and may be called at any time."""

    def __init__(self, options, record):
        self.options, self.record, self.say = options, record, record.say
        self.id = f"{platform.node() or 'host'}-{namespaces.owner()}"
        self.hosts, self.lan, self.grid, self.folder = [], None, None, None
        self.broker_host = self.client_host = self.here = None
        self.worker_hosts = []

    def prepare(self):
        """Hosts that answer and have the program."""
        options = self.options
        lines = None
        if options.namespaces:
            namespaces.needed(options.rate)
            namespaces.network(options.network, options.namespaces + 2)
            namespaces.clean(self.say)
        else:
            ssh.needed()
            lines = hosts_file.read(options.hosts)
        if options.series:
            bench.needed(options.binary)
        self.folder = namespaces.folder_for(namespaces.owner())
        program = os.path.join(self.folder, "fractally")
        copy_program(options.binary, program)
        self.here = Here("this machine", self.id, os.path.join(self.folder, "here"), program)
        self.here.connect()
        if options.namespaces:
            self.make_namespaces(program)
        else:
            self.reach(lines)
        self.look_at_hosts()
        options.sizes = options_module.sizes(options.sizes, len(self.worker_hosts))
        self.record.known |= {"sizes": options.sizes if options.series else [], "series": options.series}

    def make_namespaces(self, program):
        options = self.options
        names = ["broker", "client"] + [f"h{number}" for number in range(1, options.namespaces + 1)]
        network = namespaces.network(options.network, len(names))
        self.lan = namespaces.Lan(names, network, options.rate)
        self.lan.build()
        self.hosts = [
            namespaces.NamespaceHost(
                name, self.lan, number, run_id=self.id, folder=os.path.join(self.folder, name), program=program
            )
            for number, name in enumerate(names)
        ]
        for host in self.hosts:
            os.mkdir(host.folder)
        self.broker_host, self.client_host, *self.worker_hosts = self.hosts
        limit = f", each cable limited to {options.rate / 1e6:g} Mbit/s each way" if options.rate else ""
        self.record.known["network"] = (
            f"All hosts are network namespaces of one machine, on one bridge ({network}){limit}. They share its processors, "
            "so what grows with hosts here is the number of processes, not the power."
        )
        self.say(f"{len(names)} namespaces on {network}{limit}")

    def reach(self, lines):
        """Connects to all at once; who cannot be reached is told by name."""
        options = self.options
        made = [
            ssh.SshHost(line, self.id, self.folder, config=options.ssh_config, connect_timeout_s=options.connect_timeout)
            for line in lines
        ]
        self.hosts = made  # From here on they are closed at the end, whether they were reached or not.
        errors = self.each(made, lambda host: host.connect())
        for host, error in errors.items():
            self.say(str(error))
        if errors and options.unreachable == "stop":
            raise Failure(
                f"{len(errors)} of {len(made)} hosts cannot be reached ({', '.join(host.name for host in errors)}); "
                "--unreachable skip goes on without them"
            )
        self.record.known["hosts"] = [{"name": host.name, "roles": [], "missing": "could not be reached"} for host in errors]
        self.hosts = [host for host in made if host not in errors]
        left = [host.line for host in self.hosts]
        by_line = {host.line: host for host in self.hosts}
        if not hosts_file.workers_of(left):
            raise Failure("no host is left for a worker")
        for name, line in (("broker", hosts_file.broker_of(lines)), ("client", hosts_file.client_of(lines))):
            if line not in by_line and line.role == name:
                raise Failure(f"{line.name}: the {name}'s host cannot be reached")
        self.broker_host, self.client_host = by_line[hosts_file.broker_of(left)], by_line[hosts_file.client_of(left)]
        self.worker_hosts = [by_line[line] for line in hosts_file.workers_of(left)]
        self.broker_host.address = self.broker_host.address_for_others()
        others = [host.name for host in self.hosts if host is not self.broker_host and not is_loopback(host.line.host)]
        listening(self.broker_host.address, others, options)
        self.raise_first(self.each(self.hosts, self.bring_program))

    def bring_program(self, host):
        if self.options.no_copy:
            if not host.has_program():
                raise Failure(f"{host.name}: there is no program at {host.program}, and --no-copy forbids to bring it")
        elif host.sha256(host.program) != self.here.sha256(self.here.program):
            self.say(f"{host.name}: copies the program to {host.program}")
            host.put(self.here.program, host.program)

    def look_at_hosts(self):
        """What they are, and that all have the same program and engine."""
        expected, found = self.here.doctor(), {}

        def look(host):
            found[host] = host.facts() | host.doctor()
            for key in ("program", "engine"):
                if found[host][key] != expected[key]:
                    raise Failure(
                        f"{host.name}: its {key} is {found[host][key]}, here it is {expected[key]}; "
                        "leave --no-copy out, or put the same there"
                    )

        self.raise_first(self.each(self.hosts, look))
        self.record.known |= {
            "program": expected["program"],
            "engine": expected["engine"],
            "sha256_of_program": self.here.sha256(self.here.program),
        }
        for host in self.hosts:
            roles = [
                (self.broker_host, "broker"),
                (self.client_host, "client"),
                *((worker, "worker") for worker in self.worker_hosts),
            ]
            self.record.known["hosts"].append(
                {
                    "name": host.name,
                    "roles": [role for of, role in roles if of is host],
                    "threads": host.threads or self.options.threads,
                }
                | found[host]
            )
        kernels = sorted({facts["kernel"] for facts in found.values()})
        self.say(
            f"{len(self.hosts)} hosts answer: {expected['program']}, engine {expected['engine']}, kernels {', '.join(kernels)}"
        )

    def measure(self):
        """The series at each size, then those without work, then the render during which hosts go."""
        options = self.options
        self.grid = Grid(self.broker_host, self.client_host, self.worker_hosts, options, self.say)
        # Before anything is rendered for it: a plan that cannot be is told at once.
        plan = faults.plan(self.grid, options) if options.has_faults else []
        reference = faults.reference(self.here, options.picture, options.time_limit, self.say) if options.has_faults else None
        for series, no_op in (
            ([name for name in options.series if name in bench.WITH_WORK], False),
            ([name for name in options.series if name in bench.WITHOUT_WORK], True),
        ):
            for size in options.sizes if series else []:
                self.grid.begin(no_op=no_op)
                self.grid.set_workers(size)
                self.say(f"fractally bench {' '.join(series)}")
                self.record.keep_bench(*bench.measure(self.grid, series, size, options))
        if options.has_faults:
            self.grid.begin(no_op=False)
            self.grid.set_workers(len(self.worker_hosts))
            self.record.known["faults"] = {}
            self.record.rows = faults.play(
                self.grid, plan, options.picture, reference, options, self.record.known["faults"], self.say
            )
            if self.record.known["faults"]["failures"]:
                raise Failure("\n".join(self.record.known["faults"]["failures"]))

    def close(self):
        """Stops, gathers and removes everything. Gives what went wrong with that."""
        wrong = []

        def attempt(what, *arguments):
            try:
                return what(*arguments)
            except (Failure, OSError) as error:
                wrong.append(str(error))
                return None

        if self.grid:
            attempt(self.grid.stop)
        everywhere = [*self.hosts, *([self.here] if self.here else [])]
        reached = [host for host in everywhere if getattr(host, "master", True)]
        left = end_marked(reached, self.say)
        wrong += [f"{one['host']}: {one.get('command') or one.get('unknown')}, which was left" for one in left]
        for host, error in self.each(reached, lambda host: self.record.keep_logs(host, self.options.log_bytes)).items():
            self.say(f"{host.name}: its logs could not be had: {error}")
        for host, error in self.each(reached, lambda host: host.close()).items():
            wrong.append(f"{host.name}: {error}")
        if self.lan:
            attempt(self.lan.remove)
            wrong += [f"the namespace {name} is still there" for name in self.lan.left()]
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)
        self.record.known["left"] = left
        if reached and not wrong:
            self.say(
                f"nothing is left: no process with {MARK}={self.id} on {len(reached)} hosts"
                + (", no namespace" if self.lan else "")
            )
        return wrong

    def each(self, hosts, do):
        """Does it on all hosts, several at once. Gives the failures by host."""
        errors = {}
        pool = concurrent.futures.ThreadPoolExecutor(AT_ONCE)
        try:
            waiting = {host: pool.submit(do, host) for host in hosts}
            for host, one in waiting.items():
                try:
                    one.result()
                except (Failure, OSError) as error:
                    errors[host] = error
        finally:
            pool.shutdown(cancel_futures=True)
        return errors

    def raise_first(self, errors):
        for error in list(errors.values())[1:]:
            self.say(str(error))
        for error in errors.values():
            raise error


def is_loopback(host):
    return host == "localhost" or host == "::1" or host.startswith("127.")

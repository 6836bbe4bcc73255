"""A grid over hosts: a broker on one, workers on as many as are wanted at the moment, and what the broker says of them."""

import ipaddress
import json
import time

from errors import Failure, Usage
from host import quoted, stop_all

POLL_S = 0.2


class Grid:
    """Starts and remembers processes; what they compute is the business of `bench.py` and `faults.py`."""

    def __init__(self, broker_host, client_host, worker_hosts, options, say):
        self.broker_host, self.client_host, self.worker_hosts = broker_host, client_host, worker_hosts
        self.options, self.say = options, say
        self.broker, self.workers, self.others = None, {}, []
        self.lost = set()  # names of hosts that a fault took
        self.ports, self.no_op = None, False
        self.lives = 0  # of brokers: their logs, and their workers', are told apart by it

    def begin(self, *, no_op):
        """A broker, without workers; with `no_op` for workers that compute nothing. What there was before is stopped."""
        if self.broker and self.no_op == no_op:
            return
        self.stop()
        host, options = self.broker_host, self.options
        self.lives, self.no_op = self.lives + 1, no_op
        words = [
            host.program,
            "broker",
            "--leave-with-stdin",
            "--client-port",
            str(options.client_port),
            "--worker-port",
            str(options.worker_port),
            "--listen",
            options.listen or host.address,
            *(["--trust-network"] if options.trust_network else []),
            *(["--no-op"] if no_op else []),
            *options.broker_options,
        ]
        self.broker = host.start(f"broker-{self.lives}", words)
        self.broker.began()
        self.ports = self.wait_for(
            self.ready_ports, options.wait, f"{host.name}: the broker is not ready after {options.wait} s"
        )
        self.say(f"{host.name}: a broker at {self.endpoint('clients')}, for workers at {self.endpoint('workers')}")

    def ready_ports(self):
        if self.broker.has_ended():
            raise Failure(f"{self.broker_host.name}: the broker has ended: {self.broker.why()}")
        words = self.broker_host.read(f"{self.broker.name}.out").decode(errors="replace").split()
        return [int(endpoint.rsplit(":", 1)[1]) for endpoint in words[1:3]] if len(words) >= 3 else None

    def endpoint(self, of_whom):
        return f"tcp://{self.broker_host.address}:{self.ports[0 if of_whom == 'clients' else 1]}"

    def set_workers(self, count):
        """Workers on the first `count` hosts, at least as many as there were. They are there when this returns."""
        self.check()
        added = [host for host in self.worker_hosts[:count] if host.name not in self.workers]
        for host in added:
            threads = host.threads or self.options.threads
            words = [
                host.program,
                "worker",
                "--leave-with-stdin",
                "--broker",
                self.endpoint("workers"),
                "--name",
                host.name,
                *(["--threads", str(threads)] if threads else []),
                *(["--no-op"] if self.no_op else []),
                *self.options.worker_options,
            ]
            self.workers[host.name] = host.start(f"worker-{self.lives}", words)
        for host in added:
            self.workers[host.name].began()
        self.wait_for_workers(set(self.workers))
        self.say(f"hosts with workers: {count}{', which compute nothing' if self.no_op else ''}")

    def wait_for_workers(self, names):
        """Until the broker sees these and no others."""
        seen = set()

        def are_there():
            self.check()
            nonlocal seen
            seen = self.seen()
            return seen == names

        try:
            self.wait_for(are_there, self.options.wait, "")
        except TimeoutError:
            missing, more = sorted(names - seen), sorted(seen - names)
            said = [f"{name}: {self.workers[name].why()}" for name in missing[:3] if name in self.workers]
            raise Failure(
                f"after {self.options.wait} s the broker does not see the workers of {', '.join(missing) or 'no host'}"
                + (f", and still sees {', '.join(more)}" if more else "")
                + f"; can they reach {self.endpoint('workers')}? {'; '.join(said)}"
            ) from None

    def wait_for(self, condition, seconds, message):
        deadline = time.monotonic() + seconds
        while True:
            value = condition()
            if value:
                return value
            if time.monotonic() > deadline:
                raise Failure(message) if message else TimeoutError()
            time.sleep(POLL_S)

    def status(self, *words):
        command = [self.client_host.program, "status", "--json", "--broker", self.endpoint("clients"), *words]
        text = self.client_host.run(" ".join(map(quoted, command)))
        try:
            return json.loads(text)
        except ValueError as error:
            raise Failure(f"{self.client_host.name}: `fractally status --json` gave no JSON: {error}") from None

    def seen(self):
        return {worker["name"] for worker in self.status()["workers"]}

    def check(self):
        """That nothing has ended which no fault took."""
        if self.broker.has_ended():
            raise Failure(f"{self.broker_host.name}: the broker has ended: {self.broker.why()}")
        for name, process in self.workers.items():
            if process.has_ended() and name not in self.lost:
                raise Failure(f"{name}: its worker has ended: {process.why()}")

    def run_client(self, name, words, time_limit_s, while_it_runs=lambda: None):
        """Runs the program on the client's host until it ends, calling `while_it_runs` again and again. Gives its stdout."""
        host = self.client_host
        client = host.start_watched(name, [host.program, *words])
        self.others.append(client)
        client.began()
        deadline = time.monotonic() + time_limit_s
        while not client.wait(POLL_S):
            self.check()
            while_it_runs()
            if time.monotonic() > deadline:
                raise Failure(
                    f"{host.name}: `fractally {words[0]}` was not done within {time_limit_s} s (--time-limit): {client.why()}"
                )
        client.leave()
        if client.popen.returncode != 0:
            raise Failure(f"{host.name}: `fractally {words[0]}` ended with {client.popen.returncode}: {client.why()}")
        return host.read(f"{name}.out")

    def stop(self):
        """Everything, in whatever state it is."""
        stop_all(self.others, self.say)
        for name in self.lost:
            # It would say goodbye for seconds to a broker that does not hear it.
            try:
                self.workers[name].signal("KILL")
            except Failure as failure:
                self.say(str(failure))
        for host in self.worker_hosts:
            host.heal()
        stop_all(self.workers.values(), self.say)
        stop_all([self.broker] if self.broker else [], self.say)
        self.broker, self.workers, self.others, self.lost = None, {}, [], set()


def listening(address, others, options):
    """Whether the broker's address needs `--trust-network`, which is then the user's to say."""
    if ipaddress.ip_address(options.listen or address).is_loopback:
        if others:
            raise Usage(
                f"the broker would listen at {options.listen or address}, which {others[0]} cannot reach; "
                "give its host an address=IP"
            )
        return
    if not options.trust_network:
        raise Usage(
            f"the broker would listen at {options.listen or address}, where others can connect and peers are not authenticated; "
            "where you trust every host of that network, say --trust-network"
        )

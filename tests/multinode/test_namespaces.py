"""Runs over network namespaces: hosts that are cut off, cables that are slow, and nothing left, however a run ends."""

import os
import subprocess
import sys
import tempfile

import lab
import namespaces

SEND = """
import socket, sys, time
listener = socket.create_server((sys.argv[1], 9000))
print("ready", flush=True)
peer, _ = listener.accept()
while peer.recv(1 << 16): pass
"""
TAKE = """
import socket, sys, time
began = time.monotonic()
with socket.create_connection((sys.argv[1], 9000), 10) as peer:
    peer.sendall(bytes(int(sys.argv[2])))
    peer.shutdown(socket.SHUT_WR)
    peer.recv(1)
print(time.monotonic() - began)
"""


class Namespaces(lab.Case):
    @classmethod
    def setUpClass(cls):
        lab.need_namespaces()

    def test_a_render_survives_a_host_that_is_cut_off_and_the_record_says_so(self):
        with lab.Driving(
            "--namespaces", "4", "--rate", "1gbit", "--cut-off", "1", "--at", "10%", "--seed", "7", "--picture", lab.PICTURE
        ) as driving:
            self.ends_with(0, driving)
            record = driving.kept()
            faults = record["faults"]
            self.assertTrue(faults["same_bytes"])
            self.assertEqual(faults["render"]["sha256"], faults["reference"]["sha256"])
            self.assertEqual(faults["workers_seen_after"], 3)
            [event] = faults["events"]
            self.assertIn(event["host"], {"h1", "h2", "h3", "h4"})
            self.assertGreater(event["bands_it_held"], 0)
            self.assertGreater(faults["render"]["extra_attempts"], 0, "the bands that it held were tried again")
            self.assertEqual({one["worker"] for one in faults["tries_of_hosts_that_went"]["tries"]}, {event["host"]})
            self.assertEqual(record["outcome"], "done")
            self.assertEqual({host["kernel"] for host in record["hosts"]} - {""}, {record["hosts"][0]["kernel"]})
            self.assertIn(faults["render"]["sha256"], driving.kept("README.md"))
            self.assertIn("job done", driving.kept("logs/broker-broker-1.log"))
            self.nothing_is_left_of(driving)

    def test_another_picture_than_by_one_machine_alone_is_a_failure(self):
        with tempfile.TemporaryDirectory() as folder:
            # A program whose local renders are of another colour.
            liar = os.path.join(folder, "fractally")
            with open(liar, "w", encoding="utf-8") as file:
                file.write(
                    f'#!/bin/sh\ncase "$*" in "render "*--broker*) exec {lab.PROGRAM} "$@";; '
                    f'"render "*) exec {lab.PROGRAM} "$@" --cmap gray;; *) exec {lab.PROGRAM} "$@";; esac\n'
                )
            os.chmod(liar, 0o755)
            with lab.Driving(
                "--namespaces", "2", "--lose", "1", "--at", "0.05", "--picture", lab.COLOURFUL, program=liar
            ) as driving:
                self.ends_with(1, driving)
                self.assertIn("the picture differs", driving.stderr)
                self.assertFalse(driving.kept()["faults"]["same_bytes"])
                self.nothing_is_left_of(driving)

    def test_a_picture_that_is_done_before_the_host_goes_shows_nothing_and_fails(self):
        with lab.Driving("--namespaces", "2", "--lose", "1", "--at", "600", "--picture", lab.SMALL) as driving:
            self.ends_with(1, driving)
            self.assertIn("choose a larger --picture", driving.stderr)
            self.nothing_is_left_of(driving)

    def test_a_cable_lets_through_what_its_rate_says(self):
        size, rate = 4 << 20, 40e6
        slow, fast = (seconds_to_send(size, limit) for limit in (rate, None))
        wanted = size * 8 / rate
        self.assertGreater(slow, 0.8 * wanted)
        self.assertLess(slow, 10 * wanted)
        self.assertLess(fast, 0.5 * wanted, "it is the limit that makes it slow")

    def test_ctrl_c_leaves_nothing(self):
        with lab.Driving("--namespaces", "3", "--cut-off", "1", "--at", "0%", "--picture", lab.LONG_PICTURE) as driving:
            # The reference is being rendered: a local grid of its own.
            driving.until_said("by this machine alone")
            driving.until_it_runs("-o reference.png")
            driving.interrupt()
            self.ends_with(130, driving)
            self.assertIn("nothing is left", driving.stderr)
            self.assertIn("stopped by SIGINT", driving.kept()["outcome"])
            self.nothing_is_left_of(driving)

    def test_what_a_killed_run_left_is_removed_and_what_lives_is_not(self):
        long = ("--namespaces", "2", "--lose", "1", "--at", "600", "--picture", lab.LONG_PICTURE)
        with lab.Driving(*long) as lives, lab.Driving(*long) as killed:
            for driving in (lives, killed):
                driving.until_it_runs("-o reference.png")
            killed.kill()
            self.assertEqual(len(lab.namespaces_of(killed.pid)), 5, "broker, client, two workers and the bridge")
            lab.eventually(
                "its processes leave by themselves, for nobody holds their stdin", lambda: not lab.processes_of(killed.pid)
            )
            with lab.Driving("--clean", is_default=False) as clean:
                self.ends_with(0, clean)
                self.assertIn("removed the namespace", clean.stderr)
            self.assertEqual(lab.namespaces_of(killed.pid), [])
            self.assertEqual(len(lab.namespaces_of(lives.pid)), 5, "a run that lives keeps what it has")
            lives.interrupt()
            self.ends_with(130, lives)
            self.nothing_is_left_of(lives)
            self.nothing_is_left_of(killed)


class Series(lab.Case):
    def test_all_series_are_measured_at_each_size_and_put_together(self):
        lab.need_namespaces()
        if subprocess.run([lab.PROGRAM, "bench", "--help"], capture_output=True, check=False).returncode != 0:
            lab.missing("the program has no `bench`")
        quick = "--runs 1 --warm-up 0 --size 300x200 --scale 0.01"
        with lab.Driving("--namespaces", "2", "--bench", quick) as driving:
            self.ends_with(0, driving)
            record = driving.kept("bench.json")
            seen = {(one["series"], one["workers"]) for one in record["records"]}
            self.assertTrue(
                {("strong", 1), ("strong", 2), ("weak", 2), ("latency", 2), ("payload", 2), ("overhead", 1), ("overhead", 2)}
                <= seen,
                seen,
            )
            self.assertIn("<html", driving.kept("bench.html").lower())
            self.assertIn("strong", driving.kept("README.md"))
            self.nothing_is_left_of(driving)


def seconds_to_send(size, rate):
    """Over TCP from one host to another."""
    lan = namespaces.Lan(["a", "b"], namespaces.network("10.99.0.0/24", 2), rate)
    on = lambda name, code, *words: ["ip", "netns", "exec", lan.namespace(name), sys.executable, "-c", code, *words]
    try:
        lan.build()
        with subprocess.Popen(on("a", SEND, lan.address(0)), stdout=subprocess.PIPE, text=True) as receiver:
            try:
                assert receiver.stdout.readline() == "ready\n"
                return float(
                    subprocess.run(
                        on("b", TAKE, lan.address(0), str(size)), capture_output=True, text=True, check=True, timeout=60
                    ).stdout
                )
            finally:
                receiver.kill()
    finally:
        lan.remove()

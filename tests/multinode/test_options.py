"""Options and hosts files that cannot be used are told before anything is started, and told all at once."""

import os
import tempfile
import unittest
from unittest import mock

import lab
import hosts_file
import options
from errors import Usage


class HostsFiles(unittest.TestCase):
    def test_every_part_of_a_line_is_read(self):
        hosts = hosts_file.parse(
            "# our LAN\n\nme@tower:2222 threads=16 dir=/opt/f role=broker address=10.0.0.5  # big\n"
            "nas\n[fe80::1]:22\nnas dir=b\n",
            "lan",
        )
        tower, nas, six, second = hosts
        self.assertEqual(
            (tower.destination, tower.port, tower.threads, tower.folder, tower.role, tower.address, tower.line),
            ("me@tower", 2222, 16, "/opt/f", "broker", "10.0.0.5", 3),
        )
        self.assertEqual(
            (nas.user, nas.port, nas.threads, nas.folder, nas.role, nas.address),
            (None, None, None, "fractally-multinode", None, None),
        )
        self.assertEqual((six.host, six.port), ("fe80::1", 22))
        self.assertEqual(second.name, "nas-2", "names tell two hosts on one machine apart")

    def test_a_mark_before_the_first_line_is_no_part_of_its_name(self):
        with tempfile.NamedTemporaryFile("w", encoding="utf-8-sig") as file:
            file.write("tower\n")
            file.flush()
            self.assertEqual([host.name for host in hosts_file.read(file.name)], ["tower"])

    def test_the_first_host_is_the_broker_unless_one_has_that_role_and_then_works_too(self):
        plain = hosts_file.parse("a\nb\n", "lan")
        self.assertEqual((hosts_file.broker_of(plain).name, hosts_file.client_of(plain).name), ("a", "a"))
        self.assertEqual([host.name for host in hosts_file.workers_of(plain)], ["a", "b"])
        told = hosts_file.parse("a\nb role=broker\nc role=client\nd role=worker\n", "lan")
        self.assertEqual((hosts_file.broker_of(told).name, hosts_file.client_of(told).name), ("b", "c"))
        self.assertEqual([host.name for host in hosts_file.workers_of(told)], ["a", "d"])

    def test_every_wrong_line_is_told_with_its_number(self):
        wrong = {
            "a threads=0": "threads= must be a whole number from 1 to 128, not '0'",
            "a threads=many": "not 'many'",
            "a:70000": "the port must be a whole number from 1 to 65535",
            "a:": "the port must be",
            "a dir=~/x": "without ~ or ..",
            "a dir=../x": "without ~ or ..",
            "a role=king": "role= must be one of broker, worker, client",
            "a address=tower": "address= must be an IP address",
            "a colour=red": "'colour=red' is none of threads=N",
            "a threads": "'threads' is none of",
            "a threads=1 threads=2": "threads= stands there twice",
            "-oProxyCommand=x": "is not [user@]host[:port]",
            "me@-oProxyCommand=x": "is not [user@]host[:port]",
            "a\0b": "has characters in it that nobody sees",
            "a dir=\x1b[2J": "has characters in it that nobody sees",
            "fe80::1": "an IPv6 address stands in brackets",
        }
        with self.assertRaises(Usage) as told:
            hosts_file.parse("\n".join(wrong), "lan.txt")
        lines = str(told.exception).splitlines()
        self.assertEqual(len(lines), len(wrong), "all of them at once")
        for number, (line, reason) in enumerate(zip(lines, wrong.values()), 1):
            self.assertTrue(line.startswith(f"lan.txt:{number}: ") and reason in line, line)

    def test_what_no_single_line_is_to_blame_for_is_told_too(self):
        for text, reason in {
            "# none\n": "there is no host",
            "a role=broker\nb role=broker\nc": "lan:2: line 1 has role=broker already",
            "a role=broker\n": "no host is left for a worker",
            "a\nb\na\n": "lan:3: a with this folder stands on line 1 already",
            "\n".join(f"h{n}" for n in range(300)): "256 is the limit",
        }.items():
            with self.subTest(reason), self.assertRaises(Usage) as told:
                hosts_file.parse(text, "lan")
            self.assertIn(reason, str(told.exception))


class Options(lab.Case):
    def test_wrong_options_end_with_2_and_name_the_option(self):
        with tempfile.TemporaryDirectory() as folder:
            hosts = os.path.join(folder, "hosts.txt")
            with open(hosts, "w", encoding="utf-8") as file:
                file.write("good\nbad threads=x\n")
            table = [
                ([], "give a hosts file or --namespaces N"),
                ([hosts, "--namespaces", "2"], "one of them"),
                ([hosts], "hosts.txt:2: threads= must be"),
                ([os.path.join(folder, "none")], "cannot be read"),
                (["--namespaces", "65"], "no whole number from 1 to 64"),
                ([hosts, "--rate", "1gbit"], "--rate limits the cables of namespaces"),
                (["--namespaces", "2", "--rate", "fast"], "--rate must be from"),
                (["--namespaces", "2", "--at", "5"], "--at says when"),
                (["--namespaces", "2", "--lose", "1", "--at", "soon"], "--at: 'soon'"),
                (["--namespaces", "2", "--series", "quick"], "--series: 'quick'"),
                (["--namespaces", "2", "--series", "none"], "nothing to do"),
                (["--namespaces", "2", "--bench", "'"], "--bench"),
                (["--namespaces", "2", "--listen", "tower"], "--listen"),
            ]
            for words, reason in table:
                with self.subTest(words), lab.Driving(*words) as driving:
                    self.ends_with(2, driving)
                    self.assertIn(reason, driving.stderr)
                    self.assertFalse(os.path.exists(driving.output), "nothing is kept of it")
        with lab.Driving("--namespaces", "2", "--binary", "/nowhere", is_default=False) as driving:
            self.ends_with(2, driving)
            self.assertIn("--binary", driving.stderr)

    def test_a_shell_that_greets_whoever_comes_is_told_and_nothing_is_left(self):
        """Its greeting was taken for the home folder, and later for the list of processes, which ended the run before its end."""
        with tempfile.TemporaryDirectory() as folder:
            hosts, ssh = os.path.join(folder, "hosts.txt"), os.path.join(folder, "ssh")
            with open(hosts, "w", encoding="utf-8") as file:
                file.write("tower\n")
            with open(ssh, "w", encoding="utf-8") as file:
                file.write('#!/bin/sh\necho welcome\nfor script; do :; done\nexec sh -c "$script"\n')
            os.chmod(ssh, 0o755)
            with mock.patch.dict(os.environ, PATH=f"{folder}:{os.environ['PATH']}"), lab.Driving(hosts, "--lose", "1") as driving:
                self.ends_with(1, driving)
                self.assertIn("tower: its shell says more than it is asked: 'welcome", driving.stderr)
                self.nothing_is_left_of(driving)

    def test_sizes_double_up_to_all(self):
        self.assertEqual([options.sizes(None, n) for n in (1, 2, 3, 8)], [[1], [1, 2], [1, 2, 3], [1, 2, 4, 8]])
        self.assertEqual(options.sizes("4,1", 4), [1, 4])
        for text in ("0", "5", "1,x", "-1", "²"):
            self.assertRaises(Usage, options.sizes, text, 4)

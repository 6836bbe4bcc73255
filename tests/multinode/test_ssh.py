"""Runs over ssh: two hosts that are this machine, each with a folder of its own, through an sshd of our own on the loopback."""

import os
import shutil
import tempfile
import unittest

import lab


class Ssh(lab.Case):
    @classmethod
    def setUpClass(cls):
        lab.need_sshd()
        cls.lab = tempfile.mkdtemp(prefix="multinode-ssh-")
        cls.addClassCleanup(shutil.rmtree, cls.lab, ignore_errors=True)
        cls.sshd = lab.Sshd(cls.lab)
        cls.addClassCleanup(cls.sshd.stop)

    def setUp(self):
        self.folder = tempfile.mkdtemp(dir=self.lab)

    def hosts(self, more=""):
        """Two hosts: the first has the broker and a worker, the second a worker."""
        where = f"127.0.0.1:{self.sshd.port}"
        path = os.path.join(self.folder, "hosts.txt")
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"{where} dir={self.folder}/a threads=1\n{where} dir={self.folder}/b threads=1   # the second\n{more}")
        return [path, "-F", self.sshd.config, "--client-port", "0", "--worker-port", "0"]

    def only_programs_are_left(self):
        for folder in ("a", "b"):
            self.assertEqual(os.listdir(os.path.join(self.folder, folder)), ["fractally"])

    def test_the_program_is_copied_a_worker_is_stopped_or_killed_and_the_bytes_are_the_same(self):
        before = self.sshd.connections()
        second = f"127.0.0.1:{self.sshd.port}-2"
        with lab.Driving(*self.hosts(), "--cut-off", "1", "--at", "10%", "--picture", lab.PICTURE) as driving:
            self.ends_with(0, driving)
            self.assertEqual(driving.stderr.count("copies the program"), 2)
            faults = driving.kept()["faults"]
            self.assertTrue(faults["same_bytes"])
            [event] = faults["events"]
            self.assertEqual((event["host"], event["fault"]), (second, "cut off"), "the broker's host stays")
            self.assertIn("SIGSTOP", event["how"])
            self.assertEqual(faults["workers_seen_after"], 1)
            self.nothing_is_left_of(driving)
        self.only_programs_are_left()
        self.assertEqual(self.sshd.connections() - before, 2, "one connection a host")
        # The program is there now.
        with lab.Driving(*self.hosts(), "--no-copy", "--lose", "1", "--at", "10%", "--picture", lab.PICTURE) as driving:
            self.ends_with(0, driving)
            self.assertNotIn("copies the program", driving.stderr)
            self.assertIn("SIGKILL", driving.kept()["faults"]["events"][0]["how"])
            self.assertTrue(driving.kept()["faults"]["same_bytes"])
            self.nothing_is_left_of(driving)
        self.only_programs_are_left()

    def test_ctrl_c_wakes_what_was_stopped_and_leaves_nothing(self):
        with lab.Driving(*self.hosts(), "--cut-off", "1", "--at", "0", "--picture", lab.PICTURE) as driving:
            driving.until_said("is cut off")
            self.assertTrue(any("worker" in command for _, command in lab.processes_of(driving.pid)))
            driving.interrupt()
            self.ends_with(130, driving)
            self.nothing_is_left_of(driving)
        self.only_programs_are_left()

    def test_a_run_that_is_killed_takes_its_processes_with_it_and_clean_removes_its_folders(self):
        hosts = self.hosts()
        with lab.Driving(*hosts, "--cut-off", "1", "--at", "0", "--picture", lab.PICTURE) as driving:
            driving.until_said("is cut off")
            driving.kill()
            lab.eventually("its processes leave", lambda: not lab.processes_of(driving.pid))
            # Who cannot be reached is told, and keeps nobody from the others.
            away = f"127.0.0.1:{lab.free_port()}"
            with open(hosts[0], encoding="utf-8") as file:
                text = file.read()
            with open(hosts[0], "w", encoding="utf-8") as file:
                file.write(f"{away}\n{text}")
            with lab.Driving(hosts[0], "-F", self.sshd.config, "--clean", is_default=False) as clean:
                self.ends_with(1, clean)
                self.assertEqual(clean.stderr.count("removed run-"), 2, clean.stderr)
                self.assertIn(f"what is left there is not known: {away}", clean.stderr)
            with lab.Driving("--clean", is_default=False) as clean:
                self.ends_with(0, clean)
            self.nothing_is_left_of(driving)
        self.only_programs_are_left()

    def test_a_connection_that_breaks_ends_the_run_and_is_told(self):
        with lab.Driving(*self.hosts(), "--lose", "1", "--at", "600", "--picture", lab.PICTURE) as driving:
            driving.until_it_runs("--account multinode")
            self.sshd.break_connections()
            self.ends_with(1, driving)
            self.assertRegex(driving.kept()["outcome"], r"^failed: 127\.0\.0\.1:[0-9]+(-2)?: .*connection to its host broke")
            lab.eventually("its processes leave", lambda: not lab.processes_of(driving.pid))

    def test_a_host_that_cannot_be_reached_is_told_by_name_and_left_out_if_that_is_wanted(self):
        away = f"127.0.0.1:{lab.free_port()}"
        hosts = self.hosts(f"{away}\n")
        small = ["--lose", "1", "--at", "600", "--picture", lab.SMALL]
        with lab.Driving(*hosts, *small) as driving:
            self.ends_with(1, driving)
            self.assertIn(f"{away}: it cannot be reached", driving.stderr)
            self.assertIn("Connection refused", driving.stderr)
            self.assertIn("--unreachable skip", driving.stderr)
            self.nothing_is_left_of(driving)
        with lab.Driving(*hosts, *small, "--unreachable", "skip") as driving:
            # It goes on as far as this picture goes, which is too small.
            self.ends_with(1, driving)
            self.assertIn("choose a larger --picture", driving.stderr)
            missing = [host for host in driving.kept()["hosts"] if host.get("missing")]
            self.assertEqual([host["name"] for host in missing], [away])
            self.nothing_is_left_of(driving)

    def test_no_copy_says_where_a_program_is_missing_and_where_it_is_another(self):
        wanted = ["--no-copy", "--lose", "1", "--picture", lab.SMALL]
        with lab.Driving(*self.hosts(), *wanted) as driving:
            self.ends_with(1, driving)
            self.assertIn(f"there is no program at {self.folder}/a/fractally", driving.stderr)
        for folder in ("a", "b"):
            path = os.path.join(self.folder, folder, "fractally")
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(
                    "#!/bin/sh\nprintf 'program  fractally 0.0.9\\nengine   fractally-1\\ncores    1\\nkernel   scalar: x\\n'\n"
                )
            os.chmod(path, 0o755)
        with lab.Driving(*self.hosts(), *wanted) as driving:
            self.ends_with(1, driving)
            self.assertIn("its program is fractally 0.0.9", driving.stderr)

    def test_a_broker_that_others_could_reach_asks_for_trust(self):
        hosts = self.hosts()
        with open(hosts[0], encoding="utf-8") as file:
            text = file.read().replace("threads=1\n", "threads=1 address=192.0.2.1\n", 1)
        with open(hosts[0], "w", encoding="utf-8") as file:
            file.write(text)
        with lab.Driving(*hosts, "--lose", "1", "--picture", lab.SMALL) as driving:
            self.ends_with(2, driving)
            self.assertIn("say --trust-network", driving.stderr)
            self.nothing_is_left_of(driving)


if __name__ == "__main__":
    unittest.main()

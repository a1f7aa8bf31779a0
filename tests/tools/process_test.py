#!/usr/bin/env python3
"""The life of the program as a process: signals, two on one run, standard streams, and what is refused before the work."""
import os
import signal
import subprocess
import time
import unittest

from running import PROGRAM, Running

RECIPE = """
[data]
name = "two-moons"
count = 500
[network]
kind = "mlp"
widths = [16, 16]
[train]
checkpoint_every = 20
metrics_every = 5
samples_every = 0
[phase.train]
steps = 60
batch = 32
[phase.train.energy_matching]
[phase.train.contrastive_divergence]
weight = 0.01
steps = 5
step_size = 0.01
buffer = 64
[sampling]
start = "normal"
flow_steps = 3
steps = 3
step_size = 0.01
"""
LONG = ["--set", "phase.train.steps=1000000"]


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Process(Running):
    text = RECIPE

    def setUp(self):
        super().setUp()
        self.out = self.folder / "run"

    def started(self, *arguments, **options):
        """A training that has written figures and goes on for long."""
        process = subprocess.Popen([PROGRAM, *map(str, arguments)], **{"stdout": subprocess.PIPE, "text": True, **options})
        metrics = self.out / "metrics.jsonl"
        before = metrics.stat().st_size if metrics.exists() else 0
        for _ in range(2000):
            time.sleep(0.01)
            if metrics.exists() and metrics.stat().st_size > before + 500:
                return process
        process.kill()
        self.fail("no figures")

    def test_signals_that_end_a_job_save_it(self):
        self.done("train", self.recipe, "--out", self.out)
        for sent in ([signal.SIGHUP], [signal.SIGUSR1], [signal.SIGTERM], [signal.SIGUSR1, signal.SIGTERM],
                     [signal.SIGHUP, signal.SIGHUP], [signal.SIGINT, signal.SIGINT], [signal.SIGTERM, signal.SIGTERM]):
            process = self.started("train", "--resume", self.out, *LONG)
            for one in sent:
                process.send_signal(one)
                time.sleep(0.01)
            out, _ = process.communicate()
            self.assertEqual(process.returncode, 0, sent)
            self.assertIn("interrupted: saved at step", out)
            saved = int(out.split("saved at step ")[1].split(";")[0])
            self.assertTrue((self.out / f"checkpoints/{saved:06}/checkpoint.json").exists(), sent)

    def test_nohup_and_a_reader_that_goes_away_do_not_end_a_training(self):
        process = self.started("train", self.recipe, "--out", self.out, *LONG,
                               preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
        process.send_signal(signal.SIGHUP)
        process.stdout.close()
        size = (self.out / "metrics.jsonl").stat().st_size
        time.sleep(0.5)
        self.assertIsNone(process.poll())
        self.assertGreater((self.out / "metrics.jsonl").stat().st_size, size)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(), 2)  # what it printed is lost, and nothing else
        self.done("train", "--resume", self.out, "--set", "phase.train.steps=60")

    def test_a_long_step_does_not_hold_up_a_signal(self):
        process = subprocess.Popen([PROGRAM, "train", self.recipe, "--out", self.out, "--set",
                                    "phase.train.contrastive_divergence.steps=1000000000"], stdout=subprocess.PIPE, text=True)
        while process.poll() is None and not (self.out / "checkpoints/000000").exists():
            time.sleep(0.01)
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        try:
            out, _ = process.communicate(timeout=60)
        finally:
            process.kill()
        self.assertEqual(process.returncode, 0)
        self.assertIn("interrupted: saved at step 0", out)

    def test_two_on_one_run(self):
        process = self.started("train", self.recipe, "--out", self.out, *LONG)
        try:
            self.refused(f"{self.out}: process {process.pid} on ", "train", "--resume", self.out)
            self.refused("holds something already", "train", self.recipe, "--out", self.out)
            for _ in range(5):  # readers need not wait, though checkpoints come and go
                self.done("info", self.out)
                self.done("sample", self.out, "--count", 2, "--out", self.folder / "x.npz")
        finally:
            process.kill()
            process.communicate()
        newest = max(int(path.name) for path in (self.out / "checkpoints").iterdir() if path.name.isdigit())
        self.done("train", "--resume", self.out, "--set", f"phase.train.steps={newest + 20}")
        self.assertFalse((self.out / ".lock").exists())

    def test_two_that_begin_at_once(self):
        both = [subprocess.Popen([PROGRAM, "train", self.recipe, "--out", self.out], stdout=subprocess.DEVNULL,
                                 stderr=subprocess.PIPE, text=True) for _ in range(2)]
        for process in both:
            process.wait()
        self.assertEqual(sorted(process.returncode for process in both), [0, 2], [p.stderr.read() for p in both])
        for process in both:
            process.stderr.close()
        lines = (self.out / "metrics.jsonl").read_text().splitlines()
        self.assertEqual(len(lines), len(set(lines)))
        self.done("info", self.out)

    def test_a_refused_resume_leaves_the_run_as_it_was(self):
        self.done("train", self.recipe, "--out", self.out)
        before = contents(self.out)
        for from_where in (self.out / "checkpoints/000040", self.out):
            self.refused("another shape", "train", "--resume", from_where, "--set", "phase.train.steps=90", "--set",
                         "phase.train.contrastive_divergence.buffer=300")
            self.assertEqual(contents(self.out), before)
        self.done("train", "--resume", self.out, "--set", "phase.train.steps=80")

    def test_output_that_cannot_be_written_is_refused_before_the_work(self):
        self.done("train", self.recipe, "--out", self.out)
        file = self.folder / "file"
        file.write_text("")
        for bad in ("/proc/nope/x", "/proc/x", file / "x", self.folder / ("x" * 300)):
            for ending, arguments in ((".npz", ["sample", self.out, "--count", 100000]),
                                      (".png", ["data", "show", "rings"]),
                                      (".safetensors", ["bench", "langevin", "--network", "mlp"])):
                option = "--weights" if arguments[0] == "bench" else "--out"
                done = self.refused("cannot be ", *arguments, option, f"{bad}{ending}")
                self.assertEqual(done.stdout, "")
            self.assertEqual(self.refused("", "train", self.recipe, "--out", f"{bad}").stdout, "")
        for bad in ("/proc/nope/x", file / "x"):
            self.assertEqual(self.refused("cannot be made", "data", "fetch", "mnist", "--to", bad).stdout, "")
        # What can be written is, in a folder that is yet to be made and under the longest name there is.
        out = self.folder / "new" / "folder" / ("x" * 251 + ".npz")
        self.done("sample", self.out, "--count", 2, "--out", out)
        self.assertEqual(os.listdir(out.parent), [out.name])

    def test_lost_output_is_told(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("there is no /dev/full")
        with open("/dev/full", "w") as full:
            for arguments in (["data", "list"], ["data", "list", "--json"], ["train", self.recipe, "--dry-run", "--json"],
                              ["--help"], ["--version"], ["info", self.recipe]):
                self.refused("standard output: cannot be written", *arguments, stdout=full)
            # A training is not ended by it.
            self.refused("standard output: cannot be written", "train", self.recipe, "--out", self.out, stdout=full)
        self.assertTrue((self.out / "samples.png").exists())

    def test_nothing_is_printed_into_files_where_streams_are_closed(self):
        self.done("train", self.recipe, "--out", self.folder / "whole")
        choices = f"run.choices={self.folder / 'whole' / 'engine.json'}"
        command = f'"{PROGRAM}" train "{self.recipe}" --out "{self.out}" --set "{choices}" <&- >&- 2>&-'
        self.assertEqual(subprocess.run(["sh", "-c", command]).returncode, 2)  # its output is lost
        for name in ("metrics.jsonl", "checkpoints/000060/network.safetensors"):
            self.assertEqual((self.out / name).read_bytes(), (self.folder / "whole" / name).read_bytes(), name)
        self.done("info", self.out)


if __name__ == "__main__":
    unittest.main(verbosity=1)

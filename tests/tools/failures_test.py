#!/usr/bin/env python3
"""What goes wrong: interrupted and killed runs, full disks, damaged files, and every kind of bad input."""
import os
import resource
import signal
import subprocess
import time
import unittest

from running import PROGRAM, igebm
from runs import CONDITIONS, RECIPE, Runs, png


class Failures(Runs):
    def same(self, a, b):
        for name in ("metrics.jsonl", "samples.png", "recipe.toml"):
            self.assertEqual((a / name).read_bytes(), (b / name).read_bytes(), name)
        newest = "checkpoints/000400"
        for name in os.listdir(a / newest):
            self.assertEqual((a / newest / name).read_bytes(), (b / newest / name).read_bytes(), name)

    def measure_once(self):
        """Runs begun on their own may measure other algorithms to be the fastest: here all take one run's."""
        self.works("train", self.recipe, "--out", self.folder / "first", "--set", "phase.train.steps=1")
        self.recipe.write_text(f'[run]\nchoices = "{self.folder / "first" / "engine.json"}"\n' + RECIPE)

    def test_interrupted_and_killed_runs_end_like_the_whole_one(self):
        self.measure_once()
        self.works("train", self.recipe, "--out", self.folder / "whole")
        for how in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            run = self.folder / how.name
            process = subprocess.Popen([PROGRAM, "train", self.recipe, "--out", run], stdout=subprocess.PIPE, text=True)
            for _ in range(1000):
                time.sleep(0.01)
                metrics = run / "metrics.jsonl"
                if metrics.exists() and metrics.read_text().count("\n") > 8:
                    break
            process.send_signal(how)
            out, _ = process.communicate()
            if how == signal.SIGKILL:
                self.assertEqual(process.returncode, -how)
            else:
                self.assertEqual(process.returncode, 0)
                self.assertIn("interrupted: saved at step", out)
            self.assertFalse((run / "samples.png").exists(), "the signal came too late to test anything")
            self.works("train", "--resume", run)
            self.same(self.folder / "whole", run)

    def test_a_full_disk_is_said_and_the_last_good_checkpoint_stays(self):
        whole, run = self.folder / "whole", self.folder / "run"
        self.measure_once()
        self.works("train", self.recipe, "--out", whole)
        self.works("train", self.recipe, "--out", run, "--set", "phase.train.steps=40")
        before = sorted(os.listdir(run / "checkpoints"))
        limit = (run / "checkpoints/000040/state.safetensors").stat().st_size - 1

        def no_room():  # a write beyond the limit fails, as one on a full disk does
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        more = ["train", "--resume", run, "--set", "phase.train.steps=400"]
        (run / "samples.png").unlink()
        full = igebm(*more, preexec_fn=no_room)
        self.assertEqual(full.returncode, 2, full.stderr)
        self.assertEqual(full.stderr.count("\n"), 1, full.stderr)
        self.assertIn("state.safetensors: cannot be written", full.stderr)
        self.assertEqual(sorted(os.listdir(run / "checkpoints")), before)
        self.works("train", "--resume", run)
        self.same(whole, run)

    def test_nothing_is_lost_where_nothing_can_be_written(self):
        self.refused("cannot be made", "train", self.recipe, "--out", "/proc/igebm-run")

    def test_pictures_that_cannot_be_read(self):
        pictures = self.folder / "pictures"
        for name in ("a", "b"):
            for i in range(12):
                (pictures / name).mkdir(parents=True, exist_ok=True)
                (pictures / name / f"{i}.png").write_bytes(png(8, 8, 20 * i))
        show = ["data", "show", "image-folder", "--set", f"data.path={pictures}", "--check"]
        self.assertIn("24 records of (3, 8, 8), train split, all of them can be read", self.works(*show))
        recipe = self.folder / "pictures.toml"
        recipe.write_text(CONDITIONS.replace("\"dsprites-drawn\"", f"\"image-folder\"\npath = \"{pictures}\"\nmemory = 0")
                          .replace("count = 40\nsize = 16\n", "").replace("conditions = [\"size\", \"shape\"]", ""))
        run = self.folder / "run"
        damaged = pictures / "b" / "7.png"
        whole = damaged.read_bytes()
        damaged.write_bytes(whole[:-20])
        self.refused(["b/7.png: "], "train", recipe, "--out", run, "--set", "phase.train.steps=6")  # one epoch
        self.refused("1 of 24 pictures cannot be read", *show)
        reached = max(int(path.name) for path in (run / "checkpoints").iterdir())
        damaged.write_bytes(whole)
        self.assertIn(f"resuming {run} at step {reached}", self.works("train", "--resume", run))
        other = self.folder / "other"
        self.works("train", recipe, "--out", other, "--set", "phase.train.steps=6", "--set", f"run.choices={run / 'engine.json'}")
        self.assertEqual(*((path / "checkpoints/000006/network.safetensors").read_bytes() for path in (run, other)))

    def test_bad_input_is_one_clear_line(self):
        run = self.folder / "run"
        self.works("train", self.recipe, "--out", run, "--set", "phase.train.steps=5")
        self.refused("subcommand", )
        self.refused("trian", "trian")
        self.refused("RECIPE", "train")
        self.refused("absent.toml", "train", self.folder / "absent.toml")
        self.refused("--resume", "train", self.recipe, "--out", run)
        self.refused("not a run", "train", "--resume", self.folder)
        self.refused("did you mean \"steps\"", "train", self.recipe, "--set", "phase.train.stepps=3")
        self.refused(["--set phase.train.steps", "integer"], "train", self.recipe, "--set", "phase.train.steps=many")
        self.refused("expected \"cpu\"", "train", self.recipe, "--set", "run.device=tpu")
        self.refused("expected \"cpu\"", "bench", "langevin", "--device", "tpu")
        self.refused("is of networks, not of the double well", "bench", "langevin", "--network", "double-well", "--instructions", "v3")
        self.refused("a CPU's own engine", "bench", "langevin", "--engine", "reference", "--instructions", "v3")
        self.refused("section.key=value", "train", self.recipe, "--set", "nonsense")
        self.refused("fashion-mnist", "train", self.recipe, "--set", "data.name=fashion")
        self.refused("ends in .png", "sample", run, "--out", self.folder / "x.jpg")
        self.refused("points", "sample", run, "--out", self.folder / "x.gif")
        self.refused("no classes", "sample", run, "--label", 1, "--out", self.folder / "x.npz")
        self.refused("--count", "sample", run, "--count", 0)
        self.refused("not a run", "sample", self.folder)
        self.refused("no such", "info", self.folder / "absent")
        self.refused("another shape", "train", "--resume", run, "--set", "phase.train.steps=9", "--set", "phase.train.contrastive_divergence.buffer=300")
        self.refused("network is not the one", "train", "--resume", run, "--set", "network.widths=[8]")
        broken = self.folder / "broken.toml"
        broken.write_text("[data\n")
        self.refused("broken.toml:1:", "train", broken)
        broken.write_text("[phase.train]\nsteps = 3\n")
        self.refused("energy_matching or contrastive_divergence", "train", broken)
        broken.write_text(RECIPE.replace('"mlp"', '"unet"').replace("widths = [32, 32]", ""))
        self.refused("for pictures", "train", broken, "--out", self.folder / "x")
        broken.write_text(RECIPE.replace('"two-moons"', '"mnist"'))
        self.refused("data.path", "train", broken, "--set", f"data.path={self.folder / 'none'}", "--out", self.folder / "y")
        weights = run / "checkpoints/000005/average.safetensors"
        weights.write_bytes(weights.read_bytes()[:-10])
        self.refused(["average.safetensors", "truncated"], "sample", run, "--out", self.folder / "x.npz")

    def test_what_would_give_wrong_numbers_is_refused(self):
        recipe = self.folder / "shapes.toml"
        recipe.write_text(CONDITIONS.replace('"size", "shape"', '"position"'))
        out = self.folder / "out"
        self.refused(["data.flip", "position.x"], "train", recipe, "--out", out, "--set", "data.flip=true")
        self.refused(["sampling.time", "noise = -1"], "train", self.recipe, "--out", out, "--set", "sampling.time=1.0",
                     "--set", "sampling.noise=0.01")
        self.assertFalse(out.exists())


if __name__ == "__main__":
    unittest.main(verbosity=1)

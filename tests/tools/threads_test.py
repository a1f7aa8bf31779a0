#!/usr/bin/env python3
"""Every command that computes takes --threads, and all of them in the same way."""
import json
import unittest

import numpy

from running import Running

RECIPE = """
[data]
name = "two-moons"
count = 500
[network]
kind = "mlp"
widths = [16, 16]
[train]
samples_every = 0
[phase.train]
steps = 2
batch = 16
[phase.train.energy_matching]
[sampling]
start = "normal"
flow_steps = 2
steps = 2
step_size = 0.01
"""


class Threads(Running):
    text = RECIPE

    def test_threads_are_chosen_the_same_way_everywhere(self):
        recipe = self.recipe

        def commands(*path):
            """Those that have no subcommands, with their help."""
            text = self.works(*path, "--help")
            _, found, listed = text.partition("Subcommands:\n")
            if not found:
                return {path: text}
            return {k: v for line in listed.splitlines() if line.startswith("  ") and line[2] != " "
                    for k, v in commands(*path, line.split()[0]).items()}
        run = self.folder / "run"
        self.works("train", recipe, "--out", run, "--set", "phase.train.steps=1", "--set", "run.threads=2", "--threads", 1)
        self.assertIn("threads: 1\n", self.works("info", run / "checkpoints" / "000001"))
        self.works("train", "--resume", run, "--set", "phase.train.steps=2", "--threads", 2)
        self.assertIn("threads: 2\n", self.works("info", run / "checkpoints" / "000002"))
        few = ["--batch", 2, "--steps", 1, "--repeats", 1]
        given = {("train",): [recipe, "--dry-run"], ("sample",): [run, "--count", 2, "--out", self.folder / "x.npz"],
                 ("info",): [run], ("evaluate", "samples"): [run, "--count", 20], ("data", "show"): ["two-moons"],
                 ("bench", "langevin"): ["--network", "mlp", *few], ("bench", "train"): [recipe, "--steps", 2]}
        pictures = self.folder / "pictures.npz"
        numpy.savez(pictures, images=numpy.zeros((1, 1, 28, 28), numpy.float32))
        given["compose",] = ["ring(1,.1)", "--count", 2, "--levels", 2, "--out", self.folder / "x.npz"]
        given["inpaint",] = ["mnist", pictures, "--samples", 1, "--levels", 2, "--steps", 1, "--out", self.folder / "x.npz"]
        given["denoise",] = [*given["inpaint",], "--noise", "salt:.1"]
        given["restore",] = [*given["inpaint",], "--operator", "blur:1"]
        given["morph",] = ["mnist", "--from", pictures, "--to", 3, "--levels", 2, "--frames", 2, "--out", self.folder / "x.npz"]
        given["curve",] = [run, "--budgets", 5, "--count", 20, "--out", self.folder / "x.json"]
        given["neighbours",] = ["mnist", "--budget", 2, "--out", self.folder / "x.png", "--set", "data.name=dsprites-drawn",
                                "--set", "data.size=28", "--set", "data.count=60"]
        given["score",] = [run, "0,0", "--usual", 100]
        given["evaluate", "likelihood"] = [run, "--ais", "--levels", 3, "--chains", 2, "--backwards", 2, "--count", 4]
        given["evaluate", "ood"] = ["mnist", "--ood", "constant", "--count", 4, "--usual", 100, "--pixels", 10, "--levels", 2, "--refine", 1,
                                    "--set", "data.name=dsprites-drawn", "--set", "data.size=28", "--set", "data.count=400",
                                    "--set", "data.validation=0.5"]
        sprites = ["--set", "data.name=dsprites-drawn", "--set", "data.size=28", "--set", "data.count=100"]
        given["evaluate", "classification"] = ["mnist", "--count", 2, "--usual", 20, "--sigma", 1, *sprites]
        given["evaluate", "robustness"] = [*given["evaluate", "classification"], "--eps", 0.1, "--steps", 1, "--restarts", 1]
        levels = self.folder / "levels.toml"
        levels.write_text(RECIPE.replace("[phase.train.energy_matching]", "[phase.train.denoising_score_matching]")
                          .replace("widths = [16, 16]", "widths = [16, 16]\nnoise_features = 4").split("[sampling]")[0])
        given["evaluate", "continual"] = [levels, "--per-task", 1, "--count", 10, "--calibrated", 10, "--features", 10, "--parts", 1,
                                          "--out", self.folder / "continual"]
        found = commands()
        self.assertEqual(set(found) - {("data", "list"), ("data", "fetch"), ("models",), ("export",), ("report",), ("serve",)}, set(given), "what computes takes --threads")
        for command, arguments in given.items():
            self.assertIn("--threads INT:INT in [0 - 1024]", found[command])
            for bad in ("-1", "1025", "two"):
                self.refused("--threads", *command, *arguments, "--threads", bad)
            self.works(*command, *arguments, "--threads", 0)
        for threads in (1, 2):
            for command in (("bench", "langevin"), ("bench", "train"), ("train",)):
                told = self.works(*command, *given[command], "--json", "--threads", threads)
                self.assertEqual(json.loads(told)["threads"], threads, command)


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/env python3
"""Classes learned one task after another, as the command's user meets it."""
import json
import pathlib
import unittest

from runs import Runs

MOONS = """
[data]
name = "two-moons"
noise = 0.1
count = 4000
validation = 0.0
[network]
kind = "mlp"
widths = [32, 32]
noise_features = 8
[train]
samples_every = 0
metrics_every = 1
[phase.train]
batch = 50
repeats = 20
[phase.train.optimizer]
kind = "muon"
learning_rate = 5e-3
schedule = "cosine"
[phase.train.denoising_score_matching]
form = "preconditioned"
sigma_min = 0.03
sigma_max = 10.0
"""


class Continual(Runs):
    def setUp(self):
        super().setUp()
        self.recipe, self.out = self.folder / "moons.toml", self.folder / "out"
        self.recipe.write_text(MOONS)

    def command(self, *more):
        return ["evaluate", "continual", self.recipe, "--per-task", 1, "--out", self.out, "--count", 500, "--calibrated", 200, "--features", 300,
                "--parts", 3, "--dimensions", 1, "--sigma", 0.1, "--sigma", 0.2, *more]

    def steps(self, y):
        return [json.loads(line)["step"] for line in (self.out / f"seed-0/class-{y}/metrics.jsonl").read_text().splitlines()]

    def test_each_class_is_learned_in_one_pass_and_told_from_the_others(self):
        told = json.loads(self.works(*self.command("--json")))
        self.assertEqual((told["tasks"], told["test"], told["data"]), ([[0], [1]], 500, "two-moons"))
        rows = {row["name"]: row for row in told["rows"]}
        self.assertEqual([name for name, row in rows.items() if row["baseline"]], ["Gaussian", "analysers", "fine-tuning", "labels trick", "EWC", "SI"])
        # Half circles that reach into one another: a Gaussian of each cannot follow them.
        self.assertGreater(rows["class networks"]["accuracy"]["mean"], 0.97)
        self.assertLess(rows["Gaussian"]["accuracy"]["mean"], 0.95)
        for y in (0, 1):  # for the report of each
            (kept,) = (self.out / f"seed-0/class-{y}/evaluations").glob("continual-*.json")
            self.assertEqual(json.loads(kept.read_text())["result"], told)
        for row in rows.values():
            (seed,) = row["seeds"]
            self.assertEqual(seed["overall"][0]["value"], 1)  # one class is known, and all that is asked for
            self.assertAlmostEqual(seed["forgotten"][0], 1 - seed["tasks"][1][0])
            self.assertEqual(row["accuracy"]["mean"], seed["overall"][1]["value"])
        # Half of 4,000 records, give or take, are 40 batches, twenty steps each: one pass.
        for steps in (max(self.steps(y)) for y in (0, 1)):
            self.assertTrue(steps % 20 == 0 and 760 <= steps <= 840, steps)
        recipe = (self.out / "seed-0/class-1/recipe.toml").read_text()
        self.assertIn("without", recipe)

        # What is there is kept; a training that was cut off goes on to the same energies.
        weights = sorted(self.out.glob("seed-0/class-1/checkpoints/*/average.safetensors"))[-1]
        before = weights.read_bytes(), weights.stat().st_mtime_ns
        again = json.loads(self.works(*self.command("--json")))
        self.assertEqual(again | {"seconds": 0}, told | {"seconds": 0})
        self.assertEqual((weights.read_bytes(), weights.stat().st_mtime_ns), before)
        text = self.works(*self.command())
        self.assertIn("class networks", text)
        self.assertIn("* a baseline", text)

    def test_networks_of_one_body_alone_also_on_permuted_elements(self):
        def rows(*more):
            told = json.loads(self.works(*self.command("--only", "EBM-CL", "--only", "shared body", "--only", "fine-tuning", "--hidden", 40, "--batch", 20, "--json", *more)))
            return told, {row["name"]: row for row in told["rows"]}

        told, split = rows()
        self.assertEqual(list(split), ["shared body", "EBM-CL", "fine-tuning"])
        self.assertGreater(split["shared body"]["accuracy"]["mean"], 0.85)
        self.assertEqual(split["fine-tuning"]["seeds"][0]["tasks"][1], [0, 1])  # the second class is all it knows
        # Two coordinates have two orders: the task's own or that of the first.
        told, permuted = rows("--setting", "permuted", "--permutations", 2, "--learning-rate", 0.01)
        self.assertEqual((told["tasks"], told["setting"]), ([[0, 1], [0, 1]], "permuted"))
        self.assertGreater(permuted["EBM-CL"]["seeds"][0]["overall"][0]["value"], 0.8)
        again = rows("--setting", "permuted", "--permutations", 2, "--learning-rate", 0.01)[1]
        self.assertEqual(again, permuted)
        # Settings are chosen on records that are held out from training.
        held, _ = rows("--split", "validation", "--set", "data.validation=0.25")
        self.assertEqual((held["split"], held["test"]), ("validation", 500))
        self.assertFalse(pathlib.Path(self.out).exists())

    def test_each_seed_is_judged_by_what_its_trainings_hold_out(self):
        held = ["--set", "data.validation=0.25"]
        told = json.loads(self.works("evaluate", "continual", self.recipe, "--per-task", 1, "--out", self.out, "--split", "validation", "--seeds", 2,
                                     "--only", "Gaussian", "--json", *held))
        (row,) = told["rows"]
        for seed, each in enumerate(row["seeds"]):
            planned = json.loads(self.works("train", self.recipe, "--dry-run", "--json", "--set", f"run.seed={seed}", "--set", "phase.train.steps=10", *held))
            self.assertEqual(each["test"] + planned["data"]["records"], 4000)
        self.assertNotEqual(*(each["test"] for each in row["seeds"]))
        self.assertEqual(told["test"], row["seeds"][0]["test"])

    def test_what_is_wrong_is_said_in_a_line(self):
        def refused(expected, *more):
            self.refused(expected, *self.command(*more))

        refused("noise", "--set", "network.noise_features=0")
        refused("data.without", "--set", 'data.without=["0"]')
        refused("network.labels", "--set", "network.labels=true")
        refused("--sigma", "--sigma", 0)
        refused("--only", "--only", "EWCC")
        for option in ("--learning-rate", "--strength"):
            refused([option, "expected a number from 0", "nan"], option, "nan")
        # Rows that these data or options have not, which would leave the table empty.
        refused(['"class networks"', "expected one of Gaussian, analysers, shared body"], "--no-networks", "--only", "class networks")
        refused(['"Gaussian"', "expected one of shared body"], "--setting", "permuted", "--only", "EWC", "--only", "Gaussian")
        refused('"class energies"', "--only", "class energies")  # of pictures
        refused("--permutations: expected with --setting permuted", "--permutations", 3)
        refused("holds out no records", "--split", "validation")
        self.refused("expected fewer classes a task", "evaluate", "continual", self.recipe, "--out", self.out)  # two a task, of two
        refused("class 0 has fewer records than phase.train.batch", "--set", "phase.train.batch=3000")
        self.assertFalse(pathlib.Path(self.out).exists())


if __name__ == "__main__":
    unittest.main()

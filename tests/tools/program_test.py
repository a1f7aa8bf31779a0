#!/usr/bin/env python3
"""The program as its user meets it: a run from recipe to samples, what is told of it, and data sets."""
import json
import os
import shutil
import unittest

from running import arrays, igebm
from runs import CLASSIFIER, CONDITIONS, SCORES, Runs


class Program(Runs):
    def test_a_run_holds_what_is_documented(self):
        run = self.folder / "run"
        self.works("train", self.recipe, "--out", run, "--set", "phase.train.steps=40")
        records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        self.assertEqual([r["step"] for r in records], list(range(5, 41, 5)))
        self.assertIn("energy/data", records[0])
        self.assertIn("steps = 40", (run / "recipe.toml").read_text())
        self.assertRegex(self.works("info", run / "samples.png"), "program: igebm .*\n(?s:.*)step: 40\nseed: ")
        self.assertIn("40 of 40 (finished)", self.works("info", run))
        self.assertIn("32 32".split()[0], self.works("info", self.recipe))
        self.works("info", run / "checkpoints/000040")
        self.works("info", run / "checkpoints/000040/network.safetensors")
        self.works("sample", run, "--count", 7, "--out", self.folder / "x.npz")
        self.works("sample", run / "checkpoints/000020", "--count", 7, "--out", self.folder / "y.npz")

    def test_pictures_with_labels(self):
        run = self.folder / "run"
        self.works("train", self.images(), "--out", run)
        for name in ("a.png", "b.gif", "c.npz"):
            self.works("sample", run, "--count", 5, "--label", 3, "--seed", 2, "--steps", 4, "--out", self.folder / name)
            self.assertGreater((self.folder / name).stat().st_size, 200)
        self.assertRegex(self.works("info", self.folder / "b.gif"), "command: igebm sample .*b.gif\n(?s:.*)seed: 2")
        self.works("sample", run, "--count", 5, "--label", 3, "--seed", 2, "--steps", 4, "--out", self.folder / "again.npz")
        self.assertEqual(arrays(self.folder / "c.npz"), arrays(self.folder / "again.npz"))
        self.refused("expected 0 to 9", "sample", run, "--label", 10)

    def test_a_dry_run_says_what_a_run_takes_and_writes_nothing(self):
        images, classifier = self.images(), self.folder / "classifier.toml"
        classifier.write_text(CLASSIFIER.format(path=self.folder))
        before = sorted(self.folder.rglob("*"))
        text = igebm("train", self.recipe, "--dry-run", "--set", "train.samples_every=100", "--set", "evaluate.every=100",
                     cwd=self.folder)
        self.assertEqual(text.returncode, 0, text.stderr)
        for said in ("network: mlp, 1185 parameters", "memory: ", "before the first step: ", "phase train: 400 steps of ",
                     "median of", "pictures: 4 of ", "samples at the end: 1 of ", "evaluations: 4 of ", "checkpoints: 21 of ",
                     "total: ", "disk: "):
            self.assertIn(said, text.stdout)
        for recipe, phase, extra in ((self.recipe, "train", []), (images, "train", ["--set", "phase.train.steps=7"]),
                                     (classifier, "train", [])):
            done = igebm("train", recipe, "--dry-run", "--json", *extra, cwd=self.folder)
            self.assertEqual(done.returncode, 0, done.stderr)
            told = json.loads(done.stdout)
            self.assertEqual([p["name"] for p in told["phases"]], [phase])
            self.assertEqual(told["phases"][0]["steps"], 7 if extra else 20 if recipe == classifier else 400)
            self.assertEqual(told["accuracies"]["count"], 1 if recipe == classifier else 0)
            parts = [told[key]["seconds"] for key in ("pictures", "last_picture", "evaluations", "accuracies", "checkpoints")]
            self.assertAlmostEqual(told["seconds"], told["start_seconds"] + sum(parts) + told["phases"][0]["seconds"])
            self.assertGreater(told["phases"][0]["seconds_per_step"], 0)
            self.assertGreater(told["memory_bytes"]["peak"], told["memory_bytes"]["program"])
        self.assertEqual(sorted(self.folder.rglob("*")), before)
        self.refused("did you mean \"steps\"", "train", self.recipe, "--dry-run", "--set", "phase.train.stepps=3")
        self.refused("--resume", "train", "--dry-run", "--resume", self.folder)
        self.refused("--dry-run", "train", self.recipe, "--json")

    def test_the_engine_is_chosen_by_an_option(self):
        for options, engine in (([], "cpu"), (["--engine", "reference"], "autograd"),
                                (["--set", "run.engine=reference", "--engine", "fast"], "cpu")):
            run = self.folder / "run"
            done = igebm("train", self.recipe, "--out", run, "--set", "phase.train.steps=1", *options)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn(f"engine: {engine}", done.stdout + done.stderr)
            self.works("sample", run, "--out", self.folder / "x.npz", "--count", "4", *options)
            shutil.rmtree(run)
        self.refused("{fast,reference}", "train", self.recipe, "--engine", "quick")

    def test_ensembles_and_weights(self):
        run = self.folder / "run"
        self.works("train", self.recipe, "--out", run, "--set", "phase.train.steps=60")
        def points(name, *arguments):
            self.works("sample", run, "--count", 7, "--out", self.folder / name, *arguments)
            return arrays(self.folder / name)
        one = points("1.npz")
        self.assertEqual(points("2.npz", "--ensemble", 1, "--weights", "average"), one)
        self.assertNotEqual(points("3.npz", "--weights", "network"), one)
        three = points("4.npz", "--ensemble", 3)
        self.assertNotEqual(three, one)
        self.assertEqual(points("5.npz", "--set", "sampling.ensemble=3"), three)
        self.assertIn("3 checkpoints in turn", self.works("evaluate", run, "--count", 50, "--set", "sampling.ensemble=3"))
        self.refused("3 checkpoints up to step 60, expected 9", "sample", run, "--ensemble", 9, "--out", self.folder / "x.npz")
        self.refused("average", "sample", run, "--weights", "mean")
        self.refused("at most train.keep = 3, the checkpoints that are kept, got 4", "train", self.recipe, "--set", "sampling.ensemble=4")

    def test_conditions(self):
        recipe = self.folder / "shapes.toml"
        recipe.write_text(CONDITIONS)
        run = self.folder / "run"
        self.works("train", recipe, "--out", run)
        info = self.works("info", run)
        for text in ("4 conditions", "  size 0.5 1\n", "  shape.heart 0 1\n"):
            self.assertIn(text, info)
        def samples(name, *arguments):
            self.works("sample", run, "--count", 3, "--out", self.folder / name, *arguments)
            return arrays(self.folder / name)
        table = samples("a.npz")
        heart = samples("b.npz", "--condition", "size=0.75,shape=heart")
        self.assertNotEqual(table, heart)
        self.assertEqual(samples("c.npz", "--condition", "shape.square=0,shape.ellipse=0,shape.heart=1,size=0.75"), heart)
        self.assertNotEqual(samples("d.npz", "--condition", "size=0.75,shape=square"), heart)
        # A sample's conditions are those of the real picture nearest to it: of pictures of noise nearly any.
        classifier = self.folder / "classifier"
        shapes = self.folder / "classifier.toml"
        shapes.write_text(CLASSIFIER.format(path=""))
        # Of the drawn set, as evaluate says where there is none.
        said = self.works("evaluate", run, "--count", 20, cwd=self.folder)
        self.assertIn("--set data.name=dsprites-drawn --set data.size=16 --set data.count=40 --set data.flip=false --out", said)
        given = said[said.index("--set"):said.index(" --out")].split()
        self.works("train", shapes, "--out", classifier, *given)
        told = json.loads(self.works("evaluate", run, "--features", classifier, "--count", 40, "--json"))
        errors, real = told["quality"]["condition_errors"], told["real"]["condition_errors"]
        self.assertEqual(list(errors), ["size", "shape.square", "shape.ellipse", "shape.heart"])
        self.assertLess(real["size"], 0.15)
        self.assertLess(real["shape.heart"], errors["shape.heart"] + 0.2)
        self.assertIn("mean error of conditions", self.works("evaluate", run, "--features", classifier, "--count", 40))
        self.refused(["colour=1", "size, shape.square"], "sample", run, "--condition", "colour=1")
        self.refused("no classes", "sample", run, "--label", 1)
        self.works("train", self.recipe, "--out", self.folder / "moons", "--set", "phase.train.steps=5")
        self.refused("takes no numbers", "sample", self.folder / "moons", "--condition", "size=1", "--out", self.folder / "x.npz")
        self.refused("no \"colour\"", "train", recipe, "--out", self.folder / "x", "--set", "network.conditions=[\"colour\"]")

    def test_noise_levels(self):
        recipe = self.folder / "scores.toml"
        recipe.write_text(SCORES)
        run = self.folder / "run"
        self.works("train", recipe, "--out", run)
        self.assertIn("denoising score matching", self.works("info", run))
        self.assertIn("sigma_max", self.works("info", run))
        self.assertTrue((run / "samples.png").exists())
        out = self.works("sample", run, "--count", 9, "--steps", 4, "--out", self.folder / "a.npz")
        self.assertIn("4 Langevin steps at each of 5 noise levels", out)
        self.assertIn("noise levels", self.works("evaluate", run, "--count", 20))
        self.refused("denoising_score_matching", "train", recipe, "--set", "network.noise_features=0")
        self.refused("even number", "train", recipe, "--set", "network.noise_features=3")

    def test_info_tells_what_the_watchdog_did(self):
        run = self.folder / "run"
        self.works("train", self.recipe, "--out", run, "--set", "phase.train.steps=40", "--set", "phase.train.optimizer.learning_rate=1e6",
                   "--set", "phase.train.optimizer.clip=none", "--set", "watchdog.learning_rate_factor=1e-9", "--set", "watchdog.energy_limit=1e3")
        records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        events = [r for r in records if r.get("event") == "rollback"]
        self.assertEqual(len(events), 1)
        info = self.works("info", run)
        self.assertIn("watchdog: 1 of 5 rollbacks\n", info)
        self.assertIn(f"  step {events[0]['step']}: {events[0]['reason']}; back to step 0\n", info)
        # Rollbacks that no checkpoint has seen, and then the end.
        lost = self.folder / "lost"
        self.refused("diverged", "train", self.recipe, "--out", lost, "--set", "watchdog.energy_limit=1e-6")
        end = json.loads((lost / "metrics.jsonl").read_text().splitlines()[-1])
        self.assertEqual((end["event"], end["step"]), ("gave up", 0))
        info = self.works("info", lost)
        self.assertIn("watchdog: 5 of 5 rollbacks\n", info)
        self.assertEqual(info.count("; back to step 0\n"), 5)
        self.assertIn(f"  step 0: {end['reason']}; gave up\n", info)

    def test_help_and_version(self):
        self.assertIn("train", self.works("--help"))
        self.assertIn("--resume", self.works("train", "--help"))
        self.assertRegex(self.works("--version"), r"^igebm \d+\.\d+\.\d+\n$")

    def test_data_sets_are_listed_shown_and_fetched(self):
        listed = self.works("data", "list")
        for said in ("cifar10: 60,000", "licence: MIT", "needs: data_batch_1..5.bin", "not found in", "variants: fine, coarse"):
            self.assertIn(said, listed)
        names = {entry["name"] for entry in json.loads(self.works("data", "list", "--json"))}
        self.assertTrue({"svhn", "imagenet-32", "dsprites-drawn", "image-folder", "two-moons"} <= names)
        part = self.folder / "data" / "cifar10"
        part.mkdir(parents=True)
        (part / "data_batch_1.bin").write_bytes(b"")
        where = {**os.environ, "IGEBM_DATA": str(part.parent)}

        def cifar10():
            entries = json.loads(igebm("data", "list", "--json", env=where).stdout)
            return next(entry for entry in entries if entry["name"] == "cifar10")
        rest = [f"data_batch_{i}.bin" for i in range(2, 6)] + ["test_batch.bin"]
        self.assertEqual((cifar10()["found"], cifar10()["missing"]), (str(part), rest))
        self.assertIn(f"found in part: {part}, which lacks data_batch_2.bin, ", igebm("data", "list", env=where).stdout)
        for name in rest:
            (part / name).write_bytes(b"")
        self.assertEqual(cifar10()["missing"], [])
        self.assertIn(f"found: {part}\n", igebm("data", "list", env=where).stdout)
        for name in ("dsprites-drawn", "rings"):
            shown = self.works("data", "show", name, "--set", "data.count=200", "--out", self.folder / "new" / f"{name}.png")
            self.assertIn("records of", shown)
            self.assertTrue((self.folder / "new" / f"{name}.png").read_bytes().startswith(b"\x89PNG"))
        self.assertIn("conditions: size, shape.square", self.works("data", "show", "dsprites-drawn", "--set", "data.count=9"))
        self.refused("did you mean \"cifar10\"", "data", "show", "cifar-10")
        self.refused("did you mean", "data", "fetch", "fashion_mnist")
        self.refused("ends in .png", "data", "show", "rings", "--out", self.folder / "x.jpg")
        self.refused("ends in .png", "data", "show", "image-folder", "--set", f"data.path={self.folder / 'absent'}", "--out", "x.jpg")
        self.refused("data.flipp", "data", "show", "rings", "--set", "data.flipp=true")
        self.refused("[0, 1]", "data", "show", "rings", "--set", "data.contrast=7")
        self.refused("no such folder", "data", "show", "image-folder", "--set", f"data.path={self.folder / 'absent'}")
        self.refused("image-net.org", "data", "fetch", "imagenet-32")
        offline = ["data", "fetch", "mnist", "--to", self.folder / "m", "--from", "http://127.0.0.1:9"]
        whole = "built without" not in igebm(*offline).stderr
        self.refused("is there a network?" if whole else "built without", *offline)


if __name__ == "__main__":
    unittest.main(verbosity=1)

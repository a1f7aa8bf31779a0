#!/usr/bin/env python3
"""The program as its user meets it: a run from recipe to samples, interruptions, and every kind of bad input."""
import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import time
import unittest
import zlib

import numpy

from running import PROGRAM, Running, igebm

RECIPE = """
[data]
name = "two-moons"
count = 2000
[network]
kind = "mlp"
widths = [32, 32]
[train]
checkpoint_every = 20
metrics_every = 5
samples_every = 0
[phase.train]
steps = 400
batch = 64
[phase.train.energy_matching]
[phase.train.contrastive_divergence]
weight = 0.01
steps = 10
step_size = 0.01
buffer = 256
low = -3.0
high = 3.0
[sampling]
start = "normal"
flow_steps = 10
steps = 10
step_size = 0.01
"""
IMAGES = """
[data]
name = "mnist"
path = "{path}"
validation = 0.0
[network]
kind = "unet"
channels = [8, 8]
blocks = [1, 1]
groups = 2
labels = true
[train]
samples_every = 0
[phase.train]
steps = 3
batch = 4
[phase.train.energy_matching]
[sampling]
start = "normal"
flow_steps = 3
steps = 2
step_size = 0.01
"""

CONDITIONS = """
[data]
name = "dsprites-drawn"
count = 40
size = 16
validation = 0.0
[network]
kind = "unet"
channels = [8, 8]
blocks = [1, 1]
groups = 2
conditions = ["size", "shape"]
[train]
samples_every = 0
[phase.train]
steps = 4
batch = 4
[phase.train.contrastive_divergence]
steps = 2
step_size = 0.01
buffer = 8
[sampling]
steps = 2
step_size = 0.01
"""

SCORES = """
[data]
name = "two-moons"
count = 500
[network]
kind = "mlp"
widths = [16, 16]
noise_features = 4
[train]
samples_every = 0
[phase.train]
steps = 10
batch = 16
[phase.train.denoising_score_matching]
sigma_min = 0.05
sigma_max = 5.0
[sampling]
levels = 5
steps = 2
"""

CLASSIFIER = """
[data]
name = "mnist"
path = "{path}"
dequantize = false
validation = 0.2
[network]
kind = "classifier"
channels = [4, 8]
features = 3
[train]
metrics_every = 5
[phase.train]
steps = 20
batch = 8
[phase.train.classification]
"""


def png(width, height, value):
    def chunk(name, data):
        return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    rows = (b"\0" + bytes([value]) * width) * height
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


class Program(Running):
    def setUp(self):
        super().setUp()
        self.recipe = self.folder / "moons.toml"
        self.recipe.write_text(RECIPE)

    def images(self):
        def idx(shape, data):
            return bytes([0, 0, 8, len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape) + data
        for part in ("train", "t10k"):
            (self.folder / f"{part}-images-idx3-ubyte").write_bytes(idx([20, 8, 8], bytes(range(256)) * 5))
            (self.folder / f"{part}-labels-idx1-ubyte").write_bytes(idx([20], bytes([0, 1, 2, 3, 4, 5, 6, 7, 8, 9] * 2)))
        recipe = self.folder / "images.toml"
        recipe.write_text(IMAGES.format(path=self.folder))
        return recipe

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

    def test_a_run_holds_what_is_documented(self):
        run = self.folder / "run"
        self.works("train", self.recipe, "--out", run, "--set", "phase.train.steps=40")
        records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        self.assertEqual([r["step"] for r in records], list(range(5, 41, 5)))
        self.assertIn("energy/data", records[0])
        self.assertIn("steps = 40", (run / "recipe.toml").read_text())
        self.assertTrue((run / "samples.png").exists())
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
        self.works("sample", run, "--count", 5, "--label", 3, "--seed", 2, "--steps", 4, "--out", self.folder / "again.npz")
        self.assertEqual((self.folder / "c.npz").read_bytes(), (self.folder / "again.npz").read_bytes())
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

    def evaluated(self):
        """A run of pictures, and a classifier of them."""
        run, classifier = self.folder / "run", self.folder / "classifier"
        self.works("train", self.images(), "--out", run)
        recipe = self.folder / "classifier.toml"
        recipe.write_text(CLASSIFIER.format(path=self.folder))
        self.assertIn("igebm evaluate RUN --features", self.works("train", recipe, "--out", classifier))
        return run, classifier

    def test_evaluate(self):
        run, classifier = self.evaluated()
        self.assertIn("of 20 test pictures of mnist are right", self.works("evaluate", classifier))
        accuracy = json.loads(self.works("evaluate", classifier, "--json"))["accuracy"]
        records = [json.loads(line) for line in (classifier / "metrics.jsonl").read_text().splitlines()]
        self.assertIn("accuracy/validation", records[-1])
        metrics = ["--metric", "frechet", "--metric", "kid", "--metric", "inception"]
        arguments = ["evaluate", run, "--features", classifier, "--count", 12, "--steps", 1, *metrics]
        out = self.works(*arguments)
        for text in ("samples", "real against real", "20 test pictures of mnist", "3 flow and 1 Langevin", "seed 0"):
            self.assertIn(text, out)
        told = json.loads(self.works(*arguments, "--json"))
        self.assertEqual(told, json.loads(self.works(*arguments, "--json")))
        self.assertEqual((told["quality"]["count"], told["real"]["count"], told["feature_count"]), (12, 12, 3))
        self.assertEqual(told["features_accuracy"], accuracy)
        self.assertAlmostEqual(sum(told["quality"]["class_shares"]), 1)
        # The same samples from a file, and features from a file: the same figures.
        samples = self.folder / "samples.npz"
        self.works("sample", run, "--count", 12, "--steps", 1, "--out", samples)
        weights = classifier / "checkpoints/000020/average.safetensors"
        file = json.loads(self.works("evaluate", samples, "--data", "mnist", "--data-path", self.folder, "--features", weights, *metrics, "--json"))
        for figure in ("frechet", "kid", "inception", "class_shares", "labels_right"):
            self.assertEqual(file["quality"][figure], told["quality"][figure], figure)
        # Samples that are the test pictures have their labels as often as the features tell those right.
        pictures = numpy.frombuffer(bytes(range(256)) * 5, numpy.uint8).reshape(20, 1, 8, 8)
        numpy.savez(self.folder / "pictures.npz", images=pictures, labels=numpy.arange(20) % 10)
        told = json.loads(self.works("evaluate", self.folder / "pictures.npz", "--data", "mnist", "--data-path", self.folder,
                                     "--features", weights, "--json"))
        self.assertEqual(told["quality"]["labels_right"], accuracy)
        self.assertNotEqual(json.loads(self.works(*arguments, "--seed", 5, "--json"))["quality"]["frechet"], told["quality"]["frechet"])
        self.assertIn("lacks full rank", self.works("evaluate", run, "--features", classifier, "--count", 3, "--steps", 1))
        self.assertIn("20 train pictures", self.works(*arguments, "--against", "train"))
        # What the set is taken as.
        given = ["evaluate", samples, "--data", "mnist", "--data-path", self.folder, "--features", classifier]
        self.assertIn("20 test pictures", self.works(*given, "--set", "data.count=11"))  # of training pictures
        self.assertIn("11 train pictures", self.works(*given, "--set", "data.count=11", "--against", "train"))
        self.refused("different shapes", *given, "--set", "data.size=4")
        # Points are their own features.
        self.works("train", self.recipe, "--out", self.folder / "moons", "--set", "phase.train.steps=5")
        self.assertIn("coordinates", self.works("evaluate", self.folder / "moons", "--count", 50))

    def test_metrics_are_those_of_one_table(self):
        docs = pathlib.Path(__file__).resolve().parents[2] / "docs"
        page = (docs / "evaluation.md").read_text().split("## Metrics")[1].split("\n## ")[0]
        rows = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| `")][1:]
        names = [row[0] for row in rows]
        self.assertGreater(len(names), 5)
        self.assertIn("{%s}" % ",".join(names), self.works("evaluate", "--help"))
        ranking = ", ".join(f'`"{row[0]}"`' for row in rows if row[-1] != "neither")
        self.assertIn(f"| `metric` | text | `\"frechet\"` | {ranking} |", self.works("train", "--keys"))
        # Of those that are told always, no other need be asked for.
        run, classifier = self.evaluated()
        told = json.loads(self.works("evaluate", run, "--features", classifier, "--count", 4, "--metric", "labels_right", "--json"))
        self.assertEqual(list(told["quality"]), ["count", "class_shares", "labels_right"])
        self.refused(["condition_errors", "not asked for conditions"], "evaluate", run, "--features", classifier, "--metric", "condition_errors")

    def test_evaluate_with_noise_levels_tells_of_labels_and_conditions(self):
        _, classifier = self.evaluated()
        def told(recipe):
            shape, _ = recipe.split("[phase.train]")
            path = self.folder / "scores.toml"
            path.write_text(shape.replace("groups = 2", "groups = 2\nnoise_features = 4") +
                            "[phase.train]" + SCORES.split("[phase.train]")[1])
            run = self.folder / f"scores-{len(list(self.folder.iterdir()))}"
            self.works("train", path, "--out", run)
            return json.loads(self.works("evaluate", run, "--features", classifier, "--count", 12, "--json"))["quality"]
        self.assertIn("labels_right", told(IMAGES.format(path=self.folder)))
        self.assertEqual(list(told(CONDITIONS.replace("size = 16", "size = 8"))["condition_errors"]),
                         ["size", "shape.square", "shape.ellipse", "shape.heart"])

    def test_what_would_give_wrong_numbers_is_refused(self):
        recipe = self.folder / "shapes.toml"
        recipe.write_text(CONDITIONS.replace('"size", "shape"', '"position"'))
        out = self.folder / "out"
        self.refused(["data.flip", "position.x"], "train", recipe, "--out", out, "--set", "data.flip=true")
        self.refused(["sampling.time", "noise = -1"], "train", self.recipe, "--out", out, "--set", "sampling.time=1.0",
                     "--set", "sampling.noise=0.01")
        self.assertFalse(out.exists())

    def test_bad_evaluations_are_one_clear_line(self):
        run, classifier = self.evaluated()
        samples = self.folder / "samples.npz"
        self.works("sample", run, "--count", 4, "--steps", 0, "--out", samples)
        points = self.folder / "points.npz"
        self.works("train", self.recipe, "--out", self.folder / "moons", "--set", "phase.train.steps=5")
        self.works("sample", self.folder / "moons", "--count", 4, "--out", points)
        few = ["--count", 4, "--steps", 0]
        advice = f"train recipes/classifier-fashion-mnist.toml --set data.name=mnist --set data.path={self.folder} --set data.flip=false --out runs/classifier-mnist"
        self.refused(["--features", advice], "evaluate", run, *few, cwd=self.folder)
        self.refused(["igebm: evaluate.features: ", advice], "train", self.images(), "--set", "evaluate.every=1", cwd=self.folder)
        # Before the features are looked for, which are missing here.
        self.refused("expected at least 10 records, one for each part, got 4", "evaluate", run, "--metric", "inception", *few, cwd=self.folder)
        self.refused("expected at least 10 records, one for each part, got 4", "evaluate", samples, "--data", "mnist",
                     "--metric", "inception", cwd=self.folder)
        self.refused("evaluate.count: ", "train", self.images(), "--set", "evaluate.every=1", "--set", "evaluate.count=9",
                     "--set", "evaluate.metric=inception", cwd=self.folder)
        self.refused("no such features", "evaluate", run, "--features", self.folder / "absent", *few)
        self.refused("not a classifier", "evaluate", run, "--features", run, *few)
        self.refused("fid", "evaluate", run, "--metric", "fid")
        self.refused("--count", "evaluate", run, "--count", 1)
        self.refused("not a run", "evaluate", self.folder / "absent")
        self.refused("--data NAME", "evaluate", samples)
        self.refused("knows its data", "evaluate", run, "--data", "mnist")
        self.refused("unknown data set", "evaluate", samples, "--data", "mnits", "--features", classifier)
        self.refused("no classes", "evaluate", self.folder / "moons", "--metric", "inception")
        self.refused("expects pictures of (1, 8, 8), got (2)", "evaluate", points, "--data", "mnist", "--data-path", self.folder, "--features", classifier)
        for option in (["--count", 4], ["--steps", 4], ["--best"], ["--weights", "network"], ["--engine", "fast"]):
            self.refused(f"{option[0]} goes with a run", "evaluate", points, "--data", "two-moons", *option)
        for value in ("nonsense.key=3", "sampling.steps=3", "nonsense"):
            self.refused(f"expected data.KEY=VALUE with {points}, got {value}", "evaluate", points, "--data", "two-moons", "--set", value)
        self.refused("did you mean \"noise\"", "evaluate", points, "--data", "two-moons", "--set", "data.noises=3")
        self.refused("--data-path", "evaluate", run, "--data-path", self.folder)
        file = ["evaluate", self.folder / "labels.npz", "--data", "mnist", "--data-path", self.folder, "--features", classifier]
        images = numpy.zeros((3, 1, 8, 8), numpy.uint8)
        for labels, said in (([1, 77, 3], "label 77 of record 1, where 0 to 9 are expected"), ([1, 2, -1], "label -1 of record 2"),
                             ([1.0, 2.0, 3.0], "labels: expected integers (3), got Double (3)"), ([1, 2], "got Long (2)")):
            numpy.savez(self.folder / "labels.npz", images=images, labels=numpy.array(labels))
            self.refused(["labels.npz: labels: ", said], *file)
        self.refused("different shapes", "evaluate", samples, "--data", "two-moons", "--features", classifier)
        self.refused("no best checkpoint", "evaluate", run, "--features", classifier, "--best", *few)
        self.refused("draws no samples", "sample", classifier, "--out", self.folder / "x.png")
        cut = self.folder / "cut.npz"
        cut.write_bytes(samples.read_bytes()[:-60])
        self.refused(["cut.npz", "truncated"], "evaluate", cut, "--data", "mnist")
        weights = classifier / "checkpoints/000020/average.safetensors"
        cut = self.folder / "cut.safetensors"
        cut.write_bytes(weights.read_bytes()[:-60])
        self.refused(["cut.safetensors", "truncated"], "evaluate", run, "--features", cut, *few)
        self.refused("go together", "train", self.images(), "--set", "phase.train.classification.label_smoothing=0.1")

    def test_the_best_checkpoint_is_kept_and_sampled(self):
        run, classifier = self.evaluated()
        best = self.folder / "best"
        out = self.works("train", self.images(), "--out", best, "--set", "evaluate.every=1", "--set", "evaluate.count=8",
                         "--set", f"evaluate.features={classifier}")
        self.assertIn("the best so far", out)
        figures = {}
        for line in (best / "metrics.jsonl").read_text().splitlines():
            record = json.loads(line)
            if "quality/frechet" in record:
                figures[record["step"]] = record["quality/frechet"]
        self.assertEqual(sorted(figures), [1, 2, 3])
        self.assertIn(f"best: step {min(figures, key=figures.get)}, frechet", self.works("info", best))
        self.works("sample", best, "--best", "--count", 2, "--out", self.folder / "a.npz")
        self.works("sample", best / "checkpoints/best", "--count", 2, "--out", self.folder / "b.npz")
        self.assertEqual((self.folder / "a.npz").read_bytes(), (self.folder / "b.npz").read_bytes())
        # The best label accuracy is the greatest.
        right = self.folder / "right"
        self.works("train", self.images(), "--out", right, "--set", "evaluate.every=1", "--set", "evaluate.metric=labels_right",
                   "--set", f"evaluate.features={classifier}")
        lines = [json.loads(line) for line in (right / "metrics.jsonl").read_text().splitlines()]
        fractions = {line["step"]: line["quality/labels_right"] for line in lines if "quality/labels_right" in line}
        self.assertIn(f"best: step {max(fractions, key=fractions.get)}, labels_right", self.works("info", right))
        self.refused("no such features", "train", self.images(), "--out", self.folder / "none", "--set", "evaluate.every=1", "--set", "evaluate.features=absent")
        self.assertFalse((self.folder / "none").exists())

    def test_ensembles_and_weights(self):
        run = self.folder / "run"
        self.works("train", self.recipe, "--out", run, "--set", "phase.train.steps=60")
        def points(name, *arguments):
            self.works("sample", run, "--count", 7, "--out", self.folder / name, *arguments)
            return (self.folder / name).read_bytes()
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
            return (self.folder / name).read_bytes()
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
        refused = igebm("evaluate", run, cwd=self.folder).stderr
        self.assertIn("--set data.name=dsprites-drawn --set data.size=16 --set data.count=40 --set data.flip=false --out", refused)
        given = refused[refused.index("--set"):refused.index(" --out")].split()
        self.works("train", shapes, "--out", classifier, *given)
        told = json.loads(self.works("evaluate", run, "--features", classifier, "--count", 40, "--json"))
        errors, real = told["quality"]["condition_errors"], told["real"]["condition_errors"]
        self.assertEqual(list(errors), ["size", "shape.square", "shape.ellipse", "shape.heart"])
        self.assertLess(real["size"], 0.15)
        self.assertLess(real["shape.heart"], errors["shape.heart"] + 0.2)
        self.assertIn("mean error of conditions", self.works("evaluate", run, "--features", classifier, "--count", 40))
        self.refused(["colour=1", "size, shape.square"], "sample", run, "--condition", "colour=1")
        self.refused("no labels", "sample", run, "--label", 1)
        self.works("train", self.recipe, "--out", self.folder / "moons", "--set", "phase.train.steps=5")
        self.refused("no conditions", "sample", self.folder / "moons", "--condition", "size=1", "--out", self.folder / "x.npz")
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
        self.refused("section.key=value", "train", self.recipe, "--set", "nonsense")
        self.refused("fashion-mnist", "train", self.recipe, "--set", "data.name=fashion")
        self.refused("ends in .png", "sample", run, "--out", self.folder / "x.jpg")
        self.refused("points", "sample", run, "--out", self.folder / "x.png")
        self.refused("no labels", "sample", run, "--label", 1, "--out", self.folder / "x.npz")
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

    def test_what_does_not_load_is_said_before_samples_are_drawn(self):
        run, classifier = self.evaluated()
        for name in list(self.folder.glob("t10k-*")):
            name.unlink()
        arguments = ["evaluate", run, "--features", classifier, "--count", 12]
        done = igebm(*arguments)
        self.assertEqual(done.returncode, 2)
        self.assertNotIn("sampling", done.stdout)
        self.assertIn("t10k", done.stderr)
        # Real pictures held out from training stand in for those of a split that is not there.
        told = self.works(*arguments, "--against", "train", "--set", "data.validation=0.4")
        self.assertIn("records held out from training, as there is no test split", told)

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

    def test_nothing_is_lost_where_nothing_can_be_written(self):
        self.refused("cannot be made", "train", self.recipe, "--out", "/proc/igebm-run")


if __name__ == "__main__":
    unittest.main(verbosity=1)

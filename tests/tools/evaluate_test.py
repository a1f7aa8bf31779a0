#!/usr/bin/env python3
"""Evaluation as its user meets it: what it tells of runs and of files, how the best checkpoint is kept, and what it refuses."""
import json
import pathlib
import unittest

import numpy

from running import arrays, igebm
from runs import CONDITIONS, IMAGES, SCORES, Runs


class Evaluate(Runs):
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
        self.assertNotIn("precision", told["quality"])
        few = json.loads(self.works("evaluate", run, "--features", classifier, "--count", 5, "--steps", 1, "--json"))
        self.assertEqual([name for name in ("frechet", "precision", "recall", "density", "coverage", "two_sample") if name in few["quality"]],
                         ["frechet", "precision", "recall", "two_sample"], "where there are enough")
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
        for figure, value in (("precision", 1), ("recall", 1), ("coverage", 1)):
            self.assertEqual(told["quality"][figure], value, "samples that are the data")
            self.assertLessEqual(told["real"][figure], 1)
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
        self.assertIn("{%s}" % ",".join(names), self.works("evaluate", "samples", "--help"))
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

    def test_bad_evaluations_are_one_clear_line(self):
        run, classifier = self.evaluated()
        samples = self.folder / "samples.npz"
        self.works("sample", run, "--count", 4, "--steps", 0, "--out", samples)
        points = self.folder / "points.npz"
        self.works("train", self.recipe, "--out", self.folder / "moons", "--set", "phase.train.steps=5")
        self.works("sample", self.folder / "moons", "--count", 4, "--out", points)
        few = ["--count", 4, "--steps", 0]
        advice = f"train recipes/classifier-fashion-mnist.toml --set data.name=mnist --set data.path={self.folder} --set data.flip=false --out runs/classifier-mnist"
        self.assertIn(advice, self.works("evaluate", run, *few, cwd=self.folder))
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
        self.refused("no such file or folder", "evaluate", self.folder / "absent")
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
        self.assertEqual(arrays(self.folder / "a.npz"), arrays(self.folder / "b.npz"))
        # The best label accuracy is the greatest.
        right = self.folder / "right"
        self.works("train", self.images(), "--out", right, "--set", "evaluate.every=1", "--set", "evaluate.metric=labels_right",
                   "--set", f"evaluate.features={classifier}")
        lines = [json.loads(line) for line in (right / "metrics.jsonl").read_text().splitlines()]
        fractions = {line["step"]: line["quality/labels_right"] for line in lines if "quality/labels_right" in line}
        self.assertIn(f"best: step {max(fractions, key=fractions.get)}, labels_right", self.works("info", right))
        self.refused("no such features", "train", self.images(), "--out", self.folder / "none", "--set", "evaluate.every=1", "--set", "evaluate.features=absent")
        self.assertFalse((self.folder / "none").exists())

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


if __name__ == "__main__":
    unittest.main(verbosity=1)

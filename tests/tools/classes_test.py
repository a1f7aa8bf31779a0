#!/usr/bin/env python3
"""What a model of classes and noise levels can be asked for: a class by name or number, none, more of it (guidance), and a budget."""
import json
import unittest

import numpy

from running import Running
from runs import SPRITES


class Classes(Running):
    text = SPRITES

    def test_samples_of_a_class_by_its_name_and_within_a_budget(self):
        run, out = self.folder / "run", self.folder / "x.npz"
        self.works("train", self.recipe, "--out", run)

        def sample(*arguments):
            told = json.loads(self.works("sample", run, "--count", 4, "--out", out, "--json", *arguments))
            arrays = numpy.load(out)
            return told, arrays["labels"].tolist(), arrays["images"].tobytes()

        told, labels, usual = sample()
        self.assertEqual((told["steps"], told["gradients"], told["samples"], told["count"]), (18, 20, str(out), 4))
        self.assertEqual(labels, [0, 1, 2, 0])
        self.assertEqual(sample("--label", "ellipse")[1], [1] * 4)
        self.assertEqual(sample("--label", "ellipse")[2], sample("--label", 1)[2])
        self.assertEqual(sample("--label", "none")[1], [-1] * 4)
        for arguments, gradients in ((["--budget", 10], 10), (["--budget", 11, "--guidance", 1.5], 10), (["--guidance", 1], 20)):
            self.assertEqual(sample(*arguments)[0]["gradients"], gradients)
        self.assertNotEqual(sample("--guidance", 2)[2], usual)
        self.assertEqual(sample("--guidance", 1)[2], usual)
        text = self.works("sample", run, "--budget", 10, "--guidance", 2, "--out", out)
        self.assertIn("5 noise levels, guidance 2", text)
        self.assertIn("square, ellipse, heart, or none", self.works("info", run))
        self.refused(["--label", "did you mean \"heart\"?"], "sample", run, "--label", "hart", "--out", out)
        self.refused("excludes", "sample", run, "--budget", 9, "--steps", 2, "--out", out)
        self.refused("too few", "sample", run, "--budget", 1, "--guidance", 2, "--out", out)
        self.refused("guidance: expected", "sample", run, "--guidance", -1, "--out", out)

    def test_what_was_trained_with_all_labels_has_no_guidance(self):
        run = self.folder / "run"
        self.works("train", self.recipe, "--out", run, "--set", "network.label_dropout=0.0")
        for arguments in (["--guidance", 2], ["--label", "none"]):
            self.refused(["label_dropout" if "--guidance" in arguments else "square"], "sample", run, "--out", self.folder / "x.npz", *arguments)
        # Before the work, not at the first picture.
        few = ["--set", "sampling.budget=1", "--set", "sampling.guidance=2.0", "--out", self.folder / "other"]
        self.refused("sampling.budget: 1 gradients are too few", "train", self.recipe, *few)
        self.refused("sampling.budgets: expected as many", "train", self.recipe, "--set", "sampling.budgets=[1]", "--out", self.folder / "other")
        self.refused("only with labels = true", "train", self.recipe, "--set", "network.labels=false", "--out", self.folder / "other")


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/env python3
"""igebm neighbours and igebm curve: what they tell, draw and refuse."""
import json
import unittest

from running import igebm
from runs import Runs


class Neighbours(Runs):
    def test_neighbours(self):
        run, classifier = self.evaluated()
        out = self.folder / "new" / "near.png"
        arguments = ["neighbours", run, "--features", classifier, "--count", 3, "--nearest", 2, "--steps", 1, "--out", out]
        told = self.works(*arguments)
        for text in ("samples: 200 of", "3 flow and 1 Langevin", "seed 0", "among: 20 training pictures of mnist", "beside: 20 test pictures",
                     "pixels:", "3 of the classifier", "one-sided rank test", str(out)):
            self.assertIn(text, told)
        self.assertEqual(out.read_bytes()[1:4], b"PNG")
        told = json.loads(self.works(*arguments, "--json"))
        self.assertEqual(told, json.loads(self.works(*arguments, "--json")))
        self.assertEqual((told["samples"], told["training_pictures"], told["mirrored"]), (200, 20, False))
        self.assertEqual(told["held_out"], {"split": "test", "count": 20})
        pixels, features = told["nearness"]
        self.assertEqual(pixels["in"], "pixels")
        for figures in (pixels, features):
            self.assertEqual([len(row) for row in figures["neighbours"]], [2, 2, 2])
            self.assertTrue(all(a <= b for a, b in figures["distances"]))
            # Here test pictures are training pictures, and samples are not.
            self.assertAlmostEqual(figures["median"]["held_out"], 0, places=5)
            self.assertGreater(figures["p"], 0.99)
        flipped = json.loads(self.works(*arguments, "--set", "data.flip=true", "--json"))
        self.assertTrue(flipped["mirrored"])
        self.assertLessEqual(flipped["nearness"][0]["median"]["samples"], pixels["median"]["samples"])
        self.assertNotEqual(json.loads(self.works(*arguments, "--seed", 5, "--json"))["nearness"], told["nearness"])

    def test_curve(self):
        run, classifier = self.evaluated()
        arguments = ["curve", run, "--features", classifier, "--count", 20]
        out = self.folder / "curve.png"
        told = self.works(*arguments, "--budgets", "3,5", "--out", out)
        for text in ("20 samples of each budget, seed 0", "20 test pictures", "Frechet distance", "real", str(out)):
            self.assertIn(text, told)
        self.assertEqual(out.read_bytes()[1:4], b"PNG")
        out = self.folder / "curve.json"
        told = json.loads(self.works(*arguments, "--budgets", "3,5", "--out", out, "--json"))
        self.assertEqual(told, json.loads(out.read_text()))
        self.assertEqual([(p["budget"], p["gradients"]) for p in told["points"]], [(3, 3), (5, 5)])
        evaluated = json.loads(self.works("evaluate", run, "--features", classifier, "--count", 20, "--budget", 5, "--metric", "frechet",
                                          "--metric", "diversity", "--json"))
        for metric in ("frechet", "diversity", "labels_right"):
            self.assertEqual(told["points"][1][metric], evaluated["quality"][metric], metric)
            self.assertEqual(told["real"][metric], evaluated["real"][metric], metric)

    def test_what_is_wrong_is_said_in_a_line(self):
        run, classifier = self.evaluated()
        moons = self.folder / "moons"
        self.works("train", self.recipe, "--out", moons, "--set", "phase.train.steps=5")
        out = self.folder / "x.png"
        self.refused(["neighbours: ", "moons: its records are no pictures"], "neighbours", moons, "--out", out)
        self.refused("neighbours: --out x.jpg: expected a name that ends in .png", "neighbours", run, "--out", "x.jpg")
        self.refused("absent: no such features", "neighbours", run, "--features", self.folder / "absent", "--out", out)
        self.refused("not a classifier", "neighbours", run, "--features", run, "--out", out)
        self.refused("--samples", "neighbours", run, "--samples", 100)
        self.refused("validation", "neighbours", run, "--held-out", "validation", "--out", out)
        self.refused("21 nearest of 20 training pictures", "neighbours", run, "--nearest", 21, "--out", out)
        self.refused("neighbours: ", "neighbours", self.folder / "absent", "--out", out)
        empty = {"IGEBM_DATA": str(self.folder / "none"), "HOME": str(self.folder), "PATH": "/bin"}
        for command in ("neighbours", "curve"):
            done = igebm(command, "mnist", "--out", out, "--features", classifier, env=empty)
            self.assertEqual(done.returncode, 2)
            self.assertTrue(done.stderr.startswith(f"igebm: {command}: "), done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1)
        few = ["--features", classifier, "--count", 20, "--out", out]
        self.refused("curve: --out x.gif: expected a name that ends in .png or .json", "curve", run, "--out", "x.gif")
        self.refused("no picture; use FILE.json", "curve", moons, "--out", out)
        self.refused("--budgets", "curve", run, "--budgets", "3,0", *few)
        self.refused("--budgets", "curve", run, "--budgets", "3,many", *few)
        self.refused("19 samples, where two of each of 10 classes", "curve", run, *few[:2], "--count", 19, "--out", out)
        self.assertFalse(out.exists())
        self.works("curve", moons, "--budgets", "3,20", "--count", 50, "--out", self.folder / "moons.json")


if __name__ == "__main__":
    unittest.main()

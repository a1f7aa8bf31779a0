#!/usr/bin/env python3
"""Trained models by name: exported, listed, sampled, and gone on from."""
import json
import os
import unittest

import numpy
from running import Running, arrays
from runs import SPRITES


class Models(Running):
    text = SPRITES

    def test_a_run_becomes_a_model_with_a_name(self):
        models, run, out = self.folder / "models", self.folder / "run", self.folder / "x.npz"
        self.options = {"env": os.environ | {"IGEBM_MODELS": str(models)}, "cwd": self.folder}
        self.works("train", self.recipe, "--out", run, "--threads", 1)
        self.works("sample", run, "--count", 3, "--out", out)
        expected = arrays(out)
        self.works("export", run, models / "sprites")
        self.assertIn("threads = 0", (models / "sprites" / "recipe.toml").read_text())
        self.refused("--replace", "export", run, models / "sprites")
        (models / "sprites" / "README.md").write_text("# sprites\n\nSmall shapes.\n\nMade by a test.\n")
        self.works("export", run, models / "sprites", "--replace")
        self.assertRegex(self.works("models"), r"(?m)^sprites +Small shapes\.$")
        self.assertIn("Made by a test.", self.works("models", "sprites"))
        listed = {m["name"]: m for m in json.loads(self.works("models", "--json"))}
        self.assertEqual((listed["sprites"]["about"], listed["sprites"]["input"]), ("Small shapes.", [1, 16, 16]))
        self.works("sample", "sprites", "--count", 3, "--out", out)
        self.assertEqual(arrays(out), expected)
        self.assertIn("classes: square, ellipse, heart", self.works("info", "sprites"))
        self.works("export", run, models / "half", "--half")
        whole, half = ((models / name / "network.safetensors").stat().st_size for name in ("sprites", "half"))
        self.assertLess(half, 0.65 * whole)  # the rest is the header
        self.works("sample", "half", "--count", 3, "--out", self.folder / "half.npz")
        near, exact = (numpy.load(path)["images"].astype(float) for path in (self.folder / "half.npz", out))
        self.assertLess(numpy.abs(near - exact).mean(), 0.1 * numpy.ptp(exact))
        self.assertGreater(numpy.abs(near - exact).max(), 0)
        self.refused("did you mean \"sprites\"?", "sample", "sprite", "--out", out)
        self.refused("no such model", "models", "nothing-like-it")
        self.refused("--weights network is of a run", "sample", "sprites", "--weights", "network", "--out", out)
        self.refused("expected a value, got an empty text", "sample", "", "--out", out)
        self.refused("--label: expected a value, got an empty text", "sample", "sprites", "--label", "", "--out", out)
        self.refused("--label: expected a value, got an empty text", "sample", "sprites", "--label=", "--out", out)
        self.refused("no such run, checkpoint, model or recipe", "info", "nothing-like-it")

        tuned = self.folder / "tuned"
        told = self.works("train", self.recipe, "--out", tuned, "--from", "sprites", "--set", "phase.train.steps=2")
        self.assertIn("starting from the weights of sprites", told)
        self.assertIn('from = "sprites"', (tuned / "recipe.toml").read_text())
        self.refused("another architecture", "train", self.recipe, "--out", self.folder / "no", "--from", "sprites", "--set", "network.blocks=[1, 2]")
        self.refused("another architecture", "train", self.recipe, "--dry-run", "--from", "sprites", "--set", "network.blocks=[1, 2]")
        self.assertFalse((self.folder / "no").exists())


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/env python3
"""Classes by least energy, and attacks on them, as their user meets them."""
import json
import os
import pathlib
import subprocess
import sys
import unittest

from running import Running
from runs import SPRITES, Runs


class Robustness(Runs):
    def sprites(self):
        recipe, run = self.folder / "sprites.toml", self.folder / "sprites"
        recipe.write_text(SPRITES)
        self.works("train", recipe, "--out", run, "--set", "train.samples_every=0",
                   "--set", "phase.train.denoising_score_matching.classes=0.1")
        return run

    def test_classes_by_least_energy(self):
        run = self.sprites()
        def asked(count=10, usual=20):
            return ["evaluate", "classification", run, "--count", count, "--usual", usual, "--levels", 3]
        arguments = asked()
        told = json.loads(self.works(*arguments, "--json"))
        self.assertEqual(told, json.loads(self.works(*arguments, "--json")) | {"seconds": told["seconds"]})
        self.assertEqual((told["count"], told["fitted_on"]), (10, {"pictures": "trained on", "count": 20}))
        low, high = told["accuracy"]["interval"]
        self.assertLessEqual(0 <= low <= told["accuracy"]["value"], high <= 1)
        self.assertEqual(len(told["sigmas"]), 1)
        self.assertNotIn("eps", told)
        # What is fitted does not go by the test pictures, but by those of training.
        others = json.loads(self.works(*asked(count=7), "--json"))
        fitted = ("sigmas", "weights", "offsets")
        self.assertEqual([told[name] for name in fitted], [others[name] for name in fitted])
        self.assertEqual((len(told["weights"]), len(told["offsets"])), (1, 3))
        fewer = json.loads(self.works(*asked(usual=25), "--json"))
        self.assertNotEqual(fewer["weights"], told["weights"])
        levels = arguments[:-2]
        several = json.loads(self.works(*levels, "--sigma", 0.5, "--sigma", 1, "--json"))
        self.assertEqual(several["sigmas"], [0.5, 1])
        # Noise of the level counts, and is the same each time.
        self.assertIn(told["draws"], (0, 2))
        noisy = json.loads(self.works(*arguments, "--draws", 3, "--json"))
        self.assertEqual(noisy["draws"], 3)
        plain = json.loads(self.works(*arguments, "--draws", 0, "--json"))
        self.assertEqual(plain["draws"], 0)
        self.assertNotEqual(plain["cross_entropy"], noisy["cross_entropy"])
        self.assertIn("of 3 noisy copies, a temperature", self.works(*arguments, "--draws", 3))
        self.assertIn("of pictures as they are, a temperature", self.works(*arguments, "--draws", 0))
        self.assertIn("a temperature and an offset for each class fitted", self.works(*arguments))
        refined = json.loads(self.works(*arguments, "--refine", 2, "--refine-box", "16/255", "--json"))
        self.assertEqual((refined["refine_box"], refined["refine_noise"]), (16 / 255, 0.005))
        self.assertGreater(refined["refine_step"], 0)
        self.assertNotIn("refine_step", told)
        text = self.works(*arguments, "--refine", 2, "--refine-step", 0.01)
        self.assertIn("2 Langevin steps beforehand, size 0.01, noise 0.005, within 0.0314 of each pixel", text)
        self.refused(["sigma: expected from", "got 1e+06"], *levels, "--sigma", 1e6)
        for option, value in (("--refine-box", 0.1), ("--refine-step", 0.1), ("--refine-noise", 0.1)):
            self.refused([option, "--refine"], *arguments, option, value)

    def test_attacks(self):
        run = self.sprites()
        few = ["--count", 6, "--usual", 20, "--sigma", 1, "--restarts", 1, "--steps", 3]
        arguments = ["evaluate", "robustness", run, *few, "--attack", "pgd", "--attack", "square", "--queries", 5, "--eps", 0, "--eps", "8/255", "--json"]
        told = json.loads(self.works(*arguments))
        none, some = told["eps"]
        self.assertAlmostEqual(some["eps"], 8 / 255)
        self.assertEqual(none["accuracy"], told["accuracy"])  # eps 0 is no attack
        for each in some["attacks"]:
            self.assertLessEqual(some["accuracy"]["value"], each["accuracy"]["value"])
        self.assertEqual([each["attack"] for each in some["attacks"]], ["pgd", "square"])
        self.assertEqual(told["attack_settings"], {"steps": 3, "restarts": 1, "queries": 5, "all_classes_every": 5, "class_margin": 3, "step_size": None})
        for through in ("identity", "steps"):
            text = self.works("evaluate", "robustness", run, *few, "--attack", "apgd", "--norm", "l2", "--eps", 0.5, "--refine", 2,
                              "--through", through, "--noises", 2)
            self.assertIn("l2, eps 0.5", text)
            self.assertNotIn("grey", text)  # which is 8 away of 16 x 16 pixels
            self.assertIn("attacks: 3 steps, 1 restart\n", text)
        self.refused("--eps", "evaluate", "robustness", run, *few, "--eps", "one")
        refused = ["evaluate", "robustness", run, *few, "--eps", 0.1]
        self.refused(["--step-size: expected a number above 0, got nan"], *refused, "--step-size", "nan")
        self.refused("eps: expected each once, got 0.1 twice", *refused, "--eps", "1/10")
        self.refused("attack: expected each once, got pgd twice", *refused, "--attack", "pgd", "--attack", "apgd", "--attack", "pgd")
        for option, value in (("--through", "steps"), ("--noises", 2)):
            self.refused([option, "--refine"], *refused, option, value)
        # Options that would do nothing.
        self.refused(["--queries", "square"], *refused, "--queries", 9)
        self.refused(["--step-size", "pgd"], *refused, "--attack", "apgd", "--step-size", 1)
        self.refused(["--restarts", "pgd or apgd"], "evaluate", "robustness", run, "--eps", 0.1, "--attack", "square", "--restarts", 3)
        self.refused("--levels, --sigma", *refused, "--levels", 3, "--sigma", 1)
        self.refused("linf alone", "evaluate", "robustness", run, *few, "--eps", 1, "--norm", "l2", "--attack", "square", "--attack", "pgd")

    def test_classifiers_and_energies_without_noise_levels(self):
        run, classifier = self.evaluated()
        for each in (run, classifier):
            told = json.loads(self.works("evaluate", "robustness", each, "--count", 20, "--usual", 20, "--eps", "0.1", "--steps", 2, "--json"))
            self.assertEqual((told["sigmas"], told["eps"][0]["eps"]), ([], 0.1))
        accuracy = json.loads(self.works("evaluate", classifier, "--json"))["accuracy"]
        self.assertEqual(told["accuracy"]["value"], accuracy)  # a temperature changes no class
        # What fools another model is tried on this one, and the worst of all counts.
        few = ["--count", 20, "--usual", 20, "--steps", 2, "--json"]
        for one, other in ((run, classifier), (classifier, run)):
            told = json.loads(self.works("evaluate", "robustness", one, *few, "--eps", 0, "--eps", 0.2, "--attack", "pgd", "--restarts", 1, "--transfer", other))
            none, some = told["eps"]
            self.assertEqual([each.get("source") for each in some["attacks"]], [None, str(other)])
            self.assertEqual(none["attacks"][1]["accuracy"], told["accuracy"])
            self.assertLessEqual(some["accuracy"]["value"], min(each["accuracy"]["value"] for each in some["attacks"]))
        self.refused("another shape", "evaluate", "robustness", run, *few, "--eps", 0.1, "--transfer", "mnist")
        self.refused(["--transfer", "another model"], "evaluate", "robustness", run, *few, "--eps", 0.1, "--transfer", f"{run}/")
        for each in (run, classifier):
            for option in ("--sigma", "--levels", "--draws"):
                self.refused("takes no noise levels", "evaluate", "classification", each, option, 1)
        self.assertIn("; a temperature fitted on", self.works("evaluate", "classification", classifier, "--count", 20, "--usual", 20))
        self.refused("has no energy", "evaluate", "classification", classifier, "--refine", 1)

    def test_models_that_tell_no_classes_are_refused(self):
        recipe = self.images()
        run = self.folder / "plain"
        self.works("train", recipe, "--out", run, "--set", "network.labels=false")
        self.refused("take no classes", "evaluate", "classification", run)
        self.works("train", self.recipe, "--out", self.folder / "moons", "--set", "phase.train.steps=5")
        self.refused("no pictures", "evaluate", "classification", self.folder / "moons")


# Answers as igebm does, or not where the model is FAILS.
FAKE = """#!{python}
import json, os, sys
if sys.argv[1] == "--version":
    print("igebm " + os.environ.get("VERSION", "1"))
elif sys.argv[3] == os.environ.get("FAILS"):
    sys.exit(3)
else:
    print(json.dumps({{"sigma": 1, "log_p": []}}))
"""


class Reproduce(Running):
    def reproduced(self, status, *arguments, **variables):
        out = self.folder / "out"
        done = subprocess.run([sys.executable, pathlib.Path(__file__).resolve().parents[2] / "scripts/reproduce", "likelihood", "--out", out, *arguments],
                              env={**os.environ, "IGEBM": str(self.folder / "igebm"), **variables}, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(done.returncode, status, done.stderr)
        return done

    def test_what_fails_is_said_and_what_is_there_is_kept(self):
        self.assertEqual(self.reproduced(2).stderr.count("\n"), 1)  # no such program
        program = self.folder / "igebm"
        program.write_text(FAKE.format(python=sys.executable))
        program.chmod(0o755)
        self.assertIn("expected at least 1, got 0", self.reproduced(2, "--count", "0").stderr)
        self.assertIn("no row lenet", self.reproduced(2, "--model", "lenet").stderr)
        self.assertIn("failed: two-moons", self.reproduced(1, FAILS="two-moons").stderr)
        self.assertIn("two-moons was left out", (self.folder / "out/likelihood.md").read_text())
        # The one that is missing, by another version, which the page says.
        self.assertIn("1 of 4 answers are to be made", self.reproduced(0, VERSION="2").stdout)
        head = (self.folder / "out/likelihood.md").read_text().splitlines()[2]
        self.assertIn("igebm 2; mnist, σ = 1 by igebm 1; fashion-mnist, σ = 1 by igebm 1; cifar10, σ = 1 by igebm 1.", head)
        # A quick look has answers and a page of its own.
        self.assertIn("4 of 4 answers are to be made", self.reproduced(0, "--count", "50").stdout)
        self.assertTrue((self.folder / "out/likelihood/two-moons-50.json").exists() and (self.folder / "out/likelihood-50.md").exists())
        self.assertIn("0 of 4 answers are to be made", self.reproduced(0).stdout)


if __name__ == "__main__":
    unittest.main()

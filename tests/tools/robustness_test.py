#!/usr/bin/env python3
"""Classes by least energy, and attacks on them, as their user meets them."""
import json
import unittest

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
        several = json.loads(self.works(*arguments, "--sigma", 0.5, "--sigma", 1, "--json"))
        self.assertEqual(several["sigmas"], [0.5, 1])
        self.assertIn("in brackets", self.works(*arguments, "--refine", 2))

    def test_attacks(self):
        run = self.sprites()
        few = ["--count", 6, "--usual", 20, "--sigma", 1, "--restarts", 1, "--steps", 3, "--queries", 5]
        arguments = ["evaluate", "robustness", run, *few, "--attack", "pgd", "--attack", "square", "--eps", 0, "--eps", "8/255", "--json"]
        told = json.loads(self.works(*arguments))
        none, some = told["eps"]
        self.assertAlmostEqual(some["eps"], 8 / 255)
        self.assertEqual(none["accuracy"], told["accuracy"])  # eps 0 is no attack
        for each in some["attacks"]:
            self.assertLessEqual(some["accuracy"]["value"], each["accuracy"]["value"])
        self.assertEqual([each["attack"] for each in some["attacks"]], ["pgd", "square"])
        for through in ("identity", "steps"):
            text = self.works("evaluate", "robustness", run, *few, "--attack", "apgd", "--norm", "l2", "--eps", 0.5, "--refine", 2,
                              "--through", through, "--noises", 2)
            self.assertIn("l2, eps 0.5", text)
        self.refused("--eps", "evaluate", "robustness", run, *few, "--eps", "one")
        self.refused("linf alone", "evaluate", "robustness", run, *few, "--eps", 1, "--norm", "l2", "--attack", "square")

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
        self.refused("no noise levels", "evaluate", "classification", run, "--sigma", 1)
        self.refused("has no energy", "evaluate", "classification", classifier, "--refine", 1)

    def test_models_that_tell_no_classes_are_refused(self):
        recipe = self.images()
        run = self.folder / "plain"
        self.works("train", recipe, "--out", run, "--set", "network.labels=false")
        self.refused("take no classes", "evaluate", "classification", run)
        self.works("train", self.recipe, "--out", self.folder / "moons", "--set", "phase.train.steps=5")
        self.refused("no pictures", "evaluate", "classification", self.folder / "moons")


if __name__ == "__main__":
    unittest.main()

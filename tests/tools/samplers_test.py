#!/usr/bin/env python3
"""Kernels of sampling by their names: in recipes, in samples, and refused where they do not fit."""
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
samples_every = 20
samples = 16
[phase.train]
steps = 20
batch = 32
[phase.train.energy_matching]
[sampling]
start = "normal"
flow_steps = 2
steps = 8
step_size = 0.01
noise = -1.0
low = -3.0
high = 3.0
"""


class Samplers(Running):
    text = RECIPE

    def setUp(self):
        super().setUp()
        self.out = self.folder / "x.npz"

    def points(self, run, *arguments):
        told = self.works("sample", run, "--count", 7, "--out", self.out, *arguments)
        return told, numpy.load(self.out)["points"].tobytes()

    def test_a_run_is_sampled_by_any_kernel(self):
        run = self.folder / "run"
        self.works("train", self.recipe, "--out", run)
        told, langevin = self.points(run)
        self.assertIn("2 flow and 8 Langevin steps", told)
        self.assertNotIn("accepted", told)
        self.assertEqual(self.points(run, "--sampler", "langevin")[1], langevin)
        told, mala = self.points(run, "--sampler", "mala")
        self.assertRegex(told, r"2 flow and 8 MALA steps, \d+ % accepted")
        self.assertEqual(self.points(run, "--set", "sampling.kernel=mala")[1], mala)
        told, hmc = self.points(run, "--sampler", "hmc", "--set", "sampling.hmc.leapfrog_steps=2")
        self.assertRegex(told, r"2 flow and 8 HMC steps, \d+ % accepted")
        self.assertEqual(len({langevin, mala, hmc}), 3)
        self.assertNotEqual(self.points(run, "--sampler", "hmc")[1], hmc)
        told = self.works("sample", run, "--sampler", "mala", "--ensemble", 1, "--engine", "reference",
                          "--set", "run.precision=bf16", "--out", self.out)
        self.refused(["sampling.kernel", "bfloat16", "run.precision = \"f32\""],
                     "sample", run, "--sampler", "mala", "--set", "run.precision=bf16", "--out", self.out)
        self.refused("noise must be above 0", "sample", run, "--sampler", "hmc", "--set", "sampling.noise=0", "--out", self.out)
        self.refused("{langevin,mala,hmc}", "sample", run, "--sampler", "nuts")

    def test_a_recipe_may_name_it(self):
        run = self.folder / "run"
        self.recipe.write_text(RECIPE + 'kernel = "hmc"\n[sampling.hmc]\nleapfrog_steps = 3\n')
        self.works("train", self.recipe, "--out", run)  # draws a picture by it
        self.assertIn("leapfrog_steps = 3", (run / "recipe.toml").read_text())
        self.assertIn("2 flow and 8 HMC steps", self.works("info", run))
        self.assertIn("HMC", self.works("evaluate", run, "--count", 20))
        self.refused(["moons.toml:", "bfloat16"], "train", self.recipe, "--set", "run.precision=auto")


if __name__ == "__main__":
    unittest.main()

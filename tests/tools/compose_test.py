#!/usr/bin/env python3
"""igebm compose: what it draws, and what it refuses."""
import importlib.util
import json
import re
import subprocess
import sys
import unittest

import numpy

from running import Running, igebm

# Run as a file, of which TorchScript reads the source.
MAKE_SCRIPT = """
import sys, torch
class Right(torch.nn.Module):
    def forward(self, x):
        return 8 * torch.relu(1 - x[:, 0])
class Steep(torch.nn.Module):
    def forward(self, x):
        return 100 * torch.relu(x[:, 0] - 2) ** 2
class Flat(torch.nn.Module):
    def forward(self, x):
        return torch.zeros(x.shape[0])
class Wrong(torch.nn.Module):
    def forward(self, x):
        return x
class Nan(torch.nn.Module):
    def forward(self, x):
        return torch.sqrt(x[:, 0] - 9)
for make in (Right, Steep, Flat, Wrong, Nan):
    torch.jit.script(make()).save(sys.argv[1] + "/" + make.__name__.lower() + ".pt")
"""


class Compose(Running):
    def setUp(self):
        super().setUp()
        self.out = self.folder / "x.npz"

    def points(self, *arguments):
        told = json.loads(self.works("compose", *arguments, "--out", self.out, "--json"))
        return told, numpy.load(self.out)["points"]

    def test_densities_in_the_plane_are_added_mixed_and_taken_away(self):
        told, both = self.points("ring(2,.1) & box(0,-3,3,3)", "--count", 500)
        self.assertEqual((told["count"], told["weight"], told["non_finite"]), (500, 2, 0))
        self.assertGreater(told["accepted"], 0.3)
        self.assertGreater(both[:, 0].min(), -0.1)
        self.assertLess(abs(numpy.hypot(*both.T) - 2).max(), 0.6)
        _, either = self.points("0.9*gaussian(2,0,.1) | 0.1*gaussian(-2,0,.1)", "--count", 2000)
        share = (either[:, 0] > 0).mean()  # 4 standard errors of 0.9
        self.assertLess(abs(share - 0.9), 0.027)
        _, without = self.points("ring(2,.1) & !gaussian(2,0,1)", "--count", 500, "--not", 0.8)
        self.assertLess(without[:, 0].mean(), -0.5)

    def test_seeds_and_threads_repeat(self):
        _, one = self.points("two-moons & gaussian(1,0,1)", "--count", 50, "--seed", 3)
        _, same = self.points("two-moons & gaussian(1,0,1)", "--count", 50, "--seed", 3, "--threads", 1)
        _, other = self.points("two-moons & gaussian(1,0,1)", "--count", 50, "--seed", 4)
        self.assertTrue((one == same).all())
        self.assertFalse((one == other).all())

    def test_a_shipped_model_is_cut_by_a_density(self):
        told, moons = self.points("two-moons & gaussian(-1,0,.3)", "--count", 300)
        self.assertEqual(told["correct"], "mala")
        self.assertLess(moons[:, 0].mean(), -0.6)

    def test_energies_of_models_are_normalised_for_or(self):
        told = self.works("compose", "two-moons | eight-gaussians", "--count", 200, "--out", self.out)
        self.assertRegex(told, r"log Z of two-moons: -?[\d.]+ ± [\d.]+")
        far = (numpy.hypot(*numpy.load(self.out)["points"].T) > 1.75).mean()  # eight Gaussians stand on a circle of 2
        self.assertLess(abs(far - 0.5), 0.16)
        log_z = self.points("two-moons | gaussian(0,0,1)", "--count", 2, "--levels", 3)[0]["log_z"]
        self.assertEqual([z["of"] for z in log_z], ["two-moons"])
        self.assertLess(abs(log_z[0]["log_z"] - float(re.search("log Z of two-moons: (.*?) ", told).group(1))), 0.01)

    def test_pictures_are_drawn(self):
        out = self.folder / "x.png"
        told = self.works("compose", "mnist(3) & mnist(8)", "--count", 4, "--levels", 5, "--moves", 1, "--out", out)
        self.assertIn("4 samples of mnist(3) & mnist(8) after 12 gradients of each energy", told)
        self.assertEqual(out.read_bytes()[1:4], b"PNG")
        self.works("compose", "two-moons", "--count", 10, "--levels", 3, "--out", out)
        self.assertEqual(out.read_bytes()[1:4], b"PNG")

    def test_a_constraint_of_ones_own_takes_part(self):
        make = self.folder / "make.py"
        make.write_text(MAKE_SCRIPT)
        if importlib.util.find_spec("torch") is None:
            self.skipTest("no PyTorch")
        subprocess.run([sys.executable, make, self.folder], check=True, capture_output=True)
        right = f"right={self.folder}/right.pt"
        _, points = self.points("two-moons & right", "--model", right, "--count", 200)
        self.assertGreater(points[:, 0].mean(), 0.7)
        # It takes most of one mode's right half: by quadrature .619 are in the other.
        _, points = self.points("(gaussian(-2,0,.3) | gaussian(2,0,.3)) & steep", "--model", f"steep={self.folder}/steep.pt", "--count", 3000)
        self.assertAlmostEqual((points[:, 0] < 0).mean(), 0.619, delta=0.05)
        self.refused(["column 13", "constraint"], "compose", "two-moons | right", "--model", right, "--out", self.out)
        self.refused("its energy does not depend", "compose", "two-moons & f", "--model", f"f={self.folder}/flat.pt", "--out", self.out)
        self.refused("expected energies (2), got (2, 2) of Float", "compose", "two-moons & w", "--model", f"w={self.folder}/wrong.pt",
                     "--out", self.out)
        self.refused("nan.pt: its energy or gradient is not a number", "compose", "two-moons & n", "--model", f"n={self.folder}/nan.pt",
                     "--out", self.out)
        (self.folder / "torn.pt").write_bytes((self.folder / "right.pt").read_bytes()[:100])
        self.refused("torn.pt: expected a TorchScript module", "compose", "two-moons & t", "--model", f"t={self.folder}/torn.pt",
                     "--out", self.out)

    def test_what_is_wrong_is_said_in_a_line(self):
        def refused(expected, *arguments):
            self.refused(expected, "compose", *arguments)
            self.assertFalse(self.out.exists())

        out = ("--out", self.out)
        refused("column 5: expected a name", "a & & b", *out)
        refused(["column 1: two-moon", "did you mean \"two-moons\"?"], "two-moon", *out)
        refused(["column 12: bags: \"bags\"", "mnist"], "mnist(3) & bags", *out)
        refused("column 12: two-moons is of shape (2), mnist(3) of (1, 28, 28)", "mnist(3) & two-moons", *out)
        refused(["column 7: mnist(ten)", "expected 0 to 9"], "mnist(ten)", *out)
        refused("--model a: expected NAME=RUN", "a", "--model", "a", *out)
        refused("column 1: a: ", "a", "--model", f"a={self.folder}/none", *out)
        refused("--model a=mnist: a is defined twice", "a", "--model", "a=mnist", "--model", "a=mnist", *out)
        refused("expected a name that ends in .png or .npz", "two-moons", "--out", "x.jpg")
        refused("given: column 1: x: ", "two-moons & two-moons", "--given", "x", *out)
        refused("--not: expected a number above 0", "two-moons & !two-moons", "--not", 0, *out)
        refused("--not: the expression takes nothing away", "two-moons & two-moons", "--not", 0.7, *out)
        refused("--moves: with --correct none", "two-moons & two-moons", "--correct", "none", "--moves", 7, *out)
        refused("--given: expected a value, got an empty text", "two-moons & two-moons", "--given", "", *out)
        refused("--base: expected --given own", "two-moons & two-moons", "--base", "two-moons", *out)
        refused("--step-share: mala learns the sizes", "two-moons & two-moons", "--step-share", .2, *out)
        refused("got \"tpu\"", "ring(2, .1)", "--device", "tpu", *out)
        # Before the work, which would find normalisers first.
        refused(["column 12", "not compositions"], "mnist(3) | (mnist(1) & mnist(8))", *out)
        refused("add up to 0:", "two-moons & !two-moons", "--not", 1, *out)

    def test_an_interrupt_leaves_what_is_finished(self):
        status, out, _ = self.interrupted(6, "compose", "ring(2,.1) & box(0,-3,3,3)", "--count", 10000000, "--levels", 5, "--moves", 1, "--json",
                                          "--out", self.out)
        told = json.loads(out)
        self.assertTrue(status == 0 and told["interrupted"])
        points = numpy.load(self.out)["points"]
        self.assertEqual(len(points), told["count"])
        self.assertTrue(0 < len(points) < 10000000)
        self.assertLess(abs(numpy.hypot(*points.T).mean() - 2), 0.5)  # all of them to their end

    def test_help_has_an_example(self):
        self.assertIn("igebm compose 'mnist(3) | mnist(8)'", igebm("compose", "--help").stdout)


if __name__ == "__main__":
    unittest.main()

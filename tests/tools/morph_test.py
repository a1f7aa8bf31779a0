#!/usr/bin/env python3
"""igebm morph: what it makes, and what it refuses."""
import json
import unittest

import numpy

from running import Running, igebm
from runs import SPRITES, strokes

QUICK = ("--levels", 4, "--frames", 3)


class Morph(Running):
    def setUp(self):
        super().setUp()
        self.out = self.folder / "out.npz"
        self.pictures = self.folder / "pictures.npz"
        self.images = strokes()
        numpy.savez(self.pictures, images=self.images)

    def told(self, *arguments):
        return json.loads(self.works("morph", *arguments, "--out", self.out, "--json"))

    def made(self):
        return numpy.load(self.out)["images"]

    def test_pictures_become_another_class(self):
        told = self.told("mnist", "--from", self.pictures, "--to", 3, *QUICK)
        self.assertEqual((told["rows"], told["frames"], told["gradients"]), (2, 3, 1 + 2 * 3 + 2 * (4 + 0)))
        made = self.made()
        self.assertEqual(made.shape, (2, 3, 1, 28, 28))
        self.assertIn("morph mnist", self.works("info", self.out))
        self.assertLess(abs(made[:, 0] - self.images).max(), 1e-6)
        distance = numpy.sqrt(((made[:, 2] - made[:, 0]) ** 2).mean((1, 2, 3))).mean()
        self.assertAlmostEqual(told["distance"], distance, places=5)
        # More is kept under less noise; the same seed makes the same.
        kept = self.told("mnist", "--from", self.pictures, "--to", 3, *QUICK, "--kept", 0.5)
        self.assertLess(kept["sigma"], told["sigma"])
        self.assertLess(kept["distance"], told["distance"])
        self.told("mnist", "--from", self.pictures, "--to", 3, *QUICK)
        # To rounding: each process measures which algorithms are fastest.
        self.assertLess(abs(self.made() - made).mean(), 0.01)
        self.told("mnist", "--from", self.pictures, "--to", 3, *QUICK, "--seed", 1)
        self.assertGreater(abs(self.made() - made)[:, 1:].mean(), 0.01)

    def test_what_lies_between_is_likelier_than_means_of_pixels(self):
        numpy.savez(self.folder / "one.npz", images=self.images[:1])
        told = self.told("mnist", "--from", self.pictures, "--to", self.folder / "one.npz", "--levels", 16, "--frames", 3, "--as", "none")
        self.assertLess(told["energy"], told["energy_of_pixel_means"])
        made = self.made()
        self.assertLess(abs(made[:, 0] - self.images).max(), 1e-6)
        self.assertLess(abs(made[:, 2] - self.images[:1]).max(), 1e-6)

    def test_along_the_hessian(self):
        told = self.told("mnist", "--from", self.pictures, "--along", "hessian", "--directions", 2, *QUICK, "--kept", 0.3)
        self.assertEqual(self.made().shape, (4, 3, 1, 28, 28))
        values = numpy.array(told["eigenvalues"])
        self.assertEqual(values.shape, (2, 2))
        self.assertTrue((values[:, 0] <= values[:, 1] + told["residual"]).all())
        stiff = self.told("mnist", "--from", self.pictures, "--along", "hessian", "--stiffest", "--directions", 2, *QUICK, "--kept", 0.3)
        self.assertGreater(numpy.min(stiff["eigenvalues"]), values.max())

    def test_drawn_pictures_numbers_and_every_file(self):
        for ending, begins in (("png", b"\x89PNG"), ("gif", b"GIF8")):
            out = self.folder / f"x.{ending}"
            told = self.works("morph", "dsprites-shape", "--from", "square", "--to", "heart", "--count", 2, *QUICK, "--out", out)
            self.assertIn("2 rows of 3 frames", told)
            self.assertEqual(out.read_bytes()[:4], begins)
        told = self.told("dsprites-size", "--from", "size=0.5", "--to", "size=1", "--count", 2, *QUICK)
        self.assertEqual((told["rows"], self.made().shape[1]), (2, 3))

    def test_what_is_wrong_is_said_in_a_line(self):
        def refused(expected, *arguments):
            self.refused(expected, "morph", *arguments, "--out", self.out)
            self.assertFalse(self.out.exists())

        first = ("mnist", "--from", self.pictures)
        refused("either --to or --along", *first)
        refused("either --to or --along", *first, "--to", 3, "--along", "hessian")
        refused(["--to bag", "expected 0 to 9"], *first, "--to", "bag")
        refused("--along slope: expected hessian", *first, "--along", "slope")
        refused("kept: expected from", *first, "--to", 3, "--kept", 1)
        refused("none.png", "mnist", "--from", self.folder / "none.png", "--to", 3)
        refused("no pictures", "two-moons", "--from", self.pictures, "--to", 3)
        refused(["(1, 28, 28)", "(3, 32, 32)"], "cifar10", "--from", self.pictures, "--to", "cat")
        refused("--as", "mnist", "--from", "3", "--to", "4", "--as", "5")
        sprites = self.folder / "sprites.npz"
        numpy.savez(sprites, images=numpy.zeros((1, 1, 16, 16), numpy.float32))
        recipe = self.folder / "sized.toml"  # a model that knows no size in particular not
        recipe.write_text(SPRITES.replace("labels = true", 'conditions = ["size"]').replace("label_dropout = 0.3\n", ""))
        self.works("train", recipe, "--out", self.folder / "sized")
        refused("say --as", self.folder / "sized", "--from", sprites, "--to", "size=1")
        refused("--directions: is of --along hessian", *first, "--to", 3, "--directions", 2)
        refused("--guidance: is of a class", *first, "--along", "hessian", "--guidance", 2)
        refused("--count: is of pictures that are drawn", *first, "--to", 3, "--count", 2)
        refused("no such features", *first, "--to", 3, *QUICK, "--classifier", self.folder / "none")
        self.refused("ends in .png, .gif or .npz", "morph", *first, "--to", 3, "--out", "x.jpg")

    def test_help_has_an_example(self):
        self.assertIn("igebm morph mnist --from test:0-9 --to 3", igebm("morph", "--help").stdout)


if __name__ == "__main__":
    unittest.main()

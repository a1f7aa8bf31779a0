#!/usr/bin/env python3
"""igebm inpaint, denoise and restore: what they make, and what they refuse."""
import json
import unittest

import numpy

from running import Running, igebm
from runs import png, strokes

QUICK = ("--levels", 4, "--steps", 1)


class Inpaint(Running):
    def setUp(self):
        super().setUp()
        self.out = self.folder / "out.npz"
        self.pictures = self.folder / "pictures.npz"
        self.images = numpy.random.default_rng(0).random((3, 1, 28, 28), numpy.float32)
        numpy.savez(self.pictures, images=self.images)

    def test_what_is_known_stays_bit_for_bit(self):
        told = json.loads(self.works("inpaint", "mnist", self.pictures, "--mask", "box:4,5,10,6", "--samples", 2, *QUICK, "--out",
                                     self.out, "--json"))
        self.assertEqual((told["pictures"], told["samples"], told["gradients"]), (3, 2, 10))
        made = numpy.load(self.out)
        known = numpy.ones((1, 28, 28), bool)
        known[:, 5:11, 4:14] = False
        self.assertTrue((made["known"] == known).all())
        self.assertEqual(made["images"].shape, (3, 2, 1, 28, 28))
        self.assertTrue(((made["images"] == self.images[:, None]) | ~known).all())
        self.assertFalse((made["images"][:, 0] == made["images"][:, 1]).all())
        error = ((made["images"] - self.images[:, None]) ** 2)[:, :, ~known].mean()
        self.assertAlmostEqual(told["psnr"], -10 * numpy.log10(error), places=3)

    def test_pictures_are_files_and_the_grid_shows_them(self):
        numpy.savez(self.folder / "one.npz", images=self.images[:1])
        out = self.folder / "grid.png"
        told = self.works("inpaint", "mnist", self.pictures, self.folder / "one.npz", "--samples", 2, *QUICK, "--out", out)
        self.assertIn("2 of each of 4 pictures", told)
        self.assertEqual(out.read_bytes()[1:4], b"PNG")
        # A picture that was written is one that is read.
        self.works("inpaint", "mnist", out, "--mask", "left", "--samples", 1, *QUICK, "--label", 3, "--out", self.out)
        self.assertEqual(numpy.load(self.out)["images"].shape, (1, 1, 1, 28, 28))

    def test_a_folder_is_its_pictures(self):
        folder = self.folder / "pictures"
        (folder / "more").mkdir(parents=True)
        for name in ("b.png", "more/c.png", "a.png"):
            (folder / name).write_bytes(png(28, 28, 255 if name == "a.png" else 0))
        (folder / "notes.txt").write_text("no picture")
        self.works("inpaint", "mnist", folder, "--samples", 1, *QUICK, "--out", self.out)
        self.assertEqual(list(numpy.load(self.out)["originals"].mean((1, 2, 3))), [1, 0, 0])
        (folder / "b.png").write_bytes(b"torn")
        self.refused("b.png", "inpaint", "mnist", folder, "--out", self.out)
        self.refused("is a picture that is read", "inpaint", "mnist", folder / "a.png", "--out", folder / "a.png")

    def test_an_interrupt_leaves_what_is_finished(self):
        numpy.savez(self.pictures, images=numpy.tile(self.images, (2000, 1, 1, 1)))
        status, out, _ = self.interrupted(10, "inpaint", "mnist", self.pictures, "--samples", 3, *QUICK, "--json", "--out", self.out)
        told, made = json.loads(out), numpy.load(self.out)
        self.assertTrue(status == 0 and told["interrupted"])
        self.assertTrue(0 < told["pictures"] < 6000)
        self.assertEqual(made["images"].shape, (told["pictures"], 3, 1, 28, 28))
        known = made["known"] > 0
        self.assertTrue(((made["images"] == made["originals"][:, None]) | ~known).all())

    def test_what_is_wrong_is_said_in_a_line(self):
        def refused(expected, *arguments):
            self.refused(expected, "inpaint", *arguments, "--out", self.out)
            self.assertFalse(self.out.exists())

        refused(["two-moons", "no pictures"], "two-moons", self.pictures)
        refused("mask \"middle\": expected bottom", "mnist", self.pictures, "--mask", "middle")
        refused("within 28 x 28 pixels", "mnist", self.pictures, "--mask", "box:20,0,10,4")
        refused(["pictures.npz", "(1, 28, 28)", "(3, 32, 32)"], "cifar10", self.pictures)
        refused("none.png", "mnist", self.folder / "none.png")
        refused("\"bag\": expected 0 to 9", "mnist", self.pictures, "--label", "bag")
        self.refused("ends in .png or .npz", "inpaint", "mnist", self.pictures, "--out", "x.jpg")
        (self.folder / "torn.npz").write_bytes(self.pictures.read_bytes()[:200])
        refused("torn.npz", "mnist", self.folder / "torn.npz")
        empty = {"IGEBM_DATA": str(self.folder), "HOME": str(self.folder), "PATH": "/bin"}
        done = igebm("inpaint", "mnist", "test:0-3", env=empty)
        self.assertEqual(done.returncode, 2)
        self.assertIn("mnist", done.stderr)

    def test_help_has_an_example(self):
        self.assertIn("igebm inpaint mnist test:0-9 --mask bottom", igebm("inpaint", "--help").stdout)


class Restore(Running):
    def setUp(self):
        super().setUp()
        self.out = self.folder / "out.npz"
        self.pictures = self.folder / "pictures.npz"
        self.images = strokes()
        numpy.savez(self.pictures, images=self.images)

    def test_noise_goes(self):
        for noise in ("gaussian:.4", "salt:.15"):
            told = json.loads(self.works("denoise", "mnist", self.pictures, "--damage", "--noise", noise, "--samples", 2, "--levels", 12,
                                         "--steps", 2, "--out", self.out, "--json"))
            made = numpy.load(self.out)
            self.assertEqual(made["images"].shape, (2, 2, 1, 28, 28))
            self.assertGreater(told["psnr"], told["psnr_as_given"] + 3, noise)
            self.assertGreater(told["ssim"], told["ssim_as_given"], noise)
            # The same, given as it was made: files are taken as they are.
            numpy.savez(self.folder / "noisy.npz", images=made["given"].clip(0, 1))
            told = self.works("denoise", "mnist", self.folder / "noisy.npz", "--noise", noise, "--samples", 1, *QUICK, "--out",
                              self.folder / "grid.png")
            self.assertNotIn("PSNR", told)

    def test_small_and_blurred_pictures_come_back(self):
        for change, shape in (("downsample:2", (2, 1, 14, 14)), ("blur:1.5", (2, 1, 28, 28))):
            told = json.loads(self.works("restore", "mnist", self.pictures, "--damage", "--operator", change, "--samples", 2, "--levels",
                                         12, "--steps", 2, "--out", self.out, "--json"))
            made = numpy.load(self.out)
            self.assertEqual(made["given"].shape, shape)
            self.assertGreater(told["psnr"], told["psnr_as_given"], change)
            if change == "downsample:2":  # it explains what was given
                means = made["images"].reshape(2, 2, 14, 2, 14, 2).mean((3, 5))
                self.assertLess(abs(means - made["given"].reshape(2, 1, 14, 14)).mean(), 0.03)

    def test_what_is_wrong_is_said_in_a_line(self):
        def refused(expected, command, *arguments):
            self.refused(expected, command, "mnist", self.pictures, *arguments, "--out", self.out)
            self.assertFalse(self.out.exists())

        for noise in ("gaussian", "gaussian:-1", "salt:1", "salt:x", "pepper:.1"):
            refused([f"--noise {noise}: expected gaussian:DEVIATION", "salt:PROBABILITY"], "denoise", "--noise", noise)
        refused("expected blur:DEVIATION in pixels, or downsample:FACTOR", "restore", "--operator", "shift:2")
        refused(["--operator downsample:3", "a factor from 2 that divides 28 and 28"], "restore", "--operator", "downsample:3")
        refused("(1, 14, 14) is expected", "restore", "--operator", "downsample:2")
        refused(["nothing to restore", "none below"], "denoise", "--noise", "gaussian:.004")
        refused("nothing to restore", "restore", "--operator", "blur:.3")
        # Resized, what is given would have other noise.
        (self.folder / "large.png").write_bytes(png(40, 40, 9))
        self.refused(["large.png", "(1, 28, 28) is expected"], "denoise", "mnist", self.folder / "large.png", "--noise", "salt:.1")
        refused("--condition: this model takes no numbers", "denoise", "--noise", "salt:.1", "--condition", "size=1")
        self.refused("no pictures", "denoise", "two-moons", self.pictures, "--noise", "salt:.1")


if __name__ == "__main__":
    unittest.main()

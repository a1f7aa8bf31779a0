#!/usr/bin/env python3
"""igebm sample --until settled, --continue and --trace; and where files come from."""
import json
import unittest

import numpy

from running import Running, arrays

RECIPE = """
[data]
name = "two-moons"
count = 500
[network]
kind = "mlp"
widths = [16, 16]
[train]
samples_every = 0
[phase.train]
steps = 20
batch = 32
[phase.train.energy_matching]
[sampling]
start = "normal"
steps = 8
step_size = 0.01
noise = -1.0
"""


class Adaptive(Running):
    text = RECIPE

    def setUp(self):
        super().setUp()
        self.run_folder = self.folder / "run"
        self.works("train", self.recipe, "--out", self.run_folder)

    def sample(self, name, *arguments, model=None):
        out = self.folder / name
        self.works("sample", model or self.run_folder, "--out", out, *arguments)
        return numpy.load(out)

    def test_chains_settle_each_in_its_time(self):
        settled = self.sample("a.npz", "--count", 300, "--until", "settled", "--steps", 2000)
        self.assertEqual(settled["points"].shape, (300, 2))
        self.assertGreater(len(set(settled["gradients"])), 2)
        self.assertLess(settled["gradients"].max(), 2000)
        self.assertTrue(settled["settled"].all())
        few = self.sample("b.npz", "--count", 20, "--until", "settled", "--steps", 2000)
        for name in ("points", "gradients", "steps", "streams"):
            self.assertEqual(few[name].tobytes(), settled[name][:20].tobytes(), name)
        most = self.sample("c.npz", "--count", 20, "--until", "settled", "--max-evaluations", 60)
        self.assertEqual(set(most["gradients"]), {60})
        self.assertFalse(most["settled"].any())
        told = json.loads(self.works("sample", self.run_folder, "--count", 20, "--until", "settled", "--steps", 2000,
                                     "--json", "--out", self.folder / "d.npz"))
        self.assertEqual((told["count"], told["settled"]), (20, 1))
        self.assertAlmostEqual(told["gradients"], few["gradients"].mean())
        self.refused("--until", "sample", self.run_folder, "--max-evaluations", 60)
        self.refused("at its own pace", "sample", "mnist", "--until", "settled", "--out", self.folder / "x.gif")
        self.refused("{settled}", "sample", self.run_folder, "--until", "bored")
        self.refused("sampling.steps: with --until settled", "sample", "two-moons", "--until", "settled", "--steps", 3, "--out", self.folder / "x.npz")
        self.refused("sampling.rho: with --until settled", "sample", "two-moons", "--until", "settled", "--set", "sampling.rho=3", "--out", self.folder / "x.npz")

    def test_through_noise_levels(self):
        """Labels belong to samples by their number, and the shipped model takes fewer gradients than its recipe says."""
        settled = self.sample("a.npz", "--count", 12, "--until", "settled", model="mnist")
        self.assertEqual(list(settled["labels"]), [*range(10), 0, 1])
        self.assertLess(settled["gradients"].mean(), 50)
        self.assertTrue((settled["settled_at"] < 1).all())

    def test_samples_go_on(self):
        whole = self.sample("whole.npz", "--count", 9, "--steps", 16)
        draft = self.sample("draft.npz", "--count", 9)
        for given in ([], ["--steps", 8], ["--budget", 8]):
            more = self.sample("more.npz", "--continue", self.folder / "draft.npz", *given)
            for name in ("points", "gradients", "steps", "streams", "energies"):
                self.assertEqual(more[name].tobytes(), whole[name].tobytes(), (name, given))
        self.assertFalse((draft["points"] == whole["points"]).all())
        numpy.savez(self.folder / "bare.npz", points=numpy.zeros((3, 2), numpy.float32))
        self.refused(["bare.npz", "streams"], "sample", self.run_folder, "--continue", self.folder / "bare.npz")
        self.refused("expected shape", "sample", self.run_folder, "--continue", self.other_shape())
        self.refused("--count", "sample", self.run_folder, "--continue", self.folder / "draft.npz", "--count", 3)
        self.refused("--back-to", "sample", self.run_folder, "--continue", self.folder / "draft.npz", "--back-to", 1)
        # With a seed nothing is needed that the file says of itself.
        untold = {name: draft[name] for name in draft if name != "provenance"}
        numpy.savez(self.folder / "untold.npz", **untold)
        self.refused("where it comes from", "sample", self.run_folder, "--continue", self.folder / "untold.npz")
        self.sample("told.npz", "--continue", self.folder / "untold.npz", "--seed", 1)
        first = self.sample("first.npz", "--count", 10, "--budget", 5, "--seed", 4, model="mnist")
        better = self.sample("better.npz", "--continue", self.folder / "first.npz", "--budget", 7, model="mnist")
        self.assertEqual(set(better["gradients"]), {12})
        self.assertEqual(list(better["labels"]), list(first["labels"]))
        self.assertEqual(json.loads(str(better["provenance"]))["seed"], 4)
        self.assertGreater(numpy.corrcoef(better["images"].ravel(), first["images"].ravel())[0, 1], 0.7)  # the same pictures

    def other_shape(self):
        path = self.folder / "wide.npz"
        one = numpy.ones(3, numpy.int64)
        numpy.savez(path, points=numpy.zeros((3, 5), numpy.float32), streams=one, steps=one, gradients=one,
                    provenance=numpy.array("{}"))
        return path

    def test_traces(self):
        trace = self.folder / "trace.npz"
        samples = self.sample("a.npz", "--count", 5, "--trace", trace, "--trace-at", "2,8")
        told = numpy.load(trace)
        self.assertEqual({told[name].shape for name in ("energy", "gradient_norm", "moved")}, {(5, 8)})
        self.assertEqual(told["pictures"].shape, (2, 5, 2))
        self.assertEqual(told["pictures"][1].tobytes(), samples["points"].tobytes())
        self.assertNotIn("sigma", told)
        self.assertTrue(numpy.isnan(told["moved"][:, 0]).all() and (told["moved"][:, 1:] > 0).all())
        self.sample("b.npz", "--count", 5, "--until", "settled", "--steps", 2000, "--trace", trace)
        gradients = numpy.load(self.folder / "b.npz")["gradients"]
        self.assertEqual(list(numpy.isfinite(numpy.load(trace)["energy"]).sum(1)), list(gradients))
        self.sample("c.npz", "--count", 3, "--budget", 6, "--trace", trace, model="mnist")
        told = numpy.load(trace)
        self.assertEqual(told["sigma"].shape, (3, 6))
        self.assertTrue((numpy.diff(told["sigma"]) < 0).all())
        picture = self.folder / "trace.png"
        self.sample("c.npz", "--count", 3, "--budget", 6, "--trace", picture, model="mnist")
        self.assertEqual(picture.read_bytes()[1:4], b"PNG")
        self.refused(".png or .npz", "sample", self.run_folder, "--trace", "x.txt")
        self.refused("--trace", "sample", self.run_folder, "--trace-at", 3)
        self.refused("--trace-at 9: these chains take 8 steps", "sample", self.run_folder, "--trace", "x.npz", "--trace-at", 9, "--out", self.folder / "x.npz")
        late = self.done("sample", self.run_folder, "--until", "settled", "--max-evaluations", 30, "--trace", self.folder / "late.npz", "--trace-at", "9,900",
                         "--count", 3, "--out", self.folder / "x.npz")
        self.assertIn("--trace-at 900: no chain took so many steps", late.stderr)
        self.assertEqual(list(numpy.load(self.folder / "late.npz")["picture_steps"]), [9])
        same = self.folder / "same.png"
        self.refused("the samples go there", "sample", "mnist", "--trace", same, "--out", f"{self.folder}/./same.png")
        # Another model's samples are no draft.
        self.refused(["drawn by mnist", "fashion-mnist"], "sample", "fashion-mnist", "--continue", self.folder / "c.npz")

    def test_an_interrupt_says_that_nothing_is_written(self):
        out = self.folder / "x.npz"
        status, _, said = self.interrupted(2, "sample", self.run_folder, "--steps", 1000000, "--out", out)
        self.assertEqual(status, 2)
        self.assertIn("nothing is written", said)
        self.assertFalse(out.exists())

    def test_files_say_where_they_come_from(self):
        for name in ("a.npz", "a.png"):
            out = self.folder / name
            self.works("sample", self.run_folder, "--count", 3, "--seed", 5, "--out", out)
            said = self.works("info", out)
            for text in (f"model: {self.run_folder}\n", "step: 20\n", "seed: 5\n", "program: igebm ",
                         f"command: igebm sample {self.run_folder} --count 3 --seed 5 --out {out}\n"):
                self.assertIn(text, said)
        self.works("compose", "ring(1, .1)", "--count", 2, "--levels", 2, "--out", self.folder / "b.npz")
        self.assertIn("model: ring(1, .1)\n", self.works("info", self.folder / "b.npz"))
        numpy.savez(self.folder / "none.npz", x=numpy.zeros(3))
        self.refused("does not say where it comes from", "info", self.folder / "none.npz")
        # The same command makes the same file.
        before = (self.folder / "a.npz").read_bytes()
        self.works("sample", self.run_folder, "--count", 3, "--seed", 5, "--out", self.folder / "a.npz")
        self.assertEqual((self.folder / "a.npz").read_bytes(), before)
        self.assertEqual(set(arrays(self.folder / "a.npz")),
                         {f"{n}.npy" for n in ("energies", "gradients", "points", "steps", "streams")})


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/env python3
"""igebm score, igebm evaluate ood and igebm evaluate likelihood: what they tell, write and refuse."""
import csv
import io
import json
import math
import unittest

import numpy

from running import igebm
from runs import SCORES, SPRITES, Runs, png


class Score(Runs):
    def setUp(self):
        super().setUp()
        self.options = {"env": {"PATH": "/usr/bin:/bin", "XDG_CACHE_HOME": str(self.folder / "cache"), "OMP_NUM_THREADS": "1"}}

    def trained(self, text, *more):
        recipe, run = self.folder / "recipe.toml", self.folder / "run"
        recipe.write_text(text)
        self.works("train", recipe, "--out", run, *more)
        return run

    def sprites(self):
        return self.trained(SPRITES, "--set", "data.count=600", "--set", "data.validation=0.5")

    def table(self, *arguments):
        done = self.done(*arguments)
        return list(csv.DictReader(io.StringIO(done.stdout))), done.stderr

    def test_pictures_folders_and_arrays(self):
        run = self.sprites()
        folder = self.folder / "a, b"
        (folder / "within").mkdir(parents=True)
        (folder / "one.png").write_bytes(png(16, 16, 0))
        (folder / "within" / "two.png").write_bytes(png(20, 16, 255))
        array = numpy.zeros((70, 1, 16, 16), numpy.float32)
        array[69] = 1
        numpy.savez(self.folder / "x.npz", images=array)
        arguments = ["score", run, folder, self.folder / "x.npz", "--usual", 230]
        rows, said = self.table(*arguments)
        self.assertIn("held out from training", said)
        self.assertEqual(len(rows), 72)
        self.assertEqual(list(rows[0]), ["input", "energy", "gradient", "anomaly", "p"])
        self.assertEqual([r["input"] for r in rows[:3]], [str(folder / "one.png"), str(folder / "within" / "two.png"), f"{self.folder / 'x.npz'}:0"])
        for key in ("energy", "anomaly", "p"):
            # The same picture, wherever it comes from and in whatever batch; black ones, and white ones.
            for a, b in ((0, 2), (0, 70), (1, 71)):
                self.assertTrue(math.isclose(float(rows[a][key]), float(rows[b][key]), rel_tol=1e-3, abs_tol=1e-3), (key, a, b))
        self.assertNotEqual(rows[0]["energy"], rows[1]["energy"])
        self.assertTrue(all(0 < float(r["p"]) <= 1 for r in rows))
        # What was fitted is kept, and found again; other weights are another's.
        again, said = self.table(*arguments)
        self.assertEqual(again, rows)
        self.assertEqual(said, f"note: a picture was not 16 x 16, and is resized, the centre kept ({folder / 'within' / 'two.png'}, 20 x 16)\n")
        self.works("train", "--resume", run, "--set", "phase.train.steps=9")
        again_rows, said = self.table(*arguments)
        self.assertIn("fitting on", said)
        told = json.loads(self.works(*arguments, "--json", "--map", self.folder / "map.png"))
        self.assertIn("igebm score", self.works("info", self.folder / "map.png"))
        self.assertEqual(len(told["scores"]), 72)
        # Its own data by number: the record, whatever else is asked for.
        own, _ = self.table("score", run, "test:4-6,1", "train:4", "--usual", 230)
        self.assertEqual([r["input"] for r in own], ["test:4", "test:5", "test:6", "test:1", "train:4"])
        self.assertEqual(len({r["energy"] for r in own}), 5)
        (alone,), _ = self.table("score", run, "test:5", "--usual", 230)
        self.assertTrue(math.isclose(float(alone["energy"]), float(own[1]["energy"]), rel_tol=1e-3))
        self.refused("--level: expected with --map", "score", run, folder, "--level", 1)
        self.refused("test:999999: expected numbers of records from 0 to", "score", run, folder, "test:999999")
        self.assertEqual((self.folder / "map.png").read_bytes()[1:4], b"PNG")
        labelled = self.table(*arguments, "--label", "heart")[0]
        self.assertNotEqual(labelled[0]["energy"], rows[0]["energy"])
        # Where the cache cannot be, the answer is the same, and it is said.
        self.options["env"]["XDG_CACHE_HOME"] = str(folder / "one.png")
        unkept, said = self.table(*arguments)
        self.assertEqual(unkept, again_rows)
        self.assertIn("note: what was fitted is not kept", said)

    def test_points_have_a_density(self):
        run = self.trained(SCORES, "--set", "data.validation=0.5", "--set", "phase.train.steps=300")
        side = numpy.linspace(-6, 6, 121)
        numpy.savez(self.folder / "x.npz", points=numpy.stack(numpy.meshgrid(side, side), -1).reshape(-1, 2).astype(numpy.float32))
        rows, _ = self.table("score", run, self.folder / "x.npz", "--usual", 200)
        total = sum(math.exp(float(r["log_p"])) for r in rows) * .1 ** 2
        self.assertAlmostEqual(total, 1, delta=.02)
        far, near = self.table("score", run, "5,5", "0,0", "--usual", 200)[0]
        self.assertLess(float(far["log_p"]), float(near["log_p"]))
        self.assertEqual(float(far["p"]), min(float(r["p"]) for r in rows))

    def test_pictures_have_a_density_where_levels_compare(self):
        run = self.trained(SPRITES, "--set", "data.count=600", "--set", "data.validation=0.5", "--set", "phase.train.denoising_score_matching.time_score=0.1")
        arguments = ["score", run, "test:0-5", "--usual", 230]
        rows, _ = self.table(*arguments)
        log_z = [-float(r["energy"]) - float(r["log_p"]) for r in rows]
        self.assertLess(max(log_z) - min(log_z), 1e-3 * (1 + abs(log_z[0])))
        self.assertEqual(self.table(*arguments)[0], rows)  # as kept
        likelihood = ["evaluate", "likelihood", run, "--count", 50, "--integrated", 0, "--json"]
        own, = json.loads(self.works(*likelihood))["log_z"]
        self.assertAlmostEqual(log_z[0], own["value"], delta=3)  # of other records
        self.assertNotIn("log_p", self.table(*arguments, "--label", "heart")[0][0])

    def test_what_is_wrong_is_said_before_the_work(self):
        run = self.sprites()
        (self.folder / "empty").mkdir()
        (self.folder / "x.png").write_bytes(png(16, 16, 0)[:40])
        (self.folder / "good.png").write_bytes(png(16, 16, 0))
        for said, *arguments in (("no such file", self.folder / "absent.png"), ("holds no pictures", self.folder / "empty"),
                                 ("x.png", self.folder / "x.png"), ("--level 10: expected a level from 0 to 9", self.folder / "good.png", "--level", 10, "--map", self.folder / "map.png")):
            self.refused(["score: ", said], "score", run, *arguments, "--usual", 230)
        self.refused("on at least 216 usual inputs, got 200", "score", run, "--usual", 200, self.folder / "good.png")

    def test_one_spoilt_picture_spoils_no_other(self):
        run = self.sprites()
        folder = self.folder / "mixed"
        folder.mkdir()
        for name, cut in (("1.png", None), ("2.png", 40), ("3.png", None)):
            (folder / name).write_bytes(png(16, 16, 0)[:cut])
        (folder / "notes.txt").write_text("x")
        done = igebm("score", run, folder, "--usual", 230, **self.options)
        self.assertEqual(done.returncode, 2)
        self.assertEqual([r["input"] for r in csv.DictReader(io.StringIO(done.stdout))], [str(folder / "1.png"), str(folder / "3.png")])
        self.assertIn("2.png", done.stderr)
        self.assertIn("1 of 3 pictures could not be read", done.stderr)
        self.assertIn("1 files are no pictures", done.stderr)
        told = json.loads(igebm("score", run, folder, "--usual", 230, "--json", **self.options).stdout)["scores"]
        self.assertEqual([("error" in r) for r in told], [False, True, False])

    def test_arrays_and_points_are_refused_before_the_work(self):
        run = self.trained(SCORES, "--set", "data.validation=0.5", "--set", "phase.train.steps=5")
        numpy.savez(self.folder / "three.npz", points=numpy.zeros((4, 3), numpy.float32))
        for said, *arguments in (("where (2) is expected", self.folder / "three.npz"), ("expected 2 finite numbers", "1,2,3"),
                                 ("expected 2 finite numbers", "nan,0"), ("expected 2 finite numbers", "1e300,0"),
                                 ("these inputs are no pictures", "0,0", "--map", self.folder / "m.png")):
            done = igebm("score", run, *arguments, "--usual", 200, **self.options)
            self.assertEqual((done.returncode, done.stdout), (2, ""), said)
            self.assertIn(said, done.stderr)
        self.assertEqual(len(self.table("score", run, "--usual", 200, "--", "-.5,.2")[0]), 1)

    def test_scores_are_deviations_of_usual_inputs(self):
        run = self.trained(SCORES, "--set", "data.count=6000", "--set", "data.validation=0.5", "--set", "phase.train.steps=5")
        scores = [float(r["anomaly"]) for r in self.table("score", run, "test:0-1999", "--usual", 300)[0]]
        # of 100 others: mean 0 +- .1, deviation 1 +- .07 by chance, and as much by what 200 taught
        self.assertLess(abs(numpy.mean(scores)), .5)
        self.assertLess(abs(numpy.std(scores) - 1), .35)

    def test_out_of_distribution(self):
        run = self.sprites()
        numpy.savez(self.folder / "x.npz", images=numpy.random.default_rng(1).random((30, 16, 16)).astype(numpy.float32))
        (self.folder / "records.bin").write_bytes(bytes(3073 * 12))
        arguments = ["evaluate", "ood", run, "--ood", f"mine={self.folder / 'x.npz'}", "--ood", f"black={self.folder / 'records.bin'}", "--ood",
                     "interpolation", "--ood", "svhn", "--count", 40, "--usual", 230, "--pixels", 150, "--refine", 2, "--draws", 50]
        out = self.folder / "out"
        told = json.loads(self.works(*arguments, "--json", "--out", out))
        self.assertIn("igebm evaluate ood", self.works("info", out / "scores.npz"))
        self.assertEqual([(s["name"], s["count"], s["near"], s["made"]) for s in told["sets"]],
                         [("mine", 30, False, ""), ("black", 12, False, "32x32 made 16x16, colour made grey"), ("interpolation", 20, True, "")])
        self.assertEqual(len(told["missing"]), 1)
        self.assertIn("svhn", told["missing"][0])
        self.assertEqual(len(told["entries"]), 3 * 11)
        self.assertEqual(told["fitted_on"], {"pictures": "held out from training", "count": 230})
        default = {e["set"]: e["auroc"]["value"] for e in told["entries"] if e["score"] == "anomaly"}
        self.assertAlmostEqual(told["mean_auroc"]["far"], (default["mine"] + default["black"]) / 2)
        self.assertAlmostEqual(told["mean_auroc"]["near"], default["interpolation"])
        self.assertEqual((out / "anomaly.png").read_bytes()[1:4], b"PNG")
        self.agrees_with_scikit_learn(told, numpy.load(out / "scores.npz"))
        again = json.loads(self.works(*arguments, "--json"))
        self.assertEqual(again["entries"], told["entries"])
        text = self.works(*arguments)
        for words in ("mine, far, 30 pictures:", "* gaussian-levels", "mean AUROC of the default score over near sets"):
            self.assertIn(words, text)
        self.refused("no such file", "evaluate", "ood", run, "--ood", "a=absent")
        self.refused("given twice", "evaluate", "ood", run, "--ood", "uniform", "--ood", "uniform")
        self.refused("--ood: expected a value", "evaluate", "ood", run, "--ood", "")
        self.refused("is made, and takes no path", "evaluate", "ood", run, "--ood", "uniform=absent")
        moons = self.folder / "moons"
        self.works("train", self.recipe, "--out", moons, "--set", "phase.train.steps=5")
        self.refused("no pictures", "evaluate", "ood", moons)

    def test_likelihood(self):
        run = self.sprites()
        for bad in ("0", "-1", "nan"):
            self.refused(f"--sigma: expected a number above 0, got {bad}", "evaluate", "likelihood", run, f"--sigma={bad}")
        arguments = ["evaluate", "likelihood", run, "--count", 40, "--integrated", 100]
        annealed = [*arguments, "--ais", "--levels", 6, "--chains", 8, "--backwards", 4, "--seed", 3]
        told = json.loads(self.works(*annealed, "--json"))
        again = json.loads(self.works(*annealed, "--json"))
        self.assertEqual([z["name"] for z in told["log_z"]], ["integrated", "forwards"])
        rows = {row["name"]: row for row in told["log_p"]}
        self.assertEqual(list(rows), ["integrated", "forwards", "raise", "gaussian", "class-gaussians"])
        self.assertEqual({name for name, row in rows.items() if row["baseline"]}, {"gaussian", "class-gaussians"})
        self.assertEqual((told["test"], told["training"], rows["raise"]["count"]), (40, 40, 4))
        self.assertGreater(told["gaussians_fitted_on"], 40, "all of them, or about half of 600")
        self.assertAlmostEqual(rows["gaussian"]["test"]["nats"], {r["name"]: r for r in again["log_p"]}["gaussian"]["test"]["nats"])
        low, high = told["range"]
        for row in rows.values():
            bits = -row["test"]["nats"] / math.log(2) / told["elements"] + math.log2(256 / (high - low))
            self.assertAlmostEqual(row["test"]["bits"], bits, places=9)
            self.assertLess(row["test"]["nats"], told["noise"]["nats"])
        text = self.works(*annealed)
        for words in ("of 256 grey levels", "* gaussian", "noise alone", "trained without time_score", "no upper bound", "worth"):
            self.assertIn(words, text)
        self.assertIn('"own"', self.works(*arguments, "--json", "--set", "phase.train.denoising_score_matching.form=preconditioned",
                                          "--set", "phase.train.denoising_score_matching.time_score=0.1"))
        self.refused("sigma: expected from", *arguments, "--sigma", 1e-9)
        self.refused("--ais", *arguments, "--levels", 3)
        self.refused("no such", *arguments, "--label", "no such class")

    def test_likelihood_of_points(self):
        run = self.trained(SCORES, "--set", "data.validation=0.5", "--set", "phase.train.steps=300")
        told = json.loads(self.works("evaluate", "likelihood", run, "--ais", "--levels", 1000, "--chains", 256, "--backwards", 256, "--json"))
        log_z = {z["name"]: z["value"] for z in told["log_z"]}
        for side in ("forwards", "backwards"):
            self.assertAlmostEqual(log_z[side], log_z["quadrature"], delta=.5, msg=side)
        self.assertTrue(told["exact_samples"])

    def agrees_with_scikit_learn(self, told, scores):
        try:
            from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve
        except ImportError:
            self.skipTest("scikit-learn is not installed")
        for entry in told["entries"]:
            usual, odd = scores["test." + entry["score"]], scores[f"{entry['set']}.{entry['score']}"]
            which, all_scores = numpy.r_[numpy.zeros(len(usual)), numpy.ones(len(odd))], numpy.r_[usual, odd]
            false, true, _ = roc_curve(which, all_scores, drop_intermediate=False)
            expected = {"auroc": roc_auc_score(which, all_scores), "aupr": average_precision_score(which, all_scores),
                        "fpr95": false[numpy.argmax(true >= .95)]}
            for name, value in expected.items():
                self.assertAlmostEqual(entry[name]["value"], value, places=12, msg=(entry["set"], entry["score"], name))
                low, high = entry[name]["interval"]
                self.assertLessEqual(low, high)


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/env python3
"""igebm report: one page of runs, read as a browser reads it."""
import html.parser
import json
import os
import pathlib
import re
import subprocess
import time
import unittest

from running import PROGRAM, Running, chromium

RECIPE = """
[data]
name = "two-moons"
count = 500
[network]
kind = "mlp"
widths = [16, 16]
noise_features = 4
[train]
phases = ["a", "b"]
samples_every = 10
metrics_every = 2
[phase.a]
steps = 20
batch = 16
[phase.a.denoising_score_matching]
form = "preconditioned"
[phase.b]
steps = 10
batch = 32
[phase.b.denoising_score_matching]
[sampling]
levels = 3
"""


class Page(html.parser.HTMLParser):
    """Text, data within the page, and all that it would fetch."""

    def __init__(self, path):
        super().__init__()
        self.text, self.data, self.fetches, self.pictures, self.inside = "", None, [], 0, []
        self.source = path.read_text()
        self.feed(self.source)

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name in ("src", "href") and not value.startswith("data:"):
                self.fetches.append(value)
        self.pictures += tag == "img"
        if tag in ("script", "style"):
            self.inside.append(dict(attributes).get("id", tag))

    def handle_endtag(self, tag):
        if tag in ("script", "style"):
            self.inside.pop()

    def handle_data(self, data):
        if self.inside[-1:] == ["data"]:
            self.data = json.loads(data)
        elif not self.inside:
            self.text += data


class Report(Running):
    text = RECIPE

    def run_of(self, name, *options):
        run = self.folder / name
        self.works("train", self.recipe, "--out", run, *options)
        return run

    def browser(self, path):
        """The page's elements after its script; skips without Chromium."""
        return subprocess.run([chromium(self), "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync",
                               "--disable-component-update", "--virtual-time-budget=3000", f"--user-data-dir={self.folder / 'chromium'}",
                               "--dump-dom", path.as_uri()], capture_output=True, text=True, timeout=120).stdout

    def test_a_run_is_told_whole(self):
        run = self.run_of("<b>&run")
        out = run / "report.html"
        self.assertTrue(out.exists())  # training makes it
        page = Page(out)
        self.assertEqual(page.fetches, [])
        self.assertEqual(page.pictures, 2)
        for text in ("<b>&run", "30 of 30 steps, finished", "20 steps of 16, denoising score matching", "nothing happened",
                     "phase.a.batch", "phase.a.denoising_score_matching.form", "igebm train", 'name = "two-moons"'):
            self.assertIn(text, page.text)
        self.assertNotIn("phase.a.contrastive_divergence", page.text.split('name = "two-moons"')[0])
        (data,) = page.data
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        loss = [s for s in data["series"] if s["name"] == "loss"][0]
        self.assertEqual([p[0] for p in loss["points"]], [line["step"] for line in lines if "loss" in line])
        for (_, shown), line in zip(loss["points"], [line for line in lines if "loss" in line]):
            self.assertAlmostEqual(shown, line["loss"], delta=1e-5 * abs(line["loss"]))
        self.assertEqual(data["phases"], [[0, "a"], [20, "b"]])
        self.assertEqual([p[0] for p in data["pictures"]], [10, 20, 30])
        self.assertTrue(all(p[1].startswith("data:image/png;base64,iVBOR") for p in data["pictures"]))
        elements = self.browser(out)
        self.assertEqual(elements.count('class="canvas"'), 5)  # loss, gradient norm, rate; energy and gradient norm of the last samples' chains
        trace = {s["name"]: s["points"] for s in data["trace"]}
        self.assertEqual(len(trace["energy"]), len(trace["gradient_norm"]))
        self.assertGreater(len(trace["energy"]), 2)
        self.assertNotIn("<b>&amp;run</b>", elements)

    def test_what_was_taken_back_or_cut_off_is_not_drawn(self):
        run = self.run_of("run")
        with open(run / "metrics.jsonl", "a") as file:
            file.write('{"step":40,"loss":7.5}\n{"event":"rollback","step":41,"to":30,"rollbacks":1,"reason":"loss is </script>"}\n'
                       '{"step":32,"loss":2.5}\n{"step":34,"lo')
        out = self.folder / "page.html"
        self.works("report", run, "--out", out)
        page = Page(out)
        loss = [s for s in page.data[0]["series"] if s["name"] == "loss"][0]["points"]
        self.assertEqual(loss[-1], [32, 2.5])
        self.assertEqual([p[0] for p in loss], sorted({p[0] for p in loss}))
        self.assertEqual(page.data[0]["events"], [[41, "loss is </script>; back to step 30"]])
        self.assertIn("loss is </script>; back to step 30", page.text)

    def test_runs_side_by_side_and_models(self):
        one, two = self.run_of("one"), self.run_of("two", "--set", "run.seed=3")
        told = json.loads(self.works("report", one, two, "mnist", "--out", self.folder / "all.html", "--json"))
        self.assertEqual(told["bytes"], (self.folder / "all.html").stat().st_size)
        self.assertLess(told["bytes"], 5e6)
        page = Page(self.folder / "all.html")
        self.assertEqual([r["name"] for r in page.data], ["one", "two", "mnist"])
        self.assertNotEqual(page.data[0]["series"], page.data[1]["series"])
        self.assertIn("Handwritten digits", page.text)  # the model's card
        elements = self.browser(self.folder / "all.html")
        self.assertIn("one", re.search(r'class="names">(.*?)</h3>', elements, re.S).group(1))

    def test_long_runs_are_thinned_by_means(self):
        run = self.run_of("run")
        with open(run / "metrics.jsonl", "w") as file:
            for step in range(1, 5001):
                file.write(json.dumps({"step": step, "phase": "a", "loss": step % 2, "energy/data": 1.0, "energy/samples": 3.0}) + "\n")
        self.works("report", run, "--out", self.folder / "long.html")
        series = {s["name"]: s for s in Page(self.folder / "long.html").data[0]["series"]}
        self.assertEqual(series["loss"]["each"], 3)
        self.assertEqual(len(series["loss"]["points"]), 1667)
        self.assertAlmostEqual(sum(p[1] for p in series["loss"]["points"]) / 1667, 0.5, places=2)
        self.assertEqual({p[1] for p in series["energy/samples - data"]["points"]}, {2})

    def test_evaluations_are_kept_and_shown(self):
        run = self.run_of("run")
        told = json.loads(self.works("evaluate", run, "--count", 60, "--json"))
        self.works("evaluate", run, "--count", 60, "--threads", 1)  # the same again, which takes the former's place
        self.works("evaluate", run, "--count", 40)
        density = json.loads(self.works("evaluate", "likelihood", run, "--count", 50, "--json"))
        self.works("compose", "half & half", "--model", f"half={run}", "--count", 30, "--out", self.folder / "composed.png")
        kept = sorted(f.name.split("-")[0] + f.suffix for f in (run / "evaluations").iterdir())
        self.assertEqual(kept, ["composition.json", "composition.png", "likelihood.json", "quality.json", "quality.json"])
        self.works("report", run, "--out", self.folder / "page.html")
        text = Page(self.folder / "page.html").text
        for part in (f"igebm evaluate {run} --count 60 --threads 1", f"igebm evaluate likelihood {run} --count 50", "real against real", "half & half",
                     f"{told['quality']['frechet']:.4g}", f"{told['real']['frechet']:.4g}",
                     "{nats:.4g} ({interval[0]:.4g} to {interval[1]:.4g})".format(**density["log_p"][0]["test"])):
            self.assertIn(part, text)
        shipped = pathlib.Path(PROGRAM).parents[2] / "models" / "two-moons"
        before = sorted(shipped.rglob("*"))
        self.works("evaluate", "two-moons", "--count", 40)
        self.assertEqual(sorted(shipped.rglob("*")), before)
        # Of any kind, and whatever is in it.
        rows = [{"set": "<b>", "auroc": {"value": v, "interval": [v - .1, v + .1]}, "near": False} for v in (.5, .8)]
        (run / "evaluations" / "ood-1.json").write_text(json.dumps({"result": {"seed": 3, "entries": rows, "many": [0.5] * 1000, "missing": []}}))
        (run / "evaluations" / "broken-1.json").write_text('{"resu')
        self.works("report", run, "--out", self.folder / "page.html")
        page = Page(self.folder / "page.html")
        for part in ("0.5 (0.4 to 0.6)", "0.8 (0.7 to 0.9)", "<b>"):
            self.assertIn(part, page.text)
        self.assertIn('<svg class="chart"', page.source)
        self.assertNotIn("broken", page.text)

    def test_follow_ends_with_training(self):
        run, out = self.folder / "long", self.folder / "live.html"
        training = subprocess.Popen([PROGRAM, "train", self.recipe, "--out", run, "--set", "phase.a.steps=1000000", "--set",
                                     "train.checkpoint_every=50"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while not list(run.glob("checkpoints/0*")):
                self.assertIsNone(training.poll())
                time.sleep(0.05)
            following = subprocess.Popen([PROGRAM, "report", run, "--out", out, "--follow"], stdout=subprocess.DEVNULL)
            while not out.exists():
                time.sleep(0.05)
            self.assertIn("under way", Page(out).text)
            self.assertIn('http-equiv="refresh"', out.read_text())
        finally:
            training.terminate()
            training.wait()
        self.assertEqual(following.wait(timeout=30), 0)
        self.assertIn("to be gone on with", Page(out).text)
        self.assertNotIn('http-equiv="refresh"', out.read_text())

    def test_what_is_no_run_is_refused(self):
        for arguments, said in ((["nowhere"], "nowhere"), ([self.folder], "expected a run's folder"),
                                (["mnist", "--out", "x.png"], "a name that ends in .html"),
                                (["mnist", "--out", self.folder / "no" / "such" / "x.htm"], ".html")):
            self.refused(said, "report", *arguments)
        if os.geteuid() != 0:
            self.refused("cannot", "report", "mnist", "--out", "/x.html")


if __name__ == "__main__":
    unittest.main()

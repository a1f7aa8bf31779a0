#!/usr/bin/env python3
"""The viewer's tabs beside Sample: what their part of the API answers and refuses, beside the program, and the page in a browser."""
import base64
import io
import json
import os
import pathlib
import shutil
import re
import shlex
import subprocess
import tempfile
import time
import unittest
import urllib.parse

import numpy
from PIL import Image

from running import PROGRAM, igebm
from runs import RECIPE
from viewers import Server, Serving, png

def url_of(pixels):
    """Grey pixels as a data URL."""
    file = io.BytesIO()
    Image.fromarray(pixels.astype(numpy.uint8)).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def cells(picture, count, side=28):
    """The first row of a grid: each picture twice as large, two pixels apart."""
    sheet = numpy.asarray(Image.open(io.BytesIO(picture)).convert("L")).astype(float)
    return numpy.stack([sheet[2:2 + 2 * side:2, 2 + i * (2 * side + 2):2 + i * (2 * side + 2) + 2 * side:2] for i in range(count)])


class Tabs(Serving):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.three = cells(png(cls.server.answer("sample", model="mnist", label="3", count=1, seed=1)["image"]), 1)[0]

    def repeat(self, command, place, name):
        """What the command that was told makes, as arrays."""
        words = command.split()[1:]
        words = words[:words.index("--out")] if "--out" in words else words
        made = igebm(*words, "--out", place / name, "--threads", 1, cwd=place)
        self.assertEqual(made.returncode, 0, made.stderr)
        return numpy.load(place / name)

    def test_completions_are_those_of_the_program(self):
        mask = numpy.zeros((28, 28))
        mask[12:20, 8:20] = 255
        with tempfile.TemporaryDirectory() as folder:
            place = pathlib.Path(folder)
            # Digits in f32: by precision = "auto" each process would measure whether bfloat16 is faster, and two may differ.
            exact = place / "digits"
            shutil.copytree(pathlib.Path(PROGRAM).parents[2] / "models" / "mnist", exact)
            recipe = (exact / "recipe.toml").read_text()
            self.assertIn('precision = "auto"', recipe)
            (exact / "recipe.toml").write_text(recipe.replace('precision = "auto"', 'precision = "f32"'))
            server = Server(exact)
            try:
                told = server.answer("restore", model="digits", picture=url_of(self.three), mask=url_of(mask), samples=3, levels=3, seed=4)
            finally:
                server.end()
            found = cells(png(told["image"]), 3)
            self.assertTrue((found[:, mask == 0] == self.three[mask == 0]).all())
            self.assertGreater(numpy.abs(found[0] - found[1])[mask > 0].max(), 20)
            Image.fromarray(self.three.astype(numpy.uint8)).save(place / "picture.png")
            Image.fromarray(mask.astype(numpy.uint8)).save(place / "mask.png")
            drawn = self.repeat(told["command"], place, "x.npz")["images"]
        # To rounding: each process still measures which algorithms are fastest. Over many levels of long steps rounding grows to another answer.
        self.assertLess(numpy.abs(drawn[0, :, 0] * 255 - found).max(), 8)
        events = self.server.events("restore", model="mnist", picture=url_of(self.three), mask="box:2,2,9,9", samples=1, levels=5)
        self.assertEqual([events[0][0], events[-1][0]], ["frame", "done"])
        self.assertEqual(events[-2][1]["step"], events[-2][1]["total"])

    def test_the_energy_is_the_model_s_and_the_map_its_slope(self):
        noise = numpy.random.default_rng(0).integers(0, 256, (28, 28))
        of = lambda x, **more: self.server.answer("energy", model="mnist", picture=url_of(x), noise=0.5, **more)
        told, odd = of(self.three), of(noise)
        self.assertLess(told["energy"], odd["energy"])
        self.assertLess(of(self.three, label="3")["energy"], of(self.three, label="1")["energy"])
        heat = numpy.asarray(Image.open(io.BytesIO(png(odd["image"])))).astype(float).sum(2)
        self.assertEqual(heat.shape, (28, 28))
        # Where the map is brightest the energy moves by as much as it says: by 16 / 255 of the model's range, which is 2.
        place = numpy.unravel_index(heat.argmax(), heat.shape)
        moved = [noise.copy(), noise.copy()]
        middle = numpy.clip(noise[place], 8, 247)
        moved[0][place], moved[1][place] = middle - 8, middle + 8
        slope = abs(of(moved[1])["energy"] - of(moved[0])["energy"]) / (2 * 16 / 255)
        self.assertAlmostEqual(slope / odd["greatest"], 1, delta=0.2)

    def test_compositions_say_where_they_are_wrong(self):
        told = self.server.answer("compose", expression="ring(2, .1) & box(0, -3, 3, 3)", count=300, seed=2)
        with tempfile.TemporaryDirectory() as folder:
            place = pathlib.Path(folder)
            made = igebm("compose", "ring(2, .1) & box(0, -3, 3, 3)", "--count", 300, "--seed", 2, "--out", place / "x.npz", "--threads", 1)
            self.assertEqual(made.returncode, 0, made.stderr)
            numpy.testing.assert_allclose(told["energies"], numpy.load(place / "x.npz")["energies"], atol=1e-3)
        self.assertGreater(told["accepted"], 0.5)
        self.assertIn("'ring(2, .1) & box(0, -3, 3, 3)'", told["command"])
        for kind, data in self.server.events("compose", expression="gaussian(1, -1, .5)", count=1, seed=2):  # every frame shows the density
            if kind == "frame" and "image" in data:
                bright = numpy.asarray(Image.open(io.BytesIO(png(data["image"]))).convert("RGB")).astype(float).sum(-1)
                row, column = numpy.argwhere(bright > 500).mean(0) / len(bright)
                self.assertAlmostEqual(column * 8 - 4, 1, delta=0.2)
                self.assertAlmostEqual(4 - row * 8, -1, delta=0.2)
        of_pictures = self.server.answer("compose", expression="mnist(3) & mnist(8)", count=1, moves=1, levels=4)
        self.assertEqual(len(of_pictures["energies"]), 1)
        for said, expression in (("column 13: expected a name", "two-moons & "), ("column 1: expected a weight", "../models"), ("column 1: expected a name", "/etc"), (
                'column 13: "rings": expected one of', "two-moons & rings(1, 2)"), ("column 1: \"runs\"", "runs"), ("column 1: \"models\"", "models"),
                ("column 7: mnist(12)", "mnist(12)"), ("expected what to draw", ""), ("at most 24 terms", " & ".join(["two-moons"] * 25))):
            self.refused(400, said, "POST", "/api/compose", {"expression": expression})
        own = {"expression": "mnist(3) & mnist(8)", "given": "own", "count": 1, "moves": 1, "levels": 4}
        command = "'mnist(3) & mnist(8)' --given own --base 'mnist(none)' --moves 1 --levels 4 --step-share 0.2 --count 1 --seed 0"
        based = self.server.answer("compose", **own, base="mnist(none)", step_share=.2)
        self.assertEqual(based["command"], "igebm compose " + command)
        self.assertNotEqual(based["energies"], self.server.answer("compose", **own, step_share=.2)["energies"])
        for said, more in (("base: column 1: \"runs\"", {"base": "runs"}), ("given: column 1: expected a name", {"given": "/etc"}), (
                "base: expected it with given = own", {"given": "mnist(none)", "base": "mnist(none)"}), ("not: the expression", {"not": 3}),
                ("moves: nothing moves", {"correct": "none"})):
            self.refused(400, said, "POST", "/api/compose", {**own, **more})

    def test_morphs_go_from_what_to_what(self):
        told = self.server.answer("morph", model="mnist", **{"from": url_of(self.three)}, to="8", frames=4, levels=8)
        frames = cells(png(told["image"]), 4)
        self.assertLessEqual(numpy.abs(frames[0] - self.three).max(), 1)
        self.assertGreater(numpy.abs(frames[3] - self.three).max(), 50)
        self.assertEqual((told["rows"], told["frames"], len(told["energies"])), (1, 4, 4))
        three = url_of(self.three)
        with tempfile.TemporaryDirectory() as folder:
            for name in ("from.png", "to.png"):
                Image.fromarray(self.three.astype(numpy.uint8)).save(f"{folder}/{name}")
            for one in ({"from": three, "to": "8"}, {"from": three, "to": three}, {"from": "3", "to": "8", "count": 2}):
                command = self.server.answer("morph", model="mnist", frames=3, levels=4, **one)["command"]
                again = igebm(*shlex.split(command)[1:], "--threads", 1, cwd=folder)  # what stands below the strip is taken
                self.assertEqual(again.returncode, 0, again.stderr)
        drawn = self.server.answer("morph", model="mnist", **{"from": "3"}, to="8", frames=3, levels=6, count=2)
        self.assertEqual((drawn["rows"], len(drawn["energies"])), (2, 6))
        for said, request in (("from: expected a class", {"to": "3"}), ("from: expected a picture", {"from": "3", "to": "test:1"}),
                              ("count: is of pictures that are drawn", {"from": url_of(self.three), "to": "8", "count": 2}),
                              ("guidance: is of a class", {"from": url_of(self.three), "to": url_of(self.three), "guidance": 3}),
                              ("to: ", {"from": "3", "to": "eleven"})):
            self.refused(400, said, "POST", "/api/morph", {"model": "mnist", **request})

    def test_chains_in_the_plane_find_the_density(self):
        events = self.server.events("plane", expression="gaussian(1, -1, .5)", kernel="mala", step_size=0.2, noise=0.05, steps=200, count=2000)
        kind, grid = events[0]
        self.assertEqual((kind, grid["side"] ** 2), ("plane", len(grid["energies"])))
        energies = numpy.array(grid["energies"]).reshape(grid["side"], -1)
        row, column = numpy.unravel_index(energies.argmin(), energies.shape)
        self.assertAlmostEqual((column / grid["side"] * 2 - 1) * 4, 1, delta=0.1)
        self.assertAlmostEqual((1 - row / grid["side"] * 2) * 4, -1, delta=0.1)
        last = [e for e in events if e[0] == "frame"][-1][1]
        points = numpy.array(last["points"]).reshape(-1, 2) * 4 / 1000
        numpy.testing.assert_allclose(points.mean(0), [1, -1], atol=0.06)
        numpy.testing.assert_allclose(points.std(0), (0.5 ** 2 + 0.05 ** 2) ** 0.5, rtol=0.08)
        self.assertTrue(0.5 < last["accepted"] < 1)
        for said, request in (("expected energies in the plane", {"expression": "mnist(3)"}), ("nuts", {"expression": "two-moons", "kernel": "nuts"})):
            self.refused(400, said, "POST", "/api/plane", request)

    def test_variations_are_like_their_picture(self):
        by_noise = {}
        for noise in (0.1, 5):
            told = self.server.answer("vary", model="mnist", picture=url_of(self.three), label="3", noise=noise, count=2, seed=1)
            by_noise[noise] = numpy.abs(cells(png(told["image"]), 2) - self.three).mean()
        self.assertLess(4 * by_noise[0.1], by_noise[5])
        self.refused(400, "noise: expected", "POST", "/api/vary", {"model": "mnist", "picture": url_of(self.three), "noise": 1e-9})

    def test_files_are_not_opened_for_a_request(self):
        picture = url_of(self.three)
        for said, request in (("not a file", {"picture": picture, "mask": "/etc/mask.png"}), ("data:image/png", {"picture": "/etc/passwd"}),
                              ("data:image/png", {"picture": "data:image/png;base64,!!!!"}), ("test:NUMBER", {"picture": "test:-1"}), ("test:NUMBER", {"picture": "test:1.5"}),
                              ("picture", {"picture": "data:image/png;base64,AAAA"}), ("nothing is missing", {"picture": picture, "mask": url_of(numpy.zeros((28, 28)))}),
                              ("3 x 3 pixels", {"picture": picture, "mask": url_of(numpy.full((3, 3), 255))}), ("no pictures", {"model": "two-moons", "picture": picture})):
            status, body, _ = self.server.ask("POST", "/api/restore", {"model": "mnist", **request}, Accept="application/json")
            self.assertEqual(status, 400, body)
            self.assertIn(said, json.loads(body)["error"])

    def test_who_leaves_frees_the_engine_whatever_it_does(self):
        for request in (("compose", {"expression": "mnist(3) | mnist(8)"}), ("morph", {"model": "mnist", "from": "3", "to": "8", "frames": 40, "count": 8}),
                        ("restore", {"model": "mnist", "picture": url_of(self.three), "samples": 16, "steps": 20, "levels": 200}),
                        ("plane", {"expression": "two-moons", "count": 10000, "steps": 5000})):  # a minute and more, each
            begun = time.monotonic()
            self.server.begin(request[0], **request[1]).close()
            self.server.answer("energy", model="mnist", picture=url_of(self.three))
            self.assertLess(time.monotonic() - begun, 20, request)

    def test_a_training_is_watched_and_asked_to_end(self):
        self.refused(400, "igebm serve was given none", "POST", "/api/train", {})
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # the resumed one may still write its report
            place = pathlib.Path(folder)
            (place / "moons.toml").write_text(RECIPE)
            training = subprocess.Popen([PROGRAM, "train", place / "moons.toml", "--out", place / "moons", "--threads", "1",
                                         "--set", "phase.train.steps=1000000", "--set", "train.samples_every=20"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            while not list((place / "moons" / "samples").glob("*.png")) and training.poll() is None:
                time.sleep(0.2)
            server = Server(place / "moons")
            try:
                told = server.answer("train", run="moons")
                self.assertTrue(told["in_training"])
                self.assertIn("loss", [s["name"] for s in told["series"]])
                self.assertEqual(png(told["image"])[:4], b"\x89PNG")
                heard = []
                with self.browser(heard) as new_page:
                    page = new_page(server)
                    page.goto(f"{server.url}#tab=train&run=moons")
                    page.locator("#tab-train [data-part=state]", has_text="in training, step").wait_for()
                    page.click("#tab-train [data-part=stop]")
                    page.locator("#tab-train [data-part=state]", has_text="not in training").wait_for()
                    self.assertIn("igebm train --resume", page.inner_text("#tab-train [data-part=command]"))
                    self.assertEqual(training.wait(timeout=60), 0)
                    page.click("#tab-train [data-part=resume]")
                    page.locator("#tab-train [data-part=state]").filter(has_text=re.compile("^in training")).wait_for()
                    page.click("#tab-train [data-part=stop]")
                    page.locator("#tab-train [data-part=state]", has_text="not in training").wait_for()
                self.assertEqual(heard, [])
            except unittest.SkipTest:
                self.assertTrue(server.answer("stop", run="moons")["asked"])
            finally:
                try:
                    self.assertEqual(training.wait(timeout=60), 0, training.stdout.read())
                finally:
                    training.kill()
                    training.stdout.close()
                    server.end()

    def canvas(self, locator):
        """Its pixels."""
        return numpy.asarray(Image.open(io.BytesIO(png(locator.evaluate("c => c.toDataURL()")))).convert("RGB")).astype(float)

    def test_every_tab_fits_and_its_numbers_are_the_library_s(self):
        """At three sizes, dark and light. IGEBM_SCREENSHOTS=FOLDER keeps what it looks like."""
        keep = os.environ.get("IGEBM_SCREENSHOTS")
        three = base64_word(url_of(self.three))
        tabs = {"sample": ("model=mnist&label=3&count=9&budget=12&seed=5", "9 samples, 12 gradients each"),
                "compose": ("expression=ring(2, .1) %26 box(0, -3, 3, 3)&count=300&bound=4&seed=2", "300 samples"),
                "restore": (f"model=mnist&levels=10&seed=3&picture={three}&mask={base64_word(url_of(self.half()))}", "5 completions"),
                "morph": ("model=mnist&from=3&to=8&frames=5&count=2&seed=1", "2 × 5 pictures"),
                "plane": ("expression=ring(2, .2)&kernel=mala&step_size=0.05&steps=30&count=500&seed=4", "500 chains, 30 steps"),
                "train": ("", "")}
        heard = []
        with self.browser(heard) as new_page:
            for width, height, scheme in ((1280, 900, "light"), (768, 1024, "dark"), (390, 844, "light")):
                page = new_page(width=width, height=height, color_scheme=scheme)
                for tab, (state, done) in tabs.items():
                    page.goto(f"{self.server.url}#tab={tab}&{state}")
                    panel = page.locator(f"#tab-{tab}")
                    if done:
                        panel.locator("[data-part=state]", has_text=done).wait_for()
                    else:
                        panel.get_by_text("igebm serve runs/mine").wait_for()
                    self.assertLessEqual(page.evaluate("() => document.documentElement.scrollWidth"), width, (tab, width))
                    if keep:
                        page.screenshot(path=pathlib.Path(keep) / f"{tab}-{width}-{scheme}.png", full_page=True)
                page.goto(f"{self.server.url}#tab=restore&{tabs['restore'][0]}")  # once more, for its canvases
                panel = page.locator("#tab-restore")
                panel.locator("[data-part=files]").wait_for()
                panel.locator("[data-part=energy]", has_text="E =").wait_for()
                noise = float(panel.locator("[data-part=noise-of]").inner_text())
                told = self.server.answer("energy", model="mnist", picture=url_of(self.three), noise=noise)
                said = panel.locator("[data-part=energy]").inner_text()
                self.assertAlmostEqual(float(said.split("E = ")[1].split(",")[0]) / told["energy"], 1, delta=1e-3)
                heat = numpy.asarray(Image.open(io.BytesIO(png(told["image"]))).convert("RGB")).astype(float)
                middles = slice(6, None, 12)  # of pixels that are 12 by 12 there
                self.assertLess(numpy.abs(self.canvas(panel.locator("[data-part=heat]"))[middles, middles] - heat).max(), 6)
                board = self.canvas(panel.locator("[data-part=board]"))[middles, middles]
                known = self.half() == 0
                self.assertTrue((board[known] == self.three[known][:, None]).all())
                self.assertGreater((board[~known][:, 0] - board[~known][:, 1]).min(), 50)  # the mask is red
                page.close()
        self.assertEqual(heard, [])

    def half(self):
        mask = numpy.zeros((28, 28))
        mask[14:] = 255
        return mask

    def test_sliders_move_what_is_drawn(self):
        heard = []
        with self.browser(heard) as new_page:
            page = new_page(width=1000)
            page.goto(f"{self.server.url}#model=mnist&label=3&count=4&budget=30&seed=5")  # which is no place of the slider's
            page.locator("#state", has_text="4 samples").wait_for()
            self.assertIn("--budget 30", page.inner_text("#command"))
            before = page.get_attribute("#picture", "src")
            page.focus("#budget")
            for _ in range(10):
                page.keyboard.press("ArrowRight")
            budget = int(page.inner_text("#budget-of"))
            told = self.server.answer("sample", model="mnist", label="3", count=4, budget=budget, seed=5)
            page.locator("#state", has_text=f"4 samples, {told['gradients']} gradients each").wait_for()
            self.assertEqual(page.get_attribute("#picture", "src"), told["image"])
            self.assertIn(f"--budget {budget}", page.inner_text("#command"))
            self.assertNotEqual(told["image"], before)
            page.fill("#keep-number", "1")
            page.click("#keep")
            page.click("#near")
            page.locator("#near-of").filter(has_text=re.compile("training pictures|not there|missing|no ")).wait_for()
            with page.expect_download() as got:
                page.click("#save-npz")
            arrays = numpy.load(got.value.path())
            numpy.testing.assert_allclose(arrays["energies"], told["energies"], rtol=1e-5)
            self.assertEqual(arrays["images"].shape, (4, 1, 28, 28))
        self.assertEqual([h for h in heard if "400 (Bad Request)" not in h], [])  # of data that are not on this machine

    def test_densities_are_dragged(self):
        """By mouse, keys and touch; what is drawn follows, and a link holds it."""
        heard = []
        with self.browser(heard) as new_page:
            for tab, part, moves in (("compose", "picture", "count=300"), ("plane", "board", "kernel=mala&steps=20&count=100")):
                page = new_page(width=1000, height=1100, has_touch=True)
                state = page.locator(f"#tab-{tab} [data-part=state]")
                text = page.locator(f"#tab-{tab} [name=expression]")
                board = page.locator(f"#tab-{tab} [data-part={part}]")

                def ended(state=state):
                    state.filter(has_text=re.compile(r"(samples|chains).* s$")).wait_for()

                def drag(start, end, finger=False, page=page, board=board):
                    board.scroll_into_view_if_needed()
                    box = board.bounding_box()
                    at = [(box["x"] + (x / 4 + 1) / 2 * box["width"], box["y"] + (1 - y / 4) / 2 * box["height"]) for x, y in (start, end)]
                    if finger:
                        browser = page.context.new_cdp_session(page)
                        path = [[{"x": at[0][0] + (at[1][0] - at[0][0]) * i / 10, "y": at[0][1] + (at[1][1] - at[0][1]) * i / 10}] for i in range(11)]
                        for kind, points in [("touchStart", path[0]), *(("touchMove", p) for p in path[1:]), ("touchEnd", [])]:
                            browser.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
                    else:
                        page.mouse.move(*at[0])
                        page.mouse.down()
                        page.mouse.move(*at[1], steps=10)
                        page.mouse.up()
                    page.wait_for_timeout(400)  # until it is asked for

                page.goto(f"{self.server.url}#tab={tab}&expression=gaussian(-2, 0, .4) | box(1, -1, 3, 1)&bound=4&{moves}")
                ended()
                drag((-2.2, .1), (-1.2, 2.1))  # beside its middle: it does not jump there
                ended()
                numbers = [float(v) for v in re.findall(r"-?\d*\.?\d+", text.input_value())]
                numpy.testing.assert_allclose(numbers, [-1, 2, 0.4, 1, -1, 3, 1], atol=0.05)
                drag((3, 0), (2, 0.5), finger=True)  # an edge alone
                ended()
                numbers = [float(v) for v in re.findall(r"-?\d*\.?\d+", text.input_value())]
                numpy.testing.assert_allclose(numbers, [-1, 2, 0.4, 1, -1, 2, 1], atol=0.05)
                board.focus()
                page.keyboard.press("ArrowLeft")  # what was taken last: the box
                page.keyboard.press("Shift+ArrowUp")
                page.wait_for_timeout(400)
                ended()
                now = [float(v) for v in re.findall(r"-?\d*\.?\d+", text.input_value())]
                numpy.testing.assert_allclose(now, [*numbers[:3], numbers[3] - 0.15, -1.1, numbers[5] - 0.05, 1.1], atol=0.011)
                page.keyboard.down("Shift")
                drag((-1, 2), (-1, 2.5))
                page.keyboard.up("Shift")
                ended()
                wider = [float(v) for v in re.findall(r"-?\d*\.?\d+", text.input_value())]
                numpy.testing.assert_allclose(wider, [*now[:2], 0.58, *now[3:]], atol=0.03)
                self.assertIn("gaussian", page.url)
                self.assertIn(text.input_value(), dict(urllib.parse.parse_qsl(page.url.split("#")[1]))["expression"])
                picture = page.locator(f"#tab-{tab} [data-part=save]").get_attribute("href")
                bright = numpy.asarray(Image.open(io.BytesIO(png(picture))).convert("RGB")).astype(float).sum(-1)
                side = len(bright)
                at = [bright[int((1 - y / 4) / 2 * side) - 6:][:12, int((x / 4 + 1) / 2 * side) - 6:][:, :12].mean() for x, y in ((-1, 2), (-2, 0), (-3, -3))]
                self.assertGreater(at[0], 2 * at[1])  # the density went along
                self.assertLess(abs(at[1] - at[2]), 60)  # but for level lines
                page.close()
        self.assertEqual(heard, [])

    def test_pictures_keep_their_class_and_tabs_their_address(self):
        heard = []
        with self.browser(heard) as new_page:
            page = new_page(width=1280)
            page.goto(f"{self.server.url}#tab=restore&model=fashion-mnist&levels=10")
            panel = page.locator("#tab-restore")
            panel.locator("[data-part=energy]", has_text="E =").wait_for()
            self.assertEqual(panel.locator("select[name=label]").input_value(), "boot")  # of test picture 0
            noise = float(panel.locator("[data-part=noise-of]").inner_text())
            said = panel.locator("[data-part=energy]").inner_text()
            energies = [self.server.answer("energy", model="fashion-mnist", picture="test:0", label=label, noise=noise)["energy"] for label in ("boot", "T-shirt")]
            found = float(said.split("E = ")[1].split(",")[0])
            self.assertAlmostEqual(found / energies[0], 1, delta=1e-3)
            self.assertGreater(abs(found / energies[1] - 1), 2e-3)
            panel.locator("button[type=submit]").click()
            panel.locator("[data-part=files]").wait_for()
            self.assertIn("--label boot", panel.locator("[data-part=command]").inner_text())
            asked, shown = page.url, panel.locator("[data-part=picture]").get_attribute("src")
            self.assertIn("label=boot", asked)
            page.click("[data-tab=morph]")
            self.assertNotEqual(page.url, asked)
            page.click("[data-tab=restore]")
            self.assertEqual((page.url, panel.locator("[data-part=picture]").get_attribute("src")), (asked, shown))
            page.goto(f"{self.server.url}#model=fashion-mnist&label=bag&count=1&budget=12&seed=5")
            page.locator("#state", has_text="1 sample,").wait_for()
            page.fill("#keep-number", "1")
            page.click("#keep")
            page.click("#to-restore")
            panel.locator("select[name=label] option:checked", has_text="bag").wait_for(state="attached")
            page.click("[data-tab=sample]")
            page.click("#to-morph")
            page.locator("#tab-morph [name=frames]").fill("3")
            page.locator("#tab-morph [name=to]").select_option("boot")
            page.click("#tab-morph button[type=submit]")
            page.locator("#tab-morph [data-part=state]", has_text="1 × 3 pictures").wait_for()
            self.assertIn("--as bag", page.inner_text("#tab-morph [data-part=command]"))
        self.assertEqual(heard, [])

    def test_weights_go_where_their_terms_are(self):
        heard = []
        with self.browser(heard) as new_page:
            page = new_page(width=1000)
            page.goto(f"{self.server.url}#tab=compose&expression=ring(2, .3) %26 gaussian(2, 0, 1) \\ 5*box(0, -1, 3, 0)&count=50&bound=4")
            text, weights = page.locator("#tab-compose [name=expression]"), page.locator("#tab-compose [data-part=weights] input")
            for index, value, said in ((1, "2", "ring(2, .3) & 2*gaussian(2, 0, 1) \\ 5*box(0, -1, 3, 0)"), (2, "1.5", "ring(2, .3) & 2*gaussian(2, 0, 1) \\ 1.5*box(0, -1, 3, 0)"),
                                       (1, "1", "ring(2, .3) & gaussian(2, 0, 1) \\ 1.5*box(0, -1, 3, 0)")):
                weights.nth(index).fill(value)
                self.assertEqual(text.input_value(), said)
            page.locator("#tab-compose [data-part=state]", has_text="50 samples").wait_for()
            text.fill("mnist(3) & ! mnist(8)")
            self.assertTrue(page.locator("#tab-compose [name=bound]").is_hidden())  # no plane
            text.fill("two-moons")
            self.assertTrue(page.locator("#tab-compose [name=bound]").is_visible())
        self.assertEqual(heard, [])

    def test_the_page_in_a_browser(self):
        heard = []
        with self.browser(heard) as new_page:
            for width, height in ((1280, 900), (400, 800)):
                page = new_page(width=width, height=height)
                page.goto(f"{self.server.url}#tab=restore&model=mnist&picture={base64_word(url_of(self.three))}")
                panel = page.locator("#tab-restore")
                panel.locator("[data-part=energy]", has_text="E =").wait_for()
                before = panel.locator("[data-part=energy]").inner_text()
                panel.locator("[data-part=clear]").click()
                panel.locator("[name=levels]").fill("10")
                board = panel.locator("[data-part=board]")
                board.scroll_into_view_if_needed()
                box = board.bounding_box()
                page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.6)
                page.mouse.down()
                page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + box["height"] * 0.6, steps=8)
                page.mouse.up()
                self.assertRegex(panel.locator("[data-part=missing]").inner_text(), r"^[1-9]\d? %")
                panel.locator("button[type=submit]").click()
                panel.locator("[data-part=files]").wait_for()
                shown = panel.locator("[data-part=picture]").get_attribute("src")
                mask, picture = (panel.locator(f"[data-part=save-{name}]").get_attribute("href") for name in ("mask", "picture"))
                self.assertTrue((numpy.asarray(Image.open(io.BytesIO(png(picture))).convert("L")) == self.three).all())
                told = self.server.answer("restore", model="mnist", picture=picture, mask=mask, levels=10, seed=0)
                self.assertEqual(shown, told["image"])
                again = new_page(width=width, height=height)  # a link repeats it
                again.goto(page.url)
                again.locator("#tab-restore [data-part=files]").wait_for()
                self.assertEqual(again.locator("#tab-restore [data-part=picture]").get_attribute("src"), shown)
                again.close()
                panel.locator("[name=way]").select_option("white")  # painting moves the energy; by keyboard here
                board.focus()
                page.keyboard.press(" ")
                panel.locator("[data-part=energy]").filter(has_not_text=before).wait_for()
                page.locator("[data-tab=restore]").focus()
                page.keyboard.press("ArrowRight")
                self.assertTrue(page.locator("#tab-morph").is_visible())
                self.assertLessEqual(page.evaluate("() => document.documentElement.scrollWidth"), width)
                page.close()
            page = new_page(width=1280)
            for tab, request, done in (("compose", "expression=ring(2, .1)&count=200&bound=4", "200 samples"), ("plane", "expression=ring(2, .2)&kernel=mala&steps=20&count=100", "% accepted"),
                                       ("morph", "model=mnist&from=3&to=8&frames=3&count=1", "1 × 3 pictures")):
                page.goto(f"{self.server.url}#tab={tab}&{request}")
                page.locator(f"#tab-{tab} [data-part=state]", has_text=done).wait_for()
                self.assertTrue(page.locator(f"#tab-{tab} [data-part=save]").get_attribute("href").startswith("data:image/png"))
            page.goto(f"{self.server.url}#model=mnist&label=3&count=4&budget=12&seed=5")
            page.wait_for_selector("#save:visible")
            page.fill("#keep-number", "2")
            page.click("#keep")
            page.click("#vary")
            page.locator("#state", has_text="9 samples").wait_for()
            self.assertIn("label=3", page.url)
            self.assertEqual(heard, [])
            page.click("[data-tab=compose]")
            page.fill("#tab-compose [name=expression]", "mnist(3) & mnits(8)")
            page.click("#tab-compose button[type=submit]")
            page.locator("#tab-compose [data-part=state]", has_text='did you mean "mnist"').wait_for()
            self.assertEqual(page.inner_text("#tab-compose [data-part=wrong]").rstrip(), "mnist(3) & mnits(8)\n" + " " * 11 + "^")
        self.assertEqual([h for h in heard if "400 (Bad Request)" not in h], [])  # which the browser says of itself


def base64_word(url):
    return url.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/env python3
"""igebm serve: what the API answers, refuses and survives, and its page in a browser where there is one."""
import concurrent.futures
import io
import json
import pathlib
import random
import re
import shutil
import socket
import tempfile
import time
import unittest

import numpy

from running import PROGRAM, igebm
from runs import RECIPE
from viewers import Server, Serving, png


class Serve(Serving):
    def test_models_are_told(self):
        status, body, _ = self.server.ask("GET", "/api/models")
        self.assertEqual(status, 200)
        self.assertEqual(json.loads(body)["first"], "fashion-mnist")
        models = {m["name"]: m for m in json.loads(body)["models"]}
        self.assertEqual(models["fashion-mnist"]["classes"][8], "bag")
        self.assertEqual(models["two-moons"]["kind"], "points")
        self.assertEqual([n["name"] for n in models["dsprites-position"]["numbers"]], ["position.x", "position.y"])

    def test_samples_are_those_of_the_program(self):
        events = self.server.events(model="mnist", label="3", count=4, budget=12, seed=5)
        self.assertEqual([e[0] for e in events].count("done"), 1)
        steps = [e[1]["step"] for e in events if e[0] == "frame"]
        self.assertEqual((steps[0], steps[-1]), (1, events[-2][1]["total"]))
        self.assertEqual(steps, sorted(set(steps)))
        done = events[-1][1]
        with tempfile.TemporaryDirectory() as place:
            words = done["command"].split()[1:]
            words[words.index("--out") + 1] = str(pathlib.Path(place) / "x.npz")
            drawn = igebm(*words, "--threads", 1)
            self.assertEqual(drawn.returncode, 0, drawn.stderr)
            # To rounding: each process measures which algorithms are fastest.
            for here, there in zip(done["energies"], numpy.load(pathlib.Path(place) / "x.npz")["energies"], strict=True):
                self.assertAlmostEqual(here / there, 1, delta=0.01)
        self.assertEqual(len(done["energies"]), 4)
        status, body, response = self.server.ask("POST", "/api/sample", {"model": "mnist", "label": "3", "count": 4, "budget": 12, "seed": 5},
                                                 Accept="image/png")
        self.assertEqual((status, body), (200, png(done["image"])))
        self.assertNotEqual(self.server.events(model="mnist", label="4", count=4, budget=12, seed=5)[-1][1]["image"], done["image"])
        of_points = self.server.events(model="two-moons", count=300, seed=1)
        self.assertEqual(of_points[-1][0], "done")
        of_numbers = self.server.events(model="dsprites-position", count=1, budget=5, condition="position.x=0.2,position.y=0.8")
        self.assertIn("--condition position.x=0.2,position.y=0.8", of_numbers[-1][1]["command"])

    def test_what_is_wrong_is_told(self):
        for said, body in (("expected a JSON object", []), ("expected a whole number from 1 to 400, of pictures", {"model": "mnist", "count": 401}),
                           ('there is no "mnits"; did you mean "mnist"', {"model": "mnits"}), ('there is no "/etc"', {"model": "/etc"}),
                           ('there is no "../models/mnist"', {"model": "../models/mnist"}), ("budget: expected", {"budget": 0}),
                           ("budget: expected", {"budget": 10.5}), ("seed: expected", {"seed": -1}), ("seed: expected", {"seed": 1e300}),
                           ("label: expected a text", {"label": 3}), ("guidance: expected", {"guidance": "much"}),
                           ('unknown key "cuont"; did you mean "count"', {"cuont": 3}), ("this model takes no numbers", {"model": "mnist", "condition": "x=1"}),
                           ("position.z", {"model": "dsprites-position", "condition": "position.z=1"}), ("eleven", {"model": "mnist", "label": "eleven"})):
            self.refused(400, said, "POST", "/api/sample", json.dumps(body), Content_Type="application/json")
        for text in ("", "{", "\x00", '{"model":"mnist"', "[" * 5000, '{"count":1e999}', "\xff\xfe"):
            self.refused(400, "", "POST", "/api/sample", text.encode("latin-1"), Content_Type="application/json")
        self.refused(415, "application/json", "POST", "/api/sample", "model=mnist", Content_Type="text/plain")
        self.refused(413, "65536 bytes", "POST", "/api/sample", b" " * 70000, Content_Type="application/json")
        for path in ("/nothing", "/../recipe.toml", "/%2e%2e/%2e%2e/etc/passwd", "/viewer.css/x"):
            self.refused(404, "there is no", "GET", path)

    def test_damaged_requests_are_refused(self):
        """Valid ones with bytes changed, left out, put in: an answer or one line, and the server lives."""
        chance = random.Random(0)
        valid = {"sample": {"model": "two-moons", "count": 2, "budget": 2, "seed": 1}, "vary": {"model": "mnist", "picture": "test:1", "count": 1},
                 "picture": {"model": "mnist", "test": 3}, "energy": {"model": "mnist", "picture": "test:3", "noise": 0.3},
                 "restore": {"model": "mnist", "picture": "data:image/png;base64,AAAA", "mask": "bottom", "levels": 2},
                 "compose": {"expression": "ring(2, .1)", "count": 2}, "morph": {"model": "mnist", "from": "test:1", "to": "x", "frames": 2},
                 "plane": {"expression": "ring(2, .2)", "steps": 2, "count": 2}, "neighbours": {"model": "mnist", "picture": "data:,"}, "train": {"run": "x"},
                 "stop": {"run": "x"}, "resume": {"run": "x"}}
        self.assertEqual(json.loads(self.server.ask("POST", "/api/nothing", {})[1])["error"], "there is no /api/nothing")
        for name, request in valid.items():
            for _ in range(25):
                text = bytearray(json.dumps(request).encode())
                for _ in range(chance.randint(1, 4)):
                    at = chance.randrange(len(text))
                    text[at:at + chance.randint(0, 2)] = bytes(chance.choice((chance.randrange(256), *b'"{}[],:-9e.')) for _ in range(chance.randint(0, 2)))
                    text = text or bytearray(b"0")
                status, body, _ = self.server.ask("POST", f"/api/{name}", bytes(text), Content_Type="application/json", Accept="application/json")
                self.assertIn(status, (200, 400), (name, text, body))
                self.assertEqual("error" in json.loads(body), status == 400, (name, text, body))

    def test_temperature_and_sampler_are_those_of_the_program(self):
        with tempfile.TemporaryDirectory() as place:
            run, recipe, out = (pathlib.Path(place) / name for name in ("runs/moons", "moons.toml", "x.npz"))
            recipe.write_text(RECIPE)
            trained = igebm("train", recipe, "--out", run, "--set", "phase.train.steps=20", "--threads", 1)
            self.assertEqual(trained.returncode, 0, trained.stderr)
            (run.parent / "no-run").mkdir()
            server, drawn = Server(cwd=place), []  # it finds those in runs/
            try:
                self.assertEqual([m["name"] for m in json.loads(server.ask("GET", "/api/models")[1])["models"] if m["own"]], ["moons"])
                for model, more in (("moons", {}), ("moons", {"sampler": "mala"}), ("moons", {"sampler": "hmc"}), ("moons", {"temperature": 0.01}),
                                    ("two-moons", {"budget": 300}), ("two-moons", {"budget": 300, "temperature": 0.25})):
                    told = server.answer("sample", model=model, count=50, seed=2, **more)
                    words = told["command"].split()[1:]
                    words[words.index("--out") + 1] = out
                    made = igebm(*words, "--threads", 1)
                    self.assertEqual(made.returncode, 0, made.stderr)
                    numpy.testing.assert_allclose(told["energies"], numpy.load(out)["energies"], atol=0.02)
                    drawn.append(tuple(told["energies"]))
            finally:
                server.end()
            self.assertEqual(len(set(drawn)), len(drawn))
        self.refused(400, '"nuts"', "POST", "/api/sample", {"model": "two-moons", "sampler": "nuts"})
        self.refused(400, "from one noise level to the next", "POST", "/api/sample", {"model": "two-moons", "sampler": "mala"})
        self.refused(400, "temperature: expected", "POST", "/api/sample", {"model": "two-moons", "temperature": 0})
        status, body, _ = self.server.ask("POST", "/api/sample", {"model": "two-moons", "count": 50, "seed": 2}, Accept="application/x-npz")
        self.assertEqual(status, 200, body)
        arrays = numpy.load(io.BytesIO(body))
        numpy.testing.assert_allclose(arrays["energies"], self.server.answer("sample", model="two-moons", count=50, seed=2)["energies"], rtol=1e-5)
        self.assertEqual(arrays["points"].shape, (50, 2))
        self.assertEqual(self.server.ask("POST", "/api/train", {}, Accept="application/x-npz")[0], 400)
        self.assertEqual(self.server.ask("POST", "/api/compose", {"expression": "ring(2, .1)", "count": 2}, Accept="application/x-npz")[0], 406)

    def test_other_sites_are_refused(self):
        for host in ("evil.example", f"evil.example:{self.server.port}", "127.0.0.1.evil.example", ""):
            self.refused(403, "another host's name", "GET", "/api/models", Host=host)
        self.refused(403, "another site's page", "POST", "/api/sample", {"model": "mnist"}, Origin="http://evil.example")
        self.refused(403, "another site's page", "POST", "/api/sample", {"model": "mnist"}, Origin=f"http://127.0.0.1:{self.server.port + 1}")
        status, _, response = self.server.ask("GET", "/", Host=f"localhost:{self.server.port}")
        self.assertEqual(status, 200)
        self.assertIn("default-src 'none'", response.getheader("Content-Security-Policy"))

    def test_who_leaves_frees_the_engine(self):
        leaving = self.server.begin("sample", model="mnist", count=200, budget=2000)  # minutes
        with concurrent.futures.ThreadPoolExecutor() as threads:
            waiting = threads.submit(self.server.events, model="mnist", count=1, budget=5)
            time.sleep(0.5)
            self.assertFalse(waiting.done())
            leaving.close()
            events = waiting.result(timeout=60)
        self.assertEqual(events[0], ("waiting", {"before": 1}))
        self.assertEqual(events[-1][0], "done")
        # Who waits for a whole answer is seen to leave, too.
        body = json.dumps({"model": "mnist", "count": 200, "budget": 2000}).encode()
        leaving = socket.create_connection(("127.0.0.1", self.server.port))
        leaving.sendall(b"POST /api/sample HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAccept: image/png\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        time.sleep(0.5)
        leaving.close()
        self.assertEqual(self.server.events(model="mnist", count=1, budget=5)[-1][0], "done")

    def test_it_ends_while_it_computes(self):
        server = Server()
        stream = server.begin("sample", model="mnist", count=200, budget=2000)
        self.assertEqual(server.end(), 0)
        stream.close()

    def test_connections_leave_no_memory_behind(self):
        server = Server()

        def held():
            return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{server.process.pid}/status").read_text())[1])
        try:
            for i in range(12):  # each by a connection of its own
                server.answer("sample", model="two-moons", count=50, budget=2, seed=i)
                before = held() if i == 3 else before if i > 3 else 0
            self.assertLess(held(), before + 100_000)  # kB; it was 30 to 80 MB for each
        finally:
            server.end()

    def test_many_at_once_and_slow_ones(self):
        slow = [socket.create_connection(("127.0.0.1", self.server.port)) for _ in range(80)]  # more than are answered at a time
        for i, s in enumerate(slow):
            s.sendall(b"POST /api/sample HT" if i % 2 else b"POST /api/sample HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{")

        def ask(seed):
            status, body, _ = self.server.ask("POST", "/api/sample", {"model": "mnist", "count": 1, "budget": 2, "seed": seed})
            return "refused" if status == 503 or b"too many" in body else "done" if b"event: done" in body else body
        with concurrent.futures.ThreadPoolExecutor(200) as threads:
            answers = list(threads.map(ask, range(200)))
        self.assertEqual(set(answers) - {"refused", "done"}, set())
        self.assertGreaterEqual(answers.count("done"), 32)
        for s in slow:
            s.close()

    def test_elsewhere_needs_the_token(self):
        server = Server("--host", "0.0.0.0")
        try:
            self.assertRegex(server.token, r"[0-9a-f]{32}")
            for path, headers, wanted in (("/", {}, 403), ("/?token=wrong", {}, 403), (f"/?token={server.token}", {}, 200),
                                          ("/api/models", {"X_Token": server.token}, 200), ("/api/models", {}, 403)):
                self.assertEqual(server.ask("GET", path, **headers)[0], wanted, path)
            heard = []
            with self.browser(heard) as new_page:
                page = new_page(server)
                page.goto(f"http://127.0.0.1:{server.port}/?token={server.token}#model=mnist&count=1&budget=5")
                page.wait_for_selector("#save:visible")
        finally:
            self.assertEqual(server.end(), 0)

    def test_a_run_is_offered_and_a_port_taken_is_told(self):
        with tempfile.TemporaryDirectory() as place:
            run = pathlib.Path(place) / "mine"
            shutil.copytree(pathlib.Path(PROGRAM).parents[2] / "models" / "two-moons", run)
            server = Server(run)
            try:
                told = json.loads(server.ask("GET", "/api/models")[1])["models"]
                self.assertEqual((told[0]["name"], told[0]["about"]), ("mine", "your run"))
                self.assertEqual(server.events(model="mine", count=10)[-1][0], "done")
                taken = igebm("serve", "--port", str(server.port))
                self.assertEqual(taken.returncode, 2)
                self.assertIn(f"port {server.port} of 127.0.0.1: cannot be listened to", taken.stderr)
            finally:
                server.end()

    def test_the_page_draws_in_a_browser(self):
        heard = []
        with self.browser(heard) as new_page:
            page = new_page()
            page.goto(f"{self.server.url}#model=mnist&label=3&count=4&budget=12&seed=5")
            page.wait_for_selector("#save:visible")
            self.assertIn("4 samples, 12 gradients each", page.inner_text("#state"))
            self.assertEqual(page.inner_text("#command"), "igebm sample mnist --count 4 --budget 12 --label 3 --seed 5 --out samples.png")
            shown = [page.get_attribute("#picture", "src")]
            for seed in (6, 5):  # another, and back
                page.fill("#seed", str(seed))
                page.click("#go")
                page.wait_for_selector("#save:visible")
                shown.append(page.get_attribute("#picture", "src"))
            page.select_option("#model", "two-moons")  # draws at once
            page.wait_for_selector("#save:visible")
            self.assertIn("2000 samples", page.inner_text("#state"))
            self.assertIn("model=two-moons", page.url)
        told = [png(self.server.events(model="mnist", label="3", count=4, budget=12, seed=seed)[-1][1]["image"]) for seed in (5, 6, 5)]
        self.assertEqual([png(s) for s in shown], told)
        self.assertEqual(heard, [])


if __name__ == "__main__":
    unittest.main()

"""A viewer that runs, for the tests of its API and of its page."""
import base64
import contextlib
import http.client
import json
import re
import signal
import socket
import subprocess
import unittest

from running import PROGRAM, chromium, igebm, no_browser


class Server:
    """One that runs, at a port that was free."""

    def __init__(self, *arguments, cwd="/"):  # where there are no runs/
        self.process = subprocess.Popen([PROGRAM, "serve", "--port", "0", "--threads", "1", *map(str, arguments)], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True, cwd=cwd)
        self.url = self.process.stdout.readline().strip()
        found = re.fullmatch(r"http://([^:/]+):(\d+)/(\?token=(\w+))?", self.url)
        assert found, (self.url, self.process.stderr.read())
        self.port, self.token = int(found[2]), found[4]

    def ask(self, method, path, body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=240)
        if isinstance(body, dict):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
        response = connection.getresponse()
        body = response.read()
        connection.close()
        return response.status, body, response

    def events(self, to="sample", /, **request):
        status, body, _ = self.ask("POST", f"/api/{to}", request)
        assert status == 200, body
        return [(name, json.loads(data)) for name, data in re.findall(r"event: (.*)\ndata: (.*)\n\n", body.decode())]

    def begin(self, to, /, **request):
        """A connection that has heard of a first step, to be left."""
        body = json.dumps(request).encode()
        connection = socket.create_connection(("127.0.0.1", self.port))
        connection.sendall(b"POST /api/%s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (to.encode(), len(body)) + body)
        heard = b""
        while b"event: frame" not in heard:
            piece = connection.recv(4096)
            assert piece, heard
            heard += piece
        return connection

    def answer(self, to, /, **request):
        """The data of "done" alone."""
        status, body, _ = self.ask("POST", f"/api/{to}", request, Accept="application/json")
        assert status == 200, body
        return json.loads(body)

    def end(self):
        self.process.send_signal(signal.SIGINT)
        status = self.process.wait(timeout=20)
        self.process.stdout.close()
        self.process.stderr.close()
        return status


def png(url):
    assert url.startswith("data:image/png;base64,")
    return base64.b64decode(url.split(",")[1])


class Serving(unittest.TestCase):
    """With a viewer of the models that come with igebm."""

    @classmethod
    def setUpClass(cls):
        help_text = igebm("serve", "--port", "0", "nowhere")
        if "built without cpp-httplib" in help_text.stderr:
            raise unittest.SkipTest("built without cpp-httplib")
        cls.server = Server()

    @classmethod
    def tearDownClass(cls):
        assert cls.server.end() == 0

    def refused(self, status, said, *arguments, **headers):
        got, body, response = self.server.ask(*arguments, **headers)
        self.assertEqual(got, status, body)
        self.assertIn(said, json.loads(body)["error"])
        return response

    @contextlib.contextmanager
    def browser(self, heard, **options):
        """Makes pages of Chromium; what they say and ask of others is added to `heard`."""
        path = chromium(self)
        try:
            from playwright.sync_api import sync_playwright
        except ImportError:
            no_browser(self, "no playwright to drive a browser")
        with sync_playwright() as tool:
            browser = tool.chromium.launch(executable_path=path, timeout=120000, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"])

            def new_page(server=self.server, width=420, height=900, **more):
                page = browser.new_page(viewport={"width": width, "height": height}, **more)
                page.set_default_timeout(240000)  # of a machine that does other work
                page.on("console", lambda m: heard.append(m.text))
                page.on("pageerror", lambda e: heard.append(str(e)))
                page.on("request", lambda r: r.url.startswith((server.url.split("?")[0], "data:", "blob:")) or heard.append(r.url))
                return page
            yield new_page
            browser.close()

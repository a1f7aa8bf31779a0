#!/usr/bin/env python3
"""A server for tests of downloads: serves a folder on 127.0.0.1, with ranges, and logs each request to requests.log.

Below /broken/ a connection ends after 1,000 bytes; below /plain/ ranges are ignored. The port goes to the file "port"."""
import http.server
import os
import pathlib
import sys

folder = pathlib.Path(sys.argv[1])


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        _, kind, name = (self.path if self.path.count("/") > 1 else "/whole" + self.path).split("/")
        wanted = self.headers.get("Range")
        with open(folder / "requests.log", "a") as log:
            log.write(f"{self.path} {wanted}\n")
        try:
            content = (folder / name).read_bytes()
        except OSError:
            return self.send_error(404)
        start = int(wanted.split("=")[1].split("-")[0]) if wanted and kind != "plain" else 0
        if start >= len(content) and start > 0:
            return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        self.wfile.write(content[start:start + 1000] if kind == "broken" else content[start:])

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
(folder / "port.new").write_text(str(server.server_port))
os.rename(folder / "port.new", folder / "port")
server.serve_forever()

"""The program under test, and a test case that runs it in a folder of its own."""
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import zipfile

PROGRAM = os.path.abspath(sys.argv.pop(1))


def igebm(*arguments, **options):
    texts = [a if isinstance(a, bytes) else str(a) for a in arguments]
    return subprocess.run([PROGRAM, *texts], **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options})


def no_browser(test, why):
    """Skips it, unless whoever runs the tests wants none skipped."""
    test.fail(why) if os.environ.get("IGEBM_NEEDS_BROWSER") else test.skipTest(why)


def chromium(test):
    return shutil.which("chromium") or no_browser(test, "no chromium")


def arrays(path):
    """The arrays of an npz file, as bytes by name, but for what it says of where it comes from."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist() if name != "provenance.npy"}


class Running(unittest.TestCase):
    options = {}  # of subprocess, for every run
    text = None  # of a recipe

    def setUp(self):
        self.place = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self.place.name)
        if self.text is not None:
            self.recipe = self.folder / "moons.toml"
            self.recipe.write_text(self.text)

    def tearDown(self):
        self.place.cleanup()

    def done(self, *arguments, **options):
        """What a run that must succeed left."""
        done = igebm(*arguments, **{**self.options, **options})
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def works(self, *arguments, **options):
        return self.done(*arguments, **options).stdout

    def interrupted(self, seconds, *arguments):
        """(status, standard output, standard error) of a command that is asked to end after so many seconds."""
        process = subprocess.Popen([PROGRAM, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=120)
        return process.returncode, out, said

    def refused(self, expected, *arguments, **options):
        """One line on standard error that says what and where, status 2."""
        done = igebm(*arguments, **{**self.options, **options})
        self.assertEqual(done.returncode, 2, (arguments, done.stdout, done.stderr))
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        for text in [expected] if isinstance(expected, str) else expected:
            self.assertIn(text, done.stderr)
        return done

#!/usr/bin/env python3
"""Files, folders, values and machines as people have them: what the program takes, and what it says where it cannot."""
import json
import os
import resource
import shutil
import struct
import subprocess
import unittest

import numpy

from running import Running, igebm
from runs import png

NOBODY = 65533
POINTS = """
[data]
name = "npz"
path = "{path}"
[network]
kind = "mlp"
widths = [16, 16]
[train]
samples_every = 2
[phase.train]
steps = 4
batch = 16
[phase.train.energy_matching]
[sampling]
start = "normal"
flow_steps = 2
steps = 2
step_size = 0.01
"""
PICTURES = POINTS.replace('"npz"', '"{name}"').replace('kind = "mlp"\nwidths = [16, 16]',
                                                      'kind = "unet"\nchannels = [8, 8]\nblocks = [1, 1]\ngroups = 2')
CLASSIFIER = """
[data]
name = "npz"
path = "{path}"
[network]
kind = "classifier"
channels = [4, 8]
features = 3
[phase.train]
steps = 5
batch = 8
[phase.train.classification]
"""


def as_nobody(processes=None):
    """Another user, whom permissions and limits hold for."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    if processes is not None:
        resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes))


class Input(Running):
    options = {"errors": "replace"}

    def setUp(self):
        super().setUp()
        self.folder.chmod(0o755)

    def recipe(self, text, **values):
        path = self.folder / "recipe.toml"
        path.write_text(text.format(**values))
        return path

    def photos(self, where, splits=("train", "test")):
        for split in splits:
            for name in ("cat", "dog"):
                (where / split / name).mkdir(parents=True, exist_ok=True)
                for i in range(6):
                    (where / split / name / f"{i}.png").write_bytes(png(8, 8, 40 * i))
        return where

    def test_what_has_no_picture_is_trained_and_sampled_all_the_same(self):
        random = numpy.random.default_rng(0)
        points = self.folder / "points.npz"
        numpy.savez(points, points=random.normal(size=(50, 5)).astype("f4"))
        pairs = self.folder / "pairs.npz"  # of two channels, as of a stereo camera
        numpy.savez(pairs, images=random.integers(0, 256, (20, 2, 8, 8), numpy.uint8))
        for recipe, path, name in ((POINTS, points, "points"), (PICTURES, pairs, "images")):
            run = self.folder / name
            recipe = self.recipe(recipe, path=path, name="npz")
            self.assertIn("there are no pictures", self.works("train", recipe, "--out", run))
            self.assertTrue((run / "checkpoints/000004").exists())
            self.assertFalse((run / "samples.png").exists() or (run / "samples").exists())
            self.works("sample", run, "--count", 7, "--out", self.folder / "samples.npz")
            self.assertEqual(numpy.load(self.folder / "samples.npz")[name].shape[0], 7)
            done = igebm("sample", run, "--out", self.folder / "x.png")
            self.assertEqual((done.returncode, done.stdout), (2, ""))  # before the work
            self.refused("no picture", "data", "show", "npz", "--set", f"data.path={path}", "--out", self.folder / "x.png")
            told = json.loads(self.works("train", recipe, "--dry-run", "--json"))
            self.assertEqual((told["pictures"]["count"], told["last_picture"]["count"]), (0, 0))

    def test_a_path_may_be_of_any_bytes(self):
        photos = os.fsencode(self.folder) + b"/ph\xf6tos"
        os.rename(self.photos(self.folder / "photos"), photos)
        run = self.folder / "run"
        recipe = self.recipe(PICTURES, name="image-folder", path="elsewhere")
        self.works("train", recipe, "--out", run, "--set", b"data.path=" + photos)
        self.works("train", "--resume", run, "--set", "phase.train.steps=6")
        json.loads(self.works("data", "list", "--json", env={**os.environ, "IGEBM_DATA": os.fsdecode(photos)}))

    def test_a_run_is_resumed_from_anywhere(self):
        self.photos(self.folder / "2024")
        recipe = self.recipe(PICTURES, name="image-folder", path="elsewhere")
        self.works("train", recipe, "--out", "run", "--set", "data.path=2024", cwd=self.folder)
        self.works("train", "--resume", self.folder / "run", "--set", "phase.train.steps=6", cwd="/")
        self.works("sample", self.folder / "run", "--out", self.folder / "x.png", cwd="/")

    def test_a_training_says_what_its_data_leave_out(self):
        photos = self.photos(self.folder / "photos", ["Train", "valid", "more"])
        (photos / "Train/cat/moving.gif").write_bytes(b"GIF89a")
        (photos / "Train/cat/._1.png").write_bytes(b"\0\5\x16\7")
        recipe = self.recipe(PICTURES, name="image-folder", path=photos)
        for said in (self.works("train", recipe, "--out", self.folder / "run"),
                     self.works("data", "show", "image-folder", "--set", f"data.path={photos}")):
            self.assertIn(f"{photos}: left out: the folders more; the splits are Train and valid", said)
            self.assertIn(f"{photos}/Train: left out: 1 pictures (hidden), 1 .gif (not PNG, ", said)

    def need_nobody(self):
        """Skips where another user cannot run the program at all."""
        try:
            if igebm("--version", preexec_fn=as_nobody).returncode == 0:
                return
        except (PermissionError, subprocess.SubprocessError):
            pass
        self.skipTest("another user cannot run the program where it is")

    def test_what_may_not_be_read_is_said(self):
        self.need_nobody()
        photos = self.photos(self.folder / "photos")
        for name in ("photos/train/lost+found", "photos/test/cat/secret", "shut"):
            (self.folder / name).mkdir(mode=0o700)
            (self.folder / name).chmod(0 if os.getuid() != 0 else 0o700)
        show = ["data", "show", "image-folder", "--set", f"data.path={photos}"]
        self.assertIn("12 records", self.works(*show, preexec_fn=as_nobody))
        self.refused(f"{photos}/test/cat/secret: cannot be read: Permission denied", *show, "--split", "test", preexec_fn=as_nobody)
        for arguments in (["info", self.folder / "shut/x"], ["evaluate", self.folder / "shut/x"],
                          ["data", "show", "image-folder", "--set", f"data.path={self.folder / 'shut/x'}"],
                          ["data", "show", "cifar-records", "--set", f"data.path={self.folder / 'shut/x'}"],
                          ["data", "show", "npz", "--set", f"data.path={self.folder / 'shut/x'}"]):
            self.refused(["shut/x", "Permission denied"], *arguments, preexec_fn=as_nobody)
        for name in ("photos/train/lost+found", "photos/test/cat/secret", "shut"):
            (self.folder / name).chmod(0o700)

    def test_pictures_are_read_where_no_thread_is_to_be_had(self):
        photos = self.photos(self.folder / "photos")
        self.need_nobody()
        for memory in ("4", "0"):  # all at once, and ahead of the steps
            recipe = self.recipe(PICTURES, name="image-folder", path=photos)
            (self.folder / memory).mkdir()
            (self.folder / memory).chmod(0o777)
            self.works("train", recipe, "--out", self.folder / memory / "run", "--set", f"data.memory={memory}",
                       env={**os.environ, "OMP_NUM_THREADS": "1"}, preexec_fn=lambda: as_nobody(1))

    def test_too_little_memory_is_said(self):
        numpy.savez(self.folder / "points.npz", points=numpy.zeros((50, 2), "f4"))
        recipe = self.recipe(POINTS.replace("energy_matching", "contrastive_divergence"), path=self.folder / "points.npz")
        run = self.folder / "run"

        def little():
            resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
        buffer = "phase.train.contrastive_divergence.buffer"
        self.refused([f"{buffer}: 1000000000 chains take ", " GB, more than the 3.22 GB of memory here"],
                     "train", recipe, "--set", f"{buffer}=1000000000", "--out", run, preexec_fn=little)
        self.assertFalse(run.exists())
        self.refused("not enough memory", "data", "show", "rings", "--set", "data.count=1000000000000")

    def test_samples_as_other_programs_write_them(self):
        pictures = numpy.random.default_rng(0).integers(0, 256, (40, 3, 8, 8), numpy.uint8)
        labels = numpy.arange(40) % 4
        data = self.folder / "set.npz"
        numpy.savez(data, x_train=pictures, y_train=labels, x_test=pictures[::-1].copy(), y_test=labels[::-1].copy())
        classifier = self.folder / "classifier"
        self.works("train", self.recipe(CLASSIFIER, path=data), "--out", classifier)
        given = ["--data", "npz", "--data-path", data, "--features", classifier, "--json"]

        def measured(name, features=classifier):
            given[5] = features
            return json.loads(self.works("evaluate", self.folder / name, *given))["quality"]
        last = pictures.transpose(0, 2, 3, 1)
        numpy.savez(self.folder / "plain.npz", images=pictures, labels=labels)
        plain = measured("plain.npz")
        self.assertIn("labels_right", plain)
        numpy.savez(self.folder / "arr.npz", last, labels)
        numpy.savez(self.folder / "last.npz", images=last, y=labels, prompts=numpy.array(["a", "b"] * 20))
        numpy.savez(self.folder / "object.npz", x=pictures, labels=labels, args=numpy.array({"scale": 1.5}, object))
        for name in ("arr.npz", "last.npz", "object.npz"):
            self.assertEqual(measured(name), plain, name)
        numpy.save(self.folder / "one.npy", pictures)
        numpy.savez(self.folder / "half.npz", images=(pictures / 255).astype("f2"))
        for name in ("one.npy", "half.npz"):
            self.assertAlmostEqual(measured(name)["frechet"], plain["frechet"], delta=0.02 * abs(plain["frechet"]) + 1e-3)
        for name, array, said in (("empty", pictures[:0], "images: holds no samples"), ("flat", pictures.reshape(-1), "images: expected pictures"),
                                  ("wide", pictures.astype("f4"), "expected values in [0, 1], got 0 to 255")):
            numpy.savez(self.folder / f"{name}.npz", images=array)
            self.refused([f"{name}.npz: ", said], "evaluate", self.folder / f"{name}.npz", *given)
        numpy.savez(self.folder / "other.npz", energies=labels)
        self.refused(["other.npz: holds none of", "but energies"], "evaluate", self.folder / "other.npz", *given)
        # Features kept in half precision are nearly those in single.
        half = self.in_half(classifier / "checkpoints/000005/average.safetensors")
        self.assertAlmostEqual(measured("plain.npz", half)["frechet"], plain["frechet"], delta=0.1 * abs(plain["frechet"]) + 1e-3)

    def in_half(self, path):
        """The same tensors as float16."""
        whole = path.read_bytes()
        length = struct.unpack("<Q", whole[:8])[0]
        header, data, out = json.loads(whole[8:8 + length]), whole[8 + length:], b""
        for name, tensor in header.items():
            if name == "__metadata__":
                continue
            begin, end = tensor["data_offsets"]
            half = numpy.frombuffer(data[begin:end], "<f4").astype("<f2").tobytes()
            tensor["dtype"], tensor["data_offsets"] = "F16", [len(out), len(out) + len(half)]
            out += half
        text = json.dumps(header).encode()
        half = self.folder / "half.safetensors"
        half.write_bytes(struct.pack("<Q", len(text)) + text + out)
        return half

    def test_weights_in_half_precision_are_drawn_from(self):
        numpy.savez(self.folder / "points.npz", points=numpy.random.default_rng(0).normal(size=(50, 2)))
        run = self.folder / "run"
        self.works("train", self.recipe(POINTS, path=self.folder / "points.npz"), "--out", run)
        weights = run / "checkpoints/000004/average.safetensors"
        self.works("sample", run, "--out", self.folder / "single.npz")
        shutil.copy(self.in_half(weights), weights)
        self.works("info", weights)
        single = numpy.load(self.folder / "single.npz")["points"]
        for engine in ("fast", "reference"):
            self.works("sample", run, "--engine", engine, "--out", self.folder / f"{engine}.npz")
            half = numpy.load(self.folder / f"{engine}.npz")["points"]
            self.assertLess(abs(half - single).max(), 0.05)
            self.assertGreater(abs(half - single).max(), 0)


if __name__ == "__main__":
    unittest.main(verbosity=1)

"""Small recipes, the files they read, and a test case that trains them."""
import zlib

from running import Running

RECIPE = """
[data]
name = "two-moons"
count = 2000
[network]
kind = "mlp"
widths = [32, 32]
[train]
checkpoint_every = 20
metrics_every = 5
samples_every = 0
[phase.train]
steps = 400
batch = 64
[phase.train.energy_matching]
[phase.train.contrastive_divergence]
weight = 0.01
steps = 10
step_size = 0.01
buffer = 256
low = -3.0
high = 3.0
[sampling]
start = "normal"
flow_steps = 10
steps = 10
step_size = 0.01
"""
IMAGES = """
[data]
name = "mnist"
path = "{path}"
validation = 0.0
[network]
kind = "unet"
channels = [8, 8]
blocks = [1, 1]
groups = 2
labels = true
[train]
samples_every = 0
[phase.train]
steps = 3
batch = 4
[phase.train.energy_matching]
[sampling]
start = "normal"
flow_steps = 3
steps = 2
step_size = 0.01
"""

CONDITIONS = """
[data]
name = "dsprites-drawn"
count = 40
size = 16
validation = 0.0
[network]
kind = "unet"
channels = [8, 8]
blocks = [1, 1]
groups = 2
conditions = ["size", "shape"]
[train]
samples_every = 0
[phase.train]
steps = 4
batch = 4
[phase.train.contrastive_divergence]
steps = 2
step_size = 0.01
buffer = 8
[sampling]
steps = 2
step_size = 0.01
"""

SPRITES = """
[data]
name = "dsprites-drawn"
count = 60
size = 16
validation = 0.0
[network]
kind = "unet"
channels = [8, 8]
blocks = [1, 1]
groups = 2
labels = true
noise_features = 8
label_dropout = 0.3
[train]
samples_every = 3
samples = 4
[phase.train]
steps = 6
batch = 4
[phase.train.denoising_score_matching]
form = "preconditioned"
[sampling]
levels = 6
steps = 2
"""

SCORES = """
[data]
name = "two-moons"
count = 500
[network]
kind = "mlp"
widths = [16, 16]
noise_features = 4
[train]
samples_every = 0
[phase.train]
steps = 10
batch = 16
[phase.train.denoising_score_matching]
sigma_min = 0.05
sigma_max = 5.0
[sampling]
levels = 5
steps = 2
"""

CLASSIFIER = """
[data]
name = "mnist"
path = "{path}"
dequantize = false
validation = 0.2
[network]
kind = "classifier"
channels = [4, 8]
features = 3
[train]
metrics_every = 5
[phase.train]
steps = 20
batch = 8
[phase.train.classification]
"""


def png(width, height, value):
    def chunk(name, data):
        return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    rows = (b"\0" + bytes([value]) * width) * height
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def strokes():
    """Two pictures (2, 1, 28, 28) such as a model of digits knows."""
    import numpy

    images = numpy.zeros((2, 1, 28, 28), numpy.float32)
    images[0, 0, 4:24, 13:16] = 1
    images[1, 0, 6:9, 8:20] = images[1, 0, 6:24, 17:20] = 1
    return images


class Runs(Running):
    text = RECIPE

    def images(self):
        def idx(shape, data):
            return bytes([0, 0, 8, len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape) + data
        for part in ("train", "t10k"):
            (self.folder / f"{part}-images-idx3-ubyte").write_bytes(idx([20, 8, 8], bytes(range(256)) * 5))
            (self.folder / f"{part}-labels-idx1-ubyte").write_bytes(idx([20], bytes([0, 1, 2, 3, 4, 5, 6, 7, 8, 9] * 2)))
        recipe = self.folder / "images.toml"
        recipe.write_text(IMAGES.format(path=self.folder))
        return recipe

    def evaluated(self):
        """A run of pictures, and a classifier of them."""
        run, classifier = self.folder / "run", self.folder / "classifier"
        self.works("train", self.images(), "--out", run)
        recipe = self.folder / "classifier.toml"
        recipe.write_text(CLASSIFIER.format(path=self.folder))
        self.assertIn("igebm evaluate RUN --features", self.works("train", recipe, "--out", classifier))
        return run, classifier

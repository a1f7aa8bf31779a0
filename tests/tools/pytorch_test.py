"""The PyTorch definition in docs/checkpoint.md loads checkpoints of every kind and gives the program's energies."""
import pathlib
import re
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import torch
    import safetensors  # noqa: F401
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

program, writer = sys.argv[1:]
root = pathlib.Path(__file__).resolve().parent.parent.parent
source = re.search(r"```python\n(.*?)```", (root / "docs/checkpoint.md").read_text(), re.S)[1]
assert source.count("\n") <= 70, "docs/checkpoint.md: at most 70 lines"
exec(source)

CASES = {
    "mlp": 'kind = "mlp"\nwidths = [16, 16]',
    "mlp with labels": 'kind = "mlp"\nlabels = true',
    "unet": 'kind = "unet"\nchannels = [8, 16]',
    "unet with labels": 'kind = "unet"\nchannels = [8, 8]\ngroups = 0\nlabels = true',
    "unet with all": 'kind = "unet"\nchannels = [4, 6, 8]\nblocks = [1, 1, 1]\npatch = 1\ngroups = 2\nattention = true\ndropout = 0.1',
    "strided with labels": 'kind = "strided"\nchannels = [6, 8]\nlabels = true',
    "residual": 'kind = "residual"\nstem = 8\nblocks = "8d 12"',
    "residual with labels": 'kind = "residual"\nstem = 8\nstem_kernel = 4\nblocks = "8 12d"\nactivation = "silu"\nlabels = true',
}

with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    for part in ("train", "t10k"):
        pixels = np.random.default_rng(0).integers(0, 256, (30, 8, 8), dtype=np.uint8)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(bytes([0, 0, 8, 3, 0, 0, 0, 30, 0, 0, 0, 8, 0, 0, 0, 8]) + pixels.tobytes())
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 30]) + bytes(list(range(10)) * 3))
    for case, network in CASES.items():
        data = 'name = "two-moons"' if case.startswith("mlp") else f'name = "mnist"\npath = "{folder}"'
        recipe = folder / "recipe.toml"
        recipe.write_text(f"[data]\n{data}\n[network]\n{network}\n[train]\nsamples_every = 0\n[phase.train]\nsteps = 3\nbatch = 8\n"
                          "[phase.train.contrastive_divergence]\nsteps = 2\nbuffer = 16\n[sampling]\nsteps = 3\n")
        run = folder / case.replace(" ", "-")
        subprocess.run([program, "train", recipe, "--out", run], check=True, stdout=subprocess.DEVNULL)
        subprocess.run([program, "sample", run, "--count", "12", "--out", run / "x.npz"], check=True, stdout=subprocess.DEVNULL)
        arrays = np.load(run / "x.npz")
        network = Network(run / "checkpoints/000003/average.safetensors").eval()
        x = torch.tensor(arrays["images" if "images" in arrays else "points"])
        labels = torch.tensor(arrays["labels"]) if "labels" in arrays else None
        with torch.no_grad():
            got = network(x, labels).numpy()
        worst = np.abs(got - arrays["energies"]).max() / (1 + np.abs(got).max())
        print(f"{case}: relative difference {worst:.1e}")
        assert worst < 1e-5, case

    # Networks with weights far from the special values that training starts with, and with conditions.
    subprocess.run([writer, folder / "written"], check=True)
    for case in sorted((folder / "written").iterdir()):
        arrays = {name: torch.tensor(a) for name, a in np.load(case / "x.npz").items()}
        network = Network(case / "checkpoints/000000/network.safetensors").eval()
        with torch.no_grad():
            got = network(arrays["x"], arrays.get("labels"))
        worst = ((got - arrays["energies"]).abs() / (1 + arrays["energies"].abs())).max()
        print(f"{case.name}: relative difference {worst:.1e}")
        assert worst < 1e-5, case.name
        if "sigma" in arrays:
            features = noise_features(arrays["sigma"], network.graph["noise_features"])
            assert torch.allclose(features, arrays["labels"][:, -features.shape[1]:], atol=1e-5), case.name
        if count := network.graph.get("number_features"):
            numbers, features, _ = arrays["labels"].tensor_split([3, 3 + count], 1)
            assert torch.allclose(number_features(numbers, count), features, atol=1e-5), case.name
            assert features.std(0).min() > .1, case.name
        if "dropout" in case.name:
            assert not torch.equal(network.train()(arrays["x"], arrays.get("labels")), got), case.name

"""Precision, recall, density, coverage and a nearest neighbour's leave-one-out accuracy, each by its definition, of differences
rather than products: reads features.npz, writes expected.json in the same folder."""
import json
import sys

import numpy as np

arrays = dict(np.load(sys.argv[1] + "/features.npz"))


def distances(x, y):
    return np.array([np.sqrt(((row - y) ** 2).sum(1)) for row in x])


def balls(of, k):
    return np.sort(distances(of, of), 1)[:, k]  # the first is its own


expected = {}
for case in sorted({name.split(".")[0] for name in arrays}):
    samples, real = arrays[case + ".a"], arrays[case + ".b"]
    between = distances(samples, real)
    both, kind = np.concatenate([samples, real]), np.repeat([0, 1], [len(samples), len(real)])
    nearest = np.argsort(distances(both, both), 1)[:, 1]
    expected[case] = {"precision": float((between <= balls(real, 3)[None]).any(1).mean()),
                      "recall": float((between <= balls(samples, 3)[:, None]).any(0).mean()),
                      "density": float((between <= balls(real, 5)[None]).sum(1).mean() / 5),
                      "coverage": float((between.min(0) <= balls(real, 5)).mean()),
                      "two_sample": float((kind[nearest] == kind).mean())}
json.dump(expected, open(sys.argv[1] + "/expected.json", "w"))

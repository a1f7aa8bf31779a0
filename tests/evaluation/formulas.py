"""What published figures are computed with: reads features.npz, writes expected.json in the same folder.

Frechet distance by scipy.linalg.sqrtm (the formula of most FID code) and by the eigenvalues of the product
(torch-fidelity); KID's unbiased polynomial estimate and the Inception score as torch-fidelity states them. Its own figures: fidelity.py.
"""
import json
import sys

import numpy as np
import scipy.linalg

arrays = dict(np.load(sys.argv[1] + "/features.npz"))


def moments(x):
    return x.mean(0), np.cov(x, rowvar=False)


def frechet(a, b, cross):
    (mean_a, cov_a), (mean_b, cov_b) = moments(a), moments(b)
    shift = mean_a - mean_b
    return float(shift @ shift + np.trace(cov_a) + np.trace(cov_b) - 2 * cross(cov_a @ cov_b))


def by_sqrtm(product):
    return np.trace(np.real(scipy.linalg.sqrtm(product)))


def by_eigenvalues(product):
    return np.sqrt(np.linalg.eigvals(product).astype(np.complex128)).real.sum()


def kid(x, y):
    kernel = lambda a, b: (a @ b.T / a.shape[1] + 1) ** 3
    xx, yy, xy, m, n = kernel(x, x), kernel(y, y), kernel(x, y), len(x), len(y)
    return float((xx.sum() - np.trace(xx)) / (m * (m - 1)) + (yy.sum() - np.trace(yy)) / (n * (n - 1)) - 2 * xy.mean())


def inception(p, splits=10):
    scores = []
    for i in range(splits):
        part = p[i * len(p) // splits:(i + 1) * len(p) // splits]
        scores.append(np.exp((part * (np.log(part) - np.log(part.mean(0, keepdims=True)))).sum(1).mean()))
    return [float(np.mean(scores)), float(np.std(scores))]


expected = {}
for case in sorted({name.split(".")[0] for name in arrays} - {"probabilities"}):
    a, b = arrays[case + ".a"], arrays[case + ".b"]
    expected[case] = {"sqrtm": frechet(a, b, by_sqrtm), "eigenvalues": frechet(a, b, by_eigenvalues), "kid": kid(a, b)}
expected["inception"] = inception(arrays["probabilities"])
json.dump(expected, open(sys.argv[1] + "/expected.json", "w"))

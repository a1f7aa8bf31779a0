#!/usr/bin/env python3
"""Wrote fidelity.json beside it: torch-fidelity's figures of features that metrics_test.cpp makes by the same formula.

Run with torch and torch-fidelity 0.4.0 installed. torchvision, which only its data sets and networks need, may be absent.
"""
import json
import pathlib
import sys
from unittest import mock

for name in ("torchvision", "torchvision.datasets", "torchvision.transforms", "torchvision.transforms.functional", "torchvision.models"):
    sys.modules[name] = mock.MagicMock()
import numpy as np
import torch
import torch_fidelity
from torch_fidelity import metric_fid, metric_isc, metric_kid


def features(n, d, phase):
    i, j = np.arange(n)[:, None], np.arange(d)[None]
    return torch.tensor(np.sin(phase + 1.3 * i + 0.7 * j) + np.cos(0.11 * (i + 1) * (j + 1) + phase))


a, b = features(120, 16, 0.0), features(150, 16, 0.4)
fid = metric_fid.fid_statistics_to_metric(
    metric_fid.fid_features_to_statistics(a), metric_fid.fid_features_to_statistics(b), False)
# Of all features in one subset: no random choice is left.
kid = metric_kid.kid_features_to_metric(a, b[:120], kid_subsets=1, kid_subset_size=120, kid_kernel="poly",
                                        kid_kernel_poly_degree=3, kid_kernel_poly_gamma=None, kid_kernel_poly_coef0=1,
                                        rng_seed=0, verbose=False)
isc = metric_isc.isc_features_to_metric(3 * a, splits=10, shuffle=False)  # logits
figures = {"torch-fidelity": torch_fidelity.__version__, **fid, **kid, **isc}
path = pathlib.Path(__file__).with_suffix(".json")
path.write_text(json.dumps({k: v if isinstance(v, str) else float(v) for k, v in figures.items()}, indent=2) + "\n")

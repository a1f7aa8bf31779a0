"""Attacks in PyTorch as their authors' programs have them: reads attacks.npz, writes expected.npz in the same folder.

PGD by the formulas of Madry et al. 2018; Auto-PGD after fra31/auto-attack (autopgd_base.py), with its names.
"""
import sys

import numpy as np
import torch

arrays = {name: torch.tensor(a) for name, a in np.load(sys.argv[1] + "/attacks.npz").items()}
x, y, start = arrays["x"], arrays["labels"], arrays["start"]
eps, steps = float(arrays["eps"]), int(arrays["steps"])


def logits(z):
    hidden = torch.nn.functional.silu(z.flatten(1) @ arrays["first"].T + arrays["first_bias"])
    return hidden @ arrays["second"].T + arrays["second_bias"]


def gradient(z):
    z = z.clone().requires_grad_()
    loss = torch.nn.functional.cross_entropy(logits(z), y, reduction="none")
    return torch.autograd.grad(loss.sum(), z)[0], loss.detach()


def length(z):
    return (z ** 2).flatten(1).sum(1).sqrt().view(-1, 1, 1, 1)


def normalize(z):
    return z / (length(z) + 1e-12)


def pgd(norm, size):
    z, tried = start.clone(), []
    for _ in range(steps):
        g, _ = gradient(z)
        if norm == "linf":
            z = torch.clamp(x + torch.clamp(z + size * g.sign() - x, -eps, eps), 0, 1)
        else:
            z = z + size * normalize(g)
            z = torch.clamp(x + normalize(z - x) * torch.minimum(torch.tensor(eps, dtype=x.dtype), length(z - x)), 0, 1)
        tried.append(z)
    return torch.stack(tried)


def check_oscillation(losses, j, k, k3=0.75):
    t = torch.zeros(losses.shape[1], dtype=losses.dtype)
    for counter in range(k):
        t += (losses[j - counter] > losses[j - counter - 1]).to(t.dtype)
    return (t <= k * k3).to(t.dtype)


def apgd(norm):
    n_iter_2, n_iter_min, size_decr = max(int(0.22 * steps), 1), max(int(0.06 * steps), 1), max(int(0.03 * steps), 1)
    x_adv, tried = start.clone(), []
    x_best = x_adv.clone()
    grad, loss_best = gradient(x_adv)
    grad_best = grad.clone()
    loss_steps = torch.zeros([steps, len(x)], dtype=x.dtype)
    step_size = 2 * eps * torch.ones([len(x), 1, 1, 1], dtype=x.dtype)
    x_adv_old, k, counter3 = x_adv.clone(), n_iter_2, 0
    loss_best_last_check, reduced_last_check = loss_best.clone(), torch.ones_like(loss_best)
    for i in range(steps):
        grad2 = x_adv - x_adv_old
        x_adv_old = x_adv.clone()
        a = 0.75 if i > 0 else 1.0
        if norm == "linf":
            x_adv_1 = x_adv + step_size * torch.sign(grad)
            x_adv_1 = torch.clamp(torch.min(torch.max(x_adv_1, x - eps), x + eps), 0.0, 1.0)
            x_adv_1 = torch.clamp(torch.min(torch.max(x_adv + (x_adv_1 - x_adv) * a + grad2 * (1 - a), x - eps), x + eps), 0.0, 1.0)
        else:
            bound = torch.tensor(eps, dtype=x.dtype)
            x_adv_1 = x_adv + step_size * normalize(grad)
            x_adv_1 = torch.clamp(x + normalize(x_adv_1 - x) * torch.min(bound, length(x_adv_1 - x)), 0.0, 1.0)
            x_adv_1 = x_adv + (x_adv_1 - x_adv) * a + grad2 * (1 - a)
            x_adv_1 = torch.clamp(x + normalize(x_adv_1 - x) * torch.min(bound, length(x_adv_1 - x)), 0.0, 1.0)
        x_adv = x_adv_1
        tried.append(x_adv)
        grad, y1 = gradient(x_adv)
        loss_steps[i] = y1
        ind = y1 > loss_best
        x_best[ind], grad_best[ind], loss_best[ind] = x_adv[ind], grad[ind], y1[ind]
        counter3 += 1
        if counter3 == k:
            oscillation = check_oscillation(loss_steps, i, k)
            no_improvement = (1.0 - reduced_last_check) * (loss_best_last_check >= loss_best).to(x.dtype)
            reduce = torch.max(oscillation, no_improvement)
            reduced_last_check, loss_best_last_check = reduce.clone(), loss_best.clone()
            ind = reduce > 0
            step_size[ind] /= 2
            x_adv, grad = x_adv.clone(), grad.clone()
            x_adv[ind], grad[ind] = x_best[ind], grad_best[ind]
            k = max(k - size_decr, n_iter_min)
            counter3 = 0
    return torch.stack(tried), step_size


found, sizes = apgd(str(sys.argv[2]))
np.savez(sys.argv[1] + "/expected.npz", pgd=pgd(sys.argv[2], float(arrays["size"])).numpy(), apgd=found.numpy(),
         halved=(sizes < 2 * eps).sum().numpy())

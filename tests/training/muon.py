"""Prints the weights that torch.optim.Muon comes to in the test Muon.StepsAsPyTorchs of tests/training/muon_test.cpp."""
import torch

ROWS, COLUMNS, STEPS = 6, 8, 4
weight = torch.nn.Parameter(torch.zeros(ROWS, COLUMNS))
optimizer = torch.optim.Muon([weight], lr=0.1, weight_decay=0, momentum=0.9, adjust_lr_fn="match_rms_adamw")
for t in range(1, STEPS + 1):
    i = torch.arange(ROWS * COLUMNS, dtype=torch.float64)
    weight.grad = torch.sin(0.7 * t * i + i * i / 10).float().reshape(ROWS, COLUMNS)
    optimizer.step()
print(",\n".join(", ".join(f"{v:.4f}F" for v in row) for row in weight.tolist()))

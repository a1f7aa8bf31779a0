"""Feature extractors as PyTorch defines them, with random weights, and what they give: files in the folder of argument 1."""
import sys

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

folder = sys.argv[1]
torch.manual_seed(0)


class Block(nn.Module):
    def __init__(self, n, out, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(n, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out)
        self.conv2, self.bn2 = nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)
        self.change = out - n

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.change:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.change // 2, self.change // 2))
        return F.relu(y + x)


class ResNet(nn.Module):
    def __init__(self, blocks):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        stage = lambda n, out: nn.Sequential(*[Block(n if i == 0 else out, out, 1 + (i == 0 and n < out)) for i in range(blocks)])
        self.layer1, self.layer2, self.layer3 = stage(16, 16), stage(16, 32), stage(32, 64)
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        return self.layer3(self.layer2(self.layer1(x))).mean((2, 3))


class Inception(nn.Module):  # the arguments of inception-2015-12-05.pt, on a network of one layer
    def __init__(self):
        super().__init__()
        self.features, self.output = nn.Linear(3 * 8 * 8, 12), nn.Linear(12, 5)

    def forward(self, img, return_features: bool = False, use_fp16: bool = False, no_output_bias: bool = False):
        x = torch.tanh(self.features(((img.float() - 128) / 128).flatten(1)))
        if return_features:
            return x
        return F.softmax(F.linear(x, self.output.weight) if no_output_bias else self.output(x), dim=1)


class Plain(nn.Module):
    def forward(self, x):
        return x.mean((2, 3))


pictures = torch.randint(0, 256, (6, 3, 32, 32)) / 255
small = torch.randint(0, 256, (6, 3, 8, 8)) / 255
with torch.no_grad():
    net = ResNet(2)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.uniform_(0.5, 1.5), module.bias.normal_()
            module.running_mean.normal_(), module.running_var.uniform_(0.2, 2)
    net.eval()
    np.savez(folder + "/resnet.npz", **{k: v.numpy() for k, v in net.state_dict().items() if "tracked" not in k})
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    features = net((pictures - mean[:, None, None]) / deviation[:, None, None])
    inception = Inception()
    torch.jit.script(inception).save(folder + "/inception.pt")
    torch.jit.script(Plain()).save(folder + "/plain.pt")
    grey = small[:, :1]
    np.savez(folder + "/expected.npz", pictures=pictures.numpy(), small=small.numpy(), resnet=features.numpy(),
             resnet_probabilities=net.linear(features).softmax(1).numpy(),
             inception=inception(255 * small, return_features=True).numpy(),
             inception_probabilities=inception(255 * small, no_output_bias=True).numpy(),
             inception_grey=inception(255 * grey.repeat(1, 3, 1, 1), return_features=True).numpy(),
             plain=(255 * small).mean((2, 3)).numpy())

"""Train a small CNN on scikit-learn's scanned digits: the loop of ``fastconv demo``, in the open.

Run it as ``python examples/train_digits.py [epochs]``.
"""

import argparse
import math

import numpy as np

import fastconv as fc
from fastconv import nn
from fastconv.data import DataLoader, RandomShift, load_digits, stratified_split


def main(epochs: int) -> float:
    """Train for so many epochs; the share of the digits held out that are told right."""
    accuracy = 0.0
    fc.manual_seed(0)
    images, labels = load_digits()  # (1797, 1, 8, 8) in 0 … 1, and 0 … 9
    kept, held = stratified_split(labels, fraction=0.2, seed=42)
    batches = DataLoader(
        (images[kept], labels[kept]), batch_size=32, shuffle=True, transform=RandomShift(1)
    )
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.Flatten(),
        nn.Linear(64 * 4 * 4, 10),
    )  # fmt: skip
    loss_of = nn.CrossEntropyLoss()
    optimizer = fc.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, nesterov=True)

    for epoch in range(epochs):
        optimizer.param_groups[0]["lr"] = 0.025 * (1 + math.cos(math.pi * epoch / epochs))
        losses = []
        for x, y in batches:
            optimizer.zero_grad()
            loss = loss_of(net(fc.Tensor(x)), fc.Tensor(y))
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        with fc.no_grad():
            guesses = net(fc.Tensor(images[held])).data.argmax(axis=1)
        accuracy = float(np.mean(guesses == labels[held]))
        print(f"epoch {epoch + 1:2}  loss {np.mean(losses):.4f}  held out {accuracy:.1%}")
    return accuracy


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("epochs", type=int, nargs="?", default=15)
    main(**vars(parser.parse_args()))

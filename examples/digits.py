"""Trains a network on scikit-learn's handwritten digits and draws what it learnt.

Writes ``out/loss.png`` and ``out/digits.png``. Nothing is downloaded.
"""

import sys
import time
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import rustgrad as rg
from rustgrad import nn
from rustgrad.nn import functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from tqdm import tqdm

EPOCHS = 60
BATCH = 64
LEARNING_RATE = 3e-3
WANTED = 0.975


def data() -> tuple[rg.Tensor, rg.Tensor, rg.Tensor, rg.Tensor]:
    """Training and held-out images, (n, 64) in [0, 1], and their digits, (n,)."""
    images, digits = load_digits(return_X_y=True)
    parts = train_test_split(images / 16.0, digits, test_size=0.25, random_state=0, stratify=digits)
    train_x, test_x, train_y, test_y = (rg.tensor(part) for part in parts)
    return train_x.float(), train_y.long(), test_x.float(), test_y.long()


def main() -> int:
    rg.manual_seed(0)
    train_x, train_y, test_x, test_y = data()
    model = nn.Sequential(
        nn.Linear(64, 128),
        nn.GELU(),
        nn.Dropout(0.2),
        nn.Linear(128, 64),
        nn.GELU(),
        nn.Linear(64, 10),
    )
    optimizer = rg.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=1e-2)

    losses, accuracies = [], []
    started = time.perf_counter()
    progress = tqdm(range(EPOCHS), desc="training", unit="epoch")
    for epoch in progress:
        model.train()
        # From large steps to small ones, so that the end is calm.
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - epoch / EPOCHS)
        order = rg.randperm(len(train_x))
        total = 0.0
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            loss = F.cross_entropy(model(train_x[batch]), train_y[batch], label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
        losses.append(total / len(order))
        model.eval()
        with rg.no_grad():
            accuracy = (model(test_x).argmax(1) == test_y).float().mean().item()
        accuracies.append(accuracy)
        progress.set_postfix(loss=f"{losses[-1]:.4f}", held_out=f"{accuracy:.2%}")
    seconds = time.perf_counter() - started

    out = Path("out")
    out.mkdir(exist_ok=True)
    draw_loss(losses, accuracies, out / "loss.png")
    draw_digits(model, test_x, test_y, out / "digits.png")
    print(
        f"{accuracies[-1]:.2%} of the held-out digits are right after {seconds:.1f} s of training"
    )
    print(f"pictures: {out / 'loss.png'}, {out / 'digits.png'}")
    return 0 if accuracies[-1] >= WANTED else 1


def draw_loss(losses: list[float], accuracies: list[float], path: Path) -> None:
    """The training loss and the held-out accuracy by epoch."""
    figure, left = plt.subplots(figsize=(7, 4), layout="constrained")
    epochs = range(1, len(losses) + 1)
    left.plot(epochs, losses, color="tab:blue")
    left.set_xlabel("epoch")
    left.set_ylabel("training loss", color="tab:blue")
    right = left.twinx()
    right.plot(epochs, [100 * a for a in accuracies], color="tab:orange")
    right.set_ylabel("held-out accuracy (%)", color="tab:orange")
    right.set_ylim(80, 100.5)
    left.set_title("Handwritten digits, trained with rustgrad")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def draw_digits(model: nn.Module, images: rg.Tensor, digits: rg.Tensor, path: Path) -> None:
    """Held-out digits with predictions: every mistake first, then others."""
    with rg.no_grad():
        probabilities = F.softmax(model(images), dim=1)
    guesses = probabilities.argmax(1)
    wrong = [i for i in range(len(images)) if guesses[i] != digits[i]]
    right = [i for i in range(len(images)) if guesses[i] == digits[i]]
    figure, axes = plt.subplots(3, 8, figsize=(10, 4.6), layout="constrained")
    for axis, i in zip(axes.flat, (wrong + right)[:24], strict=True):
        axis.imshow(images[i].reshape(8, 8).numpy(), cmap="gray_r")
        guess, digit = guesses[i].item(), digits[i].item()
        axis.set_title(
            f"{guess} ({probabilities[i, guess].item():.0%})",
            color="tab:green" if guess == digit else "tab:red",
            fontsize=9,
        )
        axis.set_axis_off()
    figure.suptitle("Held-out digits: prediction (confidence); mistakes in red")
    figure.savefig(path, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    sys.exit(main())

"""Small programs as people write them for PyTorch: here and there they learn the same.

Each program is a function of the package it runs with. It starts from weights that NumPy makes, so
that both packages start alike, and returns its losses, which must agree.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import rustgrad


def start_alike(module, seed=0):
    """Fills the parameters with numbers that do not depend on the package."""
    rng = np.random.default_rng(seed)
    state = module.state_dict()
    for name, value in state.items():
        array = rng.normal(0.0, 0.3, tuple(value.shape)).astype(np.float32)
        state[name] = value.new_tensor(array)
    module.load_state_dict(state)
    return module


def noise(torch, *shape, seed=1):
    array = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return torch.from_numpy(array)


def xor(torch):
    """A perceptron that learns XOR."""
    nn, optim = torch.nn, torch.optim

    class Net(nn.Module):
        def __init__(self, hidden=8):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(2, hidden), nn.Tanh(), nn.Linear(hidden, 1))

        def forward(self, x):
            return self.net(x).squeeze(-1)

    x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    y = torch.tensor([0, 1, 1, 0], dtype=torch.float32)
    model = start_alike(Net())
    optimizer = optim.Adam(model.parameters(), lr=0.05, betas=(0.9, 0.99), weight_decay=1e-4)
    criterion = nn.BCEWithLogitsLoss()
    losses = []
    model.train()
    for _ in range(100):
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    with torch.no_grad():
        right = ((torch.sigmoid(model(x)) > 0.5).float() == y).sum().item()
    assert right == 4
    return losses


def pinn(torch):
    """u'' = -pi^2 sin(pi t) with u(0) = u(1) = 0: the residual has second derivatives."""
    nn = torch.nn

    model = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh())
    model.add_module("head", nn.Linear(16, 1))
    start_alike(model)
    optimizer = torch.optim.Adam(params=model.parameters(), lr=1e-3)
    t = torch.linspace(0, 1, steps=20).view(-1, 1)
    t.requires_grad_(True)
    ends = torch.cat([torch.zeros(1, 1), torch.ones(1, 1)], dim=0)

    def derivative(y, x):
        return torch.autograd.grad(
            outputs=y,
            inputs=x,
            grad_outputs=torch.ones_like(y),
            retain_graph=True,
            create_graph=True,
        )[0]

    losses = []
    for _ in range(20):
        optimizer.zero_grad(set_to_none=True)
        u = model(t)
        residual = derivative(derivative(u, t), t) + math.pi**2 * torch.sin(math.pi * t)
        loss = residual.pow(2).mean() + 10.0 * (model(ends) ** 2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach().cpu().numpy().item())
    assert losses[-1] < losses[0]
    return losses


def policy_gradient(torch):
    """REINFORCE on a walk along a line, with a categorical distribution made by hand."""
    nn, F = torch.nn, torch.nn.functional

    class Categorical:
        def __init__(self, logits):
            self.logits = logits - logits.logsumexp(dim=-1, keepdim=True)

        def sample(self, u):
            below = self.logits.detach().exp().cumsum(dim=-1) < u.unsqueeze(-1)
            return below.sum(dim=-1).clamp(max=self.logits.size(-1) - 1)

        def log_prob(self, action):
            return self.logits.gather(-1, action.long().unsqueeze(-1)).squeeze(-1)

        def entropy(self):
            return -(self.logits * self.logits.exp()).sum(-1)

    class Policy(nn.Module):
        def __init__(self):
            super().__init__()
            self.affine1 = nn.Linear(4, 16)
            self.dropout = nn.Dropout(p=0.0)
            self.affine2 = nn.Linear(16, 3, bias=False)

        def forward(self, x):
            return self.affine2(F.relu(self.dropout(self.affine1(x))))

    policy = start_alike(Policy())
    optimizer = torch.optim.SGD(policy.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    uniform = torch.from_numpy(np.random.default_rng(2).random((15, 6, 5)).astype(np.float32))
    losses = []
    for episode in range(15):
        state = torch.zeros(5, 4)
        log_probs, rewards, entropies = [], [], []
        for u in uniform[episode]:
            dist = Categorical(logits=policy(state))
            action = dist.sample(u)
            state = torch.roll(state, shifts=1, dims=1)
            state[:, 0] = (action - 1).float()
            log_probs.append(dist.log_prob(action))
            entropies.append(dist.entropy())
            rewards.append(state[:, 0])
        returns, r = [], torch.zeros(5)
        for reward in rewards[::-1]:
            r = reward + 0.9 * r
            returns.insert(0, r)
        returns = torch.stack(returns)
        returns = (returns - returns.mean()) / (returns.std() + 1e-6)
        loss = -(torch.stack(log_probs) * returns).sum(0).mean()
        loss = loss - 0.01 * torch.stack(entropies).mean()
        optimizer.zero_grad()
        loss.backward()
        for p in policy.parameters():
            p.grad.data.clamp_(-1, 1)
        optimizer.step()
        losses.append(float(loss))
    return losses


def logistic_regression(torch):
    """Three classes, minibatches, decay for the weights only, a schedule by hand."""
    nn, F = torch.nn, torch.nn.functional

    centers = torch.tensor([[2.0, 0.0], [-1.0, 2.0], [-1.0, -2.0]])
    labels = torch.arange(90) % 3
    data = centers[labels] + noise(torch, 90, 2)
    model = start_alike(nn.Linear(in_features=2, out_features=3))
    groups = [
        {"params": [model.weight], "weight_decay": 0.01},
        {"params": [model.bias], "weight_decay": 0.0, "lr": 0.2},
    ]
    optimizer = torch.optim.AdamW(groups, lr=0.1)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1, reduction="mean")
    losses = []
    for _ in range(5):
        for x, y in zip(data.split(30, dim=0), labels.chunk(3), strict=True):
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        for group in optimizer.param_groups:
            group["lr"] *= 0.5
    with torch.no_grad():
        log_probs = F.log_softmax(model(data), dim=1)
        losses.append(F.nll_loss(log_probs, labels).item())
        predicted = log_probs.max(1, keepdim=True)[1]
        accuracy = predicted.eq(labels.view_as(predicted)).sum().item() / len(labels)
    assert accuracy > 0.8
    return losses


def vae(torch):
    """A variational autoencoder with the reparametrisation trick."""
    nn, F = torch.nn, torch.nn.functional

    class VAE(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.ModuleDict(
                {"body": nn.Linear(12, 8), "mu": nn.Linear(8, 2), "logvar": nn.Linear(8, 2)}
            )
            self.decoder = nn.ModuleList([nn.Linear(2, 8), nn.Linear(8, 12)])
            self.norm = nn.LayerNorm(8)
            self.register_buffer("steps", torch.zeros(1))

        def encode(self, x):
            h = F.gelu(self.norm(self.encoder["body"](x)))
            return self.encoder["mu"](h), self.encoder["logvar"](h)

        def forward(self, x, eps):
            mu, logvar = self.encode(x.view(-1, 12))
            z = mu + eps * torch.exp(0.5 * logvar)
            for i, layer in enumerate(self.decoder):
                z = layer(z) if i else F.leaky_relu(layer(z), 0.2)
            return torch.sigmoid(z), mu, logvar

    def loss_function(recon, x, mu, logvar):
        bce = F.binary_cross_entropy(recon, x.view(-1, 12), reduction="sum")
        kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
        return (bce + kld) / x.size(0)

    x = (noise(torch, 16, 3, 4) > 0).to(torch.float32)
    model = start_alike(VAE()).to(torch.device("cpu"))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, amsgrad=True)
    losses = []
    for step in range(25):
        optimizer.zero_grad()
        recon, mu, logvar = model(x, noise(torch, 16, 2, seed=step))
        loss = loss_function(recon, x, mu, logvar)
        loss.backward()
        optimizer.step()
        model.steps += 1
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    return losses


def rnn(torch):
    """A recurrent cell made of linear layers predicts the next letter; trained in pieces."""
    nn = torch.nn

    class Cell(nn.Module):
        def __init__(self, letters, hidden):
            super().__init__()
            self.hidden_size = hidden
            self.embed = nn.Embedding(letters, 6)
            self.i2h = nn.Linear(6 + hidden, hidden)
            self.i2o = nn.Linear(6 + hidden, letters)
            self.softmax = nn.LogSoftmax(dim=1)

        def forward(self, letter, hidden):
            combined = torch.cat((self.embed(letter), hidden), 1)
            return self.softmax(self.i2o(combined)), torch.tanh(self.i2h(combined))

        def init_hidden(self, batch):
            return next(self.parameters()).new_zeros(batch, self.hidden_size)

    text = "hello world, hello word, hello"
    alphabet = sorted(set(text))
    line = torch.LongTensor([alphabet.index(letter) for letter in text])
    model = start_alike(Cell(len(alphabet), 10))
    criterion = nn.NLLLoss(reduction="sum")
    losses = []
    for _ in range(4):
        hidden = model.init_hidden(1)
        for start in range(0, len(text) - 1, 8):
            hidden = hidden.detach()
            loss = 0
            for i in range(start, min(start + 8, len(text) - 1)):
                output, hidden = model(line[i : i + 1], hidden)
                loss += criterion(output, line[i + 1].unsqueeze(0))
            model.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_value_(model.parameters(), 2.0)
            with torch.no_grad():
                for p in model.parameters():
                    p.add_(p.grad, alpha=-0.05)
            losses.append(loss.item())
    assert losses[-1] < losses[0]
    return losses


@pytest.mark.parametrize(
    "program", [xor, pinn, policy_gradient, logistic_regression, vae, rnn], ids=lambda f: f.__name__
)
def test_losses_are_those_of_pytorch(program):
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    np.testing.assert_allclose(program(rustgrad), program(torch), rtol=1e-5, atol=1e-5)

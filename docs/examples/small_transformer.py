"""A causal transformer of a few hundred parameters, and sequences of digits for it to continue."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

N_TOKENS, N_POSITIONS, WIDTH, N_HEADS, N_BLOCKS = 10, 5, 6, 3, 2
CLASSES = ("increasing", "decreasing", "constant")


class Attention(nn.Module):
    """Causal attention whose parts are modules, so that each can be read by its name."""

    def __init__(self) -> None:
        super().__init__()
        self.queries, self.keys, self.values = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.softmax = nn.Softmax(dim=-1)  # its output is the attention map (B, heads, T, T)
        self.project = nn.Linear(WIDTH, WIDTH)  # its input are the heads, one after the other

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Tokens (B, T, D) mixed with those before them."""
        n_tokens, head_width = hidden.shape[1], WIDTH // N_HEADS
        queries, keys, values = (
            part(hidden).unflatten(-1, (N_HEADS, head_width)).transpose(1, 2)
            for part in (self.queries, self.keys, self.values)
        )
        scores = queries @ keys.transpose(-1, -2) / head_width**0.5
        later = torch.ones(n_tokens, n_tokens, dtype=torch.bool, device=hidden.device).triu(1)
        maps = self.softmax(scores.masked_fill(later, -torch.inf))
        return self.project((maps @ values).transpose(1, 2).flatten(-2))


class Block(nn.Module):
    """Attention and an MLP, each after a norm and added to its input."""

    def __init__(self) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attention = Attention()
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.ReLU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Tokens (B, T, D) after this block."""
        middle = hidden + self.attention(self.norm_1(hidden))
        return middle + self.mlp(self.norm_2(middle))


class SmallTransformer(nn.Module):
    """Log probabilities of the next digit at every position."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Embedding(N_TOKENS, WIDTH)
        self.position = nn.Embedding(N_POSITIONS, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(N_BLOCKS))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Sequential(nn.Linear(WIDTH, N_TOKENS), nn.LogSoftmax(dim=-1))

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """(B, T) digits to (B, T, 10) log probabilities."""
        positions = torch.arange(input_ids.shape[1], device=input_ids.device).expand_as(input_ids)
        hidden = self.token(input_ids) + self.position(positions)
        for block in self.blocks:
            hidden = block(hidden)
        return self.head(self.norm(hidden))


def make() -> SmallTransformer:
    """The factory that a manifest names."""
    return SmallTransformer()


def sequences() -> tuple[np.ndarray, np.ndarray]:
    """All rising, all falling and all constant rows of six digits, and the class of each row."""
    rising = np.array(list(itertools.combinations(range(N_TOKENS), N_POSITIONS + 1)))
    constant = np.repeat(np.arange(N_TOKENS)[:, None], N_POSITIONS + 1, axis=1)
    rows = np.concatenate([rising, rising[:, ::-1], constant])
    return rows, np.repeat(np.arange(3), [len(rising), len(rising), len(constant)])


def train(path: Path, n_steps: int = 200, seed: int = 0) -> float:
    """Learn to predict the next digit; write the weights; return the mean loss of the last step in nats."""
    rows, classes = sequences()
    torch.manual_seed(seed)
    model = SmallTransformer()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02, fused=True)
    tokens, n_of_class = torch.from_numpy(rows), np.bincount(classes)
    weight = torch.from_numpy(1 / n_of_class[classes]).float()  # the classes count alike
    weight = weight / weight.sum()
    for _ in range(n_steps):
        log_p = model(tokens[:, :-1])
        per_row = -log_p.gather(-1, tokens[:, 1:, None]).squeeze(-1).mean(dim=1)
        loss = (per_row * weight).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    save_file(model.state_dict(), path)
    return float(loss.detach())

"""Modules as users write them, imported by their factory path."""

from __future__ import annotations

import torch
from torch import nn

VOCABULARY, WIDTH = 30, 16


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.proj = nn.Linear(WIDTH, WIDTH)

    def forward(self, x, mask):
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        scores = (q @ k.transpose(1, 2)).masked_fill(~mask[:, None, :], -torch.inf)
        return self.proj((scores / WIDTH**0.5).softmax(-1) @ v)


class Block(nn.Module):
    def __init__(self, as_tuple):
        super().__init__()
        self.as_tuple = as_tuple
        self.ln_1, self.attn = nn.LayerNorm(WIDTH), Attention()
        self.ln_2, self.mlp = (
            nn.LayerNorm(WIDTH),
            nn.Sequential(nn.Linear(WIDTH, 40), nn.GELU(), nn.Linear(40, WIDTH)),
        )

    def forward(self, hidden, *, mask):
        hidden = hidden + self.attn(self.ln_1(hidden), mask)
        hidden = hidden + self.mlp(self.ln_2(hidden))
        return (hidden, None) if self.as_tuple else hidden


class PreNorm(nn.Module):
    """A pre-norm encoder. With `by_keyword` its blocks get the hidden states as a keyword."""

    def __init__(self, n_blocks=3, as_tuple=False, by_keyword=False, tied=False, dropout=0.0):
        super().__init__()
        self.by_keyword = by_keyword
        self.embed = nn.Embedding(VOCABULARY, WIDTH)
        self.drop = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(as_tuple) for _ in range(n_blocks))
        self.ln_f = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)
        if tied:
            self.head.weight = self.embed.weight
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.4)

    def forward(self, input_ids, attention_mask):
        hidden, mask = self.drop(self.embed(input_ids)), attention_mask == 1
        for block in self.blocks:
            hidden = block(hidden=hidden, mask=mask) if self.by_keyword else block(hidden, mask=mask)
            hidden = hidden[0] if isinstance(hidden, tuple) else hidden
        return self.head(self.ln_f(hidden))


class Skips(PreNorm):
    """Adds the embedding again before the last block: no chain."""

    def forward(self, input_ids, attention_mask):
        start = hidden = self.embed(input_ids)
        for block in self.blocks[:-1]:
            hidden = block(hidden, mask=attention_mask == 1)
        return self.blocks[-1](hidden + start, mask=attention_mask == 1)


class Backwards(PreNorm):
    """Runs its blocks from the last to the first."""

    def forward(self, input_ids, attention_mask):
        hidden = self.embed(input_ids)
        for block in reversed(self.blocks):
            hidden = block(hidden, mask=attention_mask == 1)
        return hidden


class Unused(PreNorm):
    """Has blocks that its forward does not run."""

    def forward(self, input_ids, attention_mask):
        return self.ln_f(self.embed(input_ids))


class Rewraps(PreNorm):
    """Turns every Exception into its own, as careful code does."""

    def forward(self, input_ids, attention_mask):
        try:
            return super().forward(input_ids, attention_mask)
        except Exception as error:
            raise RuntimeError("forward failed") from error


class Bag(nn.Module):
    """Per-token layers, then one vector per sequence; runs `again` twice; takes ids alone."""

    def __init__(self):
        super().__init__()
        self.embed, self.up, self.again = nn.Embedding(VOCABULARY, 8), nn.Linear(8, 12), nn.Linear(12, 12)
        self.towers = nn.ModuleList([nn.Linear(12, 6), nn.Linear(6, 6)])
        self.never = nn.Linear(2, 2)

    def forward(self, input_ids):
        x = self.again(self.again(self.up(self.embed(input_ids)))).mean(dim=1)
        for tower in self.towers:
            x = tower(x).tanh()
        return x


class Unfed(nn.Module):
    """Gives its first block no hidden states."""

    def __init__(self):
        super().__init__()
        self.towers = nn.ModuleList([nn.Identity()])

    def forward(self, input_ids, attention_mask):
        return self.towers[0](None)


class TimeFirst(nn.Module):
    """Works on (T, B, D)."""

    def __init__(self):
        super().__init__()
        self.embed, self.linear = nn.Embedding(VOCABULARY, 8), nn.Linear(8, 8)

    def forward(self, input_ids):
        return self.linear(self.embed(input_ids).transpose(0, 1))


class Fussy(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 2)

    def forward(self, input_ids):
        raise RuntimeError(f"cannot take {input_ids.shape[1]} tokens")


class Pixels(nn.Module):
    def forward(self, pixel_values):
        return pixel_values


def make(kind="PreNorm", **sizes):
    return globals()[kind](**sizes)


def make_number():
    return 3


NOT_CALLABLE = 3

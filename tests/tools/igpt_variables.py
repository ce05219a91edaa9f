"""Tiny checkpoints of Image GPT as dictionaries of variables, and what such a model computes from them."""

from __future__ import annotations

import numpy as np

from hpcgeom.models.igpt_names import IgptSizes

TINY = IgptSizes(n_layer=2, n_embd=12, n_head=3, n_ctx=16, n_vocab=7)


def make_variables(sizes=TINY, *, has_sos=True, seed=0):
    """Names and shapes as the first publication gives them; every number is random."""
    rng = np.random.default_rng(seed)

    def draw(*shape, around=0.0):
        return (around + 0.4 * rng.standard_normal(shape)).astype(np.float32)

    width, by_head = sizes.n_embd, (sizes.n_head, sizes.n_embd // sizes.n_head, sizes.n_embd)
    variables = {"model/wpe": draw(sizes.n_ctx, width), "model/wte": draw(sizes.n_vocab, width)}
    variables["model/wtet"] = draw(sizes.n_vocab, width)
    if has_sos:
        variables["model/sos"] = draw(width)
    for layer in range(sizes.n_layer):
        for name in ("k_proj", "q_proj", "v_proj", "c_proj"):
            variables[f"model/h{layer}/attn/{name}"] = draw(*by_head)
        variables[f"model/h{layer}/ln_1/g"] = draw(width, around=1)
        variables[f"model/h{layer}/ln_2/g"] = draw(width, around=1)
        variables[f"model/h{layer}/mlp/c_fc/w"] = draw(width, 4 * width)
        variables[f"model/h{layer}/mlp/c_proj/w"] = draw(4 * width, width)
    return {**variables, "model/ln_f/g": draw(width, around=1)}


def with_optimizer(variables):
    """What training saves beside the model."""
    more = {"global_step": np.array(1000000), "beta1_power": np.float32(0), "beta2_power": np.float32(0)}
    for name, value in variables.items():
        more |= {f"{name}/Adam": value * 0, f"{name}/Adam_1": value * 0}
    return {**variables, **more}


def run(variables, pixels, n_layer):
    """Hidden states (L+1, position, width), the last normed, and logits (position, color), in float64.

    After Chen et al. 2020, section 2: blocks of norm, attention, norm, MLP with x * sigmoid(1.702 x), where
    the norm divides by the root of the mean square. Attention is causal where there is a start token. Maps of
    attention have the axes (head, within the head, feature of the stream).
    """
    v = {name: value.astype(np.float64) for name, value in variables.items()}

    def norm(x, name):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * v[f"model/{name}/g"]

    h = v["model/wte"][pixels]
    is_causal = "model/sos" in v
    if is_causal:
        h = np.concatenate([v["model/sos"][None], h[:-1]])
    h = h + v["model/wpe"]
    sees = np.tri(len(h), dtype=bool) if is_causal else np.ones((len(h), len(h)), bool)
    hidden = []
    for layer in range(n_layer):
        hidden.append(h)
        n, attn = norm(h, f"h{layer}/ln_1"), f"model/h{layer}/attn"
        q, k, values = (np.einsum("sf,hef->hse", n, v[f"{attn}/{part}_proj"]) for part in "qkv")
        scores = np.where(sees, np.einsum("hse,hte->hst", q, k) / np.sqrt(q.shape[-1]), -np.inf)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        h = h + np.einsum("hst,hte,hef->sf", weights, values, v[f"{attn}/c_proj"])
        inner = norm(h, f"h{layer}/ln_2") @ v[f"model/h{layer}/mlp/c_fc/w"]
        h = h + inner / (1 + np.exp(-1.702 * inner)) @ v[f"model/h{layer}/mlp/c_proj/w"]
    hidden.append(norm(h, "ln_f"))
    return np.stack(hidden), hidden[-1] @ v["model/wtet"].T

"""The strategy `pipeline` against `replicate`: the same bits, whatever the number of processes."""

from __future__ import annotations

import ast
import re

import families_for_tests as families
import numpy as np
import pytest
import pipeline_processes as processes
import torch
from families_for_tests import KINDS, everything
from pipeline_processes import Case

from hpcgeom.models import Reading, Replicate

N_PROCESSES = 2
FAMILIES = ["bert", "esm2", "gpt2", "igpt", "llama", "mistral", "vit"]


def batches_of(kind, make_batch):
    if kind == "vit":
        return [families.images(3), families.images(1, seed=1), families.images(4, seed=2)]
    lengths = [[12, 3, 7, 9], [5], [20, 20], [4, 6, 6, 6, 8]]
    return [make_batch(each, n_words=families.N_IDS, seed=seed) for seed, each in enumerate(lengths)]


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    from conftest import make_batch

    found = []
    for kind in FAMILIES:
        folder = families.save(kind, tmp_path_factory.mktemp(kind))
        probe = families.open_model(kind, folder)
        readings = everything(probe.skeleton.layout.site_names)
        for dtype in ("float32", "bfloat16"):
            request = families.request(kind, folder, *readings, dtype=dtype)
            found.append(Case(f"{kind}-{dtype}", request, batches_of(kind, make_batch)))
    return found


@pytest.fixture(scope="module")
def folder(cases, tmp_path_factory):
    folder = tmp_path_factory.mktemp("group")
    assert processes.run_group(processes.save_all, N_PROCESSES, folder, cases) == [0, 0]
    return folder


@pytest.mark.parametrize("number", range(2 * len(FAMILIES)))
def test_two_processes_give_the_bits_of_one(cases, folder, number):
    case = cases[number]
    model = Replicate().open_model(case.request)
    for batch_number, batch in enumerate(case.batches):
        expected = model.extract(batch)
        found = processes.together(folder / str(number), batch_number, N_PROCESSES)
        assert set(found) == set(expected)
        for key, rows in expected.items():
            np.testing.assert_array_equal(found[key].view(np.int32), rows.view(np.int32), err_msg=f"{case.name} {key}")

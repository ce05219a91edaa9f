"""Results that wait until the last process has their batch: as many as the plan reckons with, at most."""

from __future__ import annotations

import json

import families_for_tests as families
import pipeline_processes as processes
import pytest
from pipeline_processes import Case

from hpcgeom.models import Reading
from hpcgeom.models.links import AT_ONCE
from hpcgeom.plan.footprints import ON_A_SIDE


@pytest.mark.parametrize("seconds", [(0, 0.05), (0, 0, 0.05), (0, 0.05, 0)])
def test_the_first_process_holds_back_what_is_in_the_links(seconds, tmp_path, make_batch):
    folder = families.save("gpt2", tmp_path / "gpt2", n_layer=3)
    batches = [make_batch([7, 3], n_words=families.N_IDS, seed=seed) for seed in range(24)]
    case = Case("gpt2", families.request("gpt2", folder, Reading("resid", ("tokens",))), batches)
    n = len(seconds)
    assert processes.run_group(processes.count_held_back, n, tmp_path, case, seconds) == [0] * n
    found = [json.loads((tmp_path / f"held-{index}.json").read_text()) for index in range(n)]
    assert {each["n_batches"] for each in found} == {24}
    most = [each["most"] for each in found]
    assert ON_A_SIDE == AT_ONCE
    for index in range(n):
        n_links = n - 1 - index
        assert most[index] <= 1 + 2 * ON_A_SIDE * n_links
    assert most[0] > ON_A_SIDE

"""Details of one sample by several processes: the same bits as from one."""

from __future__ import annotations

import families_for_tests as families
import numpy as np
import pipeline_processes as processes
import pytest
from pipeline_processes import Case

from hpcgeom.models import Reading, Replicate

N_PROCESSES = 3
DETAILS = {
    "bert": ("attention", "resid", "q", "logits", "logit_lens"),
    "gpt2": ("logit_lens", "probabilities"),
    "igpt": ("attention", "logits"),
    "llama": ("attention", "ln_1", "token_embed", "mlp_act", "logits", "probabilities", "logit_lens"),
    "vit": ("attention", "hidden_states", "logits"),
}
LAYERS = {"llama": (0, 2), "igpt": (1, 3)}


@pytest.fixture(scope="module")
def cases(tmp_path_factory, make_batch):
    found = []
    for kind, details in DETAILS.items():
        folder = families.save(kind, tmp_path_factory.mktemp(kind))
        request = families.request(
            kind, folder, Reading("resid", ("mean",)), details=details, detail_layers=LAYERS.get(kind)
        )
        batch = families.images(1) if kind == "vit" else make_batch([9], n_words=families.N_IDS)
        found.append(Case(kind, request, [batch]))
    return found


@pytest.fixture(scope="module")
def folder(cases, tmp_path_factory):
    folder = tmp_path_factory.mktemp("group")
    assert processes.run_group(processes.save_details, N_PROCESSES, folder, cases) == [0] * N_PROCESSES
    return folder


@pytest.mark.parametrize("number", range(len(DETAILS)))
def test_three_processes_give_the_details_of_one(cases, folder, number):
    case = cases[number]
    expected = Replicate().open_model(case.request).details(case.batches[0])
    with np.load(folder / f"{number}.npz") as found:
        names = {f"{site}|{name}" for site, variables in expected.items() for name in variables}
        assert set(found.files) == names
        for name in names:
            site, _, variable = name.partition("|")
            assert found[name].dtype == expected[site][variable].dtype
            np.testing.assert_array_equal(
                found[name], expected[site][variable], err_msg=f"{case.name} {name}"
            )

"""Speeds are those of the records by hand, and records of a real model hold what they need."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from hpcgeom.cli import render_jobs
from hpcgeom.models import gemm_flops_per_s
from hpcgeom.stages.speeds import Speed, speeds_of


def run_of(facts: list[tuple[str, int, dict]]) -> SimpleNamespace:
    """A run double: model, process and facts of each unit."""
    units = [SimpleNamespace(model=model, index=index) for index, (model, _, _) in enumerate(facts)]

    def load(unit):
        _, pid, found = facts[unit.index]
        return SimpleNamespace(facts=found, made_by={"host": "node1", "pid": pid}) if found else None

    return SimpleNamespace(units=lambda _: units, records=lambda _: SimpleNamespace(load=load))


def test_tokens_and_operations_are_added_up_by_model_and_process():
    run = run_of(
        [
            ("b", 7, {"n_tokens": 100, "flops": 1e9, "compute_s": 1.0, "gemm_flops_per_s": 4e9}),
            ("b", 7, {"n_tokens": 200, "flops": 5e9, "compute_s": 2.0, "gemm_flops_per_s": 4e9}),
            ("b", 8, {"n_tokens": 50, "compute_s": 0.5}),
            ("b", 9, {}),
            ("a", 7, {"rows": [0, 4], "seconds": 3.0}),
            ("a", 8, {"n_tokens": 10, "flops": 1e9, "compute_s": 1.0, "gemm_flops_per_s": 2e9}),
        ]
    )
    assert speeds_of(run) == [
        Speed("b", "node1, process 7", 100.0, 2e9, 0.5),
        Speed("b", "node1, process 8", 100.0, 0.0, 0.0),
        Speed("a", "node1, process 8", 10.0, 1e9, 0.5),
    ]


def test_what_is_not_known_is_not_shown():
    speed = Speed("m", "node1, process 8", 1234.4, 0.0, 0.0)
    assert render_jobs._speed(speed) == ("m", "node1, process 8", "1234", "-", "-")
    known = Speed("m", "node1, process 8", 12.0, 5.25e10, 0.655)
    assert render_jobs._speed(known)[3:] == ("52.5", "66%")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_rate_of_a_product_is_one_that_a_processor_can_have(dtype):
    assert 1e8 < gemm_flops_per_s("cpu", dtype) < 1e14

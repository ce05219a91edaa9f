"""Which kernel runs, and what it finds or leaves in its process."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hpcgeom.errors import HpcgeomError, InputError
from hpcgeom.search import ArrayRows
from hpcgeom.search.candidates import Candidates
from hpcgeom.search.kernels import KERNELS, base, choose_kernel, faiss_tiles, products
from hpcgeom.search.kernels.device import DeviceKernel
from hpcgeom.search.kernels.multipliers import Bfloat16, OneDnn
from hpcgeom.search.kernels.panels import PanelKernel
from hpcgeom.search.scan import Centering


def given(monkeypatch, *, gpu=False, features=()):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0" if gpu else "")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(base, "host_features", lambda: dict.fromkeys(features, True))


@pytest.mark.parametrize(
    ("asked", "gpu", "features", "name"),
    [
        ("auto", False, ["avx2"], "float32"),
        ("auto", False, ["avx512f", "avx512bf16"], "float32-onednn"),
        ("auto", False, ["amx-bf16", "avx512f"], "float32-onednn"),
        ("auto", True, [], "float16-gpu"),
        ("float32", False, ["amx-bf16", "avx512f"], "float32-onednn"),
        ("bfloat16", False, [], "bfloat16"),
        ("float32", True, [], "float32-gpu"),
        ("bfloat16", True, [], "bfloat16-gpu"),
        ("float16", True, [], "float16-gpu"),
        ("faiss", False, [], "faiss"),
    ],
)
def test_the_fastest_kernel_is_the_default(monkeypatch, asked, gpu, features, name):
    given(monkeypatch, gpu=gpu, features=features)
    assert choose_kernel(asked).name == name


def test_without_torch_numpy_multiplies(monkeypatch):
    given(monkeypatch, gpu=True, features=["avx512f"])
    monkeypatch.setattr(base, "find_spec", lambda _: None)
    assert choose_kernel("auto").name == "float32"
    with pytest.raises(HpcgeomError, match=r"'bfloat16' multiplies by torch, and it is not installed"):
        choose_kernel("bfloat16")


def test_an_older_llvm_has_another_name_for_the_instruction(monkeypatch):
    given(monkeypatch, features=["avx512f", "avx512bf16"])
    assert choose_kernel("auto", 8, 1e-3).name == "bfloat16-avx512"
    monkeypatch.setattr(base, "_llvm_version", lambda: 15)
    assert choose_kernel("auto", 8, 1e-3).name == "float32-onednn"
    assert choose_kernel("bfloat16", 8, 1e-3).name == "bfloat16"


def test_without_onednn_in_torch_numpy_multiplies(monkeypatch):
    given(monkeypatch, features=["avx512f"])
    monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace())
    assert choose_kernel("auto").name == "float32"


def test_too_many_features_for_halves_are_multiplied_in_float32(monkeypatch):
    given(monkeypatch, gpu=True)
    assert choose_kernel("auto", 2**18).name == "float16-gpu"
    assert choose_kernel("auto", 2**18 + 1).name == "float32-gpu"
    with pytest.raises(
        InputError, match=r"262145 features, and exactness in bfloat16 is proven up to 262144: choose the"
    ):
        choose_kernel("bfloat16", 2**18 + 1)


def test_float16_without_a_gpu_says_what_to_do(monkeypatch):
    given(monkeypatch)
    with pytest.raises(
        InputError, match=r"'float16' runs on a GPU, and this process was given none.*ask for"
    ):
        choose_kernel("float16")


def test_a_kernel_that_does_not_exist_is_refused():
    with pytest.raises(InputError, match=r"kernel of the search is 'int8', expected one of auto, float32, b"):
        choose_kernel("int8")
    assert set(KERNELS) == {"auto", "float32", "bfloat16", "float16", "faiss"}


def test_torch_is_not_imported_to_choose_without_a_gpu(monkeypatch):
    given(monkeypatch)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert choose_kernel("auto").name == "float32"


def test_a_missing_faiss_is_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    faiss_tiles._faiss.cache_clear()
    with pytest.raises(HpcgeomError, match=r"'faiss' needs faiss.*install hpcgeom\[cpu\].*choose the kernel"):
        choose_kernel("faiss")
    faiss_tiles._faiss.cache_clear()


@pytest.mark.parametrize("value", [None, "Zen"])
def test_the_environment_is_as_before_after_loading_faiss(monkeypatch, value):
    if value is None:
        monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    else:
        monkeypatch.setenv("OPENBLAS_CORETYPE", value)
    with faiss_tiles._fitting_openblas_kernels():
        assert os.environ.get("OPENBLAS_CORETYPE") == (value or faiss_tiles._openblas_core())
    assert os.environ.get("OPENBLAS_CORETYPE") == value


def test_sums_are_full_on_a_gpu_and_the_process_is_as_before():
    matmul = torch.backends.cuda.matmul
    names = ["allow_fp16_accumulation", "allow_fp16_reduced_precision_reduction", "fp32_precision"]
    matmul.allow_fp16_accumulation = True
    try:
        before = [getattr(matmul, name) for name in names]
        with products.full_precision("cuda"):
            assert [getattr(matmul, name) for name in names] == [False, False, "ieee"]
        assert [getattr(matmul, name) for name in names] == before
    finally:
        matmul.allow_fp16_accumulation = False


@pytest.mark.parametrize(("multiplier", "precision"), [(Bfloat16, "bf16"), (OneDnn, "ieee")])
def test_torch_on_the_cpu_leaves_the_process_as_it_was(monkeypatch, multiplier, precision):
    ours = multiplier()
    kernel, source = PanelKernel(ours), ArrayRows(np.eye(5, dtype=np.float32))
    tile = kernel.load(source, 0, 5, Centering(np.zeros(5), 1.0), is_base=True, threads=1)
    lists = Candidates.empty(0, tile.norms, 2, kernel.bound(5))
    seen, honest = [], ours.product

    def product(*panels):
        seen.append((torch.get_num_threads(), torch.backends.mkldnn.matmul.fp32_precision))
        return honest(*panels)

    monkeypatch.setattr(ours, "product", product)
    before, n_threads = torch.backends.mkldnn.matmul.fp32_precision, torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        kernel.meet([(tile, tile)], {0: lists}, 1)
        assert seen == [(1, precision)]
        assert (torch.get_num_threads(), torch.backends.mkldnn.matmul.fp32_precision) == (2, before)
    finally:
        torch.set_num_threads(n_threads)


THREADS_BEFORE_AND_AFTER = """
from concurrent.futures import ThreadPoolExecutor
import numpy as np
import torch
from hpcgeom.search import ArrayRows
from hpcgeom.search.kernels.multipliers import OneDnn
from hpcgeom.search.kernels.panels import PanelKernel
from hpcgeom.search.propose import propose
from hpcgeom.search.scan import Centering

print(ThreadPoolExecutor(1).submit(torch.get_num_threads).result())
rows, ranges = ArrayRows(np.eye(40, dtype=np.float32)), [(0, 20), (20, 40)]
propose(rows, Centering(np.zeros(40), 1.0), PanelKernel(OneDnn()), 2, 40, ranges, None, 2)
print(torch.get_num_threads())
"""


def test_a_search_leaves_torch_its_threads():
    """In a process whose first thread has not asked torch for their number before."""
    command = [sys.executable, "-c", THREADS_BEFORE_AND_AFTER]
    before, after = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert after == before


@pytest.mark.parametrize(("precision", "name"), [("bf16", "medium"), ("ieee", "highest")])
def test_older_torch_is_told_by_its_own_switch(precision, name):
    said = []
    older = SimpleNamespace(
        backends=SimpleNamespace(mkldnn=SimpleNamespace()),
        get_float32_matmul_precision=lambda: "high",
        set_float32_matmul_precision=said.append,
    )
    with products._float32_products(older, precision):
        assert said == [name]
    assert said == [name, "high"]


def test_faiss_takes_the_gpu_that_this_process_was_given(monkeypatch, rng):
    faiss, asked = faiss_tiles._faiss(), []

    def knn_gpu(resources, query, base, count):
        asked.append(count)
        return faiss.knn(query, base, count)

    with_gpu = SimpleNamespace(
        knn=faiss.knn,
        knn_gpu=knn_gpu,
        omp_set_num_threads=faiss.omp_set_num_threads,
        StandardGpuResources=object,
        get_num_gpus=lambda: 1,
    )
    monkeypatch.setattr(faiss_tiles, "_faiss", lambda: with_gpu)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert choose_kernel("faiss").name == "faiss"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    kernel = choose_kernel("faiss")
    assert kernel.name == "faiss-gpu"
    rows = rng.standard_normal((2100, 2)).astype(np.float32)
    for count in (5, 2048, 2049):
        score, place = kernel._nearest(rows[:4], rows, count, 1)
        assert (place[:, 0] == np.arange(4)).all()
        assert score.shape == (4, count)
    assert asked == [5, 2048]


def test_halves_on_a_gpu_are_multiplied_into_float32(monkeypatch):
    given_mm = []
    monkeypatch.setattr(torch, "mm", lambda *tensors, **options: given_mm.append((tensors, options)))
    half = SimpleNamespace(dtype=torch.float16, is_cuda=True, T="transposed")
    products.multiply(half, half)
    assert given_mm == [((half, "transposed"), {"out_dtype": torch.float32})]


@pytest.mark.parametrize(("free", "has_room"), [(2**31, False), (2**31 + 1, True)])
def test_a_gpu_keeps_room_for_the_panel(monkeypatch, free, has_room):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda number: (free - 100, 2**40))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda number: 300)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda number: 200)
    assert DeviceKernel()._has_room() == has_room

"""Prepare: resolve weights, hash samples, fix batches, write the plan, lay out the stores.

Everything that needs a network, and everything that can be wrong with the user's input, happens here.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from hpcgeom.data.samples import write_samples
from hpcgeom.errors import InputError
from hpcgeom.manifest import LoadedManifest, canonical, difference, load_manifest, manifest_digest
from hpcgeom.plan import paths
from hpcgeom.plan.assemble import ModelDraft, assemble, refuse_unsearchable
from hpcgeom.plan.batches import form_batches
from hpcgeom.plan.dataset import dataset_files, read_dataset, samples_plan
from hpcgeom.plan.identity import digest
from hpcgeom.plan.installed import refuse_missing_dadapy
from hpcgeom.plan.plan import Plan
from hpcgeom.plan.sequences import Sequences
from hpcgeom.plan.units import STAGES, units_of
from hpcgeom.stages.base import made_by
from hpcgeom.stages.drafting import draft_model
from hpcgeom.stages.layout import lay_out_stores
from hpcgeom.stages.provenance import provenance
from hpcgeom.stages.run import Run
from hpcgeom.store import files
from hpcgeom.store.leases import lease
from hpcgeom.store.records import Records
from hpcgeom.this_job import restarts
from hpcgeom.types import Unit


def prepare_unit(asked: str) -> Unit:
    """The one unit of prepare; it owns the plan and the tables beside it."""
    owns = (paths.MANIFEST, paths.SAMPLES, "prepared", paths.PLAN)
    return Unit("prepare", 0, "prepare", digest("prepare", manifest=asked), owns)


def prepare(loaded: LoadedManifest, root: Path, wait_s: float = 0.0) -> Run:
    """Prepare a run, or open one that is prepared.

    Parameters
    ----------
    root
        The run directory; made where it does not exist.
    wait_s
        How long to wait for another living process that prepares it.

    Raises
    ------
    InputError
        The manifest's data or models are wrong, or the directory is not this manifest's.
    LeaseHeld
        Another living process prepares it.
    """
    refuse_other_directory(loaded, root)
    unit = prepare_unit(manifest_digest(loaded.manifest))
    records = Records(root, "prepare")
    is_prepared = records.is_done(unit)
    with files.full_disk_is_a_resource_error(root):
        if not is_prepared:
            root.mkdir(parents=True, exist_ok=True)
            with lease(records.path(unit).with_suffix(".lease"), restarts(), wait_s):
                if not records.is_done(unit):
                    began = time.monotonic()
                    _write_plan(loaded, root)
                    seconds = round(time.monotonic() - began, 3)
                    records.write(unit, {"seconds": seconds}, made_by())
        run = Run(root)
        if is_prepared:
            refuse_changed_inputs(run)
        lay_out_stores(run, wait_s)
    return run


def refuse_other_directory(loaded: LoadedManifest, root: Path) -> None:
    """Refuse a directory that is not a run, or the run of another manifest.

    Raises
    ------
    InputError
        Says what is in the way, or what differs.
    """
    if not root.exists():
        return
    if not root.is_dir():
        raise InputError(f"{root} is a file: name a folder as --run-dir")
    known = root / paths.MANIFEST
    # What is in it is looked at first: another process may begin to prepare it in between.
    is_empty = all(path.name == "records" for path in root.iterdir())
    if not is_empty and not known.exists() and not Records(root, "prepare").folder.exists():
        raise InputError(
            f"{root} is not empty and is not a run of hpcgeom (it has no {paths.MANIFEST}): "
            "name another --run-dir"
        )
    try:
        before = load_manifest(known, loaded.folder).manifest
    except InputError:
        return  # lost, damaged or not written yet: the records of units tell if they are of this manifest
    changes = difference(canonical(before), canonical(loaded.manifest))
    if changes:
        raise InputError(
            f"{root} belongs to another manifest: {'; '.join(changes)}. "
            f"Name another --run-dir (and take over what is equal with --reuse {root})"
        )


def refuse_changed_inputs(run: Run) -> None:
    """Refuse to go on with a data set or weights that are not those of the plan.

    Weights that units have still to be done with are read and hashed; of the others the size is looked at.

    Raises
    ------
    InputError
        Names the first file that is missing or differs.
    """
    from hpcgeom.data.files import SourceDigest, require_unchanged

    still_needed = {unit.model for unit in run.missing("extract")}
    needed = [file for model in run.plan.models if model.name in still_needed for file in model.files]
    require_unchanged(
        SourceDigest(file.path, file.size, file.sha256) for file in (*run.plan.samples.files, *needed)
    )
    for model in run.plan.models:
        for file in model.files:
            path = Path(file.path)
            size = _size(path)
            if size != file.size:
                found = "is not there" if size is None else f"has {size} bytes"
                raise InputError(
                    f"model '{model.name}': {path} {found}, but the run was prepared from one with "
                    f"{file.size} bytes: restore it, or start another run"
                )


def _size(path: Path) -> int | None:
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size if path.exists() else None


def _write_plan(loaded: LoadedManifest, root: Path) -> None:
    manifest, folder = loaded.manifest, loaded.folder
    refuse_missing_dadapy(manifest.geometry.clusters)
    samples = read_dataset(manifest, folder)
    refuse_unsearchable(manifest, samples.n_base)
    drafted = [draft_model(section, manifest, folder, samples) for section in manifest.all_models]
    plan = assemble(
        manifest,
        folder,
        samples_plan(samples, dataset_files(manifest, folder)),
        [replace(draft, tokens=sequences.tokens) for draft, sequences in drafted],
    )
    _refuse_another_outcome(root, plan)
    files.write_json(root / paths.PROVENANCE, provenance(loaded))
    files.write_atomic(root / paths.MANIFEST, loaded.text.encode())
    write_samples(samples, root / paths.SAMPLES)
    for draft, sequences in [] if manifest.is_arrays else drafted:
        _write_sequences(root, draft, sequences, plan)
    files.write_atomic(root / paths.PLAN, (plan.model_dump_json(indent=1) + "\n").encode())


def _refuse_another_outcome(root: Path, plan: Plan) -> None:
    for stage in STAGES:
        for unit in units_of(plan, stage):
            record = Records(root, stage).load(unit)
            if record is not None and (record.key, record.digest) != (unit.key, unit.digest):
                raise InputError(
                    f"{root} was prepared from another manifest, or from other data or weights than are "
                    f"there now (stage '{stage}', '{record.key}' differs): restore them, or start another run"
                )


def _write_sequences(root: Path, draft: ModelDraft, sequences: Sequences, plan: Plan) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    unit, batch = form_batches(
        sequences.n_tokens,
        plan.unit_rows,
        int(plan.manifest["extract"]["tokens_per_batch"]),
        rows=sequences.row,
        equal_lengths=draft.equal_lengths,
        n_base=plan.samples.n_base,
    )
    table = pa.table(
        {
            "row": pa.array(sequences.row),
            "window": pa.array(sequences.window),
            "unit": pa.array(unit),
            "batch": pa.array(batch),
            "n_tokens": pa.array(sequences.n_tokens),
            "n_ordinary": pa.array(sequences.n_ordinary),
            "n_before": pa.array(sequences.n_before),
        }
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    files.write_atomic(root / paths.prepared(draft.name), sink.getvalue().to_pybytes())

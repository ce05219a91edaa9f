"""Plain text of what commands found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hpcgeom.api.doctor import Finding
    from hpcgeom.api.pricing import Price
    from hpcgeom.plan.hours import Hours
    from hpcgeom.plan.strategies import Choice
    from hpcgeom.stages.verify import Verdict


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns under their headings (the first row), numbers to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if cell[:1].isdigit() else cell.ljust(width)
            for cell, width in zip(row, widths, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def size(n_bytes: float) -> str:
    """Bytes for people."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if n_bytes < 1024:
            return f"{n_bytes:.0f} {unit}" if unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1024
    return f"{n_bytes:.1f} TiB"


def price(found: Price) -> str:
    """Models and stages with their costs."""
    plan = found.plan
    models = [("model", "family", "blocks", "width", "parameters", "representations")]
    models += [
        (
            model.name,
            model.family,
            str(model.n_layers),
            str(model.width),
            f"{model.n_parameters:,}",
            str(sum(len(item.layers) for item in model.representations)),
        )
        for model in plan.models
    ]
    stages: list[tuple[str, ...]] = [("stage", "units", "files", "disk", "memory per task", "operations")]
    stages += [
        (
            stage.stage,
            str(stage.n_units),
            str(stage.n_files),
            size(stage.size_bytes),
            size(stage.memory_bytes),
            f"{stage.flops:.2e}" if stage.flops else "-",
        )
        for stage in found.stages
    ]
    if found.hours:
        column = ["hours", *(hours(found.hours.get(stage.stage)) for stage in found.stages)]
        stages = [(*row, cell) for row, cell in zip(stages, column, strict=True)]
    total = size(sum(stage.size_bytes for stage in found.stages))
    name = f"{plan.name} ({plan.manifest_digest[:8]})"
    head = f"{name}: {plan.samples.n:,} samples, units of {plan.unit_rows} rows"
    foot = (
        f"total on disk: {total}, and as much again of the search for layers with equal points; "
        "memory (of a process of its own) and operations are upper estimates"
    )
    sources = {stage: " and ".join(each.sources) for stage, each in found.hours.items()}
    notices = [f"hours: {stage} as {source}" for stage, source in sources.items()]
    notices += [f"note: {notice}" for notice in found.notices]
    laid = ["", strategies(found.choices)] if found.choices else []
    refused = [f"refused: {sentence}" for sentence in found.refusals]
    return "\n".join([head, "", table(models), *laid, "", table(stages), "", foot, *notices, *refused])


def hours(found: Hours | None) -> str:
    """Such as ``12.5 of a GPU``; a dash where nobody knows."""
    if found is None:
        return "-"
    few = f"{found.hours:.2g}" if found.hours < 10 else f"{found.hours:,.0f}"
    return f"{few} of a {found.of}"


def strategies(choices: Mapping[str, Choice]) -> str:
    """What each strategy of each model takes, the chosen one marked."""
    rows = [("strategy", "", "processes", "of a GPU", "of the host, each", "")]
    for name, choice in choices.items():
        for found in choice.footprints:
            is_chosen = found.strategy == choice.strategy
            rows.append(
                (
                    f"{name} {found.strategy}",
                    "*" if is_chosen else "",
                    str(found.n_processes),
                    "-" if found.gpu_bytes is None else size(found.gpu_bytes),
                    size(found.host_bytes),
                    found.problem,
                )
            )
    where = next(iter(choices.values())).devices.where
    return f"on {where} (* is chosen; stream and dispatch take what there is beyond this)\n{table(rows)}"


def verdict(root: Path, found: Verdict) -> str:
    """What verify found, bad units by name."""
    lines = [f"{name}: {problem}" for name, problems in found.damaged.items() for problem in problems]
    lines += [f"{name}: no valid record" for name in found.missing]
    lines += [f"note: {name}: batches were halved after running out of memory" for name in found.splits]
    if len(found.devices) > 1:
        lines.append(f"note: units were done on different devices ({', '.join(sorted(found.devices))})")
    read = f"{found.n_units} units, {found.n_files} files, {size(found.n_bytes)} read"
    if found.is_sound:
        return "\n".join([*lines, f"{root} is sound: {read}"])
    bad = len(found.damaged) + len(found.missing)
    return "\n".join([*lines, f"{root}: {bad} units are to be done again ({read}): hpcgeom resume {root}"])


def figures(drawn: Sequence[Path]) -> str:
    """Where the figures are, and their names."""
    if not drawn:
        return "figures: none"
    folder = drawn[0].parent
    names = sorted({path.stem for path in drawn if path.parent == folder})
    of_details = Counter(path.parent for path in drawn if path.parent != folder and path.suffix == ".png")
    lines = [f"details: {own} ({n} figures)" for own, n in of_details.items()]
    return "\n".join([f"figures: {folder} ({', '.join(names)}; png and svg)", *lines])


def findings(items: Sequence[Finding]) -> str:
    """One line a check."""
    return "\n".join(f"{'ok  ' if item.is_fine else 'FAIL'}  {item.check}: {item.says}" for item in items)


def shorten(text: str, length: int = 60) -> str:
    """The text, or its beginning."""
    return text if len(text) <= length else text[: length - 4] + " ..."

"""Whether ``bare_loop.py`` trains polymodal's network: the same parameters, inputs and outputs."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

import yaml

from measuring import DATA, OPTIONS, THREADS, Measured, measure_polymodal, stop

FROM_POLYMODAL = (
    (r"^own_encoders\.0\.stages\.(\d)\.(\d)", lambda found: f"image.stages.{3 * int(found[1]) + int(found[2])}"),
    (r"^own_encoders\.1\.stages\.(\d)\.convolution", r"audio.convolutions.\1"),
    (r"^own_encoders\.1\.stages\.(\d)\.norm", r"audio.norms.\1"),
    (r"^own_encoders\.0\.tokens", "image"),
    (r"^own_encoders\.1\.tokens", "audio"),
    (r"^fusion\.(layers\.)?", ""),
    (r"^missing_SW", "missing"),
    (r"^stream_SW", "kinds"),
    (r"\.attention\.project", ".project"),
    (r"^stream_heads\.0\.(\d)", lambda found: f"heads.{1 + int(found[1])}"),
)
"""Names of polymodal's parameters to those of ``bare_loop.Classifier``."""
UNUSED = "log_variances"
"""Weighs several targets against each other; polymodal has it with one target too."""


def settings_of(run: Path, seed: int) -> dict[str, Any]:
    """Read what a run of polymodal chose, for the other side to do the same.

    Args:
        run: The run's folder.
        seed: Its seed.

    Returns:
        epochs, batch_size, frames, held_out, parameters, rows and epochs_run.
    """
    import polymodal

    config = yaml.safe_load((run / "run.yaml").read_text(encoding="utf-8"))
    model = polymodal.load(run).trained
    record = model.report_data
    return {
        "epochs": config["train"]["epochs"],
        "batch_size": config["train"]["batch_size"],
        "frames": encoder_of(model, "audio").frames,
        "held_out": held_out_speaker(seed),
        "parameters": record["parameters"] - model.network.get_parameter(UNUSED).numel(),
        "rows": next(part["rows"] for part in record["tables"] if part["split"] == "train"),
        "epochs_run": len(record["history"]),
    }


def encoder_of(model: Any, stream: str) -> Any:
    """Return a stream's encoder.

    Args:
        model: A trained model.
        stream: The stream.

    Returns:
        The module.
    """
    return dict(zip(model.network.streams, model.network.encoders, strict=True))[stream]


def held_out_speaker(seed: int) -> str:
    """Return the speaker that ``--group speaker`` holds out for validation.

    Args:
        seed: The run's seed.

    Returns:
        The speaker's name.
    """
    from polymodal.config import RunConfig
    from polymodal.data.tables.splits import split_rows
    from polymodal.data.tables.table import concatenate, read_table

    table = concatenate([read_table(DATA / "train.csv"), read_table(DATA / "validation.csv")])
    fractions = {"validation": RunConfig().validation_share}
    rows = split_rows(table, targets=["digit"], group="speaker", fractions=fractions, seed=seed)["validation"]
    (speaker,) = {table.columns["speaker"][row] for row in rows}
    return str(speaker)


def check_fair(bare: Measured, settings: dict[str, Any]) -> None:
    """Stop if the two sides did not do the same work.

    Args:
        bare: The bare loop's run.
        settings: From ``settings_of``.
    """
    done = {"epochs": settings["epochs"], **{name: bare.found[name] for name in ("parameters", "rows")}}
    asked = {"epochs": settings["epochs_run"], "parameters": settings["parameters"], "rows": settings["rows"]}
    if done != asked:
        stop(f"The comparison is not fair: polymodal did {asked}, bare_loop.py {done}. Bring the latter up to date.")


def check_same_network() -> None:
    """Show that both sides have the same parameters, inputs and outputs; stop where they have not."""
    import numpy as np
    import torch

    import bare_loop
    import polymodal
    from polymodal.data.cache.cache import ArrayCache
    from polymodal.data.tables.table import read_table
    from polymodal.model.collate import collate

    with tempfile.TemporaryDirectory() as scratch:
        measure_polymodal(Path(scratch), ["--set", "train.epochs=1", *OPTIONS])
        settings, model = settings_of(Path(scratch) / "run", 0), polymodal.load(Path(scratch) / "run").trained
    table = read_table(DATA / "test.csv").take(np.arange(64))
    columns, _ = model.preprocessor.transform(table, ArrayCache(None))
    image = model.preprocessor.modalities["image"]
    bare = bare_loop.Classifier(image.mean[0], image.std[0], settings["frames"]).eval()
    bare.load_state_dict({name: value for name, value in renamed(model.network).items() if name != UNUSED})
    rows = bare_loop.Rows(DATA, bare_loop.read_rows(DATA / "test.csv")[:64], THREADS)
    model.network.eval()
    for hidden in torch.tensor([[False, False], [True, False], [False, True]]):
        with torch.inference_mode():
            outputs = model.network(collate(columns, slice(None)), hidden.expand(64, 2))
            found = bare(rows.images, rows.clips, rows.lengths, hidden.expand(64, 2))
        ours = [outputs.fused["digit"], *outputs.streams["digit"].values()]
        furthest = max(float((a - b).abs().max()) for a, b in zip(ours, found, strict=True))
        print(f"hidden {hidden.tolist()}: largest difference of any logit {furthest:.2e}")
        if furthest > 5e-3:
            stop("The two networks do not agree. Bring bare_loop.py up to date.")
    print(f"Both networks have {settings['parameters']:,} parameters ({UNUSED} aside).")


def renamed(network: Any) -> dict[str, Any]:
    """Return polymodal's parameters under the bare network's names.

    Args:
        network: polymodal's network.

    Returns:
        Name to tensor.
    """
    found = {}
    for name, value in network.named_parameters():
        for pattern, replacement in FROM_POLYMODAL:
            name = re.sub(pattern, replacement, name)
        found[name] = value
    return found

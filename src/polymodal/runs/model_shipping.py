"""How a trained model leaves its run folder: the part of ``Model`` that exports.

Each way is made in a room of its own, which is imported when it is asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from polymodal.bundle.graph_info import Form
from polymodal.data.tables.table import Table, read_table
from polymodal.errors import ConfigError, parameter_error, tells_packages
from polymodal.model.trained_model import TrainedModel
from polymodal.progress import LoggingProgress, Progress

if TYPE_CHECKING:
    from polymodal.export.parity import Parity


class ModelShipping:
    """The part of ``Model`` that writes a model in other forms.

    Attributes:
        trained: Network, fitted modalities and targets, baselines, ensembles.
    """

    trained: TrainedModel

    @tells_packages
    def export(
        self,
        path: str | Path,
        *,
        table: Any = None,
        format: Form = "onnx",
        license: str = "unknown",
        progress: Progress | None = None,
    ) -> Parity:
        """Write the model as a bundle, which ``polymodal.load`` reads and predicts with without torch.

        The bundle is checked before it is written: it has to answer rows as this model does, under every pattern of
        missing streams.

        Args:
            path: The bundle's folder; an older bundle there is replaced.
            table: Rows to check with, as for ``predict``; None: the first ones of the file the model was trained on.
            format: ``onnx``; ``torch`` writes the graphs as programs of ``torch.export`` too, for those who call them
                from torch; ``huggingface`` writes what the hub needs too (see ``polymodal push``).
            license: Licence of the model for its card, by the Hugging Face hub's identifier, such as ``apache-2.0``.
            progress: Reports progress; None: ``logging``, by the logger ``polymodal``.

        Returns:
            What was compared, and how far the answers were apart.

        Raises:
            ConfigError: If the folder holds something else, there are no rows to check with, a part of the model
                cannot be exported, or the bundle would answer otherwise.
            TableError: If the table cannot be read.
        """
        from polymodal.atomic_files import check_replaceable
        from polymodal.bundle.load_bundle import BUNDLE_FILE
        from polymodal.export.export_bundle import export_bundle

        check_replaceable(Path(path), BUNDLE_FILE, "a bundle")
        if format not in get_args(Form):
            raise parameter_error("format", "export", f"one of {', '.join(get_args(Form))}", format)
        self.trained.check_no_features("A bundle")
        rows = rows_to_check(self.trained, table)
        return export_bundle(
            self.trained, Path(path), rows, progress or LoggingProgress(), form=format, license_name=license
        )


def rows_to_check(model: TrainedModel, given: Any) -> Table:
    """Read rows to check an exported model with.

    Args:
        model: The trained model.
        given: What the user gave, as for ``read_table``; None: the file that the model was trained on.

    Returns:
        The table.

    Raises:
        ConfigError: If none was given and the training table is not there.
        SchemaError: If the table has no input column of the model.
        TableError: If it cannot be read.
    """
    path = model.config.data
    if given is None and (path is None or not Path(path).exists()):
        where = "it was trained on a table in memory" if path is None else f"its training table {path} is not there"
        raise ConfigError(f"An export is checked on rows, but {where}. Name rows with --table (in Python: table=).")
    table = read_table(path if given is None else given)
    model.schema.with_derived(table).check_columns(model.preprocessor.column_names, "the model")
    return table

"""The configuration of a run: every option, typed, with its default.

A resolved configuration is written to ``run.yaml``; ``--config run.yaml`` repeats the run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from polymodal.config.option_names import read_share, split_name, with_current_name, with_current_names, with_override
from polymodal.errors import ConfigError, closest, did_you_mean

Preset = Literal["fast", "balanced", "best"]
Hyperparameter = int | float | bool | str
MAX_SHOWN = 200
"""Characters of a wrong value in a message."""


class Section(BaseModel):
    """A group of options: keyword-only, no unknown names, never changed after it is made."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, ser_json_inf_nan="constants")


class PartConfig(Section):
    """A part that is chosen by its name, or given from Python in place of the name.

    What is given from Python is not written with the configuration: there it is called by the name of its class.
    """

    _given: Any = PrivateAttr(default=None)

    @model_validator(mode="wrap")
    @classmethod
    def _read(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        values = with_current_name(values)
        part = values.get("name") if isinstance(values, Mapping) else None
        if isinstance(part, str) or not (callable(part) or hasattr(part, "build")):
            return handler(values)
        return handler({**values, "name": part_name(part)}).with_given(part)

    @property
    def choice(self) -> Any:
        """The table row, class or function that was given from Python, else the name."""
        return getattr(self, "name", None) if self._given is None else self._given

    @property
    def is_given(self) -> bool:
        """Whether the part was given from Python."""
        return self._given is not None

    def with_given(self, part: Any) -> Self:
        """Return the same with a part given from Python, which is not written with the configuration.

        Args:
            part: A table row, class or function.

        Returns:
            A copy.
        """
        copy = self.model_copy()
        copy._given = part
        return copy


class EncoderConfig(PartConfig):
    """Which encoder a stream uses.

    Attributes:
        name: Name from ``polymodal list encoders``, a folder or a hub name of a pretrained
            checkpoint, or None for the modality's default.
        hyperparameters: Keyword arguments of its constructor; called ``sizes`` by version 0.1, which is still read.
    """

    name: str | None = None
    hyperparameters: dict[str, Hyperparameter] = Field(default_factory=dict)


class FusionConfig(PartConfig):
    """How streams become one.

    Attributes:
        name: Name from ``polymodal list fusions``.
        hyperparameters: Keyword arguments of its constructor; called ``sizes`` by version 0.1, which is still read.
    """

    name: str = "transformer"
    hyperparameters: dict[str, Hyperparameter] = Field(default_factory=dict)


class TrainConfig(Section):
    """How a network is trained; None means: chosen from the preset and the data.

    Attributes:
        epochs: Passes over the training rows.
        batch_size: Rows per step.
        optimizer: Which optimizer updates the weights.
        learning_rate: Peak of the schedule; None chooses it by the optimizer and the targets.
        schedule: How the learning rate falls after the warm-up.
        weight_decay: The optimizer's decay of weight matrices.
        warmup_fraction: Share of all steps spent warming up.
        clip_norm: Largest norm of the gradient.
        patience: Epochs without a better validation loss before training stops.
        average_checkpoints: How many of the best epochs' weights are averaged.
        modality_dropout: Probability that a present stream is masked in the fusion, per row.
        auxiliary_weight: Weight of the losses of the streams' own heads, relative to the fused loss.
        label_smoothing: Share of the label mass spread over all classes.
        loss: Form of the loss of classes and labels: plain, focal, with logits adjusted by class frequency, or with
            rows weighted by the inverse frequency of their class.
        sampling: Whether rows are sampled uniformly, or so that all classes are equally frequent.
        mixup: Strength of mixing fused rows with each other; 0 for none, 0.2 to 0.4 are usual.
        balance: Method that balances the gradients or losses of the streams, beside their own heads.
        confidence_penalty: Weight of the penalty on being surer of a class without a stream than with it; 0 for none.
        distill_weight: Weight of what is learned from a teacher's answers, relative to the loss against the truth.
        augment: Whether training inputs are augmented (shifts, warps, masks), by modality.
        flip: Whether training images are flipped horizontally with probability 0.5; off, as mirrored digits and words
            differ; "auto" runs a short trial of both and keeps the better one on validation rows.
        time_limit_s: Seconds after which the whole run, from reading cells to the report, is to end: the learning-rate
            schedule covers the steps that fit; None means no limit.
        checkpoint_steps: Steps between two training checkpoints.
        accumulate: Gradient-accumulation steps of a batch that does not fit into memory; None chooses their number.
        precision: Precision of encoders and fusion in training; auto uses bfloat16 if the processor supports it and
            its convolutions are correct in it.
        layer_decay: Learning-rate factor from one layer of a fine-tuned encoder to the one below.
        pretrain_epochs: Epochs of self-supervised pretraining of image encoders (restoring noisy training images, those
            of rows without a target included); 0 means none.
        harden: Whether training also draws cells with noise in them, of the kinds and severities of a stress test.
        shard: Whether weights, gradients and optimizer states are sharded over processes (FSDP), for networks that do
            not fit on one device in training; ``accelerate launch --use_fsdp`` switches it on too.
    """

    epochs: int | None = Field(default=None, ge=1)
    batch_size: int | None = Field(default=None, ge=1)
    optimizer: Literal["adamw", "lion", "muon", "nadam", "radam", "sgd"] = "adamw"
    learning_rate: float | None = Field(default=None, gt=0)
    schedule: Literal["cosine", "linear", "inverse_sqrt", "constant"] = "cosine"
    weight_decay: float = Field(default=0.05, ge=0)
    warmup_fraction: float = Field(default=0.1, ge=0, le=1)
    clip_norm: float = Field(default=1.0, gt=0)
    patience: int | None = Field(default=None, ge=1)
    average_checkpoints: int = Field(default=3, ge=1)
    modality_dropout: float = Field(default=0.2, ge=0, lt=1)
    auxiliary_weight: float = Field(default=1.0, ge=0)
    label_smoothing: float = Field(default=0.05, ge=0, lt=1)
    loss: Literal["cross_entropy", "focal", "logit_adjusted", "class_weighted"] = "cross_entropy"
    sampling: Literal["uniform", "balanced"] = "uniform"
    mixup: float = Field(default=0.0, ge=0)
    balance: Literal["none", "ogm_ge", "mmpareto", "blending"] = "none"
    confidence_penalty: float = Field(default=0.0, ge=0)
    distill_weight: float = Field(default=1.0, ge=0)
    augment: bool = True
    flip: bool | Literal["auto"] = False
    time_limit_s: float | None = Field(default=None, gt=0)
    checkpoint_steps: int = Field(default=200, ge=1)
    accumulate: int | None = Field(default=None, ge=1)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    layer_decay: float = Field(default=0.8, gt=0, le=1)
    pretrain_epochs: int = Field(default=0, ge=0)
    harden: bool = False
    shard: bool = False


class RunConfig(Section):
    """A whole run.

    Attributes:
        data: The table's path; None where the table came from memory.
        target: Columns to predict.
        validation: Path of the validation table, if given.
        test: Path of the test table, if given.
        validation_share: Share of all rows held out for validation where there is no validation table; of groups or
            times where the split goes by them.
        test_share: Share of all rows held out for the test where there is no test table; 0 means none.
        group: Column whose values never stand on both sides of a split.
        time: Column that orders the split: the latest rows are held out.
        teacher: Path of a trained model whose predictions the new one also learns from.
        unlabelled: Path of a table of rows without a target, for the teacher to answer or for pretraining.
        init_from: Path of an earlier run whose fitted modalities and encoders the new one starts from.
        init_streams: Stream to the stream of that run it starts from, where their names differ.
        init_frozen: Whether those encoders stay as they are.
        reconstruct: Whether each stream is also recovered from the others.
        relevance: Without a target: column whose equal values count as a match when retrieval is evaluated.
        features: Names of the feature functions that add columns to each table.
        drop: Columns left out.
        slices: Columns by whose values the evaluated rows are scored, value by value.
        modality: Column to modality, where the user overrules the schema.
        stream: Stream name to patterns of column names.
        share: Group name to patterns of stream names, or "all" for one group of all streams. Streams of one modality
            share one encoder, streams of several modalities the layers behind their own encoders.
        share_depth: Number of layers that streams of several modalities share.
        preset: Size of the network and length of training: fast, balanced or best.
        width: Width of tokens; None means: chosen by the preset.
        encoder: Stream to encoder.
        settings: Stream to settings of its modality (image size, sample rate, ...).
        target_settings: Target to settings of its kind (beam width, longest caption, ...).
        fusion: How streams become one.
        train: How the network is trained.
        decision: How the label of a category is chosen: the most probable class, or the one whose probability is
            largest by its frequency (balanced); "auto": balanced where ``train.sampling`` or ``train.loss`` is.
        coverage_by: Column for each of whose values prediction sets and intervals keep their promise by itself.
        baselines: Whether simple baselines are fitted and join the ensemble.
        explain: Whether the report explains some evaluated rows: which stream and which parts of the cells decided.
        stress: Whether the report has a stress test on the evaluated rows: noise in the cells, and absent streams.
        seed: Fixes every random choice.
        strict: Whether a broken cell stops the run.
        num_threads: Threads to compute with; None means all cores.
    """

    data: str | None = None
    target: tuple[str, ...] = ()
    validation: str | None = None
    test: str | None = None
    validation_share: float = Field(default=0.15, gt=0, lt=1)
    test_share: float = Field(default=0.15, ge=0, lt=1)
    group: str | None = None
    time: str | None = None
    teacher: str | None = None
    unlabelled: str | None = None
    init_from: str | None = None
    init_streams: dict[str, str] = Field(default_factory=dict)
    init_frozen: bool = False
    reconstruct: bool = False
    relevance: str | None = None
    features: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    slices: tuple[str, ...] = ()
    modality: dict[str, str] = Field(default_factory=dict)
    stream: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    share: Annotated[dict[str, tuple[str, ...]], BeforeValidator(read_share)] = Field(default_factory=dict)
    share_depth: int = Field(default=2, ge=1)
    preset: Preset = "balanced"
    width: int | None = Field(default=None, ge=8)
    encoder: dict[str, EncoderConfig] = Field(default_factory=dict)
    settings: dict[str, dict[str, Any]] = Field(default_factory=dict)
    target_settings: dict[str, dict[str, Any]] = Field(default_factory=dict)
    fusion: FusionConfig = Field(default_factory=FusionConfig)
    train: TrainConfig = TrainConfig()
    decision: Literal["auto", "most_probable", "balanced"] = "auto"
    coverage_by: str | None = None
    baselines: bool = True
    explain: bool = False
    stress: bool = False
    seed: int = Field(default=0, ge=0, lt=2**32)
    strict: bool = False
    num_threads: int | None = Field(default=None, ge=1)


def part_name(choice: object) -> str:
    """Name a part that was chosen by name or given from Python.

    Args:
        choice: A name; a class or function; or a table row, which is called after what it builds.

    Returns:
        The name.
    """
    if isinstance(choice, str):
        return choice
    return str(getattr(getattr(choice, "build", choice), "__name__", choice))


def values_of(config: RunConfig) -> dict[str, Any]:
    """Return a configuration as nested option values, from which ``build_config`` makes it again.

    Args:
        config: A configuration.

    Returns:
        Plain JSON, but for parts that were given from Python.
    """
    values = config.model_dump(mode="json")
    values["fusion"]["name"] = config.fusion.choice
    for stream, chosen in config.encoder.items():
        values["encoder"][stream]["name"] = chosen.choice
    return values


def build_config(values: dict[str, Any], overrides: dict[str, Any] | None = None) -> RunConfig:
    """Check option values and make a configuration of them.

    Args:
        values: Nested option values, as in ``run.yaml``.
        overrides: Dotted names (``train.epochs``) to values, which win.

    Returns:
        The checked configuration.

    Raises:
        ConfigError: If a name is unknown or a value cannot work.
    """
    merged = with_current_names(values)
    for name, value in (overrides or {}).items():
        merged = with_override(merged, split_name(name), value)
    try:
        config = RunConfig.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(_explain(error)) from None
    except (ValueError, RecursionError) as error:  # it holds itself
        raise ConfigError(f"The options cannot be read: {str(error)[:MAX_SHOWN]}.") from None
    _check_writable(config)
    return config


def _check_writable(config: RunConfig) -> None:
    """Check that the options can be written to a ``run.yaml`` and read again, before a run ends with them."""
    from polymodal.config.yaml_text import check_plain

    for name in RunConfig.model_fields:
        try:
            check_plain(config.model_dump(mode="json", include={name}))
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"The option {name!r} cannot be written down: {str(error)[:MAX_SHOWN]}.") from None


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"There is no option {name!r}. {_known_names(first['loc'])}"
    choices = re.findall(r"'([^']*)'", first.get("ctx", {}).get("expected", ""))
    shown = _shown(first["input"])
    near = closest(shown.strip("'"), choices)
    advice = "" if near is None else f" Did you mean {near!r}?"
    return f"The option {name!r} is wrong: {first['msg'].lower()}. Got {shown} instead.{advice}"


def _shown(value: object) -> str:
    """Write a value for a message, cut; an integer may have more digits than Python writes, a list may hold itself."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        text = f"a {type(value).__name__} that cannot be written"
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]} …"


def _known_names(location: tuple[int | str, ...]) -> str:
    """Suggest an option, also one of another section; where none is near, list those of this section."""
    *path, last = map(str, location)
    if path[:1] == ["encoder"]:
        return did_you_mean(last, EncoderConfig.model_fields)
    names = list(_option_names(RunConfig))
    section = "".join(f"{part}." for part in path)
    here = [name for name in names if name.startswith(section) and "." not in name.removeprefix(section)]
    named = {name.rpartition(".")[2]: name for name in [*names, *here]}
    near = closest(last, named)
    return did_you_mean(last, here) if near is None else f"Did you mean {named[near]!r}?"


def _option_names(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the dotted names of all options, sections included."""
    for name, field in section.model_fields.items():
        yield prefix + name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _option_names(field.annotation, f"{prefix}{name}.")

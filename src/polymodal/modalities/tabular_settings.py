"""The options of tabular streams."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from polymodal.errors import ConfigError, did_you_mean
from polymodal.modalities.base import Settings
from polymodal.modalities.category_encoding import Method

Kind = Literal["number", "category", "datetime"]
Encoding = Literal["embedding"] | Method


class TabularSettings(Settings):
    """Options of tabular streams.

    Attributes:
        kinds: Column to modality: number, category or datetime. Filled in from the schema.
        max_values: Values of a category told apart, the most frequent ones.
        impute: What absent cells of a row with other cells are filled with; ``learned``: nothing, the encoder has a
            vector for each column that stands for an absent cell.
        encoding: What encoders read of a category; ``embedding``: its code, for which they learn a vector.
        encodings: Column to encoding, for those with another one.
        order: Column to its values from the lowest to the highest, for ``ordinal``; the others are sorted.
        encoding_target: The target whose means ``target`` encodes; the first one if not given.
        smoothing: For ``target``: rows that the mean of all rows counts as, beside those of a value.
    """

    kinds: dict[str, Kind] = Field(default_factory=dict)
    max_values: int = Field(default=10_000, ge=1)
    impute: Literal["learned", "mean", "median", "most_frequent", "nearest"] = "learned"
    encoding: Encoding = "embedding"
    encodings: dict[str, Encoding] = Field(default_factory=dict)
    order: dict[str, list[Any]] = Field(default_factory=dict)
    encoding_target: str | None = None
    smoothing: float = Field(default=10.0, gt=0)

    def encoding_of(self, column: str) -> Encoding:
        """Return the encoding of a category.

        Args:
            column: Its name.

        Returns:
            The encoding.
        """
        return self.encodings.get(column, self.encoding)

    def check_encodings(self) -> None:
        """Check that what is to be encoded are categories.

        Raises:
            ConfigError: If there is none, or an option names another column.
        """
        categories = [name for name, kind in self.kinds.items() if kind == "category"]
        for option, names in (("encodings", self.encodings), ("order", self.order)):
            for name in names:
                if name not in categories:
                    advice = did_you_mean(name, categories, "Its categories are")
                    raise ConfigError(
                        f"The option {option!r} names {name!r}, which is no category of the stream. {advice}"
                    )
        unordered = [name for name in self.order if self.encoding_of(name) != "ordinal"]
        if unordered:
            raise ConfigError(
                f"The option 'order' is for categories with the encoding ordinal; {unordered[0]!r} has "
                f"{self.encoding_of(unordered[0])}."
            )
        if self.encoding != "embedding" and not categories:
            raise ConfigError(f"The option 'encoding' is {self.encoding}, but the stream has no category.")

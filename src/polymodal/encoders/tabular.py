"""Tabular encoders: from ``[B, fields]`` numbers and category codes to one token (torch).

Every cell is embedded as a small vector; an absent cell as a learned vector of its field, and its value
is never read. Shape legend: B rows of the batch, F fields that are read, Q quantile bins, E width of a cell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from polymodal.encoders.vector import build_mlp
from polymodal.nn.attention import Transformer
from polymodal.nn.layers import small_parameter
from polymodal.tokens import ColumnBatch, Tokens

if TYPE_CHECKING:
    from polymodal.modalities.tabular import Tabular


class LinearNumbers(nn.Module):
    """Linear embeddings, a weight and a bias for each field: Gorishniy et al. 2021, arXiv 2106.11959, section 3.3."""

    def __init__(self, num_fields: int, cell_dim: int) -> None:
        """Build the vectors.

        Args:
            num_fields: F, number fields only.
            cell_dim: E.
        """
        super().__init__()
        bound = 1 / math.sqrt(cell_dim)
        self.weight_FE = nn.Parameter(torch.empty(num_fields, cell_dim).uniform_(-bound, bound))
        self.bias_FE = nn.Parameter(torch.empty(num_fields, cell_dim).uniform_(-bound, bound))

    def forward(self, values_BF: Tensor) -> Tensor:
        """Embed numbers.

        Args:
            values_BF: Standardised, ``[B, F]``.

        Returns:
            ``[B, F, E]``.
        """
        return values_BF.unsqueeze(2) * self.weight_FE + self.bias_FE


class PiecewiseNumbers(nn.Module):
    """Piecewise-linear embeddings: Gorishniy et al. 2022, arXiv 2203.05556, equation 1.

    Each number is encoded as Q values: 1 for every quantile bin below it, its relative position in its own bin, 0 for
    every bin above; then a linear layer of its field. Differs from the source: a linear part
    for numbers beyond the outer quantiles, since those bins are open.
    """

    lower: Tensor
    inverse: Tensor
    in_use: Tensor

    def __init__(self, quantiles: Sequence[Sequence[float]], cell_dim: int) -> None:
        """Build the bins and the linear layer.

        Args:
            quantiles: Each field's increasing bin edges, in standardised units.
            cell_dim: E.
        """
        super().__init__()
        edges = [sorted(set(field)) for field in quantiles]
        num_bins = max([len(field) - 1 for field in edges] + [1])
        lower, inverse, in_use = (torch.zeros(len(edges), num_bins) for _ in range(3))
        for index, field in enumerate(edges):
            bounds = torch.tensor(field, dtype=torch.float32)
            count = max(len(field) - 1, 0)
            lower[index, :count] = bounds[:count]
            inverse[index, :count] = 1 / (bounds[1:] - bounds[:-1]).clamp(min=1e-6)
            in_use[index, :count] = 1
        self.register_buffer("lower", lower, persistent=False)
        self.register_buffer("inverse", inverse, persistent=False)
        self.register_buffer("in_use", in_use, persistent=False)
        bound = 1 / math.sqrt(num_bins)
        self.weight_FQE = nn.Parameter(torch.empty(len(edges), num_bins, cell_dim).uniform_(-bound, bound))
        self.linear = LinearNumbers(len(edges), cell_dim)

    def forward(self, values_BF: Tensor) -> Tensor:
        """Embed numbers.

        Args:
            values_BF: Standardised, ``[B, F]``.

        Returns:
            ``[B, F, E]``.
        """
        inside_BFQ = ((values_BF.unsqueeze(2) - self.lower) * self.inverse).clamp(0, 1) * self.in_use
        embedded: Tensor = torch.einsum("bfq,fqe->bfe", inside_BFQ, self.weight_FQE) + self.linear(values_BF)
        return embedded


class PeriodicNumbers(nn.Module):
    """Periodic embeddings (PLR): Gorishniy et al. 2022, arXiv 2203.05556, equation 2.

    Sines and cosines of learned frequencies, a linear layer of the field, ReLU.
    """

    def __init__(self, num_fields: int, cell_dim: int, num_frequencies: int, sigma: float) -> None:
        """Initialise the frequencies.

        Args:
            num_fields: F, number fields only.
            cell_dim: E.
            num_frequencies: Frequencies of each field.
            sigma: Standard deviation of their initial values.
        """
        super().__init__()
        self.frequencies = nn.Parameter(torch.randn(num_fields, num_frequencies) * sigma)
        bound = 1 / math.sqrt(2 * num_frequencies)
        self.weight = nn.Parameter(torch.empty(num_fields, 2 * num_frequencies, cell_dim).uniform_(-bound, bound))
        self.bias_FE = nn.Parameter(torch.zeros(num_fields, cell_dim))

    def forward(self, values_BF: Tensor) -> Tensor:
        """Embed numbers.

        Args:
            values_BF: Standardised, ``[B, F]``.

        Returns:
            ``[B, F, E]``.
        """
        angles = 2 * math.pi * values_BF.unsqueeze(2) * self.frequencies
        waves = torch.cat([torch.sin(angles), torch.cos(angles)], dim=2)
        return torch.relu(torch.einsum("bfk,fke->bfe", waves, self.weight) + self.bias_FE)


class CellEmbedding(nn.Module):
    """Embeddings of the cells of a row: numbers, categories, and learned vectors for absent cells."""

    read: Tensor
    number_fields: Tensor
    category_fields: Tensor
    offsets: Tensor
    order: Tensor

    def __init__(self, fitted: Tabular, numbers: nn.Module, cell_dim: int) -> None:
        """Build the embeddings.

        Args:
            fitted: The fitted modality.
            numbers: From ``[B, number fields]`` to ``[B, number fields, E]``.
            cell_dim: E.
        """
        super().__init__()
        fields = fitted.encoder_fields
        kinds = [field.kind for field in fields]
        numbered = [index for index, kind in enumerate(kinds) if kind == "number"]
        categorical = [index for index, kind in enumerate(kinds) if kind == "category"]
        sizes = torch.tensor([fields[index].cardinality for index in categorical], dtype=torch.int64)
        offsets = torch.cumsum(sizes, dim=0) - sizes
        self.register_buffer("read", torch.tensor(fitted.encoder_places, dtype=torch.int64), persistent=False)
        self.register_buffer("number_fields", torch.tensor(numbered, dtype=torch.int64), persistent=False)
        self.register_buffer("category_fields", torch.tensor(categorical, dtype=torch.int64), persistent=False)
        self.register_buffer("offsets", offsets, persistent=False)
        self.register_buffer("order", torch.tensor(numbered + categorical).argsort(), persistent=False)
        self.numbers = numbers
        self.categories = nn.Embedding(int(sizes.sum()), cell_dim)
        self.absent_FE = small_parameter(len(kinds), cell_dim)
        with torch.no_grad():
            self.categories.weight.mul_(1 / math.sqrt(cell_dim))
            self.categories.weight[offsets] = 0.0  # the embedding of unseen values is zero

    def forward(self, column: ColumnBatch) -> Tensor:
        """Embed all cells.

        Args:
            column: Values float32 ``[B, F]`` with present ``[B, F]``.

        Returns:
            ``[B, F, E]``.
        """
        present_BF = column.present[:, self.read]
        values_BF = torch.where(present_BF, column.values[:, self.read], 0).float()
        codes = values_BF[:, self.category_fields].long() + self.offsets
        cells = torch.cat([self.numbers(values_BF[:, self.number_fields]), self.categories(codes)], dim=1)
        return torch.where(present_BF.unsqueeze(2), cells[:, self.order], self.absent_FE)


class CellsMLP(nn.Module):
    """Concatenated embeddings of all cells, then an MLP."""

    def __init__(
        self,
        fitted: Tabular,
        width: int,
        *,
        numbers: nn.Module,
        cell_dim: int,
        hidden: int,
        depth: int,
        dropout: float,
    ) -> None:
        """Build the layers.

        Args:
            fitted: The fitted modality.
            width: Width of the token.
            numbers: How numbers are embedded.
            cell_dim: Width of a cell.
            hidden: Width of each hidden layer.
            depth: Number of hidden layers.
            dropout: Dropout probability of the hidden layers.
        """
        super().__init__()
        self.cells = CellEmbedding(fitted, numbers, cell_dim)
        self.layers = build_mlp(len(fitted.encoder_fields) * cell_dim, hidden, depth, width, dropout)

    def forward(self, column: ColumnBatch) -> Tokens:
        """Encode rows of cells.

        Args:
            column: Values float32 ``[B, F]`` with present ``[B, F]``.

        Returns:
            One token a row, ``[B, 1, W]``.
        """
        values_BW = self.layers(self.cells(column).flatten(1))
        return Tokens(values_BW.unsqueeze(1), column.row_present.unsqueeze(1))


class TabularMLP(CellsMLP):
    """An MLP over linear embeddings of numbers, and category embeddings."""

    def __init__(
        self,
        fitted: Tabular,
        width: int,
        *,
        cell_dim: int = 8,
        hidden: int = 256,
        depth: int = 2,
        dropout: float = 0.2,
    ) -> None:
        """Build the layers.

        Args:
            fitted: The fitted modality.
            width: Width of the token.
            cell_dim: Width of a cell.
            hidden: Width of each hidden layer.
            depth: Number of hidden layers.
            dropout: Dropout probability of the hidden layers.
        """
        numbers = LinearNumbers(count_numbers(fitted), cell_dim)
        super().__init__(fitted, width, numbers=numbers, cell_dim=cell_dim, hidden=hidden, depth=depth, dropout=dropout)


class TabularPiecewise(CellsMLP):
    """An MLP over piecewise-linear embeddings of numbers, and category embeddings."""

    def __init__(
        self,
        fitted: Tabular,
        width: int,
        *,
        cell_dim: int = 12,
        hidden: int = 256,
        depth: int = 2,
        dropout: float = 0.2,
    ) -> None:
        """Build the layers.

        Args:
            fitted: The fitted modality.
            width: Width of the token.
            cell_dim: Width of a cell.
            hidden: Width of each hidden layer.
            depth: Number of hidden layers.
            dropout: Dropout probability of the hidden layers.
        """
        quantiles = [field.quantiles or [] for field in fitted.encoder_fields if field.kind == "number"]
        numbers = PiecewiseNumbers(quantiles, cell_dim)
        super().__init__(fitted, width, numbers=numbers, cell_dim=cell_dim, hidden=hidden, depth=depth, dropout=dropout)


class TabularPeriodic(CellsMLP):
    """An MLP over periodic embeddings of numbers, and category embeddings."""

    def __init__(
        self,
        fitted: Tabular,
        width: int,
        *,
        cell_dim: int = 12,
        num_frequencies: int = 16,
        sigma: float = 0.1,
        hidden: int = 256,
        depth: int = 2,
        dropout: float = 0.2,
    ) -> None:
        """Build the layers.

        Args:
            fitted: The fitted modality.
            width: Width of the token.
            cell_dim: Width of a cell.
            num_frequencies: Learned frequencies of each number field.
            sigma: Standard deviation of the initial frequencies.
            hidden: Width of each hidden layer.
            depth: Number of hidden layers.
            dropout: Dropout probability of the hidden layers.
        """
        numbers = PeriodicNumbers(count_numbers(fitted), cell_dim, num_frequencies, sigma)
        super().__init__(fitted, width, numbers=numbers, cell_dim=cell_dim, hidden=hidden, depth=depth, dropout=dropout)


class FTTransformer(nn.Module):
    """A transformer over cells: Gorishniy et al. 2021, arXiv 2106.11959, figure 1."""

    def __init__(
        self, fitted: Tabular, width: int, *, depth: int = 2, num_heads: int = 4, dropout: float = 0.1
    ) -> None:
        """Build the layers.

        Args:
            fitted: The fitted modality.
            width: W, also of the cells.
            depth: Transformer layers.
            num_heads: Attention heads; the width must be a multiple of it.
            dropout: Dropout probability.
        """
        super().__init__()
        self.cells = CellEmbedding(fitted, LinearNumbers(count_numbers(fitted), width), width)
        self.fields_FW = small_parameter(len(fitted.encoder_fields), width)
        self.class_W = small_parameter(width)
        self.layers = Transformer(width, depth, num_heads, dropout)

    def forward(self, column: ColumnBatch) -> Tokens:
        """Encode rows of cells.

        Args:
            column: Values float32 ``[B, F]`` with present ``[B, F]``.

        Returns:
            The class token of each row, ``[B, 1, W]``.
        """
        cells_BFW = self.cells(column) + self.fields_FW
        tokens_BTW = torch.cat([self.class_W.expand(column.values.shape[0], 1, -1), cells_BFW], dim=1)
        everything = torch.ones(tokens_BTW.shape[:2], dtype=torch.bool, device=tokens_BTW.device)
        return Tokens(self.layers(tokens_BTW, everything, num_queries=1), column.row_present.unsqueeze(1))


def count_numbers(fitted: Tabular) -> int:
    """Return the number of numeric fields.

    Args:
        fitted: The fitted modality.

    Returns:
        Their count.
    """
    return sum(field.kind == "number" for field in fitted.encoder_fields)

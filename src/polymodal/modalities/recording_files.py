"""Recordings of instruments: MATLAB's ``.mat``, EDF and BDF, and WFDB's ``.hea``; each with its channels' names."""

from __future__ import annotations

import io
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.modalities.base import CellReadError, list_quoted, quote
from polymodal.modalities.media import MAX_FILE_BYTES

MAT_MAGIC, MAT_73_MAGIC, HDF5_MAGIC = b"MATLAB 5.0", b"MATLAB 7.3", b"\x89HDF"
EDF_MAGIC, BDF_MAGIC = b"0       ", b"\xffBIOSEMI"
RECORDING_MAGIC = (MAT_MAGIC, MAT_73_MAGIC, HDF5_MAGIC, EDF_MAGIC, BDF_MAGIC)
ENDINGS = frozenset({".mat", ".edf", ".bdf", ".hea"})
WFDB_ENDING = ".hea"
MAX_VALUES = MAX_FILE_BYTES // 8
NUMERIC = frozenset(
    {"int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "single", "double", "logical"}
)
Named = tuple[NDArray[Any], tuple[str, ...]]
"""Values ``[time, channels]`` and the channels' names, none where they have none."""


def load_recording(content: bytes) -> Named:
    """Read a ``.mat``, ``.edf`` or ``.bdf`` file.

    Args:
        content: The whole file, which starts with one of ``RECORDING_MAGIC``.

    Returns:
        The values, of ``.mat`` as they stand there, and names.

    Raises:
        CellReadError: If it is damaged, too large, of a form that is not read, or a library is absent.
    """
    if content.startswith((MAT_73_MAGIC, HDF5_MAGIC)):
        raise CellReadError("is a MATLAB 7.3 (HDF5) file, which is not read; save it with the option -v7, or as .npy")
    return load_mat(content) if content.startswith(MAT_MAGIC) else load_edf(content)


def load_mat(content: bytes) -> Named:
    """Read the one array of a MATLAB file of version 5 to 7; MATLAB's objects and functions are never made.

    Args:
        content: The whole file.

    Returns:
        The array, with one row for a vector of samples.

    Raises:
        CellReadError: If it is damaged or does not hold one array of numbers beside single ones.
    """
    from scipy.io import loadmat, whosmat

    try:
        listed = [(name, shape) for name, shape, kind in whosmat(io.BytesIO(content)) if kind in NUMERIC]
        arrays = [(name, shape) for name, shape in listed if int(np.prod(shape, dtype=np.float64)) > 1]
        if len(arrays) != 1:
            names = list_quoted([name for name, _ in arrays]) or "none"
            raise CellReadError(f"holds {len(arrays)} arrays of numbers ({names}); expected one")
        (name, shape) = arrays[0]
        if np.prod(shape, dtype=np.float64) > MAX_VALUES:
            raise CellReadError(f"declares an array {list(shape)}, above the limit of {MAX_VALUES:,} values")
        values = loadmat(io.BytesIO(content), variable_names=[name])[name]
    except CellReadError:
        raise
    except Exception as error:  # damaged files make the reader raise anything
        raise CellReadError(f"is not a readable .mat file ({type(error).__name__})") from None
    return (values.reshape(-1, 1) if 1 in values.shape and values.ndim == 2 else values), ()


def load_edf(content: bytes) -> Named:
    """Read an EDF or BDF recording; signals of a lower rate are interpolated to the highest one.

    Args:
        content: The whole file.

    Returns:
        float64 ``[time, signals]`` in physical units, and the signals' labels; annotations are left out.

    Raises:
        CellReadError: If it is damaged or too large, or pyedflib is not installed.
    """
    try:
        import pyedflib
    except ImportError:
        raise CellReadError(
            "is an EDF recording, for which pyedflib is needed: install it with `pip install 'polymodal[series]'`"
        ) from None
    with TemporaryDirectory(prefix="polymodal-") as folder:
        path = Path(folder, "recording.bdf" if content.startswith(BDF_MAGIC) else "recording.edf")
        path.write_bytes(content)
        try:
            with pyedflib.EdfReader(str(path)) as reader:
                counts, names = [int(count) for count in reader.getNSamples()], tuple(reader.getSignalLabels())
                if not counts or max(counts) * len(counts) > MAX_VALUES:
                    raise CellReadError(f"declares {sum(counts):,} samples, none or too many for one cell")
                signals = [reader.readSignal(number) for number in range(len(counts))]
        except (OSError, ValueError) as error:
            reason = str(error).replace(str(path), "the file").strip() or type(error).__name__
            raise CellReadError(f"is not a readable EDF recording ({quote(reason, 100)})") from None
    return np.stack([_stretched(signal, max(counts)) for signal in signals], axis=1), names


def _stretched(signal: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    if len(signal) in {0, length}:
        return signal if len(signal) else np.full(length, np.nan)
    return np.interp(np.arange(length) / length, np.arange(len(signal)) / len(signal), signal)


def load_wfdb(path: Any) -> Named:
    """Read a WFDB record by its header.

    Args:
        path: The ``.hea`` file on the disk, beside its signals; bytes of a header alone are refused.

    Returns:
        float64 ``[time, signals]`` in physical units, and the signals' names.

    Raises:
        CellReadError: If it is damaged or too large, names files elsewhere, or wfdb is not installed.
    """
    if not isinstance(path, str):
        raise CellReadError("is a WFDB header without its signals; unpack the record and give the path of its .hea")
    try:
        import wfdb
    except ImportError:
        raise CellReadError(
            "is a WFDB record, for which wfdb is needed: install it with `pip install 'polymodal[series]'`"
        ) from None
    record = path[: -len(WFDB_ENDING)]
    try:
        header = wfdb.rdheader(record)
        files = [name for name in getattr(header, "file_name", None) or () if name != "~"]
        if type(header).__name__ != "Record" or not files:
            raise CellReadError("is a WFDB record of several segments or without signals, which is not read")
        if outside := [name for name in files if re.search(r"[/\\]", name) or name.startswith(".")]:
            raise CellReadError(f"names signals elsewhere ({quote(outside[0])}); expected files beside it")
        if (header.sig_len or 0) * header.n_sig > MAX_VALUES:
            raise CellReadError(f"declares {header.sig_len * header.n_sig:,} samples, too many for one cell")
        found = wfdb.rdrecord(record)
    except CellReadError:
        raise
    except Exception as error:  # damaged headers make the reader raise anything
        reason = quote(str(error) or type(error).__name__, 100)
        raise CellReadError(f"is not a readable WFDB record ({reason})") from None
    return found.p_signal, tuple(map(str, found.sig_name or ()))

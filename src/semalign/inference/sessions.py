"""ONNX Runtime's sessions, all of which are made here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from semalign.errors import SemalignError

INSTALL = "install it with: pip install onnxruntime"

MOST_FOLDED = 256 << 20  # bytes of a constant that is computed as the file is opened: a small file may ask for any


def open_session(file: bytes, path: str | Path, threads: int, advice: str) -> Any:
    """A session on the CPU, which several threads may call.

    Args:
        file: the ONNX file's bytes.
        path: the file's name in messages.
        threads: of one call; 0 is one per core. With 1 there are none beside the caller's, so that a process may fork.
        advice: what to do if it is no ONNX file, as the end of a sentence.

    Raises:
        RuntimeMissingError: onnxruntime is not installed.
        SemalignError: no ONNX file.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise RuntimeMissingError(f"ONNX models need the package onnxruntime; {INSTALL}.") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    options.add_session_config_entry("optimization.constant_folding_max_output_size_in_bytes", str(MOST_FOLDED))
    try:
        return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common base but this
        raise SemalignError(f"{path}: cannot be read as an ONNX file; {advice}.") from error


class RuntimeMissingError(SemalignError):
    """ONNX Runtime is not installed."""

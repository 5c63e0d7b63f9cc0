"""Shared fixtures: the recorded vectors of SAELens, and small complete configurations."""

import os
from pathlib import Path

import pytest
import torch
from complete_config import config_for

# Read when Triton is first imported: without a GPU its kernels are interpreted, on the CPU.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

SHARED = Path(os.environ.get("SAE_LENS_TS_SHARED", Path(__file__).parents[3] / "shared"))


@pytest.fixture(scope="session")
def make_config():
    return config_for


@pytest.fixture(scope="session")
def stories() -> str:
    """The real model of the fixtures; its path has no meaning in any name."""
    folder = SHARED / "fixtures" / "models" / "stories260K"
    if not folder.exists():
        pytest.skip(f"{folder} is absent")
    return str(folder)


@pytest.fixture
def golden() -> Path:
    """The vectors recorded by running SAELens; tests that need them say so when they are not there."""
    folder = SHARED / "golden"
    if not folder.is_dir():
        pytest.skip(f"no recorded vectors at {folder} (SAE_LENS_TS_SHARED names another place)")
    return folder

"""Fixtures that several parts share."""

import os
from pathlib import Path

import pytest

# No test reaches a model hub: models are bundled, made on the spot, or absent with a reason.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

CHECKOUT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The folder that holds pyproject.toml."""
    return CHECKOUT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Public data sets kept outside the repository: $RDISTILL_SHARED_DATA, or shared/data beside the checkout."""
    folder = Path(os.environ.get("RDISTILL_SHARED_DATA") or CHECKOUT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(
            f"no shared data in {folder}; set RDISTILL_SHARED_DATA to the folder that holds gsm8k/, dss_svamp/, ..."
        )
    return folder

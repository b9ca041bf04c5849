"""What every test may rely on: the folder of real models, Hypothesis without clocks or chance."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]

# The default finds the same examples everywhere; HYPOTHESIS_PROFILE=explore looks for new ones.
settings.register_profile("fixed", derandomize=True, deadline=None, database=None)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))


def find_data() -> Path | None:
    """Return the folder of real models: DCFORMAT_DATA, else ../shared/data if it is there."""
    given = os.environ.get("DCFORMAT_DATA")
    folder = Path(given) if given else ROOT.parent / "shared" / "data"
    return folder if folder.is_dir() else None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run the tests marked slow")


def pytest_configure() -> None:
    """Heed signals that a background job or nohup ignores: what tests start would ignore them."""
    heeded = {"SIGINT": signal.default_int_handler, "SIGHUP": signal.SIG_DFL}
    for name, handler in heeded.items():
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    skips = {}
    if not config.getoption("--slow"):
        skips["slow"] = pytest.mark.skip(reason="slow: runs with --slow")
    if find_data() is None:
        skips["realdata"] = pytest.mark.skip(reason="no folder of real models: set DCFORMAT_DATA")
    for item in items:
        for name, skip in skips.items():
            if item.get_closest_marker(name):
                item.add_marker(skip)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real models; the test is skipped where it is not there."""
    folder = find_data()
    if folder is None:
        pytest.skip("no folder of real models: set DCFORMAT_DATA")
    return folder


@pytest.fixture(scope="session")
def digits() -> Path:
    """The folder of the example model: digits.onnx and digits_test.npz."""
    return ROOT / "examples" / "digits"

"""A plugin of pytest for runs in which nothing may be missing: a test that is skipped fails, and so does a file that is."""

from collections.abc import Generator
from typing import Any

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    return _failed((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, Any, Any]:
    return _failed((yield))


def _failed(report: Any) -> Any:
    # What is expected to fail is reported as skipped, too.
    if report.outcome == "skipped" and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        *_, reason = report.longrepr if isinstance(report.longrepr, tuple) else (report.longrepr,)
        report.longrepr = f"{reason} (here nothing may be skipped)"
    return report

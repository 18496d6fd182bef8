"""Which failed tests `make test` runs once more."""

import pytest

from tests.again import TESTS_FAILED, files_to_repeat

LOOKS = "tests/browser/test_looks.py::test_edges"


@pytest.mark.parametrize(
    ("status", "failed", "files"),
    [
        (TESTS_FAILED, [LOOKS, f"{LOOKS}[dark]"], ["tests/browser/test_looks.py"]),
        (TESTS_FAILED, [LOOKS, "tests/ui/test_mask.py::test_share"], []),
        (TESTS_FAILED, [f"tests/browser/test_{name}.py::test" for name in "abc"], []),
        (TESTS_FAILED, [], []),
        (2, [LOOKS], []),
    ],
)
def test_only_a_few_browser_tests_get_a_second_run(
    status: int, failed: list[str], files: list[str]
) -> None:
    assert files_to_repeat(status, failed) == files

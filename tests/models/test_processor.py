"""`models.processor`: the manufacturer's name for the processor, if the system knows it."""

import platform
from pathlib import Path

import pytest

from models import processor


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (
            "processor\t: 0\nmodel\t\t: 1\nmodel name\t: A Chip 9 \nmodel name\t: Other\n",
            "A Chip 9",
        ),
        ("processor\t: 0\nBogoMIPS\t: 50.00\n", platform.machine()),
        (None, platform.machine()),
    ],
)
def test_a_processor_has_a_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, facts: str | None, expected: str
) -> None:
    file = tmp_path / "cpuinfo"
    if facts is not None:
        file.write_text(facts)
    monkeypatch.setattr(processor, "FACTS", file)
    monkeypatch.setattr(platform, "processor", lambda: "")

    assert processor.name() == expected

import socket
import subprocess
from typing import NoReturn

import pytest

from tests import audit


def test_without_a_network_the_audit_says_so_and_does_not_fail(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise OSError

    monkeypatch.setattr(socket, "create_connection", refuse)

    assert audit.main() == 0
    assert "not audited" in capsys.readouterr().out


def test_what_the_audit_finds_fails_it_but_for_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[list[str]] = []

    def run(command: list[str], check: bool) -> object:
        asked.append(command)
        return type("Done", (), {"returncode": 1})

    monkeypatch.setattr(audit, "reachable", lambda: True)
    monkeypatch.setattr(audit, "ALLOWED", {"GHSA-1": "not used here"})
    monkeypatch.setattr(subprocess, "run", run)

    assert audit.main() == 1
    assert asked[0][-2:] == ["--ignore-vuln", "GHSA-1"]

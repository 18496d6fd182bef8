import json
from pathlib import Path

import pytest

import documents
from training import systems

FACTS = {
    "command": "python -m training.train_breeds",
    "data": "Oxford-IIIT Pet",
    "split": "random",
    "epochs": 3,
    "seconds": 600.0,
    "input": {"height": 224, "width": 224},
    "held_out": {"pictures": 1470, "size": 224, "top1": 0.93, "top5": 0.995},
    "python": "3.12",
}


def test_the_document_s_table_is_the_records() -> None:
    assert systems.table() in documents.find(systems.START).read_text()


def test_a_finished_run_gets_its_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{systems.START}\nold\n{systems.END}\nafter\n")
    monkeypatch.setattr(documents, "ROOT", tmp_path)
    monkeypatch.setattr(systems, "RECORDS", tmp_path / "records")
    run = tmp_path / "runs" / "breeds-resnet34"
    run.mkdir(parents=True)
    (run / "run.json").write_text(json.dumps(FACTS))
    systems.main(["--runs", str(tmp_path / "runs")])
    lines = readme.read_text().splitlines()
    assert lines[0] == "before"
    assert lines[-1] == "after"
    (row,) = (line for line in lines if "resnet34" in line)
    assert "held-out top-1 0.9300, top-5 0.9950" in row
    assert "random 80/20 of all pictures; 1,470 held-out pictures; 224 px, 3 epochs | 10.0 |" in row
    (other,) = (line for line in lines if "convnext" in line)
    assert "not measured here" in other
    assert "python" not in json.loads((tmp_path / "records/breeds-resnet34.json").read_text())

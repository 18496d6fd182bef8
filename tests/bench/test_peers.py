"""The app's functions and the usual tools: equal answers, and the ratio of their times."""

from pathlib import Path

import pytest

from bench import peer_process, peers
from bench.contestants import CONTESTANTS, OURS, Means


@pytest.mark.alone
def test_the_usual_tools_give_the_same_answers_and_take_longer() -> None:
    figures = peers.measure(short=True)  # raises if an answer differs
    ratios = {(row["task"], row["name"]): row["ratio"] for row in figures["contestants"]}

    # About half of the ratios in docs/speed.md.
    least = {
        ("otsu", "scikit-image"): 0.7,
        ("multi-otsu 5", "scikit-image"): 1000,
        ("mask", "Keras `predict`"): 4,
        ("mask", "`tf.function`"): 1.2,
        ("breed", "fastai `learn.predict`"): 2,
        ("breed", "timm, eager"): 1.3,
    }
    slower = {key: ratios[key] for key, ratio in least.items() if ratios[key] < ratio}
    assert slower == {}
    assert {row["ratio"] for row in figures["contestants"] if row["name"] == OURS} == {1.0}
    assert figures["floors"]["mask"] > 0


def test_a_fresh_process_does_not_begin_with_its_parents_memory() -> None:
    held = bytearray(400_000_000)
    with peer_process.start(Means(1, {})) as process:
        peak = process.submit(peer_process.peak_memory).result()

    assert peer_process.peak_memory() > len(held)
    assert 20e6 < peak < 300e6


def test_a_different_answer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "LARGEST_DIFFERENCE", -1.0)
    places = [0]  # ours compared with ours

    with (
        peer_process.start(Means(1, {})) as process,
        pytest.raises(peers.DifferentError, match="otsu"),
    ):
        peers.compare({CONTESTANTS[0].process: process}, places, short=True)


def test_the_plot_shows_each_contestant_and_its_time(tmp_path: Path) -> None:
    contestants = [
        {"task": task, "name": name, "milliseconds": milliseconds}
        for task in peers.PLOTTED
        for name, milliseconds in ((OURS, 0.7942), ("`tf.function`", 1345.0))
    ]
    files = [tmp_path / "one.svg", tmp_path / "two.svg"]

    for file in files:
        peers.plot({"contestants": contestants}, file)

    drawn = files[0].read_text()
    assert files[1].read_text() == drawn
    for text in (OURS, "tf.function", "0.794 ms", "1,340 ms", "multi-Otsu, 5 classes"):
        assert f">{text}</text>" in drawn

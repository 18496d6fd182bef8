"""Which events follow which on the page."""

from collections import Counter

import gradio as gr
import pytest

from ui import page


@pytest.fixture(scope="module")
def built() -> gr.Blocks:
    return page.build()


def test_no_two_answers_follow_one_control_s_change(built: gr.Blocks) -> None:
    """The page could trigger both for ever; states avoid that, see `events.followed`."""
    followers = Counter(
        (target, event)
        for function in built.fns.values()
        for target, event in function.targets
        if event == "change" and not isinstance(built.blocks.get(target or 0), gr.State)
    )

    assert followers
    assert [key for key, count in followers.items() if count > 1] == []

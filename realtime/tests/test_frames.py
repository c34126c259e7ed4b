"""What a frame looks like on the wire."""

from __future__ import annotations

import json

from realtime.frames import Frame


def test_no_text_can_make_a_line_of_its_own_whoever_splits_lines() -> None:
    forged = 'a\u2028data: {"type": "record.deleted"}\u2028b\u2029c\u0085d\x0be\x0cf\x1cg\x1dh\x1ei\r\nj'
    frame = Frame("record.created", collection="posts", data={"title": forged}, event_id=7)
    lines = frame.sse.decode().splitlines()
    assert [line.partition(":")[0] for line in lines] == ["id", "event", "data", ""]
    assert json.loads(lines[2][5:])["data"]["title"] == forged


def test_a_frame_that_is_no_part_of_the_log_has_no_id() -> None:
    frame = Frame("user.joined", data={"user_id": "x"})
    assert frame.sse.startswith(b"event: user.joined\ndata: {") and json.loads(frame.body)["collection"] is None

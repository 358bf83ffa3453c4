"""The page that compares two runs."""

from __future__ import annotations

from alf.bin.compare import Played, page


def test_the_page_holds_numbers_and_videos():
    first = [Played(5, [1.0, 3.0], [10, 20], b"one"), Played(5, [4.0, 4.0], [30, 40])]
    second = [Played(6, [2.0, 4.0], [1, 1]), Played(6, [9.0, 9.0], [2, 2])]
    text = page(["runs/a", "runs/b<c>/"], [7, 8], [first, second])
    assert "runs/b&lt;c&gt;, checkpoint 6" in text
    assert "runs/a, checkpoint 5" in text
    # means 2 and 4, deviation sqrt(2), over sqrt(2) seeds
    assert "<td>runs/a: 3.00</td><td>1.00</td>" in text
    # 3 - 2 and 9 - 4
    assert "<td>second minus first: 3.00</td><td>2.00</td>" in text
    assert "1.00 in 10 steps, 3.00 in 20 steps<video" in text
    assert "data:video/mp4;base64,b25l" in text
    assert text.count("<video") == 1


def test_one_seed_has_no_error():
    played = [Played(5, [1.0], [10])]
    assert "<td>runs/a: 1.00</td><td>nan</td>" in page(["runs/a", "b"], [7], [played, played])

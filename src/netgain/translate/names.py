"""What needs neither torch nor anchors to be known: the methods that use none, and the text that some of them read."""

FREE = ("stitch", "stitch_procrustes", "subspace")
"""Methods without anchors: two that read generic text through both models, one that reads only their weights."""


def generic_texts() -> list[str]:
    """Generic English that netgain generates itself."""
    from netgain.data.embedded import rows

    return [row.answer for row in rows("text", 200, 5)]

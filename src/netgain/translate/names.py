"""The text that translation reads where nobody gives it any; what needs no torch to be known."""


def generic_texts() -> list[str]:
    """Generic English that netgain generates itself."""
    from netgain.data.embedded import rows

    return [row.answer for row in rows("text", 200, 5)]

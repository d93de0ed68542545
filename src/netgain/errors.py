"""The one error that a user may see: a sentence that says what is wrong, where, and what to do."""


class UserError(Exception):
    """Wrong input from a person. The command line prints the sentence and exits with code 2."""


def did_you_mean(word: str, known: "list[str] | tuple[str, ...] | set[str]") -> str:
    """` Did you mean "x"?` for the known word nearest to `word`, or an empty string when none is near."""
    from difflib import get_close_matches

    near = get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return f' Did you mean "{near[0]}"?' if near else ""

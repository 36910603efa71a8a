"""Lines: somebody else's text as a person may be shown it."""


def one_line(text: str) -> str:
    """Return a text without line breaks, control characters and marks that turn the direction of writing.

    What an agent wrote must not steer a terminal, or what stands beside it.
    """
    line = " ".join(text.split())
    return line if line.isprintable() else "".join(character if character.isprintable() else " " for character in line)

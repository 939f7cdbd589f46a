"""How a law speaks."""


class LawBroken(AssertionError):
    """What the chain did is against a law; `law` names it."""

    def __init__(self, law: str, detail: str) -> None:
        super().__init__(f"{law}: {detail}")
        self.law = law


def law(name: str, kept: bool, detail: str) -> None:
    """Raise LawBroken unless the law called `name` was kept."""
    if not kept:
        raise LawBroken(name, detail)

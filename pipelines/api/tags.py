"""Entity tags: the same tag, the same answer, so that who has it need not be sent it again."""

import hashlib
from importlib.metadata import version
from typing import Final

# Another version may answer the same question in other words.
_PRODUCT: Final = version("execution-metrics")


def tag_of(*parts: object) -> str:
    """The tag of an answer that follows from these parts alone.

    It is a weak one: sums of the same floats may differ in their last digits.
    """
    digest = hashlib.sha256(repr((_PRODUCT, *parts)).encode("utf-8", "backslashreplace"))
    return f'W/"{digest.hexdigest()[:32]}"'


def is_known(tag: str, if_none_match: str | None) -> bool:
    """Whether the header of a request names the tag."""
    named = (if_none_match or "").split(",")
    return tag.removeprefix("W/") in {each.strip().removeprefix("W/") for each in named}

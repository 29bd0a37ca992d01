"""Taking secrets out of what others wrote, wherever they put them."""

import re
from collections.abc import Collection
from functools import lru_cache
from typing import Any

from icat_stream.records import SECRET_NAMES, is_secret_name

# A pair may be a member, too: {"name": "password", "value": …}.
_NAMES = frozenset({"name", "key"})
_VALUES = frozenset({"value", "content", "text"})
_LONGEST = 300
_BEGIN_OF_DOCUMENTS = ("{", "[", "<", '"')


class Secrets:
    """Members that nobody may see.

    Parameters
    ----------
    names
        In any spelling: case, separators, namespaces and the ``@`` of attributes do
        not matter.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(map(_letters, names)) - {""}
        spelled = "|".join(
            r"[\W_]?".join(map(re.escape, name)) for name in sorted(self._names)
        )
        # A member's name, or that of an element or attribute, inside of a text.
        self._inside = re.compile(rf"(?:{spelled})[\\\"'\s]*[:=>]", re.IGNORECASE)

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._names)

    def __contains__(self, name: object) -> bool:
        """Whether a name is that of a secret."""
        return isinstance(name, str) and _letters(name) in self._names

    def without(self, tree: Any) -> tuple[Any, bool]:
        """Return a tree without secrets, and whether there were any.

        A text that holds a document of its own is left out if that names one.
        """
        if isinstance(tree, dict):
            return self._members(tree)
        if isinstance(tree, list):
            pairs = [self.without(item) for item in tree]
            return [item for item, _ in pairs], any(found for _, found in pairs)
        if isinstance(tree, str) and self._hides(tree):
            return None, True
        return tree, False

    def _members(self, tree: dict[str, Any]) -> tuple[dict[str, Any], bool]:
        named = any(
            value in self for name, value in tree.items() if _letters(name) in _NAMES
        )
        kept, found = {}, False
        for name, value in tree.items():
            if name in self or (named and _letters(name) in _VALUES):
                found = True
                continue
            kept[name], inside = self.without(value)
            found = found or inside
        return kept, found

    def _hides(self, text: str) -> bool:
        return text.lstrip().startswith(_BEGIN_OF_DOCUMENTS) and (
            self._inside.search(text) is not None
        )


class UsualSecrets(Secrets):
    """Members whose name is that of a secret by itself, such as a password."""

    def __init__(self) -> None:
        super().__init__(SECRET_NAMES)

    def __contains__(self, name: object) -> bool:
        """Whether a name is that of a secret."""
        return isinstance(name, str) and is_secret_name(name)


def _letters(name: str) -> str:
    """Return what spellings of a name have in common."""
    # Longer than any secret's name: not to be remembered, nor to be looked at whole.
    return _letters_of(name) if len(name) <= _LONGEST else name


@lru_cache(maxsize=10_000)
def _letters_of(name: str) -> str:
    last = name.rpartition(":")[2]
    return "".join(each for each in last if each.isalnum()).casefold()

"""An endpoint's key, from an environment variable: sent in one header, and never told to anyone else."""

import os
from urllib.parse import quote

from rdistill.errors import PrerequisiteError

SHORTEST = 12
"""Characters of the shortest key that is taken for a secret. A placeholder (`EMPTY`, `dummy`, `null`) is none, and a
word that replies may hold: to mask it would change them."""


class Key:
    """The value of a variable, without blanks around it; none where it is not set.

    Raises: PrerequisiteError if no HTTP header can carry it.
    """

    def __init__(self, variable: str) -> None:
        self._name = f"${variable}"
        self._value = os.environ.get(variable, "").strip()
        for place, sign in enumerate(self._value, 1):
            if not (sign.isascii() and sign.isprintable()):
                raise PrerequisiteError(
                    f"the key in {self._name} has U+{ord(sign):04X} at place {place} of {len(self._value)}, which no "
                    "HTTP header carries; set it to the key alone, in plain ASCII"
                )

    @property
    def header(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._value}"} if self._value else {}

    def masked(self, text: str) -> str:
        """What a server says, with the variable's name in place of its value, also where JSON or a URL spells it."""
        if len(self._value) < SHORTEST:
            return text
        escaped = self._value.replace("\\", "\\\\").replace('"', '\\"')
        for spelled in (self._value, escaped, escaped.replace("/", "\\/"), quote(self._value), quote(self._value, "")):
            text = text.replace(spelled, self._name)
        return text

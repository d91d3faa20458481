"""The headers of callbacks: encrypted where they are stored, and shown to their user."""

import json
from typing import Any

from attrs import frozen

from cueapi.api.models.rendering import Shown, stored
from cueapi.api.models.responses.cues import Cue
from cueapi.domain import cue as domain
from cueapi.domain.confidential import Confidential
from cueapi.security.vault import Vault
from cueapi.storage.cues import CueColumns, CueRow

UNREADABLE = "callback.headers was encrypted under another SESSION_SECRET and cannot be read; set it anew."


@frozen
class CallbackHeaders:
    """Reads and writes the headers of cues."""

    vault: Vault

    def encrypt(self, headers: dict[str, str], cue_id: str) -> bytes | None:
        """As they are stored; None where there are none."""
        return self.vault.encrypt(json.dumps(headers), Confidential.CALLBACK_HEADERS, cue_id) if headers else None

    def read(self, row: CueColumns) -> dict[str, str] | None:
        """The headers of a cue; None where they cannot be read."""
        text = self._text(row)
        return None if text is None else json.loads(text)

    def changed(self, row: CueRow, after: domain.Cue, patch: dict[str, Any]) -> bytes | None:
        """What a change of a cue stores: what it leaves out stays as it is, whether it can be read or not."""
        if "headers" not in (patch.get("callback") or {}):
            return row.callback_headers
        return self.encrypt(after.callback.headers, row.id)

    def shown(self, row: CueColumns) -> Shown:
        """A cue as it is shown. Where its headers cannot be read it has none, and a warning that says so."""
        shown, text = Cue.render(row), self._text(row)
        shown["callback"]["headers"] = stored(text or "{}")
        if text is None:
            shown["warning"] = f"{UNREADABLE} {row.warning or ''}".rstrip()
        return shown

    def _text(self, row: CueColumns) -> str | None:
        if row.callback_headers is None:
            return "{}"
        return self.vault.decrypt(row.callback_headers, Confidential.CALLBACK_HEADERS, row.id)

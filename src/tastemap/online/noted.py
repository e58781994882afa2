"""What an app has answered, for the middleware that counts, logs and traces it."""

from __future__ import annotations

from starlette.types import Message, Send

__all__ = ["Noted"]


class Noted:
    """Sends on what an app says.

    Attributes:
        status: the HTTP status of the answer; 500 while there is none, as of an app that fails.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 500

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)

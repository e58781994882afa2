"""The HTTP service: live recommendations over a durable log of events."""

from tastemap.online.app import create_app
from tastemap.online.server import serve

__all__ = ["create_app", "serve"]

"""The HTTP service: live recommendations over a durable log of events."""

from tastemap.online.answer_cache import CacheOptions
from tastemap.online.app import create_app
from tastemap.online.operating import Operating
from tastemap.online.server import serve

__all__ = ["CacheOptions", "Operating", "create_app", "serve"]

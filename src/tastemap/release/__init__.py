"""Saved models and pipelines as releases: published, checked, rolled back, loaded."""

from tastemap.release.forgetting import Forgetting, UnsearchedError, forget_in
from tastemap.release.loading import Loaded, load, load_release
from tastemap.release.store import Release, ReleaseStore, Saveable

__all__ = [
    "Forgetting",
    "Loaded",
    "Release",
    "ReleaseStore",
    "Saveable",
    "UnsearchedError",
    "forget_in",
    "load",
    "load_release",
]

"""Saved models and pipelines as releases: published, checked, rolled back, loaded."""

from tastemap.release.loading import Loaded, load, load_release
from tastemap.release.store import Release, ReleaseStore, Saveable

__all__ = ["Loaded", "Release", "ReleaseStore", "Saveable", "load", "load_release"]

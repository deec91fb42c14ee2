"""A way out by name: which hosts an agent may reach, and the proxy that takes it there alone."""

from __future__ import annotations

"""The agents' containers: made, watched, removed, and never left behind."""

from __future__ import annotations

from ..releases import DEFAULT_CLI_VERSION
from .argv import ContainerSpec, run_argv
from .checks import run_checks
from .command import podman_env, run_podman
from .container import CommandResult, Container
from .guard import Guard
from .image import ImageInfo, ensure_image, image_exists, image_tag
from .names import container_name
from .packages import install_commands
from .promise import CONTAINER_GID, CONTAINER_UID
from .rules import Check
from .sweep import sweep

__all__ = [
    "CONTAINER_GID",
    "CONTAINER_UID",
    "DEFAULT_CLI_VERSION",
    "Check",
    "CommandResult",
    "Container",
    "ContainerSpec",
    "Guard",
    "ImageInfo",
    "container_name",
    "ensure_image",
    "image_exists",
    "image_tag",
    "install_commands",
    "podman_env",
    "run_argv",
    "run_checks",
    "run_podman",
    "sweep",
]

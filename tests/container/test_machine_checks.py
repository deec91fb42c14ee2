from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from understudy.actors.podman import run_checks

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.podman


def test_this_machine_passes_and_a_container_was_really_tried(
    image_cache: Path, agent_image: str
) -> None:
    checks = run_checks(image_cache, image=agent_image)
    found = {check.name: check for check in checks}
    assert not [check for check in checks if check.status == "fail"]
    assert found["isolation"].detail.startswith("no capabilities")
    assert found["memory limit"].status == "ok"
    assert " s" in found["container"].detail


def test_an_image_that_is_not_built_is_told_and_no_container_is_tried(image_cache: Path) -> None:
    checks = run_checks(image_cache, os.environ, image="localhost/understudy-nowhere:1")
    found = {check.name: check for check in checks}
    assert found["image"].status == "fail"
    assert "container" not in found


def test_a_configuration_that_podman_cannot_use_fails_with_its_own_words(
    tmp_path: Path, agent_image: str
) -> None:
    conf = tmp_path / "containers.conf"
    conf.write_text('[engine]\nruntime = "/nowhere/crun"\n')
    checks = run_checks(tmp_path, {**os.environ, "CONTAINERS_CONF": str(conf)}, image=agent_image)
    failed = [check for check in checks if check.status == "fail"]
    assert any("nowhere" in check.detail for check in failed)

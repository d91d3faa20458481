"""What contributors are told is true: the files are there, the links lead somewhere, CI runs what they run."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
GITHUB = ROOT / ".github"
PAGES = sorted(GITHUB.glob("*.md"))
FORMS = sorted(GITHUB.glob("ISSUE_TEMPLATE/*.yml"))


def read(path: Path) -> dict[str, Any]:
    """A YAML file that holds a mapping."""
    return dict(yaml.safe_load(path.read_text("utf-8")))


def test_every_file_that_contributing_names_is_there() -> None:
    words = re.findall(r"[\w./-]+", (GITHUB / "CONTRIBUTING.md").read_text("utf-8"))
    named = {word for word in words if word.startswith(("cueapi/", "supervisor/", "tests/", ".ci/", ".docker/"))}

    assert {name for name in named if not (ROOT / name.rstrip(".")).exists()} == set()
    assert "cueapi/daemon/siblings.py" in named


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_links_between_the_pages_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https:)([^)#]+)", page.read_text("utf-8"))

    assert [target for target in targets if not (GITHUB / target).exists()] == []


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_an_issue_form_asks_for_something_that_must_be_given(form: Path) -> None:
    fields = [field for field in read(form)["body"] if field["type"] != "markdown"]

    assert read(form).keys() >= {"name", "description"}
    assert len({field["id"] for field in fields}) == len(fields)
    assert any(field.get("validations", {}).get("required") for field in fields)


def test_ci_runs_what_a_person_runs_may_only_read_and_ends() -> None:
    workflow = read(GITHUB / "workflows" / "ci.yml")
    job = workflow["jobs"]["run"]

    assert workflow["permissions"] == {"contents": "read"}
    assert job["steps"][-1] == {"run": ".ci/run"}
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    assert job["timeout-minutes"] <= 90


def test_the_hooks_call_tools_of_ci_lint_and_download_nothing() -> None:
    [own] = read(ROOT / ".pre-commit-config.yaml")["repos"]
    lint = (ROOT / ".ci" / "lint").read_text("utf-8")

    assert own["repo"] == "local"
    assert {hook["language"] for hook in own["hooks"]} == {"system"}
    assert all(hook["entry"].split()[0].rpartition("/")[2] in lint for hook in own["hooks"])

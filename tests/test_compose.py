"""The containers: what is published, what is kept, what is asked whether it lives, what is installed."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from cueapi.settings import BadSetting, load

ROOT = Path(__file__).parent.parent
LOCK = ROOT / ".docker" / "requirements.lock"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """The services of docker-compose.yml."""
    return dict(yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"])


def test_the_three_services_are_the_daemon_postgresql_16_and_redis_7(services: dict[str, Any]) -> None:
    assert set(services) == {"cueapi", "db", "redis"}
    assert services["db"]["image"] == "postgres:16-alpine"
    assert services["redis"]["image"] == "redis:7-alpine"


def test_only_the_daemon_is_published_and_only_on_loopback(services: dict[str, Any]) -> None:
    assert services["cueapi"]["ports"] == ["${PUBLISH:-127.0.0.1:8000}:8000"]
    assert "ports" not in services["db"]
    assert "ports" not in services["redis"]


def test_everything_restarts_is_asked_for_its_health_and_keeps_its_data(services: dict[str, Any]) -> None:
    volumes = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["volumes"]
    used = {mount.split(":")[0] for service in services.values() for mount in service["volumes"]}

    assert all(service["restart"] == "unless-stopped" for service in services.values())
    assert "healthcheck" in services["db"]
    assert "healthcheck" in services["redis"]
    assert "HEALTHCHECK" in (ROOT / "Dockerfile").read_text()
    assert used == set(volumes)


def test_a_stop_leaves_more_time_than_the_drain_may_take(services: dict[str, Any]) -> None:
    assert services["cueapi"]["stop_grace_period"] == "45s"


def test_every_setting_of_an_env_file_reaches_the_daemon(services: dict[str, Any]) -> None:
    daemon = services["cueapi"]
    given = {name for name, value in daemon["environment"].items() if f"${{{name}:-" in str(value)}

    assert daemon["env_file"] == [{"path": ".env", "required": False}]
    # What stands here comes before the file, so that each has to ask for the file's own value.
    assert set(daemon["environment"]) - given == {"HOST", "PORT"}


def test_the_daemon_may_do_nothing_that_it_need_not(services: dict[str, Any]) -> None:
    daemon = services["cueapi"]

    assert daemon["read_only"] is True
    assert daemon["cap_drop"] == ["ALL"]
    assert all("no-new-privileges:true" in service["security_opt"] for service in services.values())
    assert all("mem_limit" in service for service in services.values())
    assert daemon["extra_hosts"] == ["host.docker.internal:host-gateway"]


def test_the_daemon_is_called_by_names_of_loopback_its_own_and_what_an_env_file_adds(services: dict[str, Any]) -> None:
    assert services["cueapi"]["environment"]["ALLOWED_HOSTS"] == "${ALLOWED_HOSTS:-localhost,cueapi}"


def test_postgresql_and_redis_have_a_password(services: dict[str, Any]) -> None:
    assert "POSTGRES_PASSWORD" in services["db"]["environment"]
    assert "--requirepass" in services["redis"]["command"][-1]


@pytest.mark.parametrize(
    ("name", "url"),
    [("DATABASE_URL", "postgresql://cueapi:cueapi@db:5432/cueapi"), ("REDIS_URL", "redis://:cueapi@redis:6379/0")],
)
def test_in_production_the_default_passwords_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, url: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ENV", "production")
    monkeypatch.setenv("SESSION_SECRET", "s" * 32)
    monkeypatch.setenv(name, url)

    with pytest.raises(BadSetting, match=rf"^{name}: has the default password"):
        load()


def test_the_image_is_no_root_and_hands_signals_to_the_daemon() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()

    assert "USER cueapi" in lines
    assert 'CMD ["cueapid"]' in lines


def test_every_dependency_is_locked_at_a_version_that_pyproject_allows() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    asked = [Requirement(text) for text in project["dependencies"]]
    lines = re.findall(r"^([\w.-]+)==(\S+)", LOCK.read_text("utf-8"), re.MULTILINE)
    locked = {canonicalize_name(name): Version(version) for name, version in lines}

    assert {canonicalize_name(one.name) for one in asked} <= set(locked)
    assert [str(one) for one in asked if locked[canonicalize_name(one.name)] not in one.specifier] == []


def test_the_lock_names_no_place_to_download_from() -> None:
    assert re.findall(r"^-.*|\w+://\S*", LOCK.read_text("utf-8"), re.MULTILINE) == []


def test_the_image_installs_what_is_locked_before_the_product() -> None:
    steps = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if line.startswith(("COPY", "RUN pip"))]

    assert steps[:2] == [
        "COPY .docker/requirements.lock ./",
        "RUN pip install --no-cache-dir --require-hashes -r requirements.lock",
    ]
    assert steps[-1].startswith("RUN pip install --no-cache-dir --no-deps .")
    assert "!.docker" in (ROOT / ".dockerignore").read_text().splitlines()

"""-f several times, folders, standard input, and two registrars with one id of a check."""

import json
import subprocess
from pathlib import Path

from kato_consul.testing import ConsulAgent
from tests.cli.running import (
    ENDS_WITHIN,
    HealthServer,
    agent_env,
    argv,
    environment,
    get_json,
    ids,
    kato_consul,
    line_with,
    started,
)
from tests.testing.waiting import eventually


def consul_json(instance: HealthServer, service: str, number: int, *, check_id: str = "") -> str:
    """Return the definition of an instance in Consul's JSON."""
    check = {"tcp": f"127.0.0.1:{instance.port}", "interval": "200ms"}
    if check_id:
        check["id"] = check_id
    definition = {"name": service, "id": f"{service}-{number}", "port": instance.port}
    return json.dumps({"service": {**definition, "address": "127.0.0.1", "check": check}})


def hcl(instance: HealthServer, service: str, number: int) -> str:
    """Return the definition of an instance in HCL."""
    return (
        f'service {{\n  name = "{service}"\n  id = "{service}-{number}"\n'
        f'  address = "127.0.0.1"\n  port = {instance.port}\n'
        f'  check {{\n    tcp = "127.0.0.1:{instance.port}"\n    interval = "200ms"\n  }}\n}}\n'
    )


def test_several_files_folders_and_standard_input(
    agent: ConsulAgent, service: str, instance: HealthServer, tmp_path: Path
) -> None:
    """All of them count, in each form, and for each command with -f."""
    folder = tmp_path / "kato.d"
    folder.mkdir()
    (folder / "a.json").write_text(consul_json(instance, service, 1))
    (folder / "b.hcl").write_text(hcl(instance, service, 2))
    (folder / "README").write_text("not a definition")
    (tmp_path / "kato.toml").write_text(instance.table(service, 3))
    files = ["-f", str(folder), "-f", str(tmp_path / "kato.toml"), "-f", "-"]
    mine = {f"{service}-{number}" for number in range(1, 5)}
    for command, left in (("register", mine), ("drain", mine), ("deregister", set())):
        options = ["--wait", "0"] if command == "drain" else []
        done = subprocess.run(
            argv(command, *files, *options),
            env=environment(agent_env(agent)),
            input=hcl(instance, service, 4),
            capture_output=True,
            text=True,
            timeout=ENDS_WITHIN,
            check=False,
        )
        assert done.returncode in (0, 7), done.stderr  # 7: clients may use them still
        assert ids(agent, service) == left
        assert all(one in done.stdout for one in mine)


def test_one_mistake_and_nothing_is_registered(
    agent: ConsulAgent, service: str, instance: HealthServer, tmp_path: Path
) -> None:
    """A mistake in one of several files, or an id in two of them, registers none."""
    (tmp_path / "a.json").write_text(consul_json(instance, service, 1))
    for text, expected in (
        ("service {\n  name = ", "b.hcl: is not valid HCL: line 2: "),
        (hcl(instance, service, 1), f"the id '{service}-1' is used 2 times"),
    ):
        (tmp_path / "b.hcl").write_text(text)
        done = kato_consul("register", "-f", tmp_path, env=agent_env(agent))
        assert (done.returncode, done.stdout) == (2, "")
        assert expected in done.stderr
        assert ids(agent, service) == set()


def test_warnings_are_printed(
    agent: ConsulAgent, service: str, instance: HealthServer, tmp_path: Path
) -> None:
    """What is taken, but may surprise, is said on standard error."""
    definition = json.loads(consul_json(instance, service, 1))
    definition["service"]["check"]["deregister_critical_service_after"] = "30s"
    path = tmp_path / "a.json"
    path.write_text(json.dumps(definition))
    done = kato_consul("register", "-f", path, "--wait", "0", env=agent_env(agent))
    assert done.returncode == 0
    assert done.stderr == (
        f"warning: {path}: service 1 ({service}-1): check: deregister_critical_service_after: "
        f"'30s' is shorter than Consul's minimum: it becomes 1m\n"
    )


def test_references_with_expand(
    agent: ConsulAgent, service: str, instance: HealthServer, tmp_path: Path
) -> None:
    """--expand replaces references in Consul's forms."""
    path = tmp_path / "a.json"
    path.write_text(consul_json(instance, service, 1).replace("127.0.0.1", "${HOST_IP}"))
    env = {**agent_env(agent), "HOST_IP": "127.0.0.1"}
    done = kato_consul("register", "-f", path, env=env)
    assert done.returncode == 2
    assert "'${HOST_IP}' has a reference that was not replaced" in done.stderr
    done = kato_consul("register", "-f", path, "--expand", env=env)
    assert done.returncode == 0, done.stderr
    assert ids(agent, service) == {f"{service}-1"}


def test_run_follows_a_folder(
    agent: ConsulAgent, service: str, instance: HealthServer, tmp_path: Path
) -> None:
    """A new file, a changed one and a missing one are changes of the folder."""
    folder, more = tmp_path / "kato.d", tmp_path / "more.toml"
    folder.mkdir()
    (folder / "a.json").write_text(consul_json(instance, service, 1))
    more.write_text(instance.table(service, 9))

    def has(*numbers: int) -> bool:
        return eventually(lambda: ids(agent, service) == {f"{service}-{one}" for one in numbers})

    with started("run", "-f", folder, "-f", more, env=agent_env(agent)) as process:
        line_with(process, "all registered")
        assert has(1, 9)
        for name, text, expected in (
            ("b.hcl", hcl(instance, service, 2), (1, 2, 9)),
            ("b.hcl", hcl(instance, service, 3), (1, 3, 9)),
        ):
            (tmp_path / "new").write_text(text)
            (tmp_path / "new").replace(folder / name)
            line_with(process, "was reloaded; instances in it: 3")
            assert has(*expected)
        (folder / "c.toml").write_text(instance.table(service, 3))
        line_with(process, f"the id '{service}-3' is used 2 times")
        line_with(process, "the previous definitions stay in effect")
        (folder / "c.toml").unlink()
        line_with(process, "instances in it: 3")
        (folder / "a.json").unlink()
        line_with(process, "instances in it: 2")
        assert has(3, 9)
        more.unlink()
        line_with(process, f"{more} is missing; its previous definitions stay in effect")
        assert has(3, 9)
        process.terminate()
        assert process.wait(ENDS_WITHIN) == 0
    assert ids(agent, service) == set()


def owner_of_check(agent: ConsulAgent, check_id: str) -> str:
    """Return the service that has this check."""
    owner: str = get_json(agent, "/v1/agent/checks")[check_id]["ServiceID"]
    return owner


def test_one_check_id_and_two_registrars(
    agent: ConsulAgent, service: str, instance: HealthServer, tmp_path: Path
) -> None:
    """The second registrar is refused, and the first service keeps its check. Registering the first
    one again, with another check under the same id, is harmless."""
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    check_id = f"alive-{service}"
    first.write_text(consul_json(instance, service, 1, check_id=check_id))
    second.write_text(consul_json(instance, service, 2, check_id=check_id))
    env = agent_env(agent)
    for _ in range(2):
        assert kato_consul("register", "-f", first, env=env).returncode == 0
    for command in ("register", "run"):
        done = kato_consul(command, "-f", second, "--wait", "0", env=env)
        assert (done.returncode, ids(agent, service)) == (2, {f"{service}-1"})
        assert f"the check id '{check_id}' is that of a check of '{service}-1'" in done.stderr
        assert owner_of_check(agent, check_id) == f"{service}-1"
    first.write_text(first.read_text().replace("200ms", "300ms"))
    assert kato_consul("register", "-f", first, env=env).returncode == 0


def test_one_check_id_and_two_running_registrars(
    agent: ConsulAgent, service: str, instance: HealthServer, tmp_path: Path
) -> None:
    """`run` does not take a check at a reload either, and registers the instance when the id is
    free."""
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    check_id = f"alive-{service}"
    first.write_text(consul_json(instance, service, 1, check_id=check_id))
    second.write_text(consul_json(instance, service, 2, check_id=f"{check_id}-2"))
    env = agent_env(agent)
    with started("run", "-f", first, env=env) as one, started("run", "-f", second, env=env) as two:
        line_with(one, "all registered")
        line_with(two, "all registered")
        second.write_text(
            json.dumps(
                {
                    "services": [
                        json.loads(consul_json(instance, service, 2))["service"],
                        json.loads(consul_json(instance, service, 3, check_id=check_id))["service"],
                    ]
                }
            )
        )
        line_with(two, f"{service}-3 is not registered: the check id '{check_id}' is that of a")
        assert ids(agent, service) == {f"{service}-1", f"{service}-2"}
        assert owner_of_check(agent, check_id) == f"{service}-1"
        one.terminate()
        assert one.wait(ENDS_WITHIN) == 0
        line_with(two, f"{service}-3: registered")
        assert owner_of_check(agent, check_id) == f"{service}-3"
        two.terminate()
        assert two.wait(ENDS_WITHIN) == 0
    assert ids(agent, service) == set()


def test_sidecar_comes_and_goes_with_its_instance(
    agent: ConsulAgent, service: str, instance: HealthServer, tmp_path: Path
) -> None:
    """`run` registers a lost sidecar again, removes one that is not defined any more, and leaves
    none behind."""
    path = tmp_path / "kato.hcl"
    plain = hcl(instance, service, 1)
    meshed = plain.replace("check {", "connect { sidecar_service {} }\n  check {")
    path.write_text(meshed)
    sidecar = f"{service}-1-sidecar-proxy"

    def has_sidecar() -> bool:
        return sidecar in get_json(agent, "/v1/agent/services")

    with started("run", "-f", path, env=agent_env(agent)) as process:
        line_with(process, "all registered")
        assert has_sidecar()
        agent.cli("services", "deregister", f"-id={sidecar}")
        line_with(process, f"{service}-1: was changed in the agent, registered again")
        assert eventually(has_sidecar)
        path.write_text(plain)
        line_with(process, f"{sidecar}: deregistered")
        assert eventually(lambda: not has_sidecar())
        path.write_text(meshed)
        line_with(process, "instances in it: 1")
        assert eventually(has_sidecar)
        process.terminate()
        assert process.wait(ENDS_WITHIN) == 0
    assert not has_sidecar()
    assert ids(agent, service) == set()

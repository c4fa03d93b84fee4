"""Libraries are imported with the first client: not with the package, and never by a thread."""

import subprocess
import sys

import pytest

RECORD = """
import importlib.abc, sys, threading, time
late = []

class Recorder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if threading.current_thread() is not threading.main_thread():
            late.append(name)
        return None

sys.meta_path.insert(0, Recorder())

def until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)

"""
"""Records each module that a thread other than the main one looks for."""

CLIENT = """
from kato_consul import KatoClient, Settings
with KatoClient(Settings(consul_addr="127.0.0.1:9", engine=ENGINE)) as client:
    until(lambda: client.discovery.last_error is not None)  # was logged, and is retried
"""

REGISTRAR = """
from kato_consul import Registrar, ServiceDefinition, Settings
events = []
registrar = Registrar(
    [ServiceDefinition(name="kato", address="127.0.0.1", port=9)],
    Settings(consul_addr="127.0.0.1:9", engine=ENGINE),
    on_event=lambda event, subject, **fields: events.append(event),
)
registrar.register_when_healthy()
until(lambda: {"instance.health", "consul.error"} <= set(events))
registrar.close()
"""

STATIC_REGISTRAR = REGISTRAR.replace(
    'Settings(consul_addr="127.0.0.1:9"', 'Settings(kato_urls=("http://127.0.0.1:9",)'
).replace('{"instance.health", "consul.error"}', '{"instance.health"}')
"""Beside KATO_URL alone no Consul is used for discovery, but a registrar still uses one."""

TRANSPORT = """
import time
import httpx
from kato_consul import DiscoveryTransport, Settings
settings = Settings(consul_addr="127.0.0.1:9", engine=ENGINE, deadline=0.5)

def call():
    with httpx.Client(transport=transport) as client:
        try:
            client.get("http://kato/")
        except httpx.TransportError:
            pass

transport = DiscoveryTransport(settings)
transport._service("kato", time.monotonic() + 30.0)
thread = threading.Thread(target=call)
thread.start()
thread.join()
"""


@pytest.mark.parametrize("engine", ["httptools", "httpx"])
@pytest.mark.parametrize(
    "program",
    [
        pytest.param(CLIENT, id="client"),
        pytest.param(REGISTRAR, id="registrar"),
        pytest.param(STATIC_REGISTRAR, id="registrar beside KATO_URL"),
        pytest.param(TRANSPORT, id="transport"),
    ],
)
def test_no_thread_imports_a_module(program: str, engine: str) -> None:
    """A child that is forked while a thread imports a module would hang at that module."""
    code = RECORD + program.replace("ENGINE", repr(engine)) + "\nprint(sorted(set(late)))\n"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.stdout, ran.returncode) == ("[]\n", 0), ran.stderr


INTERRUPTED = """
import importlib.metadata as metadata
version = metadata.version

def interrupt(name):
    metadata.version = version
    raise KeyboardInterrupt

metadata.version = interrupt  # as Ctrl-C does while py-consul reads its version
from kato_consul import KatoClient, Settings
settings = Settings(consul_addr="127.0.0.1:9")
try:
    KatoClient(settings)
except KeyboardInterrupt:
    KatoClient(settings).close()
    print("created")
"""


def test_interrupt_during_the_import_of_py_consul_leaves_it_usable() -> None:
    """After Ctrl-C in the first client's creation another client can be created."""
    argv = [sys.executable, "-c", INTERRUPTED]
    ran = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (ran.stdout, ran.returncode) == ("created\n", 0), ran.stderr


FORKING = """
import os, time
from kato_consul import KatoClient, Settings
client = KatoClient(Settings(consul_addr="127.0.0.1:9"))
client.__enter__()
for _ in range(20):
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    time.sleep(0.005)
client.close()
print("closed")
"""


def test_forks_while_the_watch_starts_and_logs_its_first_error() -> None:
    """The parent and its children go on, whatever the watch's thread does at the fork."""
    argv = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKING]
    ran = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
    assert (ran.stdout, ran.returncode) == ("closed\n", 0), ran.stderr

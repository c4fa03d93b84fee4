"""The generator of the sync facades: its rewriting rules, and whether its output is current."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import kato_consul

SCRIPT = Path(__file__).parents[2] / "scripts" / "generate_sync.py"
CHECK = [sys.executable, str(SCRIPT), "--check"]


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_sync", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("asynchronous", "synchronous"),
    [
        ("async def f(): ...", "def f(): ..."),
        ("x = await self._run(flow)", "x = self._run(flow)"),
        ("print((await kato.snapshot()).usable)", "print(kato.snapshot().usable)"),
        ('(await http.get("/health")).json()', 'http.get("/health").json()'),
        ("async with client as kato: ...", "with client as kato: ..."),
        ("async for snapshot in kato.changes(): ...", "for snapshot in kato.changes(): ..."),
        ("x: AsyncGenerator[Snapshot, None]", "x: Generator[Snapshot, None, None]"),
        ("x: AsyncIterator[bytes]", "x: Iterator[bytes]"),
        ("x: Callable[P, Awaitable[R]]", "x: Callable[P, R]"),
        ("x: Callable[P, Coroutine[Any, Any, R]]", "x: Callable[P, R]"),
        ("async def aclose(self): ...", "def close(self): ..."),
        ("async def __aenter__(self): ...", "def __enter__(self): ..."),
        ("def __aiter__(self): ...", "def __iter__(self): ..."),
        ("await response.aread()", "response.read()"),
        ("x: AsyncSession", "x: Session"),
        ("x: AsyncKatoClient", "x: KatoClient"),
        ("x: AsyncDiscoveryTransport", "x: DiscoveryTransport"),
        ("x: httpx.AsyncBaseTransport", "x: httpx.BaseTransport"),
        ("x: httpx.AsyncByteStream", "x: httpx.SyncByteStream"),
        ("self.handle_async_request(x)", "self.handle_request(x)"),
        ('"""A client, on asyncio."""', '"""A client, for threads."""'),
        ("An async client and its tasks", "An async client and its tasks"),
    ],
)
def test_rule_rewrites_async_to_sync(
    generator: ModuleType, asynchronous: str, synchronous: str
) -> None:
    """Each async construct becomes its sync form; the word "async" in prose stays."""
    text = asynchronous
    for pattern, replacement in generator.RULES:
        text = pattern.sub(replacement, text)
    assert text == synchronous


def test_lifespan_is_async_only(generator: ModuleType) -> None:
    """A method for ASGI applications is removed, and the methods around it are kept."""
    source = (
        "class C:\n    def a(self): ...\n\n    @asynccontextmanager\n"
        "    async def lifespan(self):\n        yield\n\n    def _b(self): ...\n"
    )
    text = generator.ASYNC_ONLY.sub("", source)
    assert "lifespan" not in text
    assert "def a(self)" in text
    assert "def _b(self)" in text


def test_generated_modules_are_current() -> None:
    """The committed sync modules equal the generator's output; otherwise `make check` fails."""
    checked = subprocess.run(CHECK, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout) == (0, "")


def test_check_names_a_module_that_differs(
    generator: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """``--check`` writes nothing, exits with 1 and names the module that differs."""
    (tmp_path / "_async").mkdir()
    (tmp_path / "_sync").mkdir()
    for name in ("client", "brand_new", "driver"):
        (tmp_path / "_async" / f"{name}.py").write_text("async def f() -> None: ...\n")
    monkeypatch.setattr(generator, "PACKAGE", tmp_path)
    monkeypatch.setattr(sys, "argv", ["generate_sync.py"])
    assert generator.main() == 0
    written = {path.name for path in (tmp_path / "_sync").iterdir()}
    assert written == {"client.py", "brand_new.py"}  # the driver is written by hand
    (tmp_path / "_sync" / "client.py").write_text("changed by hand\n")
    monkeypatch.setattr(sys, "argv", ["generate_sync.py", "--check"])
    assert generator.main() == 1
    assert "client.py" in capsys.readouterr().out
    assert (tmp_path / "_sync" / "client.py").read_text() == "changed by hand\n"


def test_every_async_name_has_a_sync_name() -> None:
    """Each public name with the prefix ``Async`` is also public without it."""
    asynchronous = {name for name in kato_consul.__all__ if name.startswith("Async")}
    assert {name.removeprefix("Async") for name in asynchronous} <= set(kato_consul.__all__)

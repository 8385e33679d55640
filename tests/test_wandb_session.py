"""Whether W&B can be online: keys, and servers of all kinds on this machine."""

import http.server
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from moe import compose, wandb_session
from moe.wandb_session import answers, has_key, wandb_mode

KEY = "0123456789" * 4


@pytest.fixture(autouse=True)
def no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_MODE", "WANDB_BASE_URL", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    answers.cache_clear()
    wandb_session._say.cache_clear()


@contextmanager
def server(status: int) -> Iterator[str]:
    """The address of a server that answers everything with one status."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Location", "http://127.0.0.1:1/")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()


@pytest.mark.parametrize(
    ("status", "there"), [(200, True), (302, True), (401, True), (404, True), (500, False), (502, False)]
)
def test_a_server_that_says_anything_sensible_is_there(status: int, there: bool) -> None:
    with server(status) as address:
        assert answers(address) is there


@pytest.mark.fault("W&B absent, unreachable or dead")
def test_a_closed_port_and_a_name_that_does_not_exist_are_no_server() -> None:
    began = time.monotonic()
    assert not answers("http://127.0.0.1:1") and not answers("http://no-such-host.invalid") and not answers("nonsense")
    assert time.monotonic() - began < 2 * wandb_session.ANSWER_SECONDS


@pytest.mark.fault("W&B absent, unreachable or dead")
def test_a_silent_server_is_waited_for_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, never says a word
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("WANDB_BASE_URL", address)
        began = time.monotonic()
        with caplog.at_level(logging.WARNING):
            assert wandb_mode("auto") == "offline"
        waited = time.monotonic() - began
        assert 2.5 < waited < 4.5
        assert caplog.messages == [f"W&B: {address} does not answer within 3 s; what runs is logged offline"]
        assert wandb_mode("auto") == "offline"
        assert time.monotonic() - began < waited + 1


@pytest.mark.fault("W&B absent, unreachable or dead")
def test_online_needs_a_key_and_a_server(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    with server(200) as address:
        monkeypatch.setenv("WANDB_BASE_URL", address)
        with caplog.at_level(logging.INFO):
            assert wandb_mode("auto") == wandb_mode("online") == wandb_mode("auto") == "offline"
        # Once each: said in passing where nobody asked for more, else a warning.
        said = "W&B has no API key (WANDB_API_KEY, or wandb login); what runs is logged offline"
        assert [(r.levelname, r.message) for r in caplog.records] == [("INFO", said), ("WARNING", said)]
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        assert wandb_mode("auto") == wandb_mode("online") == "online"
        assert wandb_mode("offline") == "offline"
        monkeypatch.setenv("WANDB_MODE", "disabled")
        assert wandb_mode("auto") == "disabled"
        assert wandb_mode("online") == "online"


def test_the_project_is_that_of_the_environment_unless_another_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    assert compose("experiment=gates").logger.project == "moe"
    monkeypatch.setenv("WANDB_PROJECT", "theirs")
    assert compose("experiment=gates").logger.project == compose("logger=csv").logger.project == "theirs"
    assert compose("logger.project=mine").logger.project == "mine"


def test_a_key_is_found_where_wandb_login_leaves_it(tmp_path: Path) -> None:
    assert not has_key("https://api.wandb.ai")
    (tmp_path / "netrc").write_text(f"machine api.wandb.ai\n  login user\n  password {KEY}\n")
    # W&B's own server under either name, but no other.
    assert has_key("https://api.wandb.ai") and has_key("https://api.forge.coreweave.com")
    assert not has_key("http://10.0.0.1:8080")
    (tmp_path / "netrc").write_text(f"machine 10.0.0.1:8080\n  login user\n  password {KEY}\n")
    assert has_key("http://10.0.0.1:8080") and not has_key("https://api.wandb.ai")
    (tmp_path / "netrc").write_text("machine")
    assert not has_key("http://10.0.0.1:8080")

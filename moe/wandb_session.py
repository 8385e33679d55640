"""How this process may talk to W&B: the mode, a key, a server that answers, the run that `wandb agent` gave it."""

import logging
import netrc
import os
import shlex
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from omegaconf import OmegaConf

from moe.schema import Plain

log = logging.getLogger(__name__)
# W&B's own server has two names; a key for one is good for the other.
CLOUD = ("api.wandb.ai", "api.forge.coreweave.com")
KEYS = ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE")
ANSWER_SECONDS = 3.0  # W&B itself tries a server that cannot be reached for 20


@dataclass(frozen=True)
class AgentRun:
    """The run that `wandb agent` began for this command: its id, its sweep's, the values that were chosen for it."""

    run_id: str | None = None
    sweep_id: str | None = None
    parameters: Plain = field(default_factory=dict)

    @classmethod
    def take(cls) -> "AgentRun":
        """It, taken out of the environment, by which W&B would make every run of this process that one."""
        run_id, sweep_id, path = (
            os.environ.pop(f"WANDB_{n}", None) for n in ("RUN_ID", "SWEEP_ID", "SWEEP_PARAM_PATH")
        )
        said: Any = OmegaConf.to_container(OmegaConf.load(path)) if path and Path(path).is_file() else {}
        return cls(run_id, sweep_id, {k: v["value"] for k, v in said.items() if isinstance(v, dict) and "value" in v})

    @property
    def settings(self) -> Plain:
        """W&B's settings by which a run is this one."""
        given = {"run_id": self.run_id, "sweep_id": self.sweep_id}
        return {name: value for name, value in given.items() if value is not None}

    def place(self, project: str, entity: str | None) -> Plain:
        """The project and entity to log to: the agent's sweep's, else the given ones."""
        if self.sweep_id is None:
            return {"project": project, "entity": entity}
        return {"project": os.environ.get("WANDB_PROJECT", project), "entity": os.environ.get("WANDB_ENTITY", entity)}


@cache
def _say(level: int, sentence: str) -> None:
    """Log a sentence once a process: a sweep's jobs would all say the same."""
    log.log(level, sentence)


def wandb_mode(wanted: str, say: Callable[[int, str], None] = _say) -> str:
    """W&B's mode for `logger.mode`: `auto` obeys WANDB_MODE, then is online where a key is set, else offline.

    Where it has to be offline though that was not asked for, `say` is told so within seconds, with logging's level.
    """
    asked = os.environ.get("WANDB_MODE", "") if wanted == "auto" else wanted
    if asked not in ("", "online"):
        return asked
    server = server_url()
    if not has_key(server):
        level = logging.WARNING if asked == "online" else logging.INFO
        say(level, "W&B has no API key (WANDB_API_KEY, or wandb login); what runs is logged offline")
        return "offline"
    if not answers(server):
        silent = f"W&B: {server} does not answer within {ANSWER_SECONDS:.0f} s"
        say(logging.WARNING, f"{silent}; what runs is logged offline")
        return "offline"
    return "online"


def offline_lines(place: Path) -> tuple[str, ...]:
    """How to see and upload what was logged offline in a folder; nothing where there is no such run."""
    if not any(place.glob("wandb/offline-run-*")):
        return ()
    quoted = shlex.quote(str(place))
    return (
        f"W&B         offline; to see the curves: wandb leet {quoted}/wandb",
        f"            to upload them: wandb sync {quoted}/wandb/offline-run-*",
    )


def server_url() -> str:
    """The address of the W&B server: WANDB_BASE_URL, else what `wandb login --host` left, else W&B's own."""
    import wandb

    return os.environ.get("WANDB_BASE_URL") or str(wandb.setup().settings.base_url)


def has_key(server: str) -> bool:
    """Whether W&B finds an API key for a server, in the environment or in the file of `wandb login`."""
    if any(os.environ.get(name) for name in KEYS):
        return True
    host = urlsplit(server).netloc
    try:
        saved = netrc.netrc(os.environ.get("NETRC"))
    except (OSError, netrc.NetrcParseError):
        return False
    return any(saved.authenticators(name) for name in (CLOUD if host in CLOUD else (host,)))


@cache
def answers(server: str) -> bool:
    """Whether a server answers at an address within ANSWER_SECONDS; asked once a process."""
    said: list[bool] = []
    # In a thread, since a name server that is silent is waited for longer than any time-out of the request's.
    asking = threading.Thread(target=lambda: said.append(_asked(server)), daemon=True)
    asking.start()
    asking.join(ANSWER_SECONDS)
    return any(said)


def _asked(server: str) -> bool:
    try:
        urllib.request.build_opener(_Unredirected).open(server, timeout=ANSWER_SECONDS).close()
    except urllib.error.HTTPError as error:
        return error.code < 500  # above that it is a proxy that speaks, or a server that is down
    except urllib.error.URLError as error:
        return isinstance(error.reason, ssl.SSLError)  # certificates are W&B's own business
    except (OSError, ValueError):
        return False
    return True


class _Unredirected(urllib.request.HTTPRedirectHandler):
    """A redirection is an answer."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None

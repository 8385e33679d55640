"""The launcher that trains the gates of many jobs at once."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.utils import JobReturn


class TogetherLauncher(BasicLauncher):
    """Hydra's basic launcher, which tells each job of the others; see `moe.together`."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run one job after another; the first that needs gates trains those of its company too."""
        from moe.sweep import company

        company.gather(list(self._configs(job_overrides)))
        try:
            return super().launch(job_overrides, initial_job_idx)
        finally:
            company.gather([])

    def _configs(self, job_overrides: Sequence[Sequence[str]]) -> Any:
        from moe.config import hydra_errors, parse
        from moe.errors import UserError
        from moe.sizes import resolved

        assert self.hydra_context is not None and self.config is not None
        for overrides in job_overrides:
            with suppress(UserError), hydra_errors():  # the job itself will say what is wrong
                composed = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
                yield resolved(parse(composed), say=False)

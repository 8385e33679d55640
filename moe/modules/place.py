"""A process's place among those that train one network together."""

from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from pytorch_lightning.strategies import DDPStrategy


class Place(ClusterEnvironment):
    """Rank `rank` of `world` processes of one machine, each with a device, that meet at `port`.

    As Lightning's environment it keeps Lightning from starting processes itself, and from taking the ranks of a Slurm
    job or a launcher's variables for its own.
    """

    def __init__(self, rank: int = 0, world: int = 1, port: int = 0) -> None:
        super().__init__()
        self.rank, self.world, self.port = rank, world, port

    def strategy(self) -> DDPStrategy:
        """Lightning's strategy for this process."""
        # Under hard routing a gate has no gradient from a part of a batch that routing sent elsewhere.
        return DDPStrategy(cluster_environment=self, find_unused_parameters=True)

    @property
    def creates_processes_externally(self) -> bool:
        return True

    @property
    def main_address(self) -> str:
        return "127.0.0.1"

    @property
    def main_port(self) -> int:
        return self.port

    @staticmethod
    def detect() -> bool:
        return False

    def world_size(self) -> int:
        return self.world

    def set_world_size(self, size: int) -> None:
        pass  # it is given

    def global_rank(self) -> int:
        return self.rank

    def set_global_rank(self, rank: int) -> None:
        pass  # it is given

    def local_rank(self) -> int:
        return self.rank

    def node_rank(self) -> int:
        return 0

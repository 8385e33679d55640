import pytest

from moe.schema import Plain
from tests.results.worked import GATES, measured


@pytest.fixture(scope="module")
def hard() -> Plain:
    return measured("hard", GATES)[0]

"""What else is in a stage's key, and what is not; and the seed that a stage draws from."""

import hashlib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from moe.provenance import code_digest, parsed
from moe.store import digest
from tests.stages.planned import ALL, NESTED, NETWORKS, changed, default, differing, keys, stages


def test_a_key_is_the_kind_and_a_hash_of_the_inputs() -> None:
    base, _, natural, router, gates = stages(default()).values()
    assert [stage.key.rpartition("-")[0] for stage in (base, natural, router, gates)] == [
        "base",
        "expert",
        "router",
        "gates",
    ]
    assert base.key == f"base-{digest(base.inputs)[:16]}"
    # Gates hash the keys of what they read, in order.
    assert gates.inputs["needs"] == [stage.key for stage in stages(default()).values()][:-1]


def test_digest_is_the_sha256_of_sorted_json() -> None:
    expected = hashlib.sha256(b'{"a":[1,2.5,null],"b":{"c":"x","d":true}}').hexdigest()
    assert digest({"b": {"d": True, "c": "x"}, "a": [1, 2.5, None]}) == expected


@pytest.mark.parametrize(
    "data",
    [{"fingerprint": "other"}, {"in_shape": (1, 32, 32)}, {"precision": "bf16-mixed"}],
    ids=lambda d: next(iter(d)),
)
@pytest.mark.fault("a store entry of other config, data, seed or code")
def test_images_and_precision_change_every_key(data: dict[str, Any]) -> None:
    assert differing(keys(default()), keys(default(), **data)) == ALL


@pytest.mark.fault("a store entry of other config, data, seed or code")
def test_changed_code_of_a_network_is_another_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moe.provenance.PACKAGE", tmp_path)
    (tmp_path / "nets").mkdir()
    file = tmp_path / "nets" / "mine.py"
    digests = []
    for text in (
        'class Net:\n    """Says."""\n\n    width = 3\n',
        'class Net:\n    """Says otherwise."""\n\n    width = 3  # and why\n',  # the same code
        'class Net:\n    """Says."""\n\n    width = 4\n',
    ):
        file.write_text(text)
        parsed.cache_clear()
        digests.append(code_digest("moe.nets.mine.Net"))
    assert digests[0] == digests[1] != digests[2]
    assert code_digest("torchvision.models.vgg11_bn") == f"torchvision {version('torchvision')}"


@pytest.mark.fault("a store entry of other config, data, seed or code")
def test_changed_code_that_a_network_builds_on_is_another_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moe.provenance.PACKAGE", tmp_path)
    nets = tmp_path / "nets"
    nets.mkdir()
    (nets / "initial.py").write_text("start = 1\n")

    def digests(said: str, deeper: str) -> list[str]:
        (nets / "deeper.py").write_text(deeper)
        (nets / "theirs.py").write_text(said)
        imports = ("from moe.nets.theirs import Net", "from moe.nets import theirs", "from .theirs import Net")
        found = []
        for line in (*imports, "import moe.nets.theirs", "from moe.nets.initial import start", ""):
            (nets / "mine.py").write_text(f"{line}\n\nclass Mine: ...\n")
            parsed.cache_clear()
            found.append(code_digest("moe.nets.mine.Mine"))
        return found

    deep = "from . import deeper\n\nclass Net: "
    before = digests(f"{deep}width = 3\n", "depth = 1\n")
    for changed_too in (digests(f"{deep}width = 4\n", "depth = 1\n"), digests(f"{deep}width = 3\n", "depth = 2\n")):
        assert [a == b for a, b in zip(before, changed_too, strict=True)] == [False] * 4 + [True] * 2
    # In a package of its own the names of relative imports are that package's, and above it moe.nets'.
    inner = nets / "inner"
    inner.mkdir()
    (inner / "__init__.py").write_text("from .net import Net\n")
    (inner / "net.py").write_text("from .blocks import Block\nfrom ..theirs import Net\n")
    (inner / "blocks.py").write_text("size = 1\n")
    parsed.cache_clear()
    first = [code_digest(f"moe.nets.inner{where}.Net") for where in ("", ".net")]
    (inner / "blocks.py").write_text("size = 2\n")
    parsed.cache_clear()
    second = [code_digest(f"moe.nets.inner{where}.Net") for where in ("", ".net")]
    (nets / "theirs.py").write_text("width = 9\n")
    parsed.cache_clear()
    third = [code_digest(f"moe.nets.inner{where}.Net") for where in ("", ".net")]
    assert len({*first, *second, *third}) == 6
    (nets / "initial.py").write_text("start = 2\n")
    assert digests(f"{deep}width = 3\n", "depth = 1\n") == before
    # Of a module that builds on none the digest is that of its own code.
    ellipsis = {"Expr": {"value": {"Constant": {"value": "Ellipsis"}}}}
    assert before[-1] == digest({"Module": {"body": [{"ClassDef": {"name": "'Mine'", "body": [ellipsis]}}]}})[:16]


def test_code_is_the_same_whatever_version_of_python_read_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moe.provenance.PACKAGE", tmp_path)
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "mine.py").write_text('def say(n: int) -> str:\n    return f"{n:<{n}}!"\n')
    # Worked out once: what 3.11, 3.12 and 3.13 came to, of which 3.12 alone has type parameters and a last empty piece.
    assert code_digest("moe.nets.mine.say") == "3d7c09579d30dd11"


def test_an_empty_text_is_part_of_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moe.provenance.PACKAGE", tmp_path)
    (tmp_path / "nets").mkdir()
    digests = []
    for name, call in (("one", 'split("")'), ("two", "split()")):
        (tmp_path / "nets" / f"{name}.py").write_text(f"said = text.{call}\n")
        digests.append(code_digest(f"moe.nets.{name}.said"))
    assert digests[0] != digests[1]


def test_a_command_keeps_to_the_code_that_it_began_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moe.provenance.PACKAGE", tmp_path)
    (tmp_path / "nets").mkdir()
    file = tmp_path / "nets" / "mine.py"
    file.write_text("width = 3\n")
    before = code_digest("moe.nets.mine.Net")
    file.write_text("width = 4\n")  # what runs is still the first
    assert code_digest("moe.nets.mine.Net") == before


@pytest.mark.fault("a store entry of other config, data, seed or code")
def test_another_format_of_the_code_changes_every_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = keys(default())
    monkeypatch.setattr("moe.stages.FORMAT", 4)
    assert differing(keys(default()), before) == ALL


def test_a_specialist_that_starts_from_the_base_changes_with_it() -> None:
    start = {"expert.init": "base", "expert.net": default().base.net}
    other = {**start, "base.recipe.epochs": 7}
    assert differing(keys(changed(**start)), keys(changed(**other))) == {"base", "artificial", "natural", "gates"}


def test_branch_names_change_no_key() -> None:
    home = default().taxonomy.branches
    renamed = changed(**{"taxonomy.branches": {"made": home["artificial"], "born": home["natural"]}})
    assert list(keys(renamed).values()) == list(keys(default()).values())
    assert list(keys(renamed)) == ["base", "made", "born", "router", "gates"]
    numbered = changed(**{"taxonomy.branches": {"artificial": [9, 8, 1, 0], "natural": [2, 3, 4, 5, 6, 7]}})
    assert keys(numbered) == keys(default())


def test_a_class_in_another_branch_changes_all_but_the_base() -> None:
    moved = {"artificial": [0, 1, 8, 9, 2], "natural": [3, 4, 5, 6, 7]}
    assert differing(keys(default()), keys(changed(**{"taxonomy.branches": moved}))) == ALL - {"base"}


def test_the_order_of_branches_is_part_of_routers_and_gates_only() -> None:
    home = default().taxonomy.branches
    turned = changed(**{"taxonomy.branches": {"natural": home["natural"], "artificial": home["artificial"]}})
    assert differing(keys(default()), keys(turned)) == {"router", "gates"}


def test_equal_nodes_of_different_trees_share_their_expert() -> None:
    # animals is the home tree's natural: classes 2 to 7.
    nested = keys(changed(**{"taxonomy.branches": NESTED}))
    home = keys(default())
    assert (nested["base"], nested["animals"], nested["machines"]) == (
        home["base"],
        home["natural"],
        home["artificial"],
    )
    # The root's router tells the same two groups apart, though machines comes first in both.
    assert nested["router"] == home["router"]
    assert nested["gates"] != home["gates"]


def test_a_stages_seed_is_made_from_the_runs_seed_and_what_it_learns() -> None:
    # Written out by hand: the first eight hex digits of the sha256 of [seed, kind, what is learnt] as JSON.
    def expected(text: bytes) -> int:
        return int(hashlib.sha256(text).hexdigest()[:8], 16)

    found = {name: stage.seed for name, stage in stages(default()).items()}
    assert found == {
        "base": expected(b'[0,"expert",[0,1,2,3,4,5,6,7,8,9]]'),
        "artificial": expected(b'[0,"expert",[0,1,8,9]]'),
        "natural": expected(b'[0,"expert",[2,3,4,5,6,7]]'),
        "router": expected(b'[0,"router",[[0,1,8,9],[2,3,4,5,6,7]]]'),
        "gates": expected(b'[0,"gates",[[0,1,8,9],[2,3,4,5,6,7]]]'),
    }


def test_seeds_differ_between_stages_and_between_runs() -> None:
    config = changed(**{"taxonomy.branches": NESTED})
    again = changed(**{"taxonomy.branches": NESTED, "seed": 1})
    seeds = [stage.seed for c in (config, again) for stage in stages(c).values()]
    # base, machines, road, animals, pets, wild, three routers, gates; twice.
    assert len(seeds) == 20 and len(set(seeds)) == 20
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_no_seed_depends_on_names_or_on_how_other_stages_learn() -> None:
    home = default().taxonomy.branches
    other = changed(
        **{
            "taxonomy.branches": {"made": home["artificial"], "born": home["natural"]},
            **{f"{name}.recipe.epochs": 3 for name in NETWORKS},
            "base.net.hidden": 7,
            "data.splits.seed": 5,
        }
    )
    assert [s.seed for s in stages(other).values()] == [s.seed for s in stages(default()).values()]

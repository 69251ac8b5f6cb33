"""A search on the nodes of a real Ray cluster of two, both on this machine."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from node_kits import Kit, begun_on, wait_for
from toy_project import PROJECT, make_project, run

from shipworthy.cli.main import run as shipworthy
from shipworthy.compress.ray_nodes import alive, check, common_ground, objection
from shipworthy.compress.ray_trials import many_machines
from shipworthy.compress.trials import Trial
from shipworthy.core.errors import InputError

# Where Ray gives up starting, it leaves a process of its own to end by itself.
pytestmark = pytest.mark.filterwarnings(
    "ignore:subprocess .* is still running:ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)

MODULE = "shipworthy.release.searching"
SEARCH = "compress: {{search: true, keep: 2, most_trials: 2, recipes: [], workers: {}}}"


def _searching(workers: str) -> str:
    return PROJECT.replace("compress: {recipes: [bf16]}", SEARCH.format(workers))


def test_without_ray_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    place = make_project(tmp_path, _searching("ray"))
    for verb in ("run", "compress"):
        assert shipworthy([verb, str(place / "shipworthy.yaml")]) == 2
        said = capsys.readouterr().err
        assert "pip install 'shipworthy[ray]'" in said
        assert "Traceback" not in said
    assert not (place / ".shipworthy").exists()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes of one processor each."""
    pytest.importorskip("ray", reason="ray is not installed: pip install 'shipworthy[ray]'")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # Workers unpickle what lies beside this file.
        here = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, here)))
        # A machine that others fill is no reason to end workers.
        patch.setenv("RAY_memory_monitor_refresh_ms", "0")
        from ray.cluster_utils import Cluster

        # Ray's own wait is minutes, after which a node that is gone is told.
        quick = {"health_check_initial_delay_ms": 5000, "health_check_period_ms": 1000,
                 "health_check_timeout_ms": 5000, "health_check_failure_threshold": 3}  # fmt: skip
        one = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
        found = Cluster()
        try:
            try:
                found.add_node(**one, include_dashboard=False, _system_config=quick)
                found.add_node(**one)
            except Exception as error:
                # Its nodes have half a minute to start, whatever else the machine does.
                pytest.skip(f"Ray could not start on this machine: {error}")
            patch.setenv("RAY_ADDRESS", found.address)
            yield found
        finally:
            found.shutdown()


@pytest.fixture(scope="module")
def ray(cluster: Any) -> Iterator[Any]:
    """Ray's module, connected: what is tested finds the connection and leaves it."""
    import ray

    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()


def _crew(place: Path, deeds: Mapping[str, str], **more: Any) -> Any:
    place.mkdir(exist_ok=True)
    asked = {"most_seconds": 600.0, **more}
    return many_machines(Kit(place, deeds), root=place, module=MODULE, **asked)


@dataclass(frozen=True)
class Told:
    """What came of some recipes on both nodes. broke: what one ended with that was our fault."""

    place: Path
    trials: list[Trial]
    heard: list[Any]
    broke: OSError

    def named(self, name: str) -> Trial:
        (found,) = (trial for trial in self.trials if trial.name == name)
        return found


@pytest.fixture(scope="module")
def told(ray: Any, tmp_path_factory: pytest.TempPathFactory) -> Told:
    place, heard = tmp_path_factory.mktemp("crew"), list[Any]()
    deeds = {"int8": "with bf16", "bf16": "with int8", "fp16": "die once", "onnx": "die",
             "prune-30": "refuse", "prune-50": "break"}  # fmt: skip
    with _crew(place, deeds, hear=heard.append) as tries:
        recipes = ["int8", "bf16", "fp16", "onnx", {"prune": 0.3}, {"prune": 0.4}]
        trials = list(tries(iter(recipes)))
        with pytest.raises(OSError, match="No space left") as raised:
            list(tries(iter([{"prune": 0.5}])))
    return Told(place, trials, heard, raised.value)


@pytest.mark.slow
def test_each_node_has_one_trial_at_a_time(ray: Any, told: Told) -> None:
    assert len(told.trials) == 6
    nodes = {node.id for node in alive(ray)}
    assert len(nodes) == 2
    # Each waited for the other, so they were under way together.
    assert {*begun_on(told.place, "int8"), *begun_on(told.place, "bf16")} == nodes
    assert told.named("int8").state == told.named("bf16").state == "kept"
    assert len(begun_on(told.place, "int8")) == len(begun_on(told.place, "bf16")) == 1
    assert len(told.heard) == 5  # all but the one that died with its news
    assert all(str(news).startswith("news of") for news in told.heard)


@pytest.mark.slow
def test_what_kills_its_worker_is_tried_again_elsewhere(told: Told) -> None:
    assert told.named("fp16").state == "kept"
    first, second = begun_on(told.place, "fp16")
    assert first != second


@pytest.mark.slow
def test_what_always_kills_its_worker_fails_with_its_reason(told: Told) -> None:
    onnx = told.named("onnx")
    assert onnx.state == "failed" and len(begun_on(told.place, "onnx")) == 3
    assert "died 3 times" in onnx.error and "because" in onnx.error
    # The nodes went on.
    assert told.named("prune-40").state == "kept"


@pytest.mark.slow
def test_what_a_recipe_cannot_be_is_its_own_failure_and_a_full_disk_is_not(told: Told) -> None:
    refused = told.named("prune-30")
    assert (refused.state, refused.error) == ("failed", "it cannot be made")
    assert told.broke.errno == 28


@pytest.mark.slow
def test_what_never_ends_is_given_up(ray: Any, tmp_path: Path) -> None:
    with _crew(tmp_path / "hang", {"int8": "hang"}, most_seconds=3.0) as tries:
        (found,) = tries(iter(["int8"]))
    assert found.state == "failed" and "given up" in found.error
    assert len(begun_on(tmp_path / "hang", "int8")) == 1


@pytest.mark.slow
def test_a_node_shows_that_it_shares_folder_locks_and_code(ray: Any, tmp_path: Path) -> None:
    nodes = alive(ray)
    with common_ground(tmp_path, MODULE) as ground:
        check(ray, nodes, ground)
        elsewhere = replace(ground, token=tmp_path / "elsewhere" / "token")
        for wrong, said in (
            (elsewhere, "does not see the folder"),
            (replace(ground, secret="of another search"), "does not see the folder"),
            (replace(ground, code="0" * 64), "another version"),
        ):
            with pytest.raises(InputError, match=said) as raised:
                check(ray, nodes, wrong)
            assert nodes[0].name in str(raised.value)
        unlocked = tmp_path / "unlocked"
        unlocked.write_text(ground.secret)
        with pytest.raises(InputError, match="locks on files"):
            check(ray, nodes, replace(ground, token=unlocked))
        assert objection(ground) == ""
    assert [file.name for file in tmp_path.iterdir() if ".part" in file.name] == []


def _trials(place: Path) -> dict[str, Any]:
    (file,) = place.glob(".shipworthy/stages/*/trials.json")
    told = json.loads(file.read_text("utf-8"))["trials"]
    return {trial["name"]: trial for trial in told}


@pytest.mark.slow
def test_trials_on_nodes_measure_what_trials_here_do(ray: Any, tmp_path: Path) -> None:
    here = make_project(tmp_path / "here")
    run(here, _searching("local"), only="train")
    there = Path(shutil.copytree(here, tmp_path / "there"))
    run(here, _searching("local"), only="candidates")
    finished = run(there, _searching("ray"), only="candidates")
    ours, theirs = _trials(here), _trials(there)
    assert ours.keys() == theirs.keys() and len(ours) == 2
    for name, one in ours.items():
        other = theirs[name]
        assert (other["state"], other["recipe"]) == (one["state"], one["recipe"])
        size, latency, harm = other["found"]["values"]
        assert [size, harm] == [one["found"]["values"][k] for k in (0, 2)]
        assert latency > 0
        assert other["found"]["excess"] == one["found"]["excess"]
    # What nodes of the same kind made is not made again, and the run knows of all of it.
    last = {stage.name: stage for stage in finished.stages if stage.name.startswith("candidate")}
    assert {f"candidate {name}" for name in theirs} <= last.keys()
    chosen = finished.stages[-1]
    assert chosen.name.startswith("candidate") and chosen.cached
    # Where trials were made is no part of what was found.
    again = run(there, _searching("local"), only="candidates")
    assert next(s for s in again.stages if s.name == "search").cached
    assert not list(there.rglob("search-*"))


@pytest.mark.slow
def test_what_a_node_that_goes_was_trying_is_tried_on_another(
    cluster: Any, ray: Any, tmp_path: Path
) -> None:
    place = tmp_path / "gone"
    (going,) = cluster.worker_nodes

    def pull_out() -> None:
        wait_for(place / "int8-0")
        wait_for(place / "bf16-0")
        cluster.remove_node(going, allow_graceful=False)
        (place / "go").write_text("")

    thread = Thread(target=pull_out)
    with _crew(place, {"int8": "wait once", "bf16": "wait once"}) as tries:
        thread.start()
        found = list(tries(iter(["int8", "bf16"])))
        thread.join()
    assert {trial.name: trial.state for trial in found} == {"int8": "kept", "bf16": "kept"}
    # Ray itself may take a while until it says that a node is gone.
    left = cluster.head_node.node_id
    assert sorted(len(begun_on(place, name)) for name in ("int8", "bf16")) == [1, 2]
    assert all(begun_on(place, name)[-1] == left for name in ("int8", "bf16"))

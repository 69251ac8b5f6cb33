"""Nodes of a Ray cluster: reached, and found to see the same folder, locks and code as we do.

Stages lie in the project's folder and are made under its locks, so nodes share the folder and its
locks or take no part: a node with a folder of its own would find nothing, and one without the locks
would clear away what another is making.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from secrets import token_hex
from typing import Any, Literal, TypeAlias

from shipworthy.core.digest import digest_json
from shipworthy.core.errors import InputError, MissingExtraError
from shipworthy.core.files import part_of
from shipworthy.core.locale import text
from shipworthy.core.stages import StageCache

ADDRESS = "RAY_ADDRESS"
CHECK_SECONDS = 120.0
"""Time in which a node has to start a process and look at the folder."""
OBJECT_STORE_BYTES = 100 * 2**20
"""Of a Ray that is started here; what goes through it are settings and numbers."""
LONGEST_REASON = 240

Objection: TypeAlias = Literal["", "folder", "locks", "code"]


@dataclass(frozen=True)
class Node:
    """A machine of the cluster. cpus, gpus: all that Ray may give away there."""

    id: str
    name: str
    cpus: float
    gpus: float


@dataclass(frozen=True)
class Ground:
    """What every node has to find. token: a file that we hold a lock on; secret: its content.

    root: folder of the stage cache. module: entry module of what is worked; code: digest of the
    code behind it and of the versions of libraries.
    """

    root: Path
    token: Path
    secret: str
    module: str
    code: str


def check_installed() -> None:
    """Raise MissingExtraError where Ray is not installed."""
    if find_spec("ray") is None:
        raise MissingExtraError(text("error.ray_nodes.extra"), extra="ray")


@contextmanager
def connected() -> Iterator[Any]:
    """Return Ray's module, connected for the block to the cluster of RAY_ADDRESS, or to one here.

    A connection that is there already is used, and stays. Usage is not reported, and no dashboard
    is started. Raises MissingExtraError, and InputError where no cluster answers.
    """
    check_installed()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    if ray.is_initialized():
        yield ray
        return
    address = os.environ.get(ADDRESS, "")
    mine = {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
    try:
        ray.init(
            address=address or "local", log_to_driver=False, logging_level="ERROR",
            **({} if address else mine),
        )  # fmt: skip
    except Exception as error:
        # Ray tells the same by several kinds, built-in ones among them.
        problem = text("error.ray_nodes.connect", address=address or "local", reason=reason(error))
        raise InputError(_with_fix(problem, text("error.ray_nodes.connect.fix"))) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def alive(ray: Any) -> list[Node]:
    """Return the nodes that live and have processors to give away, in a fixed order."""
    found = []
    for told in ray.nodes():
        resources = told["Resources"]
        if told["Alive"] and resources.get("CPU", 0) > 0:
            name = f"{told['NodeManagerHostname']} ({told['NodeManagerAddress']})"
            gpus = resources.get("GPU", 0)
            found.append(Node(told["NodeID"], name, resources["CPU"], gpus))
    return sorted(found, key=lambda node: (node.name, node.id))


@contextmanager
def common_ground(root: Path, module: str) -> Iterator[Ground]:
    """Lay out for the block what nodes have to find; root: folder of the stage cache, absolute."""
    # A name that `sweep` knows, should a kill leave it behind.
    token, secret = part_of(root / "nodes"), token_hex(16)
    with open(token, "w", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(secret)
            file.flush()
            os.fsync(file.fileno())
            yield Ground(root, token, secret, module, _code(root, module))
        finally:
            token.unlink(missing_ok=True)


def objection(ground: Ground) -> Objection:
    """Say, on a node, what it does not share with us; "" where it shares all."""
    try:
        with open(ground.token, "r+", encoding="ascii") as file:
            if file.read() != ground.secret:
                return "folder"
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass
            except OSError:
                return "locks"
            else:
                return "locks"
    except OSError:
        return "folder"
    return "" if _code(ground.root, ground.module) == ground.code else "code"


def check(ray: Any, nodes: Sequence[Node], ground: Ground) -> None:
    """Ask nodes whether they share folder, locks and code; raises InputError for one that doesn't.

    Takes none of their processors, so that it does not wait for others' work.
    """
    asked = {
        node: ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=only_on(node))(objection)
        for node in nodes
    }
    refs = {node: task.remote(ground) for node, task in asked.items()}
    ray.wait(list(refs.values()), num_returns=len(refs), timeout=CHECK_SECONDS)
    for node, ref in refs.items():
        try:
            found: Objection = ray.get(ref, timeout=0)
        except ray.exceptions.GetTimeoutError as error:
            seconds = f"{CHECK_SECONDS:g}"
            silent = text("error.ray_nodes.silent", node=node.name, seconds=seconds)
            raise InputError(silent) from error
        except ray.exceptions.RayError as error:
            cannot = text("error.ray_nodes.cannot", node=node.name, reason=reason(error))
            raise InputError(_with_fix(cannot, text("error.ray_nodes.code.fix"))) from error
        if found:
            key = f"error.ray_nodes.{found}"
            problem = text(key, node=node.name, folder=ground.root)
            fix = text(f"{key}.fix")
            raise InputError(_with_fix(problem, fix))


def only_on(node: Node) -> Any:
    """Return Ray's word for: on this node or nowhere."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node.id, soft=False)


def reason(error: BaseException) -> str:
    """Return in one line why something of Ray failed: the cause, where it tells one."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, BaseException):
        error = cause
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = lines[0] if lines else ""
    if "creation task" in told:
        # What the worker itself raised comes after the trace.
        return lines[-1][:LONGEST_REASON]
    told = next((line for line in lines if "because" in line), told)
    return f"{type(error).__name__}: {told}"[:LONGEST_REASON]


def _code(root: Path, module: str) -> str:
    parts = StageCache(root).key_parts("", inputs={}, settings=None, module=module)
    return digest_json([parts["code"], parts["versions"]])


def _with_fix(problem: str, fix: str) -> str:
    return text("error.fix", problem=problem, fix=fix)

"""Load test of the Space: many visitors at once, on loopback, each teaching, fitting and extracting.

The page is served by `nerfound space` in a process of its own, and visited through its API, as the browser does. Before
the crowd comes, one visitor alone shows what a call costs the server in CPU seconds: other work on the machine changes
what visitors wait for, but not that. Every visitor names its concepts in a way of its own, so that an answer made for
another would be noticed. Exits with 1 unless there was no error, the median extraction took less than a second, and
the server's memory did not grow.
"""

from __future__ import annotations

import argparse
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from statistics import median, quantiles
from typing import Any

import httpx
import psutil
from gradio_client import Client

from nerfound.space.worked import Worked, worked_examples

STEADY = 1.10  # times the memory after the first half, which has filled the sessions and the allocator's pools
ALONE = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--foundation", default="nerfound-mini", help="name, Hub id or folder of a dual encoder")
    parser.add_argument("--visitors", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--pause", type=float, default=3, help="mean seconds between a visitor's actions; 0: none")
    args = parser.parse_args()
    with served(args.foundation) as (url, server):
        alone(url, server)
        crowd = Crowd(url, server, args.seconds, args.pause)
        crowd.come(args.visitors)
    print(f"{os.cpu_count()} cores, load average of the machine meanwhile {os.getloadavg()[0]:.1f}")
    sys.exit(not crowd.report())


@contextmanager
def served(foundation: str) -> Iterator[tuple[str, psutil.Process]]:
    """The address of a page that is up, and the process that serves it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "nerfound", "space", "--port", str(port), "--foundation", foundation]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        while not answers(url):
            if server.poll() is not None:
                raise SystemExit(f"nerfound space ended with status {server.returncode} before it served")
            time.sleep(0.5)
        yield url, psutil.Process(server.pid)
    finally:
        server.terminate()
        server.wait(30)


def answers(url: str) -> bool:
    """Whether the page is up."""
    try:
        return httpx.get(f"{url}/config").is_success
    except httpx.TransportError:
        return False


class Visitor:
    """One session: its examples, with the number of the visitor in the names of its concepts."""

    def __init__(self, url: str, number: int) -> None:
        self.client = Client(url, verbose=False, analytics_enabled=False)
        self.worked: Worked = worked_examples()[number % len(worked_examples())]
        self.names = {concept["name"]: f"{concept['name']} {number}" for concept in self.worked.document["concepts"]}
        self.document = {
            "concepts": [{"name": name, "description": ""} for name in self.names.values()],
            "examples": [
                {"text": example["text"], "entities": [self._named(entity) for entity in example["entities"]]}
                for example in self.worked.document["examples"]
            ],
        }
        self.found: dict[str, Any] = {}

    def _named(self, entity: dict[str, Any]) -> dict[str, Any]:
        return {**entity, "label": self.names[entity["label"]]}

    def fit(self) -> None:
        """Fit on the examples."""
        status = self.client.predict(self.document, api_name="/fit")
        check("Fitted" in status, f"/fit said {status!r}")

    def extract(self) -> None:
        """Find the entities of one of the new texts."""
        text = random.choice(self.worked.new).text
        self.found = self.client.predict(text, api_name="/extract")
        check(self.found["text"] == text, "/extract answered about another text")
        check(set(self.found["concepts"]) == set(self.names.values()), "/extract answered with another's concepts")

    def correct(self) -> None:
        """Add the last result to the examples, as if it were right."""
        self.document = self.client.predict(self.document, self.found, api_name="/add_corrections")
        self.document = {name: self.document[name] for name in ("concepts", "examples")}


ROUND = ("fit", "extract", "extract", "correct", "fit", "extract", "extract", "extract")


def check(holds: bool, fault: str) -> None:
    """Raise an error that says what was wrong with an answer."""
    if not holds:
        raise ValueError(fault)


def alone(url: str, server: psutil.Process) -> None:
    """Print what a call costs while there is one visitor only."""
    visitor = Visitor(url, 0)
    visitor.fit()
    visitor.extract()
    for action in ("fit", "extract"):
        before, started = cpu(server), time.perf_counter()
        for _ in range(ALONE):
            getattr(visitor, action)()
        spent, took = (cpu(server) - before) / ALONE, (time.perf_counter() - started) / ALONE
        print(f"alone: {action:8} {spent:6.3f} CPU s a call, {took:6.3f} s waited", flush=True)


class Crowd:
    """Visitors at once, what they waited for, and what went wrong."""

    def __init__(self, url: str, server: psutil.Process, seconds: float, pause: float) -> None:
        self.url, self.server, self.seconds, self.pause = url, server, seconds, pause
        self.waited: dict[str, list[float]] = defaultdict(list)
        self.errors: Counter[str] = Counter()
        self.memory: list[float] = []
        self.busy = 0.0
        self.lock = threading.Lock()

    def come(self, visitors: int) -> None:
        """Let them all come, stay and leave."""
        with ThreadPoolExecutor(visitors) as pool:
            crowd = list(pool.map(lambda number: Visitor(self.url, number), range(visitors)))
            for action in ("fit", "extract"):  # every session there is, from here on memory should not grow
                list(pool.map(lambda visitor, action=action: self._act(visitor, action), crowd))
            self.waited.clear()
            before, end = cpu(self.server), time.monotonic() + self.seconds
            self._measure_memory()
            visits = [pool.submit(self._visit, visitor, end) for visitor in crowd]
            for left in (self.seconds / 2, 0):
                time.sleep(max(0.0, end - left - time.monotonic()))
                self._measure_memory()
            self.busy = cpu(self.server) - before
            for visit in visits:
                visit.result()

    def _visit(self, visitor: Visitor, end: float) -> None:
        start = visitor.document
        while time.monotonic() < end:
            visitor.document = start
            for action in ROUND:
                time.sleep(random.uniform(0, 2 * self.pause))
                if time.monotonic() >= end:
                    return
                self._act(visitor, action)

    def _act(self, visitor: Visitor, action: str) -> None:
        started = time.perf_counter()
        try:
            getattr(visitor, action)()
        except Exception as error:  # whatever goes wrong counts
            with self.lock:
                self.errors[f"{action}: {type(error).__name__}: {error}"[:200]] += 1
            return
        with self.lock:
            self.waited[action].append(time.perf_counter() - started)

    def _measure_memory(self) -> None:
        self.memory.append(self.server.memory_info().rss / 2**20)

    def report(self) -> bool:
        """Print what was measured; whether the demands are met."""
        for action, waited in sorted(self.waited.items()):
            p95 = quantiles(waited, n=20)[-1] if len(waited) > 1 else waited[0]
            print(f"{action:8} {len(waited):6,} calls  median {median(waited):6.2f} s  p95 {p95:6.2f} s")
        calls = sum(map(len, self.waited.values()))
        print(f"server: {self.busy:.1f} CPU s for {calls:,} calls, {self.busy / self.seconds:.2f} cores")
        print("memory (MiB) at start, middle, end: " + ", ".join(f"{size:,.0f}" for size in self.memory))
        print(f"errors: {self.errors.total()}")
        for fault, count in self.errors.most_common(5):
            print(f"  {count}× {fault}")
        demands = {
            "no error": not self.errors,
            "median extraction under 1 s": bool(self.waited["extract"]) and median(self.waited["extract"]) < 1,
            "memory stable": self.memory[-1] <= STEADY * self.memory[-2],
        }
        for demand, met in demands.items():
            print(f"{'met' if met else 'NOT MET'}: {demand}")
        return all(demands.values())


def cpu(process: psutil.Process) -> float:
    """Seconds of processor time that a process has used."""
    times = process.cpu_times()
    return times.user + times.system


if __name__ == "__main__":
    main()

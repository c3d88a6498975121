"""`python -m tests.benchmarks.annotation`: how near its ideal rate the annotator runs, how flat its memory is.

Throughput: a fake server in a process of its own answers after 50 ms; at concurrency 64 no client can get more than
64 / 0.05 = 1,280 answers a second. Measured is the sending alone, from the first request to the last. Memory: peak
resident size of `annotate` on few and on many lines, each in a fresh process.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from nerfound.annotation import Traffic, annotate
from tests.fakes.openai_server import FakeOpenAI


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=5_000)
    parser.add_argument("--latency", type=float, default=0.05, help="seconds")
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--lines", type=int, nargs=2, default=(1_000, 20_000), help="lines of the memory measurement")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        measure_memory(args.child, args.requests)
        return
    with tempfile.TemporaryDirectory() as folder:
        throughput(Path(folder), args)
        memory(args)


def throughput(folder: Path, args: argparse.Namespace) -> None:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe()
    server = context.Process(target=serve, args=(args.latency, sender), daemon=True)
    server.start()
    url = receiver.recv()
    started, cpu = time.perf_counter(), time.process_time()
    report = run(folder, args.requests, url, args.concurrency)
    total, cpu = time.perf_counter() - started, time.process_time() - cpu
    receiver.send(None)
    sender_seconds, fake_cpu = receiver.recv()
    assert report.outcome.annotated == args.requests
    ideal = args.concurrency / args.latency
    rate = args.requests / sender_seconds
    print(
        f"{args.requests:,} requests, {1e3 * args.latency:.0f} ms, concurrency {args.concurrency}: {rate:,.0f} a s, "
        f"{rate / ideal:.0%} of the ideal {ideal:,.0f}; whole run {total:.1f} s\n"
        f"processor time for a text: annotator {1e3 * cpu / args.requests:.2f} ms, "
        f"fake server {1e3 * fake_cpu / args.requests:.2f} ms",
        flush=True,
    )


def serve(latency: float, pipe) -> None:
    """The fake server; tells its address, then how long the requests took from first to last and its processor time."""
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())  # it shares the processor with what is measured
    with FakeOpenAI(latency=latency) as server:
        cpu = time.process_time()
        pipe.send(server.url)
        pipe.recv()
        received = [entry.received for entry in server.log]
        pipe.send((max(received) - min(received) + latency, time.process_time() - cpu))


def run(folder: Path, lines: int, url: str, concurrency: int):
    source = folder / "texts.txt"
    with source.open("w", encoding="utf-8") as file:
        file.writelines(f"Number {line} of all travellers left Lisbon for the island.\n" for line in range(lines))
    traffic = Traffic(concurrency=concurrency)
    return annotate(source, folder / "corpus", model="m", base_url=url, cache=folder / "cache.sqlite", traffic=traffic)


def memory(args: argparse.Namespace) -> None:
    with FakeOpenAI() as server:
        for lines in args.lines:
            command = [
                sys.executable,
                "-m",
                "tests.benchmarks.annotation",
                "--child",
                server.url,
                "--requests",
                str(lines),
            ]
            print(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip(), flush=True)


def measure_memory(url: str, lines: int) -> None:
    before = peak_mebibytes()
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), lines, url, 64)
    peak = peak_mebibytes()
    print(f"{lines:,} lines: peak {peak:.0f} MiB ({peak - before:.0f} MiB above the imports)")


def peak_mebibytes() -> float:
    """Peak resident size; unlike `getrusage`, not that of the parent before it started this process."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()

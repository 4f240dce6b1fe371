"""A small worker and operator for every published release of awa, told what to do by one JSON argument.

It reads commands from standard input, one a line (pause, resume, calm, operate, rest, stop), and writes one JSON object a line
to standard output: first {"ready": true}, then a tally a second and at its end. What a release does not
know is left away: signatures are looked at, never version numbers.
"""

import asyncio
import inspect
import json
import os
import random
import re
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import awa

CONF = json.loads(sys.argv[1])
RNG = random.Random(CONF["seed"])
STANDS = CONF["stands"]


@dataclass
class Work:
    n: int
    do: str


made = Counter()  # outcomes of handlers, jobs produced, operator actions that took effect
wrong = Counter()  # errors that a caller of awa gets to see
pausing = asyncio.Event()
operating = asyncio.Event()  # no old leader is left that an operator's actions could stop
newest = -1  # job that had failed when that was so
calm = asyncio.Event()  # a job now and then
ended = asyncio.Event()


def say(**what):
    print(json.dumps(what), flush=True)


def note(where, e):
    """An error by kind: what differs from one to the next is struck out."""
    text = re.sub(r"\d+", "N", f"{e}")
    wrong[f"{where}: {re.sub(r'[^ ]*_N_[a-z_]*', 'NAME', text)[:200]}"] += 1


async def handle(job):
    do = job.args.do
    made["handled"] += 1
    if CONF["work_ms"]:
        await asyncio.sleep(CONF["work_ms"] / 1000)
    if do == "fail":
        raise awa.TerminalError("it will never work")
    if do in ("exhaust", "again") and (do == "exhaust" or job.attempt < 2):
        raise RuntimeError("it did not work")
    if do == "cancel":
        return awa.Cancel("no longer wanted")
    if do == "later" and job.attempt < 2:
        return awa.RetryAfter(0.3)
    return None


def draw():
    """What becomes of a job. A ring that is to turn sees nothing tried again."""
    r = RNG.random()
    for do, share in (("fail", 0.08), ("exhaust", 0.05), ("cancel", 0.05)):
        if r < share:
            return do
        r -= share
    if STANDS:
        for do, share in (("later", 0.05), ("again", 0.03)):
            if r < share:
                return do
            r -= share
    return "ok"


async def produce(client, every):
    n = 0
    while not ended.is_set():
        began = time.monotonic()
        if not pausing.is_set():
            try:
                await one_batch(client, n)
            except Exception as e:
                note("enqueue", e)
            n += 1
        await asyncio.sleep(max(0.0, every - (time.monotonic() - began)))
        while calm.is_set():
            await asyncio.sleep(RNG.expovariate(1 / CONF["calm_s"]))
            try:
                await client.insert(Work(n, "ok"), queue=RNG.choice(CONF["produce"]), priority=1, tags=["kept"])
            except Exception as e:
                note("enqueue", e)
            n += 1


async def one_batch(client, n):
    """Jobs of one queue and one priority, in bulk where the schema knows the release's way of that. From
    0.6.0 on it does not know the old ones': what they write with COPY lacks what claims are made from. One
    by one, on the other hand, takes 0.1 s each with the schema of 0.6.0b2."""
    queue, priority = RNG.choice(CONF["produce"]), RNG.randint(1, 4)
    kinds = {}
    for i in range(CONF["batch"]):
        do = draw()
        kind = {"exhaust": 1, "again": 3}.get(do, 25), RNG.random() < CONF["tagged"]
        kinds.setdefault(kind, []).append(Work(n * 1000 + i, do))
    calls = []
    for (attempts, tagged), jobs in kinds.items():
        how = {"queue": queue, "priority": priority, "max_attempts": attempts, "tags": ["kept"] if tagged else None}
        calls += [(len(jobs), client.enqueue_many_copy(jobs, **how))] if CONF["bulk"] else [(1, client.insert(j, **how)) for j in jobs]
    for (size, _), done in zip(calls, await asyncio.gather(*(c for _, c in calls), return_exceptions=True)):
        if isinstance(done, BaseException):
            note("enqueue", done)
        else:
            made["produced"] += size


async def operate(client, every):
    """An operator's actions, one at a time. Those that leave a ready row without a done row stop an old
    leader from pruning; where the ring is to turn, only cancellations are left."""
    global newest
    quiet = [cancel_waiting]
    loud = [retry_one, retry_queue, to_dlq, bulk_to_dlq, from_dlq, discard, delete_rows]
    due = None  # once nobody old is left: what has to be done before anything that leaves no failed job for it
    while not ended.is_set():
        await asyncio.sleep((min(every, 0.2) if operating.is_set() else every) * RNG.uniform(0.5, 1.5))
        if pausing.is_set() and not operating.is_set():
            continue
        act = RNG.choice(loud if operating.is_set() else quiet + loud if STANDS else quiet)
        made["tried"] += 1
        try:
            if operating.is_set() and due is None:
                client = awa.AsyncClient(CONF["url"], 2)  # the workers keep theirs busy for seconds
                newest = max([job.id for queue in CONF["produce"] for job in await client.list_jobs(state="failed", queue=queue, limit=1)], default=0)
                due = [retry_one, to_dlq, delete_rows, from_dlq] * 2
            act = due[0] if due else act
            n = await act(client)
            made[act.__name__] += n
            if due:
                due = due[1:] if n else due[1:] + due[:1]
        except Exception as e:
            if due:
                due = due[1:] + due[:1]
            note(act.__name__, e)


async def failed(client, limit=5):
    """The oldest of them: they are the likeliest to have been counted by nobody of awa's. awa lists the newest, and takes seconds for many."""
    async with await client.transaction() as tx:
        rows = await tx.fetch_all("SELECT job_id FROM awa.done_entries WHERE state = 'failed' AND queue = $1 ORDER BY job_id LIMIT $2", RNG.choice(CONF["produce"]), limit)
    return [row["job_id"] for row in rows]


async def each(ids, act):
    n = 0
    for i in ids:
        if await act(i):
            n += 1
            made["of_before"] += i <= newest
    return n


async def cancel_waiting(client):
    """Jobs that wait for tomorrow, cancelled: wide rows at once, in any release."""
    n = 0
    for _ in range(CONF["cancel"]):
        tomorrow = datetime.now(timezone.utc) + timedelta(days=1)
        job = await client.insert(Work(0, "ok"), queue=RNG.choice(CONF["produce"]), priority=RNG.randint(1, 4), run_at=tomorrow)
        if await client.cancel(job.id):
            n += 1
    return n


async def retry_one(client):
    return await each(await failed(client), client.retry)


async def retry_queue(client):
    done = await client.retry_failed(queue=RNG.choice(CONF["produce"]))
    return len(getattr(done, "jobs", done))


async def to_dlq(client):
    return await each(await failed(client), lambda i: client.move_failed_to_dlq(i, "by hand"))


async def bulk_to_dlq(client):
    return await client.bulk_move_failed_to_dlq(queue=RNG.choice(CONF["produce"]), reason="by hand")


async def from_dlq(client):
    ids = [e.job.id if hasattr(e, "job") else e.id for e in await client.list_dlq(limit=5)]
    return await each(ids, client.retry_from_dlq)


async def discard(client):
    return await client.discard_failed("work") if RNG.random() < (0.3 if operating.is_set() else 0.1) else 0  # it leaves nothing for the others


async def delete_rows(client):
    async with await client.transaction() as tx:
        return await each(await failed(client), lambda i: tx.execute("DELETE FROM awa.jobs WHERE id = $1", i))


async def listen():
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := (await reader.readline()).decode().strip():
        if line == "pause":
            pausing.set()
        elif line == "resume":
            pausing.clear()
        elif line == "calm":
            calm.set()
        elif line == "operate":
            operating.set()
        elif line == "rest":
            operating.clear()
        else:
            break
    ended.set()


async def count():
    while not ended.is_set():
        await asyncio.sleep(1)
        say(made=made, errors=wrong)


def slow(ms):
    """An interval of a worker that does everything less often."""
    return round(ms * CONF["pace"])


def known(f, **settings):
    have = inspect.signature(f).parameters
    return {k: v for k, v in settings.items() if k in have}


async def main():
    client = awa.AsyncClient(CONF["url"], CONF["pool"])
    if CONF.get("migrate"):
        await client.migrate()
    for queue in CONF["queues"]:
        client.task(Work, kind="work", queue=queue)(handle)
    if CONF["queues"]:
        # What a killed worker had claimed keeps its slot from being pruned until the deadline.
        queues = [{"name": q, "max_workers": CONF["max_workers"], "deadline_duration_ms": 3000} for q in CONF["queues"]]
        await client.start(queues, **known(
            client.start, poll_interval_ms=slow(CONF["poll_ms"]), heartbeat_interval_ms=slow(500), promote_interval_ms=slow(100),
            heartbeat_rescue_interval_ms=slow(1000), heartbeat_staleness_ms=slow(3000), deadline_rescue_interval_ms=slow(500),
            # The old ones would turn these rings twenty times a second, and everybody queues behind each try.
            queue_storage_lease_rotate_interval_ms=slow(500), queue_storage_claim_rotate_interval_ms=slow(500),
            queue_storage_queue_rotate_interval_ms=slow(CONF["rotate_ms"]), leader_election_interval_ms=CONF["election_ms"],
            terminal_count_rollup_interval_ms=slow(CONF["rollup_ms"])))
    say(ready=True)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    jobs = [asyncio.create_task(listen()), asyncio.create_task(count())]
    if CONF["rate"] > 0:
        jobs.append(asyncio.create_task(produce(client, CONF["batch"] / CONF["rate"])))
    if CONF["operate_ms"] > 0:
        jobs.append(asyncio.create_task(operate(client, CONF["operate_ms"] / 1000)))
    await ended.wait()
    for job in jobs[2:]:
        job.cancel()
    if CONF["queues"]:
        await client.shutdown(4000)
    say(made=made, errors=wrong)
    sys.stdout.flush()
    os._exit(0)  # the extension's own teardown can crash


asyncio.run(main())

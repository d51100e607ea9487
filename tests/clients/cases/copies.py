"""A second destination (`also`): counts on both sides, with one of them dead, and after kill -9."""

import json
import threading
import time

from cases.kafka import cluster, ids
from lib.cases import case
from lib.destinations import (
    LANE, STORE, TOPIC, archived, audit, books, config, files, kafka, lines_in, numbers, peak_memory, repeating,
)
from lib.events import marked
from lib.expect import check, equal, until
from lib.store import Store
from lib.tollgate import OPEN, PROJECT

ARCHIVED = 'upstream = "store"\nalso = "archive"'
COPIED = 'upstream = "store"\nalso = "kafka"'
COPIES = f"{OPEN}@archive"
MESSAGES = f"{OPEN}@kafka"
# First destinations with second ones, and the keys of messages.
TURNS = (("archive", "queue"), ("kafka", "second"), ("archive", ""), ("kafka", "queue"))
KEYS = ("topic", "none")


def copied(tollgate, name):
    """How many copies were delivered."""
    return tollgate.metric("tollgate_events_delivered_total", project=PROJECT, logstore=name)


@case("every event is in the store and in the archive, once, and each has books of its own")
def both(t):
    folder = t.folder / "archive"
    tollgate = t.tollgate(config(STORE + files(folder), "", "", ARCHIVED))
    marker, events = marked(250)
    for start in range(0, 250, 25):
        tollgate.post(events[start:start + 25])
    equal(numbers(Store(tollgate).settled(marker, OPEN)), numbers(events), "the store")
    book = books(tollgate)
    equal([book[name]["delivered"] for name in (OPEN, COPIES)], [250, 250], "delivered in the books")
    equal(audit(tollgate)[0], 0, "the exit code of audit")
    equal(tollgate.stop(), 0, "the exit code")
    equal(numbers(archived(folder)), numbers(events), "the archive")


@case("copies that are a thousand times larger as lines than what came take little memory")
def much_larger(t):
    folder = t.folder / "archive"
    tollgate = t.tollgate(config(STORE + files(folder), "", "", ARCHIVED))
    tollgate.post(marked(10)[1])
    tollgate.drain()
    before = peak_memory(tollgate)
    events, tags = repeating(1200)
    equal(tollgate.post(events, __tags__=tags).status_code, 200, "the status")
    until(lambda: copied(tollgate, OPEN) == 1210 and copied(tollgate, COPIES) == 1210, "delivery", seconds=120)
    grown = peak_memory(tollgate) - before
    check(grown < 128 << 20, f"memory grew by {grown >> 20} MiB")
    equal(tollgate.stop(), 0, "the exit code")
    equal(lines_in(folder), 1210, "the lines")


@case("a logstore of its own mind: another upstream, and no copies where the project has them")
def per_logstore(t):
    folder = t.folder / "archive"
    more = f'upstream = "archive"\nalso = ""\n[[project.logstore]]\nname = "plain-one"\naccept = ["anonymous"]\n'
    other = 'also = "second"\n' + ARCHIVED.splitlines()[0]
    second = STORE.replace('"store"', '"second"').replace('"embedded"', '"files"')
    second += f'[upstream.files]\ndir = "{t.folder}/second"\nreserve = 0\ncompression = "none"\n'
    tollgate = t.tollgate(config(STORE + files(folder) + second, more, "", other))
    marker, events = marked(20)
    tollgate.post(events)
    tollgate.post(events, logstore="plain-one")
    stored = Store(tollgate).settled(marker, "plain-one")
    equal(numbers(stored), numbers(events), "the store")
    equal(sorted(books(tollgate)), sorted([OPEN, "plain-one", "plain-one@second"]), "the books")
    equal(tollgate.stop(), 0, "the exit code")
    equal(numbers(archived(folder)), numbers(events), "the archive")
    [path] = (t.folder / "second" / PROJECT / "plain-one").iterdir()
    equal(len(path.read_text(encoding="utf-8").splitlines()), 20, "the copies")


@case("a dead archive does not stop the store, and gets everything once it is mended")
def dead_archive(t):
    folder = t.folder / "archive"
    folder.write_text("no folder can be made here", encoding="utf-8")
    tollgate = t.tollgate(config(STORE + files(folder), "", "", ARCHIVED))
    marker, events = marked(100)
    for start in range(0, 100, 10):
        equal(tollgate.post(events[start:start + 10]).status_code, 200, "the status")
    until(lambda: tollgate.metric("tollgate_events_delivered_total", **LANE) == 100, "delivery to the store")
    equal(numbers(Store(tollgate).events(OPEN)), numbers(events), "the store")
    until(lambda: tollgate.metric("tollgate_archive_failures_total", logstore=COPIES) >= 1, "failed writes")
    equal(copied(tollgate, COPIES), 0, "copies with the archive dead")
    state = tollgate.metric("tollgate_upstream_breaker_opened_total", upstream="store")
    equal(state, 0, "times that the breaker of the store opened")
    folder.unlink()
    until(lambda: copied(tollgate, COPIES) == 100, "delivery to the archive")
    equal(tollgate.stop(), 0, "the exit code")
    equal(numbers(archived(folder)), numbers(events), "the archive")


@case("both are dead and the process is killed: with ack = \"disk\" both get everything after a restart")
def both_dead(t):
    mock = cluster(t)
    store = t.tollgate()
    upstream = f"""
[[upstream]]
name = "store"
kind = "sls"
endpoint = "http://logstore.example"
address = "127.0.0.1:{store.store_port}"
region = "local"
access_key_id = "tollgate"
access_key_secret = "file:{store.store_secret_file()}"
"""
    edge = t.tollgate(config(upstream + kafka(mock.brokers), 'ack = "disk"', "", COPIED))
    store.kill()
    mock.down()
    marker, events = marked(80)
    for start in range(0, 80, 8):
        equal(edge.post(events[start:start + 8]).status_code, 200, "the status with both dead")
    edge.kill()
    store.start()
    mock.up()
    edge.start()
    until(lambda: copied(edge, OPEN) == 80 and copied(edge, MESSAGES) == 80, "delivery to both")
    equal(numbers(Store(store).settled(marker, OPEN)), numbers(events), "the store")
    messages = mock.read(TOPIC)
    found = {i: json.loads(message.value()) for i, message in zip(ids(messages), messages)}
    equal(numbers(found.values()), numbers(events), "the topic, by ids")
    book = books(edge)
    equal([book[name]["recovered"] for name in (OPEN, MESSAGES)], [80, 80], "recovered")


@case("a stop with the second destination dead keeps its copies on disk, and the next life delivers them")
def stopped(t):
    mock = cluster(t)
    tollgate = t.tollgate(config(STORE + kafka(mock.brokers), "", "", COPIED))
    mock.down()
    marker, events = marked(40)
    tollgate.post(events)
    until(lambda: tollgate.metric("tollgate_events_delivered_total", **LANE) == 40, "delivery to the store")
    equal(tollgate.stop(), 0, "the exit code")
    done = tollgate.command("spool", "ls", "--config", str(tollgate.config))
    check(MESSAGES in done.stdout, f"the copies are listed: {done.stdout}{done.stderr}")
    mock.up()
    tollgate.start()
    until(lambda: copied(tollgate, MESSAGES) == 40, "delivery of the copies")
    equal(len(set(ids(mock.read(TOPIC)))), 40, "the messages")
    equal(len(Store(tollgate).settled(marker, OPEN)), 40, "the store")


@case("copies that find no room are dropped and counted, and the store gets every event")
def no_room(t):
    mock = cluster(t)
    more = '[limits]\nmemory = "16MiB"\nbody = "256KiB"\n\n[spool]\nenabled = false\n'
    tollgate = t.tollgate(config(STORE + kafka(mock.brokers), "", more, COPIED))
    mock.down()
    sent, noise = 0, [format(n * 7919 % 1_000_003, "x") for n in range(20_000)]
    lost = {"project": PROJECT, "logstore": MESSAGES, "reason": "no_room"}
    while tollgate.metric("tollgate_events_dropped_total", **lost) < 50:
        check(sent < 20_000, "copies find room for ever")
        padding = " ".join(noise[sent % 1000:sent % 1000 + 15_000])
        answer = tollgate.post([{"number": str(sent + n), "padding": padding} for n in range(2)])
        equal(answer.status_code, 200, "the status")
        sent += 2
    until(lambda: tollgate.metric("tollgate_events_delivered_total", **LANE) == sent, "delivery to the store")
    mock.up()
    tollgate.drain()
    copy = books(tollgate)[MESSAGES]
    equal(copy["accepted"], sent, "copies in the books")
    equal(copy["delivered"] + copy["dropped"]["no_room"], sent, "copies delivered or dropped")
    check("has no room for copies" in tollgate.stderr(), "the log says so")
    equal(len(set(ids(mock.read(TOPIC)))), copy["delivered"], "the messages")


@case("reloads that turn destinations and copies around under load: every event is where it belongs, once")
def reloaded(t):
    mock = cluster(t)
    mock.create("copies", 4)
    folder, second = t.folder / "archive", t.folder / "second"

    def text(turn):
        upstream, also = TURNS[turn % len(TURNS)]
        # Ways change with the turns as well, by an age and by the keys of messages.
        age, key = f"{60 + turn % 2}s", KEYS[turn // 2 % 2]
        upstreams = STORE + files(folder, max_age=age) + kafka(mock.brokers, key=key)
        upstreams += files(second, max_age=age).replace('name = "archive"', 'name = "second"')
        upstreams += kafka(mock.brokers, topic="copies", key=key).replace('name = "kafka"', 'name = "queue"')
        return config(upstreams, "", "", f'upstream = "{upstream}"\nalso = "{also}"')

    tollgate = t.tollgate(text(0))
    turn, sent, over = [0.0], [], threading.Event()
    marker, events = marked(5000)

    def send():
        for event in events:
            if over.is_set():
                return
            before = turn[0]
            status = tollgate.post([event]).status_code
            sent.append((event["number"], status, before, turn[0]))

    sender = threading.Thread(target=send)
    sender.start()
    for number in range(1, 2 * len(TURNS) + 1):
        time.sleep(0.2)
        # Half a turn: nobody can say which configuration a request finds.
        turn[0] = number - 0.5
        tollgate.config.write_text(text(number), encoding="utf-8")
        # A lane of that name may still be ending.
        until(lambda: tollgate.admin("POST", "reload").status_code == 200, "the reload")
        turn[0] = float(number)
    time.sleep(0.2)
    over.set()
    sender.join()
    equal({status for _, status, _, _ in sent}, {200}, "the statuses")
    equal(tollgate.stop(), 0, "the exit code")

    def topic(name):
        messages = mock.read(name)
        found = {i: json.loads(message.value()) for i, message in zip(ids(messages), messages)}
        return numbers(found.values())

    # What waits goes with its logstore, to where that is delivered now.
    first = sorted(numbers(archived(folder)) + topic(TOPIC))
    equal(first, sorted(number for number, _, _, _ in sent), "the first destinations")
    # Copies have a lane of their own, which goes nowhere else.
    for name, there in (("second", numbers(archived(second))), ("queue", topic("copies"))):
        equal(len(set(there)), len(there), f"the different copies in {name}")
        sure = [(number, TURNS[int(at) % len(TURNS)][1]) for number, _, at, after in sent if at == after == int(at)]
        wanted = {number for number, also in sure if also == name}
        others = {number for number, also in sure if also != name}
        check(wanted and others, f"events with and without copies in {name}")
        equal(sorted(wanted - set(there)), [], f"copies that are missing in {name}")
        equal(sorted(others & set(there)), [], f"copies that do not belong in {name}")

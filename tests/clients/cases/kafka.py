"""Kafka as a destination: librdkafka's mock cluster takes what Tollgate sends, and its consumer reads it back."""

import json
import subprocess

from aliyun.log import log_logs_pb2
from confluent_kafka import Producer

from lib.cases import case, case_for_each
from lib.destinations import LANE, TOPIC, books, config, kafka, peak_memory, repeating
from lib.events import as_text, awkward, marked
from lib.expect import check, equal, until
from lib.kafka import (
    NOT_ENOUGH_REPLICAS, NOT_LEADER, TIMED_OUT, TOO_LARGE, TOPIC_FORBIDDEN, MockKafka,
)
from lib.kafka_guard import Guard
from lib.tollgate import OPEN

UPSTREAM = 'upstream = "kafka"'


def cluster(t, brokers=2, partitions=4):
    """A cluster with the topic of the logstore."""
    mock = t.use(MockKafka(brokers))
    mock.create(TOPIC, partitions)
    return mock


def edge(t, mock, logstore="", more="", **keys):
    """A Tollgate that delivers to the cluster."""
    return t.tollgate(config(kafka(mock.brokers, **keys), logstore, more, UPSTREAM))


def ids(messages):
    """The ids of messages."""
    return [dict(message.headers())["tollgate-id"].decode() for message in messages]


def delivered(tollgate):
    """How many events count as delivered."""
    return tollgate.metric("tollgate_events_delivered_total", **LANE)


@case_for_each(("none", "gzip", "snappy", "zstd"), "{}: each event is a JSON message with its key, in its key's partition")
def json_messages(t, compression):
    mock = cluster(t)
    tollgate = edge(t, mock, key="field", key_field="user", compression=compression)
    marker, events = marked(200)
    events = [{**event, "user": f"user-{n % 17}"} for n, event in enumerate(events)]
    equal(tollgate.post(events, __topic__="shop").status_code, 200, "the status")
    tollgate.drain()
    messages = mock.read(TOPIC)
    values = [json.loads(message.value()) for message in messages]
    equal(sorted(int(value["number"]) for value in values), list(range(200)), "the numbers read back")
    equal({value["marker"] for value in values}, {marker}, "the marker")
    equal({value["__topic__"] for value in values}, {"shop"}, "the topic")
    equal(len(set(ids(messages))), 200, "the different ids")
    # Where the client of Kafka itself would have put the same keys.
    places = {}
    producer = Producer({"bootstrap.servers": ",".join(mock.brokers), "partitioner": "murmur2"})
    for n in range(17):
        def keep(_, message):
            places[message.key()] = message.partition()
        producer.produce(TOPIC, b"{}", key=f"user-{n}", on_delivery=keep)
    equal(producer.flush(10), 0, "messages not sent by the other client")
    for message, value in zip(messages, values):
        equal(message.key(), value["user"].encode(), "the key")
        equal(message.partition(), places[message.key()], f"the partition of {message.key()}")
        equal(message.timestamp()[1] // 1000, value["__time__"], "the time")
    check(len({message.partition() for message in messages}) > 1, "keys are in more than one partition")


@case("an awkward event is read back field by field")
def awkward_event(t):
    mock = cluster(t, brokers=1, partitions=1)
    tollgate = edge(t, mock)
    _, event = awkward()
    tollgate.post([event])
    tollgate.drain()
    [message] = mock.read(TOPIC)
    value = {key: text for key, text in json.loads(message.value()).items() if not key.startswith("__")}
    equal(value, as_text(event), "the event")


@case("protobuf: a message is a LogGroup with the id of its batch, as the SDK of the store reads it")
def protobuf_messages(t):
    mock = cluster(t)
    tollgate = edge(t, mock, value="protobuf", key="client_address")
    marker, events = marked(100)
    tollgate.post(events, __topic__="shop", __tags__={"room": "kitchen"})
    tollgate.drain()
    messages = mock.read(TOPIC)
    found = []
    for message in messages:
        group = log_logs_pb2.LogGroup()
        group.ParseFromString(message.value())
        equal(group.Topic, "shop", "the topic")
        tags = {tag.Key: tag.Value for tag in group.LogTags}
        equal(tags["room"], "kitchen", "the tag")
        equal([tags["__pack_id__"]], ids([message]), "the id")
        equal(message.key(), b"127.0.0.1", "the key")
        found += [{c.Key: c.Value for c in log.Contents}["number"] for log in group.Logs]
    equal(sorted(found, key=int), [event["number"] for event in events], "the numbers read back")


@case("brokers that go away and come back: events wait, every one is delivered, none is there twice by its id")
def brokers_away(t):
    mock = cluster(t)
    tollgate = edge(t, mock, key="field", key_field="number")
    _, events = marked(60)
    tollgate.post(events[:10])
    until(lambda: delivered(tollgate) == 10, "delivery")
    mock.down()
    for start in range(10, 60, 10):
        equal(tollgate.post(events[start:start + 10]).status_code, 200, "the status with the brokers away")
    until(lambda: tollgate.metric("tollgate_upstream_breaker_opened_total", upstream="kafka") >= 1, "an open breaker")
    equal(delivered(tollgate), 10, "delivered with the brokers away")
    mock.up()
    tollgate.drain()
    messages = mock.read(TOPIC)
    found = {json.loads(message.value())["number"] for message in messages}
    equal(len(found), 60, "the different events")
    once = {identity: message for identity, message in zip(ids(messages), messages)}
    equal(len(once), 60, "the different ids")
    equal(books(tollgate)[OPEN]["delivered"], 60, "delivered in the books")


@case("a cluster that is gone for good: the next one behind the same address gets what waits")
def another_cluster(t):
    first = cluster(t, brokers=1)
    second = cluster(t, brokers=1)
    both = [*first.brokers, *second.brokers]
    tollgate = t.tollgate(config(kafka(both), "", "", UPSTREAM))
    first.down()
    _, events = marked(25)
    tollgate.post(events)
    tollgate.drain()
    equal(len(second.read(TOPIC)), 25, "the messages of the other cluster")


@case_for_each(
    ((NOT_LEADER, "a leader that moves", 0), (NOT_ENOUGH_REPLICAS, "too few replicas", 0), (TIMED_OUT, "a time-out", 1)),
    "error {}, {}: tried again and delivered; in doubt: {}",
)
def retriable(t, error, _, in_doubt):
    mock = cluster(t, partitions=1)
    tollgate = edge(t, mock)
    mock.fail(error, error)
    _, events = marked(20)
    tollgate.post(events)
    tollgate.drain()
    equal(len(mock.read(TOPIC)), 20, "the messages")
    check(tollgate.metric("tollgate_delivery_retries_total", **LANE) >= 2, "attempts are repeated")
    doubts = tollgate.metric("tollgate_delivery_resends_in_doubt_total", **LANE)
    equal(doubts > 0, bool(in_doubt), "whether resends are in doubt")


@case("messages that are too large together are sent in parts, and none is lost or there twice")
def too_large_together(t):
    mock = cluster(t, partitions=1)
    tollgate = edge(t, mock)
    mock.fail(TOO_LARGE, TOO_LARGE)
    _, events = marked(40)
    tollgate.post(events)
    tollgate.drain()
    messages = mock.read(TOPIC)
    equal(sorted(int(json.loads(m.value())["number"]) for m in messages), list(range(40)), "the numbers")
    equal(len(set(ids(messages))), 40, "the different ids")
    equal(tollgate.metric("tollgate_delivery_splits_total", **LANE), 2, "the splits")


@case("one partition refuses and the others take theirs: only what was refused is sent again")
def one_partition_refuses(t):
    mock = cluster(t)
    tollgate = edge(t, mock, key="field", key_field="number")
    mock.fail(TOO_LARGE)
    _, events = marked(40)
    tollgate.post(events)
    tollgate.drain()
    messages = mock.read(TOPIC)
    equal(sorted(int(json.loads(m.value())["number"]) for m in messages), list(range(40)), "the numbers, each once")
    book = books(tollgate)[OPEN]
    equal((book["delivered"], book["quarantined"]), (40, {}), "delivered and set aside")


@case_for_each(("json", "protobuf"), "{}: a request that is a thousand times larger as messages takes little memory")
def much_larger(t, value):
    mock = cluster(t)
    tollgate = edge(t, mock, value=value, key="field", key_field="number")
    tollgate.post(marked(10)[1])
    tollgate.drain()
    before = peak_memory(tollgate)
    events, tags = repeating(1200)
    equal(tollgate.post(events, __tags__=tags).status_code, 200, "the status")
    until(lambda: delivered(tollgate) == 1210, "delivery", seconds=120)
    grown = peak_memory(tollgate) - before
    check(grown < 96 << 20, f"memory grew by {grown >> 20} MiB")


@case("a reload while one partition fails: all is sent again, is there once by its ids, and is counted as in doubt")
def handed_over(t):
    mock = cluster(t)
    upstream = kafka(mock.brokers, key="field", key_field="number")
    quick = config(upstream, "", "", UPSTREAM)
    slow = quick.replace('"20ms"', '"25s"').replace('"200ms"', '"30s"')
    tollgate = t.tollgate(slow)
    # Of the four partitions three take theirs.
    mock.fail(0, 0, 0, *[NOT_LEADER] * 4)
    _, events = marked(80)
    tollgate.post(events)
    until(lambda: tollgate.metric("tollgate_delivery_retries_total", **LANE) >= 1, "a failed attempt")
    doubts = "tollgate_delivery_resends_in_doubt_total"
    equal(tollgate.metric(doubts, **LANE), 0, "resends in doubt before")
    tollgate.config.write_text(quick, encoding="utf-8")
    equal(tollgate.admin("POST", "reload").status_code, 200, "the status of the reload")
    tollgate.drain()
    messages = mock.read(TOPIC)
    check(len(messages) > 80, "some are there twice")
    equal(len(set(ids(messages))), 80, "the different ids")
    equal(tollgate.metric(doubts, **LANE), 1, "resends in doubt")


@case("events that the brokers refuse for good are set aside with the name of the error, and the books balance")
def refused(t):
    mock = cluster(t, partitions=1)
    tollgate = edge(t, mock)
    # The six together, their halves, and theirs.
    mock.fail(*[TOO_LARGE] * 11)
    marker, events = marked(6)
    tollgate.post(events)
    tollgate.drain()
    book = books(tollgate)[OPEN]
    equal((book["delivered"], book["quarantined"]), (0, {"store": 6}), "delivered and set aside")
    done = until(lambda: tollgate.command("quarantine", "export").stdout, "records")
    records = [json.loads(line) for line in done.splitlines()]
    equal({record["check"] for record in records}, {"MessageTooLarge"}, "the check")
    equal(sorted(int(record["event"]["number"]) for record in records), list(range(6)), "the numbers set aside")
    tollgate.post([{"marker": marker, "number": "7"}])
    tollgate.drain()
    equal(len(mock.read(TOPIC)), 1, "the messages after that")


@case("a topic that is not there, or not ours to write: events wait, and are delivered once it is mended")
def no_topic(t):
    mock = t.use(MockKafka(1))
    tollgate = edge(t, mock)
    _, events = marked(10)
    tollgate.post(events[:5])
    until(lambda: "there is no topic" in tollgate.stderr(), "a warning")
    mock.create(TOPIC, 2)
    until(lambda: delivered(tollgate) == 5, "delivery")
    mock.fail(TOPIC_FORBIDDEN, TOPIC_FORBIDDEN)
    tollgate.post(events[5:])
    until(lambda: tollgate.metric("tollgate_upstream_credentials_refused_total", upstream="kafka") >= 1, "an alarm")
    tollgate.drain()
    equal(len(set(ids(mock.read(TOPIC)))), 10, "the different ids")


@case('ack = "logstore": the answer comes when the brokers have the events')
def acknowledged(t):
    mock = cluster(t)
    tollgate = edge(t, mock, 'ack = "logstore"')
    marker, events = marked(5)
    answer = tollgate.post(events)
    equal((answer.status_code, answer.headers["x-tollgate-ack"]), (200, "logstore"), "the answer")
    equal(len(mock.read(TOPIC)), 5, "the messages at that moment")
    mock.down()
    waiting = 'the 503 of a cluster that is away'
    equal(tollgate.post([{"marker": marker, "number": "9"}]).status_code, 503, waiting)
    mock.up()
    tollgate.drain()
    equal(len(set(ids(mock.read(TOPIC)))), 6, "the different ids at the end")


@case('kill -9 with the brokers away: with ack = "disk" every event is in the topic after a restart')
def killed(t):
    mock = cluster(t)
    tollgate = edge(t, mock, 'ack = "disk"')
    mock.down()
    _, events = marked(50)
    for start in range(0, 50, 5):
        equal(tollgate.post(events[start:start + 5]).status_code, 200, "the status")
    tollgate.kill()
    mock.up()
    tollgate.start()
    until(lambda: delivered(tollgate) == 50, "delivery")
    found = {json.loads(message.value())["number"] for message in mock.read(TOPIC)}
    equal(len(found), 50, "the different events")
    equal(books(tollgate)[OPEN]["recovered"], 50, "recovered")


@case("TLS: brokers are spoken to by their name and authority, and not by another authority")
def secured(t):
    mock = cluster(t, brokers=1)
    pair, other = certificate(t, "good"), certificate(t, "other")
    guard = t.use(Guard(mock.brokers[0], certificate=pair))
    mock.advertise(1, "localhost", guard.port)
    brokers = [f"localhost:{guard.port}"]
    trusting = t.tollgate(config(kafka(brokers, tls=True, ca_file=str(pair[0])), "", "", UPSTREAM))
    trusting.post(marked(5)[1])
    trusting.drain()
    equal(delivered(trusting), 5, "delivered")
    wary = t.tollgate(config(kafka(brokers, tls=True, ca_file=str(other[0])), "", "", UPSTREAM))
    wary.post(marked(5)[1])
    until(lambda: "invalid peer certificate" in wary.stderr(), "a warning")
    equal(wary.metric("tollgate_events_held", **LANE), 5, "held")


@case_for_each(("plain", "scram-sha-256", "scram-sha-512"), "{}: a wrong password is an alarm and loses nothing; the file is read again")
def logins(t, mechanism):
    mock = cluster(t, brokers=1)
    secret = t.folder / "password"
    secret.write_text("wrong", encoding="utf-8")
    guard = t.use(Guard(mock.brokers[0], mechanism=mechanism.upper(), password="right one"))
    mock.advertise(1, "127.0.0.1", guard.port)
    upstream = kafka(
        [f"127.0.0.1:{guard.port}"], sasl=mechanism, username="tollgate", password=f"file:{secret}",
    )
    tollgate = t.tollgate(config(upstream, "", "", UPSTREAM))
    tollgate.post(marked(10)[1])
    refused = "tollgate_upstream_credentials_refused_total"
    until(lambda: tollgate.metric(refused, upstream="kafka") >= 1, "an alarm")
    check(True not in guard.logins, "no login was good")
    secret.write_text("right one", encoding="utf-8")
    tollgate.drain()
    equal(delivered(tollgate), 10, "delivered")
    printed = tollgate.output()
    check("right one" not in printed and "wrong" not in printed, "no password is printed")


def certificate(t, name):
    """A certificate for localhost and its key."""
    key, cert = t.folder / f"{name}.key", t.folder / f"{name}.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE",
         "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True, timeout=30,
    )
    return cert, key

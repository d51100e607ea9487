"""The official Python producer, which batches and sends in the background."""

from aliyun_log_producer import Log, Producer, ProducerConfig

from lib.cases import case, case_for_each
from lib.events import as_text, awkward, marked
from lib.expect import check, equal
from lib.store import ACCESS_KEY_ID, Store, same_events
from lib.tollgate import GUARDED, OPEN, PROJECT


def _produce(port, secret, logstore, events, compression="zstd"):
    """Sends the events in one go; returns the delivery errors."""
    outcomes = []
    config = ProducerConfig(
        endpoint=f"http://localhost:{port}", access_key_id=ACCESS_KEY_ID, access_key_secret=secret,
        compression=compression, generate_pack_id=False, linger=0.1, max_attempts=2,
    )
    with Producer(config) as producer:
        writer = producer.writer(PROJECT, logstore)
        for event in events:
            log = Log(list(as_text(event).items()))
            writer.send(log, topic="shop", source="producer", on_delivery=outcomes.append)
        producer.flush()
    equal(len(outcomes), len(events), "the number of delivery reports")
    return [outcome for outcome in outcomes if outcome is not None]


@case_for_each(("zstd", "lz4"), "{}: what the producer sends to the embedded logstore is read back unchanged, once")
def to_the_store(t, compression):
    tollgate = t.tollgate()
    marker, event = awkward()
    equal(_produce(tollgate.store_port, tollgate.store_secret(), GUARDED, [event] * 300, compression), [], "errors")
    same_events(Store(tollgate).settled(marker), [as_text(event)] * 300, topic="shop", source="producer")


@case("an open logstore behind the front takes what the producer sends, once")
def to_the_front(t):
    tollgate = t.tollgate()
    marker, events = marked(300)
    equal(_produce(tollgate.front_port, "unknown", OPEN, events), [], "errors")
    same_events(Store(tollgate).settled(marker, OPEN), events, topic="shop", source="producer")


@case("the producer reports a refusal with its status and code")
def refusal(t):
    tollgate = t.tollgate()
    errors = _produce(tollgate.store_port, "wrong", GUARDED, [{"a": "b"}])
    equal([(error.http_status, error.error_code) for error in errors], [(401, "SignatureNotMatch")], "the error")
    check(errors[0].request_id, "there is a request id")

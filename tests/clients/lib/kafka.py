"""librdkafka's own mock cluster, which speaks the protocol of Kafka on real sockets, and a consumer that reads it back."""

import ctypes
import time
from pathlib import Path

import confluent_kafka
from confluent_kafka import Consumer, KafkaException, TopicPartition

PRODUCE = 0

NOT_LEADER = 6
TIMED_OUT = 7
TOO_LARGE = 10
NOT_ENOUGH_REPLICAS = 19
TOPIC_FORBIDDEN = 29

_PRODUCER = 0
_TEXT = 512


def _library():
    """The librdkafka that confluent-kafka brings: its Python side does not show the mock cluster's controls."""
    home = Path(confluent_kafka.__file__).parent.parent
    [path] = home.glob("confluent_kafka.libs/librdkafka-*.so*")
    library = ctypes.CDLL(str(path))
    for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_handle_mock_cluster"):
        getattr(library, name).restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_new.restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    return library


class MockKafka:
    """A cluster of so many brokers in this process."""

    def __init__(self, brokers=1):
        self._lib = _library()
        text = ctypes.create_string_buffer(_TEXT)
        conf = ctypes.c_void_p(self._lib.rd_kafka_conf_new())
        self._handle = ctypes.c_void_p(self._lib.rd_kafka_new(_PRODUCER, conf, text, ctypes.c_size_t(_TEXT)))
        if not self._handle:
            raise AssertionError(f"no mock cluster: {text.value.decode()}")
        self._cluster = ctypes.c_void_p(self._lib.rd_kafka_mock_cluster_new(self._handle, brokers))
        self._count = brokers

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._lib.rd_kafka_mock_cluster_destroy(self._cluster)
        self._lib.rd_kafka_destroy(self._handle)

    @property
    def brokers(self):
        """Its brokers, as `host:port`."""
        return self._lib.rd_kafka_mock_cluster_bootstraps(self._cluster).decode().split(",")

    def create(self, topic, partitions):
        """Makes a topic."""
        self._done(self._lib.rd_kafka_mock_topic_create(self._cluster, topic.encode(), partitions, self._count))

    def advertise(self, broker, host, port):
        """Lets a broker tell clients another address than its own."""
        self._done(self._lib.rd_kafka_mock_broker_set_host_port(self._cluster, broker, host.encode(), port))

    def down(self):
        """Closes the connections of all brokers, and their listeners."""
        for broker in range(1, self._count + 1):
            self._done(self._lib.rd_kafka_mock_broker_set_down(self._cluster, broker))

    def up(self):
        """Lets all brokers listen again, on the ports that they had."""
        for broker in range(1, self._count + 1):
            self._done(self._lib.rd_kafka_mock_broker_set_up(self._cluster, broker))

    def fail(self, *errors):
        """The next requests to write are answered with these errors."""
        self._lib.rd_kafka_mock_push_request_errors(
            self._cluster, ctypes.c_int16(PRODUCE), ctypes.c_size_t(len(errors)), *errors
        )

    def read(self, topic, brokers=None):
        """Everything in a topic, partition by partition, as messages of confluent-kafka."""
        consumer = Consumer({
            "bootstrap.servers": ",".join(brokers or self.brokers), "group.id": "reader",
            "enable.partition.eof": True, "enable.auto.commit": False,
        })
        try:
            known = consumer.list_topics(topic, timeout=10).topics[topic].partitions
            consumer.assign([TopicPartition(topic, partition, 0) for partition in known])
            messages, ended = [], set()
            deadline = time.monotonic() + 20
            while len(ended) < len(known):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{topic} was not read to its end")
                message = consumer.poll(0.5)
                if message is None:
                    continue
                if message.error() is None:
                    messages.append(message)
                elif message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF:
                    ended.add(message.partition())
                else:
                    raise KafkaException(message.error())
            return messages
        finally:
            consumer.close()

    @staticmethod
    def _done(error):
        if error:
            raise AssertionError(f"the mock cluster refused: {error}")

"""Several machines that train one model, each a process of the same command."""

from __future__ import annotations

import hashlib
import json
import logging
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import tensorflow as tf

from seg.contracts import SegError

Strategy = tf.distribute.Strategy
WAIT_S = 300.0

log = logging.getLogger(__name__)


class Workers(tf.distribute.MultiWorkerMirroredStrategy):
    """Several machines, each a process, under which Keras' `fit` works.

    Keras 3.15 reduces a tuple (the first batch, for its shapes) and, along an axis, scalars (the
    metrics of a step). TensorFlow takes both on one machine and refuses them on several:
    https://github.com/keras-team/keras/issues/20585.
    """

    def reduce(self, reduce_op: str, value: object, axis: int | None) -> object:
        """Reduce over the replicas of all workers; a tuple is that of this worker's first one."""
        if isinstance(value, tuple):
            return tuple(self.experimental_local_results(part)[0] for part in value)
        is_scalar = self.experimental_local_results(value)[0].shape.rank == 0
        return super().reduce(reduce_op, value, None if is_scalar else axis)


def strategy(addresses: Sequence[str], worker: int) -> Workers:
    """Return the strategy of workers that have met.

    Args:
        addresses: HOST:PORT of each.
        worker: which of them this is.
    """
    where = {"task_type": "worker", "task_id": worker, "rpc_layer": "grpc"}
    cluster = tf.train.ClusterSpec({"worker": list(addresses)})
    return Workers(tf.distribute.cluster_resolver.SimpleClusterResolver(cluster, **where))


def meet(addresses: Sequence[str], worker: int, wait_s: float = WAIT_S) -> None:
    """Wait until every worker has called every other: TensorFlow would wait for ever.

    Args:
        addresses: HOST:PORT of each, where TensorFlow will listen; none: nobody is waited for.
        worker: which of them this is.
        wait_s: how long.

    Raises:
        SegError: one does not answer, or does not call, or the port here is taken.
    """
    if not addresses:
        return
    others, own = [i for i in range(len(addresses)) if i != worker], addresses[worker]
    log.info("worker %d, %s: waiting %g s for %d others", worker, own, wait_s, len(others))
    until = time.monotonic() + wait_s
    try:
        server = socket.create_server(("", _host_port(own)[1]))
    except OSError as error:
        raise SegError(
            f"trainer.workers: {own} is to be this process, which cannot listen there "
            f"({error.strerror}); take another port for it, in every worker's command"
        ) from error
    with server:
        for other in others:
            _call(addresses, other, until)
        server.settimeout(max(1.0, until - time.monotonic()))
        try:
            for _ in others:
                server.accept()[0].close()
        except TimeoutError as error:
            raise SegError(
                f"trainer.workers: another worker, which answers, has not reached {own} within "
                f"{wait_s:g} s; is that its address, and the port open to all?"
            ) from error


def _call(addresses: Sequence[str], other: int, until: float) -> None:
    while True:
        try:
            return socket.create_connection(_host_port(addresses[other]), timeout=5).close()
        except OSError as error:
            if time.monotonic() > until:
                raise SegError(
                    f"trainer.workers: no answer from worker {other} at {addresses[other]} "
                    f"({error}); start the same command there with trainer.worker={other}"
                ) from error
        time.sleep(0.2)


def _host_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


@contextmanager
def together() -> Iterator[None]:
    """Say in a sentence that another worker is gone, which TensorFlow notices within seconds."""
    try:
        yield
    except tf.errors.UnavailableError as error:
        raise SegError(
            "trainer.workers: another worker has stopped or cannot be reached any more; what it "
            "said last tells why. Start all of them again"
        ) from error


def require_same(strategy: Strategy, what: str, value: object) -> None:
    """Raise a SegError on every worker unless all have the same value, anything JSON can say."""
    if isinstance(strategy, Workers):
        digest = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
        with together():
            digests = strategy.gather(tf.constant([int(digest[:15], 16)], tf.int64), axis=0)
        if len({*digests.numpy()}) > 1:
            raise SegError(f"trainer.workers: all must have the same {what}, and have not")


def share(strategy: Strategy) -> tuple[int, int]:
    """Return which worker this is, and of how many."""
    if not isinstance(strategy, Workers):
        return 0, 1
    resolver = strategy.cluster_resolver
    return resolver.task_id, resolver.cluster_spec().num_tasks("worker")


def shared_out(strategy: Strategy, batches: tf.data.Dataset) -> tf.data.Dataset:
    """Divide a worker's batches between its replicas; on one machine Keras does that."""
    n = share(strategy)[1]
    if n == 1:
        return batches
    if (replicas := strategy.num_replicas_in_sync // n) > 1:
        batches = batches.rebatch(batches.element_spec[0].shape[0] // replicas)
    return strategy.distribute_datasets_from_function(lambda _: batches)

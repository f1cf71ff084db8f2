"""Peer: Quix Streams' batching file sink, Kafka JSON to Parquet. Runs until it is killed.

python quix_streams.py BOOTSTRAP TOPIC FOLDER
"""

import os
import sys
from pathlib import Path

from quixstreams import Application
from quixstreams.sinks.community.file.formats import ParquetFormat
from quixstreams.sinks.community.file.local import LocalFileSink

bootstrap, topic, folder = sys.argv[1:]
os.chdir(Path(folder).parent)  # its sink takes plain names only
application = Application(
    broker_address=bootstrap,
    consumer_group=Path(folder).parent.name,
    auto_offset_reset="earliest",
    commit_interval=5.0,
    commit_every=400_000,
    consumer_extra_config={"fetch.queue.backoff.ms": 1},
)
frame = application.dataframe(application.topic(topic, value_deserializer="json"))
frame.sink(LocalFileSink(directory=Path(folder).name, format=ParquetFormat()))
application.run()

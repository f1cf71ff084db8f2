"""The peers, each in an environment of its own: how to install, start, and look into them."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.json as pj
import pyarrow.parquet as pq

HERE = Path(__file__).resolve().parent
FOLDER = HERE.parents[1] / ".services" / "peers"
KEYS = ["symbol", "ts"]
PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"


class Peer(ABC):
    """One way from a Kafka topic of JSON records to files or a table."""

    name: str
    #: Whether its process ends with the topic. Otherwise it is killed when all rows are there.
    ends = False

    def __init__(self, bootstrap: str, topic: str, folder: Path) -> None:
        self.bootstrap = bootstrap
        self.topic = topic
        self.folder = folder
        folder.mkdir(parents=True)

    @abstractmethod
    def install(self) -> None:
        """Make its environment, once a machine."""

    @abstractmethod
    def prepare(self) -> None:
        """Make what must be there before it starts."""

    @abstractmethod
    def command(self) -> Sequence[str]:
        """What to run."""

    @abstractmethod
    def rows(self) -> int:
        """Rows that are to be seen now."""

    @abstractmethod
    def keys(self) -> pa.Table:
        """`symbol` and `ts` of all rows."""

    @abstractmethod
    def files(self) -> int:
        """Data files that were written."""


class PythonPeer(Peer):
    """A script beside this one, in an environment with what `requirements` names."""

    script: str
    requirements: Sequence[str]

    def install(self) -> None:
        home = FOLDER / self.script
        if not (home / "made").exists():
            subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
            pip = str(home / "bin" / "pip")
            subprocess.run([pip, "install", "--quiet", *self.requirements], check=True)
            (home / "made").touch()

    def prepare(self) -> None:
        self.out.mkdir(exist_ok=True)

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def command(self) -> Sequence[str]:
        python = str(FOLDER / self.script / "bin" / "python")
        script = str(HERE / f"{self.script}.py")
        return [python, "-W", "ignore", script, self.bootstrap, self.topic, str(self.out)]

    def paths(self) -> list[Path]:
        return [path for path in self.out.rglob("*.parquet") if path.stat().st_size]

    def rows(self) -> int:
        total = 0
        for path in self.paths():
            try:
                total += pq.ParquetFile(path).metadata.num_rows
            except pa.ArrowInvalid:  # not finished, or cut by a kill: no reader can use it
                continue
        return total

    def keys(self) -> pa.Table:
        tables = []
        for path in self.paths():
            try:
                tables.append(self.read(path))
            except pa.ArrowInvalid:
                continue
        if not tables:
            return pa.schema([(name, pa.string()) for name in KEYS]).empty_table()
        return pa.concat_tables(tables)

    def read(self, path: Path) -> pa.Table:
        return pq.ParquetFile(path).read(columns=KEYS)

    def files(self) -> int:
        return len(self.paths())


class Quix(PythonPeer):
    name = "Quix Streams 3.28.1, JSON → Parquet"
    script = "quix_streams"
    requirements = ("quixstreams==3.28.1", "pyarrow==26.0.1")

    def read(self, path: Path) -> pa.Table:
        # Its rows are the topic's values, one column a field, with the key beside them.
        return pq.ParquetFile(path).read(columns=KEYS)


class Bytewax(PythonPeer):
    name = "Bytewax 0.21.1, JSON → Parquet"
    script = "bytewax_flow"
    requirements = ("bytewax==0.21.1", "confluent-kafka==2.16.1", "pyarrow==26.0.1")
    ends = True


class Pathway(PythonPeer):
    name = "Pathway 0.33.0, JSON → JSON lines"
    script = "pathway_flow"
    requirements = ("pathway==0.33.0",)

    def paths(self) -> list[Path]:
        return [path for path in self.out.glob("*.jsonl") if path.stat().st_size]

    def rows(self) -> int:
        total = 0
        for path in self.paths():
            with path.open("rb") as lines:
                total += sum(block.count(b"\n") for block in iter(lambda: lines.read(1 << 22), b""))
        return total

    def read(self, path: Path) -> pa.Table:
        whole = path.read_bytes()
        lines = pa.BufferReader(whole[: whole.rindex(b"\n") + 1])  # a kill may cut the last one
        schema = pa.schema([(name, pa.string()) for name in KEYS])
        return pj.read_json(lines, parse_options=pj.ParseOptions(explicit_schema=schema)).select(
            KEYS
        )


class ConnectIceberg(Peer):
    name = "Kafka Connect 4.3.1 with the Iceberg sink 1.12.0, JSON → Iceberg"

    def install(self) -> None:
        home = FOLDER / "connect"
        if (home / "made").exists():
            return
        for pom, folder in (("connect-pom.xml", "jars"), ("iceberg-pom.xml", "plugins/iceberg")):
            place = f"-DoutputDirectory={home / folder}"
            maven = ["mvn", "-B", "-ntp", "-q", "-f", str(HERE / pom), PLUGIN, place]
            subprocess.run([*maven, "-DincludeScope=runtime"], check=True)
        (home / "made").touch()

    def _catalog(self):  # noqa: ANN202 - an import of its own
        from pyiceberg.catalog.sql import SqlCatalog

        return SqlCatalog(
            "ice",
            uri=f"sqlite:///{self.folder}/cat.db",
            warehouse=f"file://{self.folder}/wh",
        )

    def prepare(self) -> None:
        from confluent_kafka.admin import AdminClient, NewTopic
        from pyiceberg.schema import Schema
        from pyiceberg.types import DoubleType, NestedField, StringType, TimestamptzType

        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        control = admin.create_topics([NewTopic(f"control-{self.folder.name}", 1, 1)])
        for done in control.values():
            done.result()
        names = ("open", "high", "low", "close", "volume")
        fields = [
            NestedField(1, "symbol", StringType()),
            NestedField(2, "ts", TimestamptzType()),
            *(NestedField(3 + place, name, DoubleType()) for place, name in enumerate(names)),
        ]
        catalog = self._catalog()
        catalog.create_namespace("db")
        catalog.create_table(
            "db.bars",
            Schema(*fields),
            properties={"write.parquet.compression-codec": "zstd"},  # else it writes gzip
        )
        self._write("log4j2.properties", LOGGING)
        self._write(
            "sink.properties",
            SINK.format(topic=self.topic, work=self.folder, name=self.folder.name),
        )

    def _write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def command(self) -> Sequence[str]:
        # A port and a file of offsets for each start: two may run side by side, in one group.
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self._write(
            f"worker-{port}.properties",
            WORKER.format(
                bootstrap=self.bootstrap,
                work=self.folder,
                plugins=FOLDER / "connect" / "plugins",
                port=port,
            ),
        )
        java = shutil.which("java") or "java"
        jars = ":".join(sorted(map(str, (FOLDER / "connect" / "jars").glob("*.jar"))))
        logging = f"-Dlog4j2.configurationFile={self.folder}/log4j2.properties"
        files = [
            str(self.folder / name) for name in (f"worker-{port}.properties", "sink.properties")
        ]
        main = "org.apache.kafka.connect.cli.ConnectStandalone"
        return [java, "-Xmx2g", logging, "-cp", jars, main, *files]

    def rows(self) -> int:
        snapshot = self._catalog().load_table("db.bars").current_snapshot()
        return int(snapshot.summary["total-records"]) if snapshot else 0

    def keys(self) -> pa.Table:
        return self._catalog().load_table("db.bars").scan(selected_fields=tuple(KEYS)).to_arrow()

    def files(self) -> int:
        snapshot = self._catalog().load_table("db.bars").current_snapshot()
        return int(snapshot.summary["total-data-files"]) if snapshot else 0


PEERS: dict[str, type[Peer]] = {
    "connect": ConnectIceberg,
    "quix": Quix,
    "bytewax": Bytewax,
    "pathway": Pathway,
}

LOGGING = """appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{HH:mm:ss.SSS} %p %c{1} %m%n
rootLogger.level=WARN
rootLogger.appenderRef.out.ref=out
"""
WORKER = """bootstrap.servers={bootstrap}
key.converter=org.apache.kafka.connect.storage.StringConverter
value.converter=org.apache.kafka.connect.json.JsonConverter
value.converter.schemas.enable=false
offset.storage.file.filename={work}/offsets-{port}
offset.flush.interval.ms=1000
plugin.path={plugins}
plugin.discovery=service_load
listeners=http://127.0.0.1:{port}
consumer.auto.offset.reset=earliest
"""
SINK = """name={name}
connector.class=org.apache.iceberg.connect.IcebergSinkConnector
tasks.max=1
topics={topic}
iceberg.tables=db.bars
iceberg.control.topic=control-{name}
iceberg.control.commit.interval-ms=10000
iceberg.control.commit.timeout-ms=30000
iceberg.catalog=ice
iceberg.catalog.catalog-impl=org.apache.iceberg.jdbc.JdbcCatalog
iceberg.catalog.uri=jdbc:sqlite:{work}/cat.db
iceberg.catalog.warehouse=file://{work}/wh
iceberg.catalog.jdbc.schema-version=V0
"""

"""Apache Kafka: topics of a broker, behind the contract of streams."""

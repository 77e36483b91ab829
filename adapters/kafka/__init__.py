"""Apache Kafka: the log of more than one machine, through aiokafka's transactions."""

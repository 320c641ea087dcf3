#!/usr/bin/env python3
"""Prints the configuration of a Debezium connector: a base file, under another name, with more options.

    connector_config.py examples/connector.json orders table.include.list=public.orders poll.interval.ms=10

The name is also the topic prefix, and names what the connector has in its database: the replication slot and the
publication of PostgreSQL, or the user, the number among the replicas and the history of schemas of MariaDB. `avro`
stands for the options that write Avro in Confluent's wire format through the stack's registry; `KEY=` removes an option.
"""
import json
import sys
import zlib


def avro(of):
    """The options that let the converter of `of`, key or value, write Avro."""
    registry = f"{of}.converter.apicurio.registry."
    return {
        f"{of}.converter": "io.apicurio.registry.utils.converter.AvroConverter",
        f"{of}.converter.schemas.enable": None,
        registry + "url": "${env:REGISTRY_NATIVE_URL}",
        registry + "auto-register": "true",
        registry + "as-confluent": "true",
        registry + "use-id": "contentId",
        registry + "headers.enabled": "false",
    }


def named(config, name):
    """The options that follow from the connector's name."""
    if "mariadb" not in config["connector.class"]:
        return {"topic.prefix": name, "slot.name": f"{name}_slot", "publication.name": f"{name}_publication"}
    return {
        "topic.prefix": name,
        "database.user": name,
        "database.server.id": str(2**16 + zlib.crc32(name.encode()) % 2**31),
        "schema.history.internal.kafka.topic": f"{name}.schema_history",
    }


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    base, name, options = sys.argv[1], sys.argv[2], sys.argv[3:]
    with open(base, encoding="utf-8") as file:
        config = json.load(file)
    config |= named(config, name)
    for option in options:
        key, equals, value = option.partition("=")
        if option == "avro":
            config |= {"schema.name.adjustment.mode": "avro"} | avro("key") | avro("value")
        elif equals:
            config[key] = value
        else:
            sys.exit(f"option '{option}' is neither KEY=VALUE nor 'avro'")
    print(json.dumps({key: value for key, value in config.items() if value}, indent=2))


if __name__ == "__main__":
    main()

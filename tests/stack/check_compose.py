"""Checks what the Compose schema does not say about docker-compose.yml. Needs ruamel.yaml, which check-jsonschema brings.

    check_compose.py docker-compose.yml .env.example
"""
import pathlib
import re
import sys

import ruamel.yaml


def problems(compose, text, example):
    """Yields a sentence for each promise that the file does not keep."""
    asked = set(re.findall(r"(?<!\$)\$\{(\w+)", text))
    asked |= {secret["environment"] for secret in compose.get("secrets", {}).values() if "environment" in secret}
    told = set(re.findall(r"^(\w+)=", example, re.MULTILINE))
    for name in sorted(asked ^ told):
        yield f"variable {name} is " + ("not in .env.example" if name in asked else "in .env.example, and nothing asks for it")

    services = compose["services"]
    for name, service in services.items():
        image = service.get("image")
        if image and not re.search(r":\d+\.\d+[\w.]*$", image):
            yield f"{name}: image {image} has no pinned version"
        for port in service.get("ports", []):
            if not str(port).startswith("127.0.0.1:"):
                yield f"{name}: port {port} is not on 127.0.0.1"
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            if source.startswith(".") and not pathlib.Path(source).exists():
                yield f"{name}: {source} is not there"
            if not source.startswith(".") and source not in compose["volumes"]:
                yield f"{name}: volume {source} is not declared"
        for other, how in service.get("depends_on", {}).items():
            if other not in services:
                yield f"{name}: depends on {other}, which is not there"
            elif how["condition"] == "service_healthy" and "healthcheck" not in services[other]:
                yield f"{name}: waits for the health of {other}, which has no health check"
            elif how["condition"] == "service_completed_successfully" and services[other].get("restart") != "no":
                yield f"{name}: waits for the end of {other}, which is started again"


def main():
    file, example = map(pathlib.Path, sys.argv[1:])
    text = file.read_text(encoding="utf-8")
    compose = ruamel.yaml.YAML(typ="safe").load(text)
    found = list(problems(compose, text, example.read_text(encoding="utf-8")))
    for problem in found:
        print(f"{file}: {problem}", file=sys.stderr)
    if found:
        sys.exit(1)
    print(f"{file}: {len(compose['services'])} services keep what check_compose.py asks")


if __name__ == "__main__":
    main()

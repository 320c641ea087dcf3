# The host, with the default transform beside it: docker build -t rowgate .
FROM rust:1.95.0-bookworm AS build
WORKDIR /src
# Before the sources, so that a change in them does not fetch it again.
COPY rust-toolchain.toml .
RUN rustup target add wasm32-unknown-unknown
COPY . .
ENV CARGO_TARGET_DIR=/build
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/build \
    cargo build --release --locked -p host && make guests && \
    install -D /build/release/host /out/host && install -D -m 644 -t /out/transforms guest-transforms/dist/*.wasm

FROM debian:12.14-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates libssl3 && rm -rf /var/lib/apt/lists/*
COPY --from=build /out/host /usr/local/bin/host
COPY --from=build /out/transforms /transforms
# Transforms are kept here, for ranges that a crash leaves pending.
RUN install -d -o 65534 -g 65534 -m 700 /state
ENV XDG_STATE_HOME=/state
VOLUME /state
USER 65534:65534
WORKDIR /transforms
ENTRYPOINT ["host"]

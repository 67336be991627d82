# syntax=docker/dockerfile:1
# Builds the service and puts it alone, as a user without rights, on a small base.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY schemas schemas
COPY benches benches
COPY tests tests
# Caches outlive the layer, so a change of one file does not build all dependencies again.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin dieselwatch \
 && cp target/release/dieselwatch /usr/local/bin/dieselwatch \
 && strip --strip-debug /usr/local/bin/dieselwatch

FROM debian:bookworm-slim
# OpenSSL and zlib are what the Kafka client links.
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates libssl3 zlib1g \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /usr/local/bin/dieselwatch /usr/local/bin/dieselwatch
USER 10001:10001
ENV DIESELWATCH__HTTP__LISTEN=0.0.0.0:8080
EXPOSE 8080
# The process itself gets the signal to stop.
ENTRYPOINT ["dieselwatch"]
CMD ["serve"]

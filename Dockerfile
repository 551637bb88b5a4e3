# The programs of a cluster in one small image: producer, worker, reducer, api, autoconnect and setup.
# Both public images can be named by others: `make images-offline` builds them where no registry answers.
ARG BUILD_IMAGE=rust:1-slim-trixie
ARG RUNTIME_IMAGE=debian:trixie-slim

# What the programs run on. A named volume takes over owner and mode of the folder it is mounted on: the secrets belong
# to the broker's user, who alone makes them; the reducer's state and the
# bodies of chunks are writable by the user that the programs run as.
FROM ${RUNTIME_IMAGE} AS runtime
RUN for name in broker producer worker reducer api topology operator; do install -d -o 999 -g 999 "/secrets/$name"; done \
    && install -d -m 1777 /blobs /scratch /state
USER 1000:1000

# The workspace without a line of its own code: it changes when a dependency does, and hardly ever otherwise.
FROM ${BUILD_IMAGE} AS manifests
COPY . /src
WORKDIR /src
RUN find . -path '*/src/*.rs' ! -name lib.rs ! -name main.rs ! -path '*/bin/*' ! -path './vendor/*' -delete \
    && find . -name '*.rs' ! -path './vendor/*' | while read -r file; do echo 'fn main() {}' > "$file"; done \
    && find . -type f ! -name '*.rs' ! -name 'Cargo.*' ! -path './vendor/*' -delete

FROM ${BUILD_IMAGE} AS build
WORKDIR /src
ENV CARGO_TERM_COLOR=never BUILD="cargo build --release --locked -p autoconnect -p autoconnect-producer \
-p autoconnect-worker -p autoconnect-reducer -p autoconnect-api -p autoconnect-setup --features s3"
# The dependencies, in a layer of their own.
COPY --from=manifests /src /src
RUN $BUILD
# The code; it may be older than the empty programs that were built above.
COPY . /src
RUN find . -name '*.rs' -exec touch {} + \
    && $BUILD \
    && mkdir /programs \
    && cd target/release \
    && cp producer worker reducer api autoconnect setup /programs/ \
    && strip /programs/*

FROM runtime
# The authorities that S3 is trusted by; Debian's small image has none.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /programs/ /usr/local/bin/
CMD ["autoconnect", "--help"]

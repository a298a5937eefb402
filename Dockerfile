# Everything that building conntrack for Linux takes, for both architectures. build_linux_on_mac.sh makes an
# image of it and builds in there; the sources are mounted, not copied.
ARG BASE=rust:1.95.0-bookworm
FROM ${BASE}
ENV CARGO_TARGET_DIR=/target
WORKDIR /setup
COPY . .
# Only what installs is here, so that the image stays as it is when conntrack's sources change.
RUN sed -i -e '/^default-members/d' -e 's/^members = .*/members = ["xtask"]/' Cargo.toml \
    && cargo xtask setup --for static
WORKDIR /src

#!/bin/sh
# Builds conntrack for Linux in a container, on macOS or Linux, with docker or podman. It leaves static
# programs, which run on any Linux of their architecture: out/x86_64/conntrack and out/aarch64/conntrack.
#
# CONTAINER_TOOL  docker or podman; without it, the first that runs
# BASE            the image to begin with, instead of the one in the Dockerfile
set -eu
cd "$(dirname "$0")"

image=conntrack-build
tool=${CONTAINER_TOOL:-}
for candidate in docker podman; do
    if [ -z "$tool" ] && "$candidate" info > /dev/null 2>&1; then
        tool=$candidate
    fi
done
if [ -z "$tool" ]; then
    echo "neither docker nor podman runs here: install one and start it, then try again" >&2
    exit 1
fi

# An image of the whole build environment. It is kept until that changes.
"$tool" build --tag "$image" ${BASE:+--build-arg "BASE=$BASE"} .

# The build itself. Sources are read-only; what cargo downloads and builds is kept in volumes. The programs
# come out as an archive, so that they belong to whoever called this.
commit=$(git rev-parse --short=12 HEAD 2> /dev/null || true)
mkdir -p out
"$tool" run --rm \
    --security-opt label=disable \
    --volume "$PWD:/src:ro" \
    --volume conntrack-registry:/usr/local/cargo/registry \
    --volume conntrack-target:/target \
    --env "CONNTRACK_COMMIT=$commit" \
    "$image" \
    sh -c 'cargo xtask dist --programs /programs >&2 && tar -C /programs -cf - .' > out/programs.tar
tar -xf out/programs.tar -C out
rm out/programs.tar

echo "Copy one of these to the server:"
ls -l out/*/conntrack

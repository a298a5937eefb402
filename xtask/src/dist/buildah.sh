#!/bin/sh
# As much of docker's command line as build_linux_on_mac.sh types, done by buildah: it needs no daemon and no
# namespaces of users, and works inside containers. Everything is kept below $STORAGE.
set -eu

tool() {
    command buildah --storage-driver vfs --root "$STORAGE/root" --runroot "$STORAGE/run" "$@"
}

# A named volume begins as a copy of what the image has there.
volume() {
    directory=$STORAGE/volumes/$1
    if [ ! -d "$directory" ]; then
        mkdir -p "$directory"
        if [ -d "$mounted$2" ]; then cp -a "$mounted$2/." "$directory"; fi
    fi
    echo "$directory:$2"
}

verb=$1
shift
case $verb in
info) ;;
build) tool bud --isolation chroot "$@" ;;
run)
    # Volumes and settings come before the image, and the command behind it.
    volumes='' settings=''
    while :; do
        case $1 in
        --rm) shift ;;
        --security-opt) shift 2 ;;
        --volume) volumes="$volumes $2" && shift 2 ;;
        --env) settings="$settings $2" && shift 2 ;;
        *) break ;;
        esac
    done
    container=$(tool from --pull-never "localhost/$1")
    shift
    mounted=$(tool mount "$container")
    for setting in $settings; do tool config --env "$setting" "$container"; done
    options=''
    for pair in $volumes; do
        case $pair in
        /*) options="$options --volume $pair" ;;
        *) options="$options --volume $(volume "${pair%%:*}" "${pair#*:}")" ;;
        esac
    done
    status=0
    # shellcheck disable=SC2086  # They are several words.
    tool run --isolation chroot $options "$container" -- "$@" || status=$?
    tool rm "$container" > /dev/null
    exit "$status"
    ;;
*)
    echo "not known: $verb" >&2
    exit 1
    ;;
esac

#!/bin/sh
# What deploy/ needs, checked without a Docker engine: the build commands of the Dockerfile are run as they stand, and what they made is started as
# its last stage starts it, in a root directory with nothing in it but the binary, the libraries that the base image has too, and a model; as the same
# user; and asked by its own health check.
#
#   deploy/check.sh MODEL [BINARY]
#
# With BINARY, that is taken and nothing is built. What this machine does not allow is said and left out.
set -eu

model=$(realpath "$1")
cd "$(dirname "$0")/.."
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
left_out() { echo "not checked: $*"; }

if [ $# -gt 1 ]; then
    left_out "building (a binary was named)"
    binary=$(realpath "$2")
else
    # The commands of the first stage, with its folder for what comes out.
    sed -n 's/^RUN //p' deploy/Dockerfile | sed "s#/out#$work/out#g" > "$work/build.sh"
    sh -eux "$work/build.sh"
    binary=$work/out/gareum
fi

# The base image, distroless/cc, has these and no more.
for library in $(ldd "$binary" | awk '{print $1}' | xargs -n 1 basename); do
    case $library in
        linux-vdso.so.1 | libc.so.6 | libm.so.6 | libgcc_s.so.1 | libpthread.so.0 | libdl.so.2 | ld-linux-*.so.*) ;;
        *) echo "error: $library is not in the base image"; exit 1 ;;
    esac
done
echo "ok: every library is in the base image"

root=$work/root
mkdir -p "$root/models/m"
cp "$binary" "$root/gareum"
cp -r "$model/." "$root/models/m/"
ldd "$binary" | grep -o '/[^ ]*' | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
done
chmod -R a+rX "$work"
# As ENV has them; another port, since 8080 may be taken.
environment=$(sed -n 's/^ENV //p' deploy/Dockerfile)
environment="$environment GAREUM_SERVE_PORT=18980 GAREUM_SERVE_MODELS=/models/m"
if [ "$(id -u)" = 0 ] && command -v chroot > /dev/null; then
    inside() { env -i $environment "$(command -v chroot)" --userspec=65532:65532 "$root" "$@"; }
else
    left_out "an empty root and another user (this needs root)"
    environment="$environment GAREUM_SERVE_MODELS=$root/models/m"
    inside() { program=$1; shift; env -i $environment "$root$program" "$@"; }
fi
if inside /gareum serve --check 2> "$work/check"; then
    echo "error: the health check is content without a server"
    exit 1
fi
inside /gareum serve 2> "$work/log" &
server=$!
tries=0
until inside /gareum serve --check 2> "$work/check"; do
    tries=$((tries + 1))
    if [ "$tries" -gt 100 ] || ! kill -0 "$server" 2> /dev/null; then
        cat "$work/check" "$work/log"
        exit 1
    fi
    sleep 0.2
done
echo "ok: the health check is content with the server"
# The process itself, not the shell that started it.
pid=$(pgrep -f '^/gareum serve$|root/gareum serve$' | head -n 1)
kill -TERM "${pid:-$server}"
wait "$server" || { echo "error: it did not end well"; cat "$work/log"; exit 1; }
server=
echo "ok: it ends on SIGTERM"

if command -v systemd-analyze > /dev/null; then
    mkdir -p "$work/unit"
    sed "s#/usr/local/bin/gareum#$binary#" deploy/gareum.service > "$work/unit/gareum.service"
    systemd-analyze verify "$work/unit/gareum.service" && echo "ok: the unit"
else
    left_out "the systemd unit (there is no systemd-analyze here)"
fi
if docker compose version > /dev/null 2>&1; then
    printf 'a-secret-of-the-check\n' > "$work/keys"
    sed "s#file: ./keys#file: $work/keys#" deploy/compose.yaml > "$work/compose.yaml"
    docker compose -f "$work/compose.yaml" config -q && echo "ok: the compose file"
else
    left_out "the compose file (there is no docker compose here)"
fi
left_out "the image itself (no engine is used)"

# What the scripts beside this file share: a temporary folder, a throw-away PostgreSQL 15 in it, and a comparison. Sourced, not run.
# shellcheck shell=bash
set -euo pipefail

folder=$(mktemp -d)
chmod 755 "$folder"
server=""
account=()

finish() {
    status=$?
    [ -z "$server" ] || "${account[@]}" "$server/bin/pg_ctl" -D "$folder/data" -m immediate -W stop >/dev/null 2>&1 || true
    [ -z "$server" ] || for _ in $(seq 50); do [ -e "$folder/data/postmaster.pid" ] || break; sleep 0.1; done
    rm -rf "$folder"
    exit "$status"
}
trap finish EXIT

# Copies Debian's PostgreSQL 15, lays the named packages over it (NAME=VERSION), and starts a server with these settings.
# start_server "line of postgresql.conf" ... -- package=version ...
start_server() {
    local settings=() installed=/usr/lib/postgresql/15
    while [ $# -gt 0 ] && [ "$1" != -- ]; do settings+=("$1"); shift; done
    [ $# -eq 0 ] || shift
    [ -x "$installed/bin/postgres" ] || { echo "needs Debian's package postgresql-15" >&2; exit 2; }
    mkdir -p "$folder/pg/usr/lib/postgresql" "$folder/pg/usr/share/postgresql" "$folder/packages" "$folder/socket"
    cp -a "$installed" "$folder/pg/usr/lib/postgresql/"
    cp -a /usr/share/postgresql/15 "$folder/pg/usr/share/postgresql/"
    if [ $# -gt 0 ]; then
        (cd "$folder/packages" && apt-get -qq download "$@" 2>/dev/null)
        for package in "$folder"/packages/*.deb; do dpkg -x "$package" "$folder/pg"; done
    fi
    # PostgreSQL does not run as root.
    if [ "$(id -u)" = 0 ]; then
        account=(setpriv --reuid nobody --regid nogroup --clear-groups)
        chown -R nobody:nogroup "$folder"
    fi
    server=$folder/pg/usr/lib/postgresql/15
    (
        cd /
        "${account[@]}" "$server/bin/initdb" -D "$folder/data" -U postgres -A trust -N -E UTF8 --locale=C.UTF-8 >/dev/null
        {
            echo "unix_socket_directories = '$folder/socket'"
            echo "listen_addresses = ''"
            printf '%s\n' "${settings[@]}"
        } | "${account[@]}" tee -a "$folder/data/postgresql.conf" >/dev/null
        "${account[@]}" "$server/bin/pg_ctl" -D "$folder/data" -l "$folder/data/log" -w start >/dev/null
    )
    export PGHOST=$folder/socket PGUSER=postgres PGDATABASE=postgres
}

# An environment of Python's with these packages and no others.
python_with() {
    python3 -m venv "$folder/python"
    "$folder/python/bin/pip" -q --disable-pip-version-check install "$@"
}

# query SQL: what psql prints of it, bare.
query() {
    "$server/bin/psql" -XAtq -v ON_ERROR_STOP=1 -c "$1"
}

# until_true SQL: polls until the query says t, for a minute at most.
until_true() {
    for _ in $(seq 600); do
        [ "$(query "$1")" != t ] || return 0
        sleep 0.1
    done
    echo "never true: $1" >&2
    return 1
}

# seen WHAT ACTUAL EXPECTED: prints what was seen, and fails if it is not what was seen when this was written.
seen() {
    printf '%s: %s\n' "$1" "$2"
    [ "$2" = "$3" ] || { printf 'this has changed, it was: %s\n' "$3" >&2; return 1; }
}

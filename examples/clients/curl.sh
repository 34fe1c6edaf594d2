#!/bin/sh
# Asks a server of `gareum serve`. URL and key from the environment:
#   GAREUM_URL=http://127.0.0.1:8080 GAREUM_KEY=... examples/clients/curl.sh "where is my refund?"
set -eu
url=${GAREUM_URL:-http://127.0.0.1:8080}
text=${1:-the food was very good}

ask() { # path, body
    curl --silent --show-error --fail-with-body --retry 3 --max-time 30 \
        --header "Content-Type: application/json" \
        ${GAREUM_KEY:+--header "Authorization: Bearer $GAREUM_KEY"} \
        --data "$2" "$url$1"
    echo
}

# A text in JSON: backslashes and quotes escaped, control characters left out.
quoted=$(printf '%s' "$text" | tr -d '\000-\037' | sed 's/\\/\\\\/g; s/"/\\"/g')
ask /predict "{\"inputs\": \"$quoted\"}"
ask /classify "{\"inputs\": [\"$quoted\"], \"highlight\": true}"

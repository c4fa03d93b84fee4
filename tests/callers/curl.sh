#!/usr/bin/env bash
# A caller that knows nothing but KATO's API: curl, a connection for each request, no retries.
#     curl.sh URL NODE COUNT PAUSE TIMEOUT
# tests/callers/running.py describes what it does and prints.
set -u
export LC_ALL=C  # EPOCHREALTIME with a decimal point
url=$1 node=$2 count=$3 pause=$4 timeout=$5
answer=$(mktemp)
trap 'rm -f "$answer"' EXIT

# request WHAT METHOD PATH BODY: print the request's record, and set $status.
request() {
  local began=$EPOCHREALTIME body=null error=""
  local arguments=(--silent --noproxy "*" --max-time "$timeout" --request "$2" --output "$answer")
  [ -n "$4" ] && arguments+=(--header "content-type: application/json" --data "$4")
  : > "$answer"
  status=$(curl "${arguments[@]}" --write-out '%{http_code}' "$url$3" 2> /dev/null)
  local exit_status=$?
  [ "$exit_status" -ne 0 ] && error="curl: exit status $exit_status" status=0
  [ "$status" = 200 ] && body=$(tr -d '\n' < "$answer")
  printf '{"what": %s, "began": %s, "ended": %s, "status": %d, "error": "%s", "body": %s}\n' \
    "$1" "$began" "$EPOCHREALTIME" "$((10#$status))" "$error" "${body:-null}"
}

session=""
while [ -z "$session" ]; do
  record=$(request '{"open": "'"$node"'"}' POST /sessions \
    '{"node_id": "'"$node"'", "config": {"process_predictions": false}}')
  echo "$record"
  session=$(sed -n 's/.*"session_id": *"\([^"]*\)".*/\1/p' <<< "$record")
  sleep "$pause"
done
for ((number = 0; number < count; number++)); do
  request '{"observe": "'"$node-$number"'"}' POST "/sessions/$session/observe" \
    '{"strings": ["'"$node-$number"'"]}'
  sleep "$pause"
done
request '{"read": "'"$session"'"}' GET "/sessions/$session/stm" ""

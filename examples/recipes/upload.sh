#!/usr/bin/env bash
# Upload a large photo into the store of the service (S3), then restore it:
#   ./upload.sh photo.jpg restored.jpg [URL] [API key]
set -euo pipefail
photo=$1 out=$2 url=${3:-http://127.0.0.1:8000} key=${4:-}
curl=(curl -sS --fail-with-body --retry 5)  # --retry: also after 408, 429 and 503, as Retry-After says
[ -z "$key" ] || curl+=(-H "Authorization: Bearer $key")
field() { sed -E "s/.*\"$1\":\"?([^\",}]*).*/\1/"; }
once=$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')  # a request that is sent again makes no second job

answer=$("${curl[@]}" -H "Idempotency-Key: $once-upload" -H 'Content-Type: application/json' \
    -d "{\"bytes\": $(wc -c <"$photo"), \"file_name\": \"$(basename "$photo")\"}" "$url/uploads") ||
    { echo "$answer" >&2; exit 1; }
upload=$(field id <<<"$answer")
curl -sS --fail-with-body --retry 5 --retry-all-errors -T "$photo" "$(field url <<<"$answer")"  # without the API key
job=$("${curl[@]}" -H "Idempotency-Key: $once" -F "upload=$upload" "$url/restore" | field id)
while :; do
    state=$("${curl[@]}" "$url/jobs/$job?wait=30" | field status)
    case $state in queued | running) ;; *) break ;; esac
done
"${curl[@]}" "$url/jobs/$job/result" -o "$out"
echo "$out"

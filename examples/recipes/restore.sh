#!/usr/bin/env bash
# Restore a photo with curl:  ./restore.sh photo.jpg restored.jpg [URL] [API key]
set -euo pipefail
photo=$1 out=$2 url=${3:-http://127.0.0.1:8000} key=${4:-}
auth=()
[ -n "$key" ] && auth=(-H "Authorization: Bearer $key")

# In one call: waits up to a minute, answers the picture.  -f: a problem is an error and never saved as a picture.
if curl -fsS "${auth[@]}" -H "Accept: image/*" -F "image=@$photo" "$url/restore" -o "$out"; then
    echo "$out"
    exit 0
fi

# Or in steps, for long queues: submit, ask until it is over, fetch.
job=$(curl -fsS "${auth[@]}" -F "image=@$photo" -F lane=standard "$url/restore" | sed 's/.*"id":"\([0-9a-f]*\)".*/\1/')
while :; do
    status=$(curl -fsS "${auth[@]}" "$url/jobs/$job?wait=30" | sed 's/.*"status":"\([a-z]*\)".*/\1/')
    echo "$job: $status" >&2
    case $status in
        succeeded) break ;;
        queued | running) ;;
        *) exit 1 ;;
    esac
done
curl -fsS "${auth[@]}" "$url/jobs/$job/result" -o "$out"
echo "$out"

#!/usr/bin/env bash
# Restore a photo with curl:  ./restore.sh photo.jpg restored.jpg [URL] [API key]
set -euo pipefail
photo=$1 out=$2 url=${3:-http://127.0.0.1:8000} key=${4:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ask=(curl -sS)
[ -z "$key" ] || ask+=(-H "Authorization: Bearer $key")

# In one call: waits up to a minute and answers the picture.  Where nothing else is needed, this line is enough:
#   curl -f -H "Accept: image/*" -F image=@photo.jpg http://127.0.0.1:8000/restore -o restored.jpg
status=$("${ask[@]}" -H "Accept: image/*" -F "image=@$photo" -D "$work/headers" -o "$work/answer" -w '%{http_code}' "$url/restore")
case $status in
    200) ;;
    504) # not ready within the minute: the job goes on, so ask until it is over, then fetch
        job=$(sed -n 's/^[Xx]-[Jj]ob-[Ii]d: *\([0-9a-f]*\).*/\1/p' "$work/headers")
        while :; do
            state=$("${ask[@]}" -f "$url/jobs/$job?wait=30" | sed 's/.*"status":"\([a-z]*\)".*/\1/')
            echo "$job: $state" >&2
            case $state in queued | running) ;; *) break ;; esac
        done
        "${ask[@]}" -f "$url/jobs/$job/result" -o "$work/answer"
        ;;
    *) # a problem says what is wrong and what to do
        cat "$work/answer" >&2
        exit 1
        ;;
esac
mv "$work/answer" "$out"
echo "$out"

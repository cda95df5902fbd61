#!/usr/bin/env bash
# Restore a photo with curl:  ./restore.sh photo.jpg restored.jpg [URL] [API key]
set -euo pipefail
photo=$1 out=$2 url=${3:-http://127.0.0.1:8000} key=${4:-}
temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT
curl=(curl -sS)
[ -z "$key" ] || curl+=(-H "Authorization: Bearer $key")

# One call that waits up to a minute and returns the restored photo.  Often this line alone is enough:
#   curl -f -H "Accept: image/*" -F image=@photo.jpg http://127.0.0.1:8000/restore -o restored.jpg
status=$("${curl[@]}" -H "Accept: image/*" -F "image=@$photo" -D "$temporary/headers" -o "$temporary/answer" \
    -w '%{http_code}' "$url/restore")
case $status in
    200) ;;
    504) # not ready within a minute: the job continues, so poll until it ends, then download
        job=$(sed -n 's/^[Xx]-[Jj]ob-[Ii]d: *\([0-9a-f]*\).*/\1/p' "$temporary/headers")
        while :; do
            state=$("${curl[@]}" -f "$url/jobs/$job?wait=30" | sed 's/.*"status":"\([a-z]*\)".*/\1/')
            echo "$job: $state" >&2
            case $state in queued | running) ;; *) break ;; esac
        done
        "${curl[@]}" -f "$url/jobs/$job/result" -o "$temporary/answer"
        ;;
    *) # a problem document says what is wrong and what to do
        cat "$temporary/answer" >&2
        exit 1
        ;;
esac
mv "$temporary/answer" "$out"
echo "$out"

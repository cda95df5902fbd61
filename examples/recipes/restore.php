<?php
// Restore a photo with PHP 8 and its curl extension:  php restore.php photo.jpg restored.jpg [URL] [API key]
declare(strict_types=1);

const TRIES = 5;

function restore(string $photo, string $url, string $key): array
{
    // With this header, a request that is sent again after a broken connection does not queue a second job
    $once = ['Idempotency-Key: ' . bin2hex(random_bytes(16))];
    $form = ['image' => new CURLFile($photo), 'strength' => '1.0'];
    $job = json_decode(request("$url/restore", $key, $form, $once), true);
    while (in_array($job['status'], ['queued', 'running'], true)) {
        $job = json_decode(request("$url/jobs/{$job['id']}?wait=30", $key), true);
    }
    if ($job['status'] !== 'succeeded') {
        throw new RuntimeException("{$job['status']}: " . ($job['error']['detail'] ?? ''));
    }
    return [$job, request($url . $job['result']['url'], $key)];
}

// The body of an answer.  Waits and tries again where the service is busy or the connection breaks.
function request(string $url, string $key, ?array $form = null, array $headers = []): string
{
    for ($try = 1; ; $try++) {
        $retryAfter = 2 ** $try;
        $curl = curl_init($url);
        curl_setopt_array($curl, [
            CURLOPT_RETURNTRANSFER => true,
            CURLOPT_TIMEOUT => 120,
            CURLOPT_HTTPHEADER => [...$headers, ...($key === '' ? [] : ["Authorization: Bearer $key"])],
            CURLOPT_HEADERFUNCTION => function ($curl, string $line) use (&$retryAfter): int {
                if (preg_match('/^Retry-After: (\d+)/i', $line, $found)) {
                    $retryAfter = (int) $found[1];
                }
                return strlen($line);
            },
        ] + ($form === null ? [] : [CURLOPT_POSTFIELDS => $form]));
        $body = curl_exec($curl);
        $status = curl_getinfo($curl, CURLINFO_RESPONSE_CODE);
        if ($body !== false && $status < 400) {
            return $body;
        }
        $problem = $body === false ? null : json_decode($body, true);
        if ($try === TRIES || !($body === false || in_array($status, [408, 429, 502, 503, 504], true))) {
            throw new RuntimeException($problem === null
                ? "no answer of $url: " . (curl_error($curl) ?: "status $status")
                : "$status {$problem['code']}: {$problem['detail']} {$problem['hint']}");
        }
        sleep($retryAfter);
    }
}

[, $photo, $out] = $argv;
try {
    [$job, $picture] = restore($photo, $argv[3] ?? 'http://127.0.0.1:8000', $argv[4] ?? '');
} catch (RuntimeException $error) {
    fwrite(STDERR, $error->getMessage() . "\n");
    exit(1);
}
file_put_contents($out, $picture);
$kept = array_column(array_filter($job['passes'], fn (array $pass): bool => $pass['kept']), 'label');
echo "$out: repaired ", implode(', ', $kept) ?: 'nothing', "\n";

<?php
// Every built-in scenario with PHP's curl: chosen by the request's header, driven by the control API.
function http(string $method, string $url, ?array $body, array $headers = [], int $patience = 30): array
{
    $curl = curl_init($url);
    curl_setopt_array($curl, [
        CURLOPT_CUSTOMREQUEST => $method,
        CURLOPT_CAINFO => getenv('KPAY_CA'),
        CURLOPT_USERPWD => getenv('KPAY_USERNAME') . ':' . getenv('KPAY_PASSWORD'),
        CURLOPT_HTTPHEADER => $headers,
        CURLOPT_POSTFIELDS => json_encode($body ?? new stdClass()),
        CURLOPT_RETURNTRANSFER => true,
        CURLOPT_HTTP_VERSION => CURL_HTTP_VERSION_1_1,
        CURLOPT_TIMEOUT => $patience,
    ]);
    $answer = curl_exec($curl);
    return [curl_errno($curl), curl_getinfo($curl, CURLINFO_RESPONSE_CODE), $answer];
}

function api(string $method, string $path, ?array $body = null): array
{
    [$error, $status, $answer] = http($method, getenv('KPAY_CONTROL') . "/$path", $body);
    if ($error !== 0 || $status >= 300) {
        fwrite(STDERR, "php: $method $path: $status $answer\n");
        exit(1);
    }
    return json_decode($answer, true);
}

function pay(string $scenario, string $refid, int $patience): string
{
    $body = [
        'msisdn' => '0783300000', 'email' => 'customer@example.rw', 'details' => 'order', 'refid' => $refid,
        'amount' => 5000, 'cname' => 'Jane Customer', 'cnumber' => '1', 'pmethod' => 'momo', 'retailerid' => '02',
        'returl' => getenv('SHOP_URL'), 'redirecturl' => 'https://shop.example/thanks', 'bankid' => '63510',
    ];
    [$error, $status, $answer] =
        http('POST', getenv('KPAY_URL') . '/', $body, ["X-KPay-Sandbox-Scenario: $scenario"], $patience);
    return match (true) {
        $error === 28 => 'timeout',
        $error === 56 => 'reset',
        $error === 18 => 'cut',
        $error !== 0 => "curl $error",
        $status !== 200 => (string) $status,
        $answer === '' => 'empty',
        default => (string) (json_decode($answer, true)['retcode'] ?? 'malformed'),
    };
}

function status(string $refid): string
{
    $body = ['action' => 'checkstatus', 'refid' => $refid];
    return json_decode(http('POST', getenv('KPAY_URL') . '/', $body)[2], true)['statusid'];
}

foreach (file(__DIR__ . '/expected.tsv', FILE_IGNORE_NEW_LINES) as $line) {
    [$scenario, , $answer, $posted, $statuses] = explode("\t", $line);
    api('POST', 'reset');
    $got = [pay($scenario, $scenario, $answer === 'timeout' ? 1 : 10)];
    if ($scenario === 'reordered-postbacks') {
        pay($scenario, "$scenario-2", 10);
    } elseif ($scenario === 'approve-at-third-try') {
        foreach ([2, 3] as $number) {
            api('POST', 'clock/settle');
            pay($scenario, "$scenario-$number", 10);
        }
    } elseif ($scenario === 'await-payer') {
        api('POST', "transactions/$scenario/settle", ['statusid' => '01']);
    }
    api('POST', 'clock/settle');
    $told = fn ($delivery) => json_decode($delivery['body'], true)['statusid'] ?? 'unreadable';
    $got[] = implode(',', array_map($told, array_reverse(api('GET', 'deliveries')['deliveries']))) ?: '-';
    $first = [status($scenario), status($scenario)];
    api('POST', 'clock/advance', ['by' => '1m']);
    $got[] = implode(',', [...$first, status($scenario)]);
    if ($got !== [$answer, $posted, $statuses]) {
        fwrite(STDERR, "php: $scenario: got " . implode("\t", $got) . "\n");
        exit(1);
    }
}
echo "php: every scenario\n";

<?php
// A payment with PHP's curl: paid, postback received and acknowledged, status confirmed.
function call(array $body, ?string $password = null): array
{
    $curl = curl_init(getenv('KPAY_URL') . '/');
    curl_setopt_array($curl, [
        CURLOPT_CAINFO => getenv('KPAY_CA'),
        CURLOPT_USERPWD => getenv('KPAY_USERNAME') . ':' . ($password ?? getenv('KPAY_PASSWORD')),
        CURLOPT_POSTFIELDS => json_encode($body),
        CURLOPT_RETURNTRANSFER => true,
        CURLOPT_TIMEOUT => 10,
    ]);
    $answer = curl_exec($curl);
    expect($answer !== false, 'curl: ' . curl_error($curl));
    $http = curl_getinfo($curl, CURLINFO_RESPONSE_CODE);
    expect($http === 200, "HTTP $http: even a refusal comes with 200");
    return json_decode($answer, true);
}

function expect(bool $holds, string $what): void
{
    if (!$holds) {
        fwrite(STDERR, "php: $what\n");
        exit(1);
    }
}

$listener = stream_socket_server('tcp://127.0.0.1:0');
$address = stream_socket_get_name($listener, false);
$pay = [
    'action' => 'pay', 'msisdn' => '0783300000', 'email' => 'customer@example.rw', 'details' => 'order',
    'refid' => 'PHP-' . getmypid(), 'amount' => '5000', 'currency' => 'RWF', 'cname' => 'Jane Customer',
    'cnumber' => '123456789', 'pmethod' => 'momo', 'retailerid' => '02', 'returl' => "http://$address/postback",
    'redirecturl' => 'https://shop.example/thanks', 'bankid' => '63510',
];
$accepted = call($pay);
expect($accepted['reply'] === 'PENDING' && $accepted['retcode'] === 0, json_encode($accepted));

$connection = stream_socket_accept($listener, 10);
expect($connection !== false, 'no postback within 10 s');
stream_set_timeout($connection, 10);
$length = 0;
while (($line = rtrim(fgets($connection))) !== '') {
    if (stripos($line, 'content-length:') === 0) {
        $length = (int) substr($line, 15);
    }
}
$posted = json_decode(stream_get_contents($connection, $length), true);
$answer = json_encode(['tid' => $posted['tid'], 'refid' => $posted['refid'], 'reply' => 'OK']);
fwrite($connection, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: " . strlen($answer) . "\r\n\r\n" . $answer);
fclose($connection);
expect($posted['statusid'] === '01', json_encode($posted));

$status = call(['action' => 'checkstatus', 'tid' => $accepted['tid'], 'refid' => $pay['refid']]);
expect($status == $posted, json_encode($status));
expect(call($pay)['retcode'] === 608, 'a used refid was taken again');
expect(call($pay, 'wrong')['retcode'] === 600, 'a wrong password was taken');
echo "php: ok\n";

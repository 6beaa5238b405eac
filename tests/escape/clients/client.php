<?php
// Asks for a payment with one of PHP's clients: php client.php NAME.
$body = '{"action":"checkstatus","refid":"none"}';
if ($argv[1] === 'curl') {
    $curl = curl_init('https://pay.esicia.com/');
    curl_setopt_array($curl, [CURLOPT_POSTFIELDS => $body, CURLOPT_RETURNTRANSFER => true, CURLOPT_TIMEOUT => 10,
        CURLOPT_USERPWD => 'your_username:your_password']);
    echo curl_exec($curl) ?: 'failed: ' . curl_error($curl);
} else {
    $header = 'Authorization: Basic ' . base64_encode('your_username:your_password');
    $context = stream_context_create(['http' => ['method' => 'POST', 'header' => $header, 'content' => $body, 'timeout' => 10]]);
    echo file_get_contents('https://pay.esicia.com/', false, $context) ?: 'failed';
}

<?php
// What a shop needs of KPay, and its orders: kept in a file, under a lock.
declare(strict_types=1);

const KPAY = 'https://pay.esicia.com/';
const POSTBACK = 'https://shop.example/kpay/postback';

/** Calls KPay; null when no answer came that could be read, which says nothing about the payment. */
function kpay(array $message): ?array
{
    $curl = curl_init(KPAY);
    curl_setopt_array($curl, [
        CURLOPT_RETURNTRANSFER => true,
        CURLOPT_TIMEOUT => 30,
        CURLOPT_USERPWD => getenv('KPAY_USERNAME') . ':' . getenv('KPAY_PASSWORD'),
        CURLOPT_HTTPHEADER => ['Content-Type: application/json'],
        CURLOPT_POSTFIELDS => json_encode($message),
    ]);
    $answer = curl_exec($curl);
    if ($answer === false) {
        error_log('kpay: ' . curl_error($curl));
        return null;
    }
    return json_decode($answer, true);
}

/** Changes the orders while nobody else does. */
function with_orders(callable $change): mixed
{
    $file = fopen(getenv('SHOP_FILE') ?: sys_get_temp_dir() . '/shop-orders.json', 'c+');
    flock($file, LOCK_EX);
    $orders = json_decode(stream_get_contents($file) ?: '{}', true) ?: [];
    $result = $change($orders);
    ftruncate($file, 0);
    rewind($file);
    fwrite($file, json_encode($orders));
    fclose($file);
    return $result;
}

/** Asks KPay how an order stands, and settles it once: whatever else is told is only a reason to ask. */
function confirm(string $id): void
{
    $status = kpay(['action' => 'checkstatus', 'refid' => $id]);
    $statusid = $status['statusid'] ?? '';
    // 03 is pending; 611 after an answer that was lost is not final either.
    if ($statusid === '' || $statusid === '03' || $statusid === '611') {
        return;
    }
    with_orders(function (array &$orders) use ($id, $statusid): void {
        if (($orders[$id]['state'] ?? '') !== 'pending') {
            return;
        }
        $orders[$id]['state'] = $statusid === '01' ? 'paid' : 'failed';
        $orders[$id]['credits'] += $statusid === '01' ? 1 : 0;
    });
}

/** Orders and pays. */
function order(string $id, string $amount, string $msisdn): void
{
    with_orders(function (array &$orders) use ($id): void {
        $orders[$id] = ['state' => 'pending', 'credits' => 0];
    });
    $answer = kpay([
        'action' => 'pay', 'msisdn' => $msisdn, 'email' => 'customer@example.rw', 'details' => "Order $id",
        'refid' => $id, 'amount' => $amount, 'currency' => 'RWF', 'cname' => 'Jane Customer', 'cnumber' => '1',
        'pmethod' => 'momo', 'retailerid' => '02', 'returl' => POSTBACK, 'redirecturl' => "https://shop.example/orders/$id",
        'bankid' => '63510',
    ]);
    // 608 means that an earlier attempt arrived after all; no answer means that nobody knows. Both are for checkstatus.
    $retcode = $answer['retcode'] ?? null;
    if ($retcode !== null && $retcode !== 0 && $retcode !== 608) {
        with_orders(function (array &$orders) use ($id): void {
            $orders[$id]['state'] = 'failed';
        });
    }
}

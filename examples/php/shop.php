<?php
// A shop: php -S 127.0.0.1:$PORT shop.php.
declare(strict_types=1);

require __DIR__ . '/kpay.php';

$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
if ($_SERVER['REQUEST_METHOD'] === 'POST' && $path === '/orders') {
    order($_POST['id'], $_POST['amount'], $_POST['msisdn']);
    echo 'ordered';
} elseif ($_SERVER['REQUEST_METHOD'] === 'POST' && $path === '/kpay/postback') {
    // The raw body: $_POST would follow the label, and KPay has been seen to label JSON as a form.
    $postback = json_decode(file_get_contents('php://input'), true);
    if (!is_array($postback) || !isset($postback['refid'])) {
        http_response_code(400);
        echo 'not a postback';
        return;
    }
    confirm($postback['refid']);
    header('Content-Type: application/json');
    echo json_encode(['tid' => $postback['tid'] ?? '', 'refid' => $postback['refid'], 'reply' => 'OK']);
} elseif ($_SERVER['REQUEST_METHOD'] === 'POST' && preg_match('#^/orders/(\w+)/ask$#', $path, $found)) {
    confirm($found[1]);
} elseif (preg_match('#^/orders/(\w+)$#', $path, $found)) {
    $order = with_orders(fn (array &$orders) => $orders[$found[1]] ?? null);
    echo $order ? "{$order['state']} {$order['credits']}" : 'unknown';
} else {
    http_response_code(404);
}

<?php
// The shop of ../php with its postback taken by the controller.
declare(strict_types=1);

if ($_SERVER['REQUEST_METHOD'] === 'POST' && $_SERVER['REQUEST_URI'] === '/kpay/postback') {
    require __DIR__ . '/../php/kpay.php';
    require __DIR__ . '/illuminate.php';
    require __DIR__ . '/KpayPostbackController.php';
    (new App\Http\Controllers\KpayPostbackController())(new Illuminate\Http\Request())->send();
    return;
}
require __DIR__ . '/../php/shop.php';

<?php
// routes/web.php: Route::post('/kpay/postback', KpayPostbackController::class)->withoutMiddleware(ValidateCsrfToken::class);
declare(strict_types=1);

namespace App\Http\Controllers;

use Illuminate\Http\JsonResponse;
use Illuminate\Http\Request;

final class KpayPostbackController
{
    public function __invoke(Request $request): JsonResponse
    {
        // The raw body: $request->all() would follow the label, and KPay has been seen to label JSON as a form.
        $postback = json_decode($request->getContent(), true);
        if (!is_array($postback) || !isset($postback['refid'])) {
            return new JsonResponse(['error' => 'not a postback'], 400);
        }
        \confirm($postback['refid']);
        return new JsonResponse(['tid' => $postback['tid'] ?? '', 'refid' => $postback['refid'], 'reply' => 'OK']);
    }
}

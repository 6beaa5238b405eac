<?php
// The two classes of Laravel's that the controller uses, as small as a test without Laravel needs them.
declare(strict_types=1);

namespace Illuminate\Http;

final class Request
{
    public function getContent(): string
    {
        return file_get_contents('php://input');
    }
}

final class JsonResponse
{
    public function __construct(private array $data, private int $status = 200)
    {
    }

    public function send(): void
    {
        http_response_code($this->status);
        header('Content-Type: application/json');
        echo json_encode($this->data);
    }
}

#include "deai/contracts/http.h"

static const deai_field request_rows[] = {
    DEAI_F_TEXT_MAP(deai_http_request, h, "h", DEAI_HTTP_HEADERS_MAX, DEAI_HTTP_VALUE_MAX),
    DEAI_F_BYTES_OPT(deai_http_request, key, "key", 1, DEAI_NAME_MAX),
    DEAI_F_TEXT(deai_http_request, path, "path", 1, DEAI_HTTP_VALUE_MAX),
    DEAI_F_TEXT(deai_http_request, query, "query", 0, DEAI_HTTP_VALUE_MAX),
    DEAI_F_TEXT(deai_http_request, method, "method", 1, 16),
};
const deai_table deai_http_request_table =
    DEAI_TABLE_HEAD("http-request", deai_http_request, request_rows);

static const deai_field answer_rows[] = {
    DEAI_F_TEXT_MAP(deai_http_answer, h, "h", DEAI_HTTP_HEADERS_MAX, DEAI_HTTP_VALUE_MAX),
    DEAI_F_UINT(deai_http_answer, status, "status", 200, 599),
};
const deai_table deai_http_answer_table =
    DEAI_TABLE_HEAD("http-answer", deai_http_answer, answer_rows);

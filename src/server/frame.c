/* The wire protocol's frames. Layouts and invariants: frame.h. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "server/crc32c.h"
#include "server/frame.h"

#define MSG_FLAGS_REQUIRED 0xffffu /* bits that a receiver must understand */
#define MSG_FLAGS_KNOWN (MSG_CHECKSUM | MSG_MORE_TO_COME)
#define CRC_LEN 4u
#define DOC_LEN_MIN 5u

/* ---- bytes ---- */

static uint32_t get_u32(const uint8_t *p) {
    return (uint32_t) p[0] | (uint32_t) p[1] << 8 | (uint32_t) p[2] << 16 | (uint32_t) p[3] << 24;
}

static int32_t get_i32(const uint8_t *p) {
    uint32_t bits = get_u32(p);
    int32_t value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static void put_u32(uint8_t *p, uint32_t value) {
    for (int i = 0; i < 4; i++) p[i] = (uint8_t) (value >> 8 * i);
}

static void put_i32(uint8_t *p, int32_t value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    put_u32(p, bits);
}

/* What is left of a message. */
struct reader {
    const uint8_t *p, *end;
};

static size_t left(const struct reader *r) { return (size_t) (r->end - r->p); }

/* ---- faults ---- */

static bool refuse(struct frame_fault *fault, bool is_fatal, int32_t code, const char *code_name, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

static bool refuse(struct frame_fault *fault, bool is_fatal, int32_t code, const char *code_name, const char *fmt,
                   ...) {
    va_list ap;
    *fault = (struct frame_fault){.is_fatal = is_fatal, .code = code, .code_name = code_name};
    va_start(ap, fmt);
    (void) vsnprintf(fault->text, sizeof(fault->text), fmt, ap);
    va_end(ap);
    return false;
}

/* The codes are those that MongoDB's parser gives; five digits have no name of their own. */
#define FATAL(fault, ...) refuse(fault, true, 17, "ProtocolError", __VA_ARGS__)
#define ANSWER(fault, code, ...) refuse(fault, false, code, "Location" #code, __VA_ARGS__)
#define ANSWER_BSON(fault, ...) refuse(fault, false, 22, "InvalidBSON", __VA_ARGS__)

/* ---- heads ---- */

bool frame_head_decode(const uint8_t *p, struct frame_head *out, struct frame_fault *fault) {
    struct frame_head head = {get_u32(p), get_i32(p + 4), get_i32(p + 8), get_i32(p + 12)};
    if (head.len < FRAME_HEAD_LEN || head.len > FRAME_LEN_MAX)
        return FATAL(fault, "message length %d is invalid: it must be between %u and %u", (int) head.len,
                     FRAME_HEAD_LEN, FRAME_LEN_MAX);
    switch (head.opcode) {
    case OP_MSG:
    case OP_COMPRESSED:
    case OP_QUERY: break;
    case 2001:
    case 2002:
    case 2005:
    case 2006:
    case 2007:
        return FATAL(
            fault, "opcode %d is of a protocol that servers no longer speak: the client driver may require an upgrade",
            head.opcode);
    default: return FATAL(fault, "unknown opcode %d", head.opcode);
    }
    *out = head;
    return true;
}

void frame_head_encode(const struct frame_head *head, uint8_t out[FRAME_HEAD_LEN]) {
    put_u32(out, head->len);
    put_i32(out + 4, head->request_id);
    put_i32(out + 8, head->response_to);
    put_i32(out + 12, head->opcode);
}

/* ---- OP_MSG ---- */

/* The document at r->p, which is stepped over. */
static bool take_document(struct reader *r, const uint8_t **doc, size_t *doc_len, struct frame_fault *fault) {
    if (left(r) < DOC_LEN_MIN) return ANSWER_BSON(fault, "a document is cut off: %zu bytes are left", left(r));
    uint32_t len = get_u32(r->p);
    if (len < DOC_LEN_MIN || len > left(r))
        return ANSWER_BSON(fault, "invalid BSON: a document's length is %d, %zu bytes are left", (int) len, left(r));
    if (r->p[len - 1] != 0) return ANSWER_BSON(fault, "invalid BSON: a document of %u bytes does not end with 0", len);
    *doc = r->p;
    *doc_len = len;
    r->p += len;
    return true;
}

static bool take_sequence(struct reader *r, struct request *out, struct frame_fault *fault) {
    if (left(r) < 4) return ANSWER(fault, 40431, "a document sequence is cut off");
    uint32_t len = get_u32(r->p);
    if (len < 5 || len > left(r))
        return ANSWER(fault, 40431, "a document sequence's length is %d, %zu bytes are left", (int) len, left(r));
    struct reader seq = {r->p + 4, r->p + len};
    const uint8_t *nul = memchr(seq.p, 0, left(&seq));
    if (nul == NULL) return ANSWER(fault, 40431, "the name of a document sequence does not end");
    const char *name = (const char *) seq.p;
    for (size_t i = 0; i < out->sequence_count; i++)
        if (strcmp(out->sequences[i].name, name) == 0)
            return ANSWER(fault, 40431, "Duplicate document sequence: %.100s", name);
    if (out->sequence_count == FRAME_SEQUENCES_MAX)
        return ANSWER(fault, 40431, "more than %d document sequences", FRAME_SEQUENCES_MAX);
    out->sequences[out->sequence_count++] = (elmo_sequence_t){name, nul + 1, (size_t) (seq.end - nul - 1)};
    r->p += len;
    return true;
}

static bool take_sections(struct reader *r, struct request *out, struct frame_fault *fault) {
    while (left(r) > 0) {
        uint8_t kind = *r->p++;
        if (kind == 0) {
            if (out->body != NULL) return ANSWER(fault, 40430, "Multiple body sections in message");
            if (!take_document(r, &out->body, &out->body_len, fault)) return false;
        } else if (kind == 1) {
            if (!take_sequence(r, out, fault)) return false;
        } else {
            return ANSWER(fault, 40432, "Unknown section kind %u", kind);
        }
    }
    return out->body != NULL ? true : ANSWER(fault, 40587, "OP_MSG messages must have a body");
}

static bool decode_msg(const uint8_t *p, size_t len, struct request *out, struct frame_fault *fault) {
    struct reader r = {p + FRAME_HEAD_LEN, p + len};
    if (left(&r) < 4) return FATAL(fault, "an OP_MSG of %zu bytes has no flags", len);
    out->flags = get_u32(r.p);
    r.p += 4;
    uint32_t unknown = out->flags & MSG_FLAGS_REQUIRED & ~(uint32_t) MSG_FLAGS_KNOWN;
    if (unknown != 0)
        return refuse(fault, true, 353, "IllegalOpMsgFlag", "Message contains illegal flags value: 0x%x", out->flags);
    if (out->flags & MSG_CHECKSUM) {
        if (left(&r) < CRC_LEN) return FATAL(fault, "an OP_MSG of %zu bytes has no checksum", len);
        r.end -= CRC_LEN;
        if (crc32c(0, p, len - CRC_LEN) != get_u32(r.end))
            return refuse(fault, true, 360, "ChecksumMismatch", "OP_MSG checksum does not match contents");
    }
    return take_sections(&r, out, fault);
}

/* ---- OP_QUERY ---- */

/* {$query: {...}, ...}, as old drivers wrap commands: the inner document. */
static void unwrap_query(struct request *out) {
    static const char names[2][8] = {"$query", "query"};
    for (int i = 0; i < 2; i++) {
        size_t key_len = strlen(names[i]) + 1;
        struct reader r = {out->body + 5 + key_len, out->body + out->body_len - 1};
        struct frame_fault ignored;
        const uint8_t *doc;
        size_t doc_len;
        if (out->body_len < 5 + key_len + DOC_LEN_MIN || out->body[4] != 0x03) continue;
        if (memcmp(out->body + 5, names[i], key_len) != 0 || !take_document(&r, &doc, &doc_len, &ignored)) continue;
        out->body = doc;
        out->body_len = doc_len;
        return;
    }
}

static bool decode_query(const uint8_t *p, size_t len, struct request *out, struct frame_fault *fault) {
    struct reader r = {p + FRAME_HEAD_LEN, p + len};
    if (left(&r) < 4) return FATAL(fault, "an OP_QUERY of %zu bytes has no flags", len);
    r.p += 4;
    const uint8_t *nul = memchr(r.p, 0, left(&r));
    if (nul == NULL) return FATAL(fault, "the namespace of an OP_QUERY does not end");
    const char *ns = (const char *) r.p, *dot = strchr(ns, '.');
    r.p = nul + 1;
    if (left(&r) < 8) return FATAL(fault, "an OP_QUERY of %zu bytes is cut off", len);
    r.p += 8;
    if (!take_document(&r, &out->body, &out->body_len, fault)) return false;
    if (dot == NULL || dot == ns || (size_t) (dot - ns) >= FRAME_DB_LEN_MAX)
        return refuse(fault, false, 73, "InvalidNamespace", "Invalid namespace specified '%.100s'", ns);
    memcpy(out->db_name, ns, (size_t) (dot - ns));
    char name[64] = "find";
    bool is_command = strcmp(dot + 1, "$cmd") == 0;
    if (is_command) {
        unwrap_query(out);
        request_name(out, name, sizeof(name));
    }
    if (is_command && request_is_legacy(name)) return true;
    return refuse(fault, false, 352, "UnsupportedOpQueryCommand",
                  "Unsupported OP_QUERY command: %.40s. The client driver may require an upgrade. For more details see "
                  "https://dochub.mongodb.org/core/legacy-opcode-removal",
                  name);
}

bool frame_decode(const uint8_t *p, size_t len, struct request *out, struct frame_fault *fault) {
    struct frame_head head;
    *out = (struct request){0};
    if (len < FRAME_HEAD_LEN) return FATAL(fault, "a message of %zu bytes has no head", len);
    if (!frame_head_decode(p, &head, fault)) return false;
    if (head.len != len) return FATAL(fault, "a message of %zu bytes says that it has %u", len, head.len);
    out->id = head.request_id;
    out->opcode = head.opcode;
    switch (head.opcode) {
    case OP_MSG: return decode_msg(p, len, out, fault);
    case OP_QUERY: return decode_query(p, len, out, fault);
    default: return FATAL(fault, "a compressed message in a compressed message");
    }
}

/* ---- OP_COMPRESSED ---- */

bool frame_packed_decode(const uint8_t *p, size_t len, struct frame_packed *out, struct frame_fault *fault) {
    if (len < FRAME_HEAD_LEN + FRAME_COMPRESSED_LEN)
        return FATAL(fault, "an OP_COMPRESSED of %zu bytes is cut off", len);
    int32_t opcode = get_i32(p + 16);
    uint32_t body_len = get_u32(p + 20);
    uint8_t compressor = p[24];
    if (opcode != OP_MSG && opcode != OP_QUERY) return FATAL(fault, "a compressed message has the opcode %d", opcode);
    if (compressor >= COMPRESSOR_COUNT) return FATAL(fault, "unknown compressor %u", compressor);
    if (body_len > FRAME_LEN_MAX - FRAME_HEAD_LEN)
        return FATAL(fault, "a compressed message says that it unpacks to %u bytes: at most %u are allowed", body_len,
                     FRAME_LEN_MAX);
    *out = (struct frame_packed){
        .head = {FRAME_HEAD_LEN + body_len, get_i32(p + 4), get_i32(p + 8), opcode},
        .compressor = compressor,
        .bytes = p + FRAME_HEAD_LEN + FRAME_COMPRESSED_LEN,
        .len = len - FRAME_HEAD_LEN - FRAME_COMPRESSED_LEN,
    };
    return true;
}

void frame_packed_head(const struct frame_head *inner, uint8_t compressor, size_t packed_len,
                       uint8_t out[FRAME_HEAD_LEN + FRAME_COMPRESSED_LEN]) {
    struct frame_head outer = *inner;
    outer.len = (uint32_t) (FRAME_HEAD_LEN + FRAME_COMPRESSED_LEN + packed_len);
    outer.opcode = OP_COMPRESSED;
    frame_head_encode(&outer, out);
    put_i32(out + 16, inner->opcode);
    put_u32(out + 20, inner->len - FRAME_HEAD_LEN);
    out[24] = compressor;
}

/* ---- commands ---- */

void request_name(const struct request *r, char *out, size_t len) {
    size_t at = 0;
    out[0] = '\0';
    if (r->body == NULL || r->body_len <= DOC_LEN_MIN) return;
    for (const uint8_t *p = r->body + 5; p < r->body + r->body_len && *p != 0 && at + 1 < len; p++)
        out[at++] = (char) *p;
    out[at] = '\0';
}

static bool is_one_of(const char *name, const char *const *names, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(name, names[i]) == 0) return true;
    return false;
}

bool request_is_compressible(const char *name) {
    static const char *const never[] = {
        "hello",        "isMaster",   "ismaster",   "saslStart",       "saslContinue",   "getnonce",
        "authenticate", "createUser", "updateUser", "copydbSaslStart", "copydbgetnonce", "copydb",
    };
    return !is_one_of(name, never, sizeof(never) / sizeof(never[0]));
}

bool request_is_legacy(const char *name) {
    static const char *const allowed[] = {"hello",     "isMaster",  "ismaster",     "_isSelf",  "authenticate",
                                          "buildinfo", "buildInfo", "saslContinue", "saslStart"};
    return is_one_of(name, allowed, sizeof(allowed) / sizeof(allowed[0]));
}

/* ---- answers ---- */

size_t frame_answer_head(const struct request *r, int32_t answer_id, size_t doc_len,
                         uint8_t out[FRAME_ANSWER_HEAD_MAX]) {
    struct frame_head head = {.request_id = answer_id, .response_to = r->id};
    size_t head_len;
    if (r->opcode == OP_QUERY) {
        head_len = FRAME_HEAD_LEN + 20;
        head.opcode = OP_REPLY;
        head.len = (uint32_t) (head_len + doc_len);
        memset(out + FRAME_HEAD_LEN, 0, 20);
        put_u32(out + 16, 8); /* AwaitCapable */
        put_u32(out + 32, 1); /* documents */
    } else {
        bool has_checksum = (r->flags & MSG_CHECKSUM) != 0;
        head_len = FRAME_HEAD_LEN + 5;
        head.opcode = OP_MSG;
        head.len = (uint32_t) (head_len + doc_len + (has_checksum ? CRC_LEN : 0));
        put_u32(out + 16, has_checksum ? MSG_CHECKSUM : 0);
        out[20] = 0; /* the kind of the section */
    }
    frame_head_encode(&head, out);
    return head_len;
}

static uint8_t *put_key(uint8_t *p, uint8_t type, const char *key) {
    size_t len = strlen(key) + 1;
    *p++ = type;
    memcpy(p, key, len);
    return p + len;
}

static uint8_t *put_text(uint8_t *p, const char *key, const char *text) {
    size_t len = strlen(text) + 1;
    p = put_key(p, 0x02, key);
    put_u32(p, (uint32_t) len);
    memcpy(p + 4, text, len);
    return p + 4 + len;
}

/* Bytes that came from the peer may be in the text: a string must be UTF-8. */
static void keep_printable(char *text) {
    for (; *text != '\0'; text++)
        if (*text < ' ' || *text > '~') *text = '?';
}

size_t frame_fault_doc(const struct frame_fault *fault, uint8_t out[FRAME_FAULT_DOC_MAX]) {
    static const uint8_t zero[8] = {0};
    char text[sizeof(fault->text)];
    memcpy(text, fault->text, sizeof(text));
    text[sizeof(text) - 1] = '\0';
    keep_printable(text);
    uint8_t *p = put_key(out + 4, 0x01, "ok");
    memcpy(p, zero, sizeof(zero));
    p = put_text(p + 8, "errmsg", text);
    p = put_key(p, 0x10, "code");
    put_i32(p, fault->code);
    p = put_text(p + 4, "codeName", fault->code_name);
    *p++ = 0;
    put_u32(out, (uint32_t) (p - out));
    return (size_t) (p - out);
}

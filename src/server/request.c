/* One message: unpacked if it was packed, run, answered. */
#include <stdlib.h>
#include <string.h>

#include "server/compress.h"
#include "server/conn.h"
#include "server/crc32c.h"

#define PACK_LEN_MIN 64u /* a shorter answer does not shrink */

/* The message inside of an OP_COMPRESSED, in w->plain. */
static bool unpack_frame(struct conn *c, struct worker *w, const uint8_t **p, size_t *len, int *compressor,
                         enum step *step) {
    struct frame_packed packed;
    struct frame_fault fault;
    if (!frame_packed_decode(*p, *len, &packed, &fault)) {
        *step = conn_refuse(c, END_FAULT, fault.text);
        return false;
    }
    if (packed.compressor != COMPRESSOR_NOOP && !c->server->options.may_compress[packed.compressor]) {
        *step = conn_refuse(c, END_FAULT, "a message is compressed in a way that this server does not offer");
        return false;
    }
    if (!conn_reserve(c, &w->plain, packed.head.len, step)) return false;
    frame_head_encode(&packed.head, w->plain.p);
    if (!unpack(packed.compressor, packed.bytes, packed.len, w->plain.p + FRAME_HEAD_LEN,
                packed.head.len - FRAME_HEAD_LEN)) {
        *step = conn_refuse(c, END_FAULT, "a compressed message does not unpack to what it says");
        return false;
    }
    *p = w->plain.p;
    *len = packed.head.len;
    *compressor = packed.compressor;
    return true;
}

/* ---- answers ---- */

static void add_piece(struct output *out, const void *p, size_t len) {
    union {
        const void *in;
        void *out;
    } piece = {p}; /* iovec knows no const */
    out->iov[out->count++] = (struct iovec){piece.out, len};
}

/* The answer packed into w->packed, which becomes the output's. False: it does not get shorter, or memory is short; it goes as it is. */
static bool pack_answer(struct conn *c, struct worker *w, int compressor, int32_t request_id, const uint8_t *doc,
                        size_t doc_len, size_t head_len) {
    struct output *out = &c->out;
    struct bytes *packed = &w->packed;
    size_t body_len = head_len - FRAME_HEAD_LEN + doc_len;
    size_t start = FRAME_HEAD_LEN + FRAME_COMPRESSED_LEN, room = pack_room((uint8_t) compressor, body_len);
    size_t cap = start + room + body_len; /* the whole body stands behind, for the compressors take one piece */
    if (packed->cap < cap) {
        uint8_t *p = realloc(packed->p, cap);
        if (p == NULL) return false;
        packed->p = p;
        packed->cap = cap;
    }
    uint8_t *body = packed->p + start + room;
    memcpy(body, out->head + FRAME_HEAD_LEN, head_len - FRAME_HEAD_LEN);
    memcpy(body + head_len - FRAME_HEAD_LEN, doc, doc_len);
    size_t len = pack((uint8_t) compressor, body, body_len, packed->p + start, room);
    if (len == 0 || len >= body_len) return false;
    struct frame_head inner = {(uint32_t) (FRAME_HEAD_LEN + body_len), c->answer_id, request_id, OP_MSG};
    frame_packed_head(&inner, (uint8_t) compressor, len, packed->p);
    out->owned = *packed;
    *packed = (struct bytes){0};
    add_piece(out, out->owned.p, start + len);
    return true;
}

static void answer(struct conn *c, struct worker *w, struct request *r, int compressor, const uint8_t *doc,
                   size_t doc_len) {
    struct output *out = &c->out;
    char name[32];
    if (compressor >= 0) r->flags &= ~(uint32_t) MSG_CHECKSUM; /* a packed answer has none, as MongoDB's */
    size_t head_len = frame_answer_head(r, ++c->answer_id, doc_len, out->head);
    out->at = out->count = 0;
    out->is_large = c->client != NULL && doc_len > FORGET_LEN;
    if (compressor >= 0 && r->opcode == OP_MSG && doc_len >= PACK_LEN_MIN) {
        request_name(r, name, sizeof(name));
        if (request_is_compressible(name) && pack_answer(c, w, compressor, r->id, doc, doc_len, head_len)) return;
    }
    add_piece(out, out->head, head_len);
    add_piece(out, doc, doc_len);
    if (r->opcode != OP_MSG || !(r->flags & MSG_CHECKSUM)) return;
    uint32_t sum = crc32c(crc32c(0, out->head, head_len), doc, doc_len);
    for (int i = 0; i < 4; i++) out->checksum[i] = (uint8_t) (sum >> 8 * i);
    add_piece(out, out->checksum, sizeof(out->checksum));
}

static enum step answer_fault(struct conn *c, struct worker *w, struct request *r, const struct frame_fault *fault) {
    uint8_t *doc = malloc(FRAME_FAULT_DOC_MAX);
    if (doc == NULL) return conn_refuse(c, END_MEMORY, "no memory for an answer");
    answer(c, w, r, -1, doc, frame_fault_doc(fault, doc));
    c->out.owned = (struct bytes){.p = doc, .cap = FRAME_FAULT_DOC_MAX};
    return STEP_ON;
}

/* ---- commands ---- */

static bool meet_client(struct conn *c, struct frame_fault *fault) {
    char subject[1024];
    bson_error_t error;
    bson_t opts;
    if (c->client != NULL) return true;
    bson_init(&opts);
    BSON_APPEND_UTF8(&opts, "remote", c->remote);
    BSON_APPEND_BOOL(&opts, "isLocal", c->is_local);
    if (c->tls != NULL && tls_subject(c->tls, subject, sizeof(subject))) BSON_APPEND_UTF8(&opts, "tlsSubject", subject);
    c->client = elmo_client_new(c->server->db, &opts, &error);
    bson_destroy(&opts);
    if (c->client != NULL) return true;
    *fault = (struct frame_fault){.code = (int32_t) error.code,
                                  .code_name = error.code == 91 ? "ShutdownInProgress" : "ExceededMemoryLimit"};
    (void) bson_strncpy(fault->text, error.message, sizeof(fault->text));
    return false;
}

static void set_running(struct worker *w, struct conn *c) {
    (void) pthread_mutex_lock(&w->lock);
    w->running = c;
    if (c != NULL) w->run_count++;
    (void) pthread_mutex_unlock(&w->lock);
}

static enum step run_command(struct conn *c, struct worker *w, struct request *r, int compressor) {
    struct frame_fault fault;
    bson_error_t error;
    const bson_t *reply;
    bson_t body;
    if (!meet_client(c, &fault)) {
        c->is_over = true;
        return answer_fault(c, w, r, &fault);
    }
    if (!bson_init_static(&body, r->body, r->body_len)) return conn_refuse(c, END_FAULT, "a document is no BSON");
    set_running(w, c);
    (void) elmo_client_command(c->client, r->db_name[0] != '\0' ? r->db_name : NULL, &body, r->sequences,
                               r->sequence_count, &reply, &error);
    set_running(w, NULL);
    if (!(r->flags & MSG_MORE_TO_COME)) answer(c, w, r, compressor, bson_get_data(reply), reply->len);
    return STEP_ON;
}

static enum step run_frame(struct conn *c, struct worker *w, const uint8_t *p, size_t len, int compressor) {
    struct request r;
    struct frame_fault fault;
    if (frame_decode(p, len, &r, &fault)) return run_command(c, w, &r, compressor);
    if (fault.is_fatal) return conn_refuse(c, END_FAULT, fault.text);
    return r.flags & MSG_MORE_TO_COME ? STEP_ON : answer_fault(c, w, &r, &fault);
}

enum step request_run(struct conn *c, struct worker *w) {
    struct frame_head head;
    struct frame_fault fault;
    const uint8_t *p = c->in.p + c->in.at;
    size_t len = c->frame_len;
    int compressor = -1;
    enum step step = STEP_ON;
    if (!frame_head_decode(p, &head, &fault)) return conn_refuse(c, END_FAULT, fault.text);
    if (head.opcode != OP_COMPRESSED || unpack_frame(c, w, &p, &len, &compressor, &step))
        step = run_frame(c, w, p, len, compressor);
    if (w->plain.cap > IN_LEN) conn_drop(c, &w->plain);
    return step;
}

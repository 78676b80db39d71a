/* Messages from hostile hands.
 *
 * The first byte chooses: the bytes after it are taken as they are, or get a head that is true so that more of them are looked at. What is read must lie
 * in the message; what is packed must unpack into exactly the room that it says or be refused; what is answered must be a message again. */
#include <stdlib.h>
#include <string.h>

#include "server/compress.h"
#include "server/crc32c.h"
#include "server/frame.h"

#define UNPACKED_MAX ((size_t) 1 << 20) /* more is allowed, but slow to fuzz */

static void must(bool ok) {
    if (!ok) abort();
}

static void put_u32(uint8_t *p, uint32_t value) { memcpy(p, &value, 4); }

/* Reads every byte that the request points to. */
static uint32_t touch(const struct request *r, const uint8_t *p, size_t len) {
    uint32_t sum = crc32c(0, r->body, r->body_len);
    must(r->body >= p && r->body + r->body_len <= p + len && r->body_len >= 5);
    for (size_t i = 0; i < r->sequence_count; i++) {
        const elmo_sequence_t *s = &r->sequences[i];
        must(s->bytes + s->len <= p + len);
        sum = crc32c(sum, s->name, strlen(s->name));
        sum = crc32c(sum, s->bytes, s->len);
    }
    return sum;
}

static void answer_of(const struct request *r) {
    uint8_t head[FRAME_ANSWER_HEAD_MAX];
    char name[64];
    request_name(r, name, sizeof(name));
    must(strlen(name) < sizeof(name));
    (void) request_is_compressible(name);
    must(frame_answer_head(r, 1, 100, head) <= sizeof(head));
}

static void try_message(const uint8_t *p, size_t len) {
    struct request r;
    struct frame_fault fault;
    uint8_t doc[FRAME_FAULT_DOC_MAX];
    if (frame_decode(p, len, &r, &fault)) {
        (void) touch(&r, p, len);
        answer_of(&r);
        return;
    }
    size_t doc_len = frame_fault_doc(&fault, doc);
    must(doc_len <= sizeof(doc) && doc[doc_len - 1] == 0);
    if (!fault.is_fatal) answer_of(&r);
}

static void try_packed(const uint8_t *p, size_t len) {
    struct frame_packed packed;
    struct frame_fault fault;
    if (!frame_packed_decode(p, len, &packed, &fault)) return;
    must(packed.head.len >= FRAME_HEAD_LEN && packed.head.len <= FRAME_LEN_MAX);
    if (packed.head.len > UNPACKED_MAX) return;
    uint8_t *out = malloc(packed.head.len);
    if (out == NULL) return;
    frame_head_encode(&packed.head, out);
    if (unpack(packed.compressor, packed.bytes, packed.len, out + FRAME_HEAD_LEN, packed.head.len - FRAME_HEAD_LEN))
        try_message(out, packed.head.len);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const int32_t opcodes[] = {OP_MSG, OP_QUERY, OP_COMPRESSED, OP_MSG};
    if (size < 1 + FRAME_HEAD_LEN) return 0;
    unsigned choice = data[0] % 5;
    size_t len = size - 1;
    uint8_t *p = malloc(len); /* exact, so that a byte too far is noticed */
    if (p == NULL) return 0;
    memcpy(p, data + 1, len);
    if (choice > 0) {
        put_u32(p, (uint32_t) len);
        put_u32(p + 12, (uint32_t) opcodes[choice - 1]);
    }
    if (choice == 4 && len >= 25) { /* a true checksum */
        p[16] = MSG_CHECKSUM;
        put_u32(p + len - 4, crc32c(0, p, len - 4));
    }
    struct frame_head head;
    struct frame_fault fault;
    if (frame_head_decode(p, &head, &fault)) {
        if (head.opcode == OP_COMPRESSED) try_packed(p, len);
        else try_message(p, len);
    }
    free(p);
    return 0;
}

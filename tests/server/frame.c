/* The frame codec, alone: what it reads, what it refuses and how. Messages are copied to exact mallocs, so that AddressSanitizer sees a byte too far. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/chance.h"
#include "server/compress.h"
#include "server/crc32c.h"
#include "server/frame.h"
#include "support/wire.h"

static struct request r;
static struct frame_fault fault;
static uint8_t *kept;

/* Decodes a copy, which stays for the assertions. */
static bool decode(const struct wire *m) {
    free(kept);
    kept = malloc(m->len > 0 ? m->len : 1);
    if (m->len > 0) memcpy(kept, m->p, m->len);
    return frame_decode(kept, m->len, &r, &fault);
}

static void set_i32(struct wire *m, size_t at, int32_t value) { memcpy(m->p + at, &value, 4); }

Test(frame, reads_a_body) {
    static struct wire m;
    wire_msg(&m, 42, 0, "{'ping': 1, '$db': 'admin'}");
    cr_assert(decode(&m));
    cr_assert_eq(r.id, 42);
    cr_assert_eq(r.body_len, m.len - 21);
    cr_assert_eq(r.sequence_count, 0);
    char name[16];
    request_name(&r, name, sizeof(name));
    cr_assert_str_eq(name, "ping");
    request_name(&r, name, 3);
    cr_assert_str_eq(name, "pi");
}

static void add_sequence(struct wire *m, const char *name, int documents) {
    static const uint8_t doc[] = {12, 0, 0, 0, 0x10, 'a', 0, 1, 0, 0, 0, 0};
    wire_u8(m, 1);
    wire_i32(m, (int32_t) (4 + strlen(name) + 1 + (size_t) documents * sizeof(doc)));
    wire_text(m, name);
    for (int i = 0; i < documents; i++) wire_bytes(m, doc, sizeof(doc));
}

Test(frame, reads_sequences_before_and_after_the_body) {
    static struct wire m;
    wire_begin(&m, 1, WIRE_MSG);
    wire_i32(&m, MSG_MORE_TO_COME | MSG_EXHAUST_ALLOWED);
    add_sequence(&m, "documents", 3);
    wire_body(&m, "{'insert': 'c'}");
    add_sequence(&m, "empty", 0);
    wire_end(&m);
    cr_assert(decode(&m));
    cr_assert_eq(r.sequence_count, 2);
    cr_assert_str_eq(r.sequences[0].name, "documents");
    cr_assert_eq(r.sequences[0].len, 36);
    cr_assert_str_eq(r.sequences[1].name, "empty");
    cr_assert_eq(r.sequences[1].len, 0);
    cr_assert(r.flags & MSG_MORE_TO_COME);
}

Test(frame, answers_wrong_sections_with_an_error) {
    static struct wire m;
    static const struct {
        int kinds[12];
        int32_t code;
    } rows[] = {{{0, 0, -1}, 40430}, {{1, 1, 0, -1}, 40431}, {{2, -1}, 40432}, {{1, -1}, 40587}, {{-1}, 40587}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        wire_begin(&m, 1, WIRE_MSG);
        wire_i32(&m, 0);
        for (const int *kind = rows[i].kinds; *kind >= 0; kind++) {
            if (*kind == 0) wire_body(&m, "{'ping': 1}");
            else if (*kind == 1) add_sequence(&m, "s", 1);
            else wire_u8(&m, 2);
        }
        wire_end(&m);
        cr_assert_not(decode(&m), "row %zu", i);
        cr_assert_not(fault.is_fatal);
        cr_assert_eq(fault.code, rows[i].code, "row %zu: %d %s", i, fault.code, fault.text);
    }
    wire_begin(&m, 1, WIRE_MSG);
    wire_i32(&m, 0);
    for (int i = 0; i <= FRAME_SEQUENCES_MAX; i++) {
        char name[] = {(char) ('a' + i), 0};
        add_sequence(&m, name, 0);
    }
    wire_end(&m);
    cr_assert_not(decode(&m));
    cr_assert_eq(fault.code, 40431);
}

Test(frame, answers_documents_that_do_not_fit) {
    static struct wire m;
    static const int32_t lengths[] = {-1, 0, 4, 15, 0x7fffffff, INT32_MIN};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        wire_msg(&m, 1, 0, "{'a': 1}");
        cr_assert(decode(&m));
        set_i32(&m, 21, lengths[i]);
        cr_assert_not(decode(&m), "length %d", lengths[i]);
        cr_assert_eq(fault.code, 22);
        cr_assert_not(fault.is_fatal);
    }
    wire_msg(&m, 1, 0, "{'a': 1}");
    m.p[m.len - 1] = 7;
    cr_assert_not(decode(&m));
    cr_assert_eq(fault.code, 22);
}

Test(frame, ends_the_connection_of_impossible_heads) {
    struct frame_head head;
    static struct wire m;
    static const int32_t lengths[] = {0, 15, -1, INT32_MIN, (int32_t) FRAME_LEN_MAX + 1, INT32_MAX};
    static const int32_t opcodes[] = {0, 1, 2001, 2002, 2005, 2006, 2007, 2010, 2011, 2014, -1};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        wire_msg(&m, 1, 0, "{}");
        set_i32(&m, 0, lengths[i]);
        cr_assert_not(frame_head_decode(m.p, &head, &fault));
        cr_assert(fault.is_fatal);
    }
    for (size_t i = 0; i < sizeof(opcodes) / sizeof(opcodes[0]); i++) {
        wire_msg(&m, 1, 0, "{}");
        set_i32(&m, 12, opcodes[i]);
        cr_assert_not(frame_head_decode(m.p, &head, &fault), "opcode %d", opcodes[i]);
        cr_assert(fault.is_fatal);
    }
}

Test(frame, refuses_flags_that_it_must_understand) {
    static struct wire m;
    for (int bit = 0; bit < 32; bit++) {
        wire_msg(&m, 1, 1u << bit, "{'ping': 1}");
        bool is_fine = bit == 1 || bit >= 16;
        cr_assert_eq(decode(&m), is_fine, "bit %d", bit);
        if (is_fine) continue;
        cr_assert(fault.is_fatal);
        cr_assert_eq(fault.code, bit == 0 ? 360 : 353, "bit %d: %d", bit, fault.code);
    }
}

Test(frame, verifies_checksums) {
    static struct wire m;
    wire_begin(&m, 5, WIRE_MSG);
    wire_i32(&m, MSG_CHECKSUM);
    wire_body(&m, "{'ping': 1}");
    wire_end_checksum(&m);
    cr_assert(decode(&m));
    cr_assert_eq(r.body_len, m.len - 25);
    for (size_t i = 4; i < m.len; i++) {
        if (i >= 12 && i < 20) continue; /* opcode and flags: refused for other reasons */
        m.p[i] ^= 0x10;
        cr_assert_not(decode(&m), "byte %zu", i);
        cr_assert(fault.is_fatal && fault.code == 360);
        m.p[i] ^= 0x10;
    }
}

Test(frame, knows_the_checksum_by_table_and_by_instruction) {
    struct chance chance;
    uint8_t bytes[300];
    cr_assert_eq(crc32c(0, "123456789", 9), 0xe3069283u); /* the check value of CRC-32C */
    cr_assert_eq(crc32c_by_table(0, "123456789", 9), 0xe3069283u);
    chance_init(&chance, 1);
    for (size_t i = 0; i < sizeof(bytes); i++) bytes[i] = (uint8_t) chance_below(&chance, 256);
    for (size_t len = 0; len < sizeof(bytes); len++) {
        cr_assert_eq(crc32c(0, bytes, len), crc32c_by_table(0, bytes, len));
        cr_assert_eq(crc32c(crc32c(0, bytes, len / 3), bytes + len / 3, len - len / 3), crc32c(0, bytes, len));
    }
}

static void query(struct wire *m, const char *ns, const char *json) {
    wire_begin(m, 3, WIRE_QUERY);
    wire_i32(m, 4);
    wire_text(m, ns);
    wire_i32(m, 0);
    wire_i32(m, -1);
    struct wire body = {0};
    wire_body(&body, "%s", json);
    wire_bytes(m, body.p + 1, body.len - 1);
    wire_free(&body);
    wire_end(m);
}

Test(frame, reads_the_legacy_hello_and_nothing_else) {
    static struct wire m;
    static const char *const fine[] = {"{'isMaster': 1}", "{'ismaster': 1, 'helloOk': true}", "{'hello': 1}",
                                       "{'$query': {'isMaster': 1}, '$readPreference': {}}", "{'buildInfo': 1}"};
    for (size_t i = 0; i < sizeof(fine) / sizeof(fine[0]); i++) {
        query(&m, "admin.$cmd", fine[i]);
        cr_assert(decode(&m), "%s: %s", fine[i], fault.text);
        cr_assert_str_eq(r.db_name, "admin");
    }
    query(&m, "admin.$cmd", "{'find': 'c'}");
    cr_assert_not(decode(&m));
    cr_assert_eq(fault.code, 352);
    cr_assert(strstr(fault.text, "command: find.") != NULL);
    query(&m, "app.users", "{'a': 1}");
    cr_assert_not(decode(&m));
    cr_assert_eq(fault.code, 352);
    static const char *const names[] = {"", "noDot", ".$cmd",
                                        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.$cmd"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        query(&m, names[i], "{'hello': 1}");
        cr_assert_not(decode(&m));
        cr_assert_eq(fault.code, 73);
        cr_assert_not(fault.is_fatal);
    }
}

Test(frame, survives_every_cut_and_every_flipped_byte) {
    static struct wire m, cut;
    for (int kind = 0; kind < 3; kind++) {
        if (kind == 0) query(&m, "admin.$cmd", "{'$query': {'isMaster': 1}}");
        if (kind == 1) {
            wire_begin(&m, 1, WIRE_MSG);
            wire_i32(&m, 0);
            add_sequence(&m, "documents", 2);
            wire_body(&m, "{'insert': 'c'}");
            wire_end(&m);
        }
        if (kind == 2) {
            wire_begin(&m, 1, WIRE_MSG);
            wire_i32(&m, MSG_CHECKSUM);
            wire_body(&m, "{'ping': 1}");
            wire_end_checksum(&m);
        }
        for (size_t len = 0; len < m.len; len++) {
            cut.len = 0;
            wire_bytes(&cut, m.p, len);
            if (len >= 4) set_i32(&cut, 0, (int32_t) len);
            cr_assert_not(decode(&cut) && kind != 1, "cut to %zu", len);
        }
        for (size_t i = 0; i < m.len * 8; i++) {
            m.p[i / 8] ^= (uint8_t) (1u << i % 8);
            if (decode(&m)) cr_assert(r.body >= kept && r.body + r.body_len <= kept + m.len);
            m.p[i / 8] ^= (uint8_t) (1u << i % 8);
        }
    }
}

/* ---- compression ---- */

Test(frame, unpacks_what_each_compressor_packed) {
    static struct wire m;
    struct frame_packed packed;
    for (uint8_t compressor = 0; compressor < COMPRESSOR_COUNT; compressor++) {
        wire_msg(&m, 9, 0, "{'ping': 1, 'text': '%0200d'}", 0);
        struct wire plain = {0};
        wire_bytes(&plain, m.p, m.len);
        wire_compress(&m, compressor);
        cr_assert(frame_packed_decode(m.p, m.len, &packed, &fault));
        cr_assert_eq(packed.head.len, plain.len);
        cr_assert_eq(packed.head.opcode, OP_MSG);
        uint8_t *out = malloc(packed.head.len);
        frame_head_encode(&packed.head, out);
        cr_assert(unpack(packed.compressor, packed.bytes, packed.len, out + 16, packed.head.len - 16));
        cr_assert_arr_eq(out, plain.p, plain.len);
        free(out);
        wire_free(&plain);
    }
}

Test(frame, refuses_packed_messages_that_lie) {
    static struct wire m;
    struct frame_packed packed;
    uint8_t out[400];
    for (uint8_t compressor = 0; compressor < COMPRESSOR_COUNT; compressor++) {
        wire_msg(&m, 9, 0, "{'ping': 1, 'text': '%0200d'}", 0);
        size_t body_len = m.len - 16;
        wire_compress(&m, compressor);
        cr_assert(frame_packed_decode(m.p, m.len, &packed, &fault));
        cr_assert_not(unpack(compressor, packed.bytes, packed.len, out, body_len - 1), "%d: too little room",
                      compressor);
        cr_assert_not(unpack(compressor, packed.bytes, packed.len, out, body_len + 1), "%d: too much", compressor);
        cr_assert_not(unpack(compressor, packed.bytes, packed.len - 1, out, body_len), "%d: cut", compressor);
        cr_assert_not(unpack(compressor, packed.bytes, 0, out, body_len));
        set_i32(&m, 20, (int32_t) FRAME_LEN_MAX);
        cr_assert_not(frame_packed_decode(m.p, m.len, &packed, &fault));
        set_i32(&m, 20, -1);
        cr_assert_not(frame_packed_decode(m.p, m.len, &packed, &fault));
        cr_assert(fault.is_fatal);
    }
    set_i32(&m, 20, 100);
    m.p[24] = 4;
    cr_assert_not(frame_packed_decode(m.p, m.len, &packed, &fault));
    m.p[24] = 0;
    set_i32(&m, 16, WIRE_COMPRESSED);
    cr_assert_not(frame_packed_decode(m.p, m.len, &packed, &fault));
    cr_assert_not(frame_packed_decode(m.p, 24, &packed, &fault));
    cr_assert_not(unpack(9, m.p, 1, out, 1));
}

/* ---- answers ---- */

Test(frame, writes_heads_that_it_can_read) {
    uint8_t out[FRAME_ANSWER_HEAD_MAX];
    struct request msg = {.id = 77, .opcode = OP_MSG}, with_sum = {.id = 78, .opcode = OP_MSG, .flags = MSG_CHECKSUM},
                   old = {.id = 79, .opcode = OP_QUERY};
    struct wire view = {.p = out, .len = sizeof(out)};
    cr_assert_eq(frame_answer_head(&msg, 5, 100, out), 21);
    cr_assert_eq(wire_get(&view, 0), 121);
    cr_assert_eq(wire_get(&view, 4), 5);
    cr_assert_eq(wire_get(&view, 8), 77);
    cr_assert_eq(wire_get(&view, 12), OP_MSG);
    cr_assert_eq(wire_get(&view, 16), 0);
    cr_assert_eq(frame_answer_head(&with_sum, 5, 100, out), 21);
    cr_assert_eq(wire_get(&view, 0), 125);
    cr_assert_eq(wire_get(&view, 16), 1);
    cr_assert_eq(frame_answer_head(&old, 5, 100, out), 36);
    cr_assert_eq(wire_get(&view, 0), 136);
    cr_assert_eq(wire_get(&view, 12), OP_REPLY);
    cr_assert_eq(wire_get(&view, 32), 1);
}

Test(frame, tells_faults_as_documents) {
    uint8_t out[FRAME_FAULT_DOC_MAX];
    bson_t doc;
    fault = (struct frame_fault){.code = 40430, .code_name = "Location40430"};
    for (size_t len = 0; len < sizeof(fault.text); len++) {
        memset(fault.text, len % 2 == 0 ? 'x' : 0xff, sizeof(fault.text));
        fault.text[len] = '\0';
        size_t doc_len = frame_fault_doc(&fault, out);
        cr_assert(bson_init_static(&doc, out, doc_len));
        cr_assert(bson_validate(&doc, BSON_VALIDATE_UTF8, NULL));
    }
    memset(fault.text, 'y', sizeof(fault.text)); /* not even ended */
    cr_assert(bson_init_static(&doc, out, frame_fault_doc(&fault, out)));
}

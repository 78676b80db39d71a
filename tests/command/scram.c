/* SCRAM against the vectors of its RFCs, and against everything else that may come instead. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/chance.h"
#include "base/codes.h"
#include "bson/json_text.h"
#include "command/base64.h"
#include "command/saslprep.h"
#include "command/scram.h"
#include "support/mem_fail.h"
#include "support/random_bson.h"
#include "support/scram_client.h"

/* Conversations of the RFCs: RFC 5802 section 5, RFC 7677 section 3. The server's nonce is what follows the client's. */
static const struct {
    enum scram_mechanism m;
    const char *salt;
    uint32_t iterations;
    const char *first, *nonce, *final, *signature;
} vectors[] = {
    {SCRAM_SHA_1, "QSXCR+Q6sek8bf92", 4096, "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL", "3rfcNHYJY1ZVvWVs7j",
     "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
     "v=rmF9pqV8S7suAoZWja4dJRkFsKQ="},
    {SCRAM_SHA_256, "W22ZaJ0SNY7soEsUEjb6gQ==", 4096, "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
     "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
     "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
     "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="},
};

/* A conversation that stands where server-first was sent, as the vector has it. */
static void begin_vector(struct scram_talk *talk, struct arena *arena, size_t i) {
    struct err err = ERR_INIT;
    struct buf first;
    size_t salt_len;
    cr_assert_eq(scram_begin(talk, arena, vectors[i].m, slice_str(vectors[i].first), &err), ST_OK);
    cr_assert(base64_read(slice_str(vectors[i].salt), talk->credentials.salt, SCRAM_SALT_LEN_MAX, &salt_len));
    talk->credentials.salt_len = (uint32_t) salt_len;
    /* The RFC's SCRAM-SHA-1 takes the password itself, not MongoDB's digest. */
    cr_assert_eq(scram_derive(vectors[i].m, SLICE_LIT("pencil"), vectors[i].iterations, &talk->credentials, &err),
                 ST_OK);
    buf_init(&first, arena->mem);
    buf_append_format(&first, "r=%.*s%s", (int) talk->client_nonce.len, (const char *) talk->client_nonce.p,
                      vectors[i].nonce);
    size_t nonce_len = first.len - 2;
    buf_append_format(&first, ",s=%s,i=%u", vectors[i].salt, vectors[i].iterations);
    const uint8_t *copy = arena_copy(arena, first.p, first.len);
    talk->server_first = slice_of(copy, first.len);
    talk->nonce = slice_of(copy + 2, nonce_len);
    buf_release(&first);
}

Test(scram, holds_the_conversations_of_the_rfcs) {
    for (size_t i = 0; i < 2; i++) {
        struct arena arena;
        struct scram_talk talk;
        struct slice reply;
        struct err err = ERR_INIT;
        arena_init(&arena, mem_default());
        begin_vector(&talk, &arena, i);
        cr_assert_eq(scram_finish(&talk, slice_str(vectors[i].final), &reply, &err), ST_OK, "%s", err.text);
        cr_assert(slice_equal(reply, slice_str(vectors[i].signature)), "%.*s", (int) reply.len, (const char *) reply.p);
        arena_release(&arena);
    }
}

Test(scram, a_final_message_with_any_byte_changed_or_cut_anywhere_is_refused) {
    struct arena arena;
    struct scram_talk talk;
    struct slice reply;
    arena_init(&arena, mem_default());
    for (size_t i = 0; i < 2; i++) {
        size_t len = strlen(vectors[i].final);
        for (size_t at = 0; at < len; at++) {
            char text[300];
            struct err err = ERR_INIT;
            memcpy(text, vectors[i].final, len + 1);
            begin_vector(&talk, &arena, i);
            cr_assert_eq(scram_finish(&talk, slice_of(text, at), &reply, &err), ST_INVALID);
            cr_assert_eq(err.code, CODE_AuthenticationFailed);
            text[at] ^= 1;
            cr_assert_eq(scram_finish(&talk, slice_of(text, len), &reply, &err), ST_INVALID, "%s", text);
            cr_assert_eq(err.code, CODE_AuthenticationFailed);
        }
    }
    arena_release(&arena);
}

Test(scram, first_messages_are_taken_or_refused_as_the_grammar_says) {
    static const struct {
        const char *text, *user; /* NULL: refused */
    } rows[] = {
        {"n,,n=user,r=abc", "user"},
        {"y,,n=user,r=abc", "user"},
        {"n,,n=a=2Cb=3Dc,r=abc", "a,b=c"},
        {"n,a=user,n=user,r=abc", "user"},
        {"n,,n=user,r=abc,x=more", "user"},
        {"n,a=other,n=user,r=abc", NULL},
        {"p=tls-unique,,n=user,r=abc", NULL},
        {"n,,n=,r=abc", NULL},
        {"n,,n=user,r=", NULL},
        {"n,,n=us=2cer,r=abc", NULL},
        {"n,,n=us=er,r=abc", NULL},
        {"n,,n=user=2,r=abc", NULL},
        {"n,,m=ext,n=user,r=abc", NULL},
        {"n,,r=abc,n=user", NULL},
        {"n,n=user,r=abc", NULL},
        {"n=user,r=abc", NULL},
        {"n,,n=user", NULL},
        {"n,a=user", NULL},
        {"n,,", NULL},
        {"n,", NULL},
        {"n", NULL},
        {"", NULL},
        {"n,,n=user,r=a\x01", NULL},
        {"n,,n=user,r=a b", NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct arena arena;
        struct scram_talk talk;
        struct err err = ERR_INIT;
        arena_init(&arena, mem_default());
        status st = scram_begin(&talk, &arena, SCRAM_SHA_256, slice_str(rows[i].text), &err);
        if (rows[i].user != NULL) {
            cr_assert_eq(st, ST_OK, "%s", rows[i].text);
            cr_assert(slice_equal(talk.user, slice_str(rows[i].user)));
        } else {
            cr_assert_eq(st, ST_INVALID, "%s", rows[i].text);
            cr_assert_eq(err.code, CODE_AuthenticationFailed);
        }
        arena_release(&arena);
    }
}

Test(scram, random_bytes_never_log_in_and_never_crash) {
    uint64_t seed = random_seed(31), rounds = random_rounds(20000);
    struct chance chance;
    chance_init(&chance, seed);
    static const char alphabet[] = "nyarcspi=,,=23CD/+Ab\x00\xff";
    for (uint64_t r = 0; r < rounds; r++) {
        struct arena arena;
        struct scram_talk talk;
        struct slice reply;
        uint8_t bytes[80], first[80];
        size_t len = chance_next(&chance) % sizeof(bytes), first_len = chance_next(&chance) % sizeof(first);
        for (size_t i = 0; i < len; i++) bytes[i] = (uint8_t) alphabet[chance_next(&chance) % (sizeof(alphabet) - 1)];
        for (size_t i = 0; i < first_len; i++)
            first[i] = (uint8_t) alphabet[chance_next(&chance) % (sizeof(alphabet) - 1)];
        arena_init(&arena, mem_default());
        enum scram_mechanism m = (enum scram_mechanism)(r & 1);
        (void) scram_begin(&talk, &arena, m, slice_of(first, first_len), NULL);
        begin_vector(&talk, &arena, m == SCRAM_SHA_1 ? 0 : 1);
        cr_assert_eq(scram_finish(&talk, slice_of(bytes, len), &reply, NULL), ST_INVALID, "seed %llu",
                     (unsigned long long) seed);
        arena_release(&arena);
    }
}

Test(scram, the_secret_of_sha_1_is_mongodbs_digest_and_that_of_sha_256_is_prepared) {
    struct buf out;
    struct err err = ERR_INIT;
    buf_init(&out, mem_default());
    cr_assert_eq(scram_secret(mem_default(), SCRAM_SHA_1, SLICE_LIT("user"), SLICE_LIT("pencil"), &out, &err), ST_OK);
    cr_assert(slice_equal(buf_slice(&out), SLICE_LIT("1c33006ec1ffd90f9cadcbcc0e118200")), "%.*s", (int) out.len,
              (char *) out.p);
    buf_clear(&out);
    cr_assert_eq(scram_secret(mem_default(), SCRAM_SHA_256, SLICE_LIT("u"), SLICE_LIT("\xe2\x85\xa8"), &out, &err),
                 ST_OK);
    cr_assert(slice_equal(buf_slice(&out), SLICE_LIT("IX")));
    buf_release(&out);
}

Test(scram, saslprep_follows_its_rfc) {
    static const struct {
        const char *in, *out; /* NULL: refused */
    } rows[] = {
        {"I\xc2\xadX", "IX"}, /* RFC 4013's examples */
        {"user", "user"},
        {"USER", "USER"},
        {"\xc2\xaa", "a"},
        {"\xe2\x85\xa8", "IX"},
        {"\x07", NULL},
        {"\xd8\xa7\x31", NULL},
        {"\xd8\xa7\x31\xd8\xa8", "\xd8\xa7\x31\xd8\xa8"},
        {"\xd8\xa7z\xd8\xa8", NULL},
        {"a\xc2\xa0"
         "b",
         "a b"},
        {"e\xcc\x81", "\xc3\xa9"},
        {"a\xcc\xa3\xcc\x87", "\xe1\xba\xa1\xcc\x87"}, /* marks in the order of their classes */
        {"a\xcc\x87\xcc\xa3", "\xe1\xba\xa1\xcc\x87"},
        {"\xef\xb7\xba",
         "\xd8\xb5\xd9\x84\xd9\x89 \xd8\xa7\xd9\x84\xd9\x84\xd9\x87 \xd8\xb9\xd9\x84\xd9\x8a\xd9\x87 "
         "\xd9\x88\xd8\xb3\xd9\x84\xd9\x85"},
        {"\xee\x80\x80", NULL}, /* private use */
        {"\xef\xbf\xbf", NULL}, /* no character */
        {"\xff", NULL},
        {"\xed\xa0\x80", NULL}, /* a surrogate */
        {"a\x7f", NULL},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct buf out;
        struct err err = ERR_INIT;
        buf_init(&out, mem_default());
        status st = saslprep(mem_default(), slice_str(rows[i].in), &out, &err);
        if (rows[i].out == NULL) cr_assert_eq(st, ST_INVALID, "row %zu", i);
        else cr_assert(st == ST_OK && slice_equal(buf_slice(&out), slice_str(rows[i].out)), "row %zu", i);
        buf_release(&out);
    }
}

Test(scram, credentials_of_nobody_are_the_same_for_a_name_and_differ_between_names) {
    struct scram_credentials a, b, c;
    uint8_t key[32] = {7};
    struct err err = ERR_INIT;
    cr_assert_eq(scram_fake(SCRAM_SHA_256, key, SLICE_LIT("a@admin"), &a, &err), ST_OK);
    cr_assert_eq(scram_fake(SCRAM_SHA_256, key, SLICE_LIT("a@admin"), &b, &err), ST_OK);
    cr_assert_eq(scram_fake(SCRAM_SHA_256, key, SLICE_LIT("b@admin"), &c, &err), ST_OK);
    cr_assert_arr_eq(&a, &b, sizeof(a));
    cr_assert(memcmp(a.salt, c.salt, a.salt_len) != 0);
    cr_assert_eq(a.salt_len, 28);
    cr_assert_eq(a.iterations, 15000);
}

Test(scram, base64_reads_only_the_one_proper_form) {
    static const char *const bad[] = {"A",
                                      "AA",
                                      "AAA",
                                      "AAA!",
                                      "AB==",
                                      "AAB=",
                                      "A===",
                                      "====",
                                      "AA=A",
                                      "AAAA=",
                                      "AA=="
                                      "AAAA"};
    uint8_t out[16];
    size_t len;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_assert(!base64_read(slice_str(bad[i]), out, sizeof(out), &len), "%s", bad[i]);
    cr_assert(base64_read(SLICE_LIT(""), out, sizeof(out), &len) && len == 0);
    cr_assert(base64_read(SLICE_LIT("Zm9vYg=="), out, sizeof(out), &len) && len == 4 && memcmp(out, "foob", 4) == 0);
    cr_assert(!base64_read(SLICE_LIT("Zm9vYg=="), out, 3, &len));
    for (size_t n = 0; n < 16; n++) {
        struct buf text;
        uint8_t in[16] = {0xff, 0, 0xfe, 1, 0x80, 0x7f, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, back[16];
        buf_init(&text, mem_default());
        base64_append(&text, slice_of(in, n));
        cr_assert_eq(text.len, BASE64_LEN(n));
        cr_assert(base64_read(buf_slice(&text), back, sizeof(back), &len) && len == n);
        cr_assert_arr_eq(in, back, n);
        buf_release(&text);
    }
}

Test(scram, want_of_memory_is_an_error_at_every_allocation) {
    struct mem_fail mf;
    for (uint64_t n = 1;; n++) {
        struct arena arena;
        struct scram_talk talk;
        struct slice reply;
        struct scram_client client;
        char first[600];
        uint8_t chance[SCRAM_NONCE_LEN] = {1};
        struct err err = ERR_INIT;
        mem_fail_init(&mf, n);
        arena_init(&arena, &mf.mem);
        scram_client_init(&client, "SCRAM-SHA-256", "a,b", "pencil", "nonce");
        scram_client_first(&client, first);
        struct scram_credentials c = {.salt_len = 28};
        cr_assert_eq(scram_derive(SCRAM_SHA_256, SLICE_LIT("pencil"), 5, &c, NULL), ST_OK);
        status st = scram_begin(&talk, &arena, SCRAM_SHA_256, slice_str(first), &err);
        if (st == ST_OK) talk.credentials = c;
        if (st == ST_OK) st = scram_challenge(&talk, chance, &reply, &err);
        if (st == ST_OK) cr_assert(scram_client_final(&client, (const char *) reply.p, reply.len));
        if (st == ST_OK) st = scram_finish(&talk, slice_str(client.final), &reply, &err);
        cr_assert_eq(st, mem_fail_hit(&mf) ? ST_NOMEM : ST_OK, "%s", err.text);
        arena_release(&arena);
        cr_assert_eq(mem_fail_live(&mf), 0);
        if (!mem_fail_hit(&mf)) break;
    }
}

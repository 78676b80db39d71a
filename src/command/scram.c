/* SCRAM: see scram.h. */
#include "command/scram.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>

#include "base/codes.h"
#include "bson/json_text.h"
#include "command/base64.h"
#include "command/saslprep.h"

static const struct {
    const char *name;
    size_t hash_len, salt_len;
    uint32_t iterations;
} mechanisms[SCRAM_COUNT] = {
    [SCRAM_SHA_256] = {"SCRAM-SHA-256", 32, 28, 15000},
    [SCRAM_SHA_1] = {"SCRAM-SHA-1", 20, 16, 10000},
};

const char *scram_name(enum scram_mechanism m) { return mechanisms[m].name; }
size_t scram_hash_len(enum scram_mechanism m) { return mechanisms[m].hash_len; }
size_t scram_salt_len(enum scram_mechanism m) { return mechanisms[m].salt_len; }
uint32_t scram_iterations(enum scram_mechanism m) { return mechanisms[m].iterations; }

bool scram_of_name(struct slice name, enum scram_mechanism *m) {
    for (int i = 0; i < SCRAM_COUNT; i++) {
        if (!slice_equal(name, slice_str(mechanisms[i].name))) continue;
        *m = (enum scram_mechanism) i;
        return true;
    }
    return false;
}

void scram_wipe(struct scram_credentials *c) { OPENSSL_cleanse(c, sizeof(*c)); }

static const EVP_MD *digest_of(enum scram_mechanism m) { return m == SCRAM_SHA_1 ? EVP_sha1() : EVP_sha256(); }

/* libcrypto fails for want of memory and for nothing else with these arguments. */
static status crypto_failed(struct err *err) { return RAISE(err, ST_NOMEM, "no memory for a digest"); }
static status login_failed(struct err *err) {
    return RAISE_CODE(err, CODE_AuthenticationFailed, "Authentication failed.");
}

static status hmac(enum scram_mechanism m, const uint8_t *key, size_t key_len, struct slice data, uint8_t *out,
                   struct err *err) {
    unsigned len = 0;
    static const uint8_t nothing[1] = {0};
    if (HMAC(digest_of(m), key, (int) key_len, data.len != 0 ? data.p : nothing, data.len, out, &len) == NULL ||
        len != scram_hash_len(m))
        return crypto_failed(err);
    return ST_OK;
}

static status hash(const EVP_MD *md, struct slice data, uint8_t *out, struct err *err) {
    unsigned len = 0;
    return EVP_Digest(data.p, data.len, out, &len, md, NULL) == 1 ? ST_OK : crypto_failed(err);
}

status scram_secret(const struct mem *mem, enum scram_mechanism m, struct slice user, struct slice password,
                    struct buf *out, struct err *err) {
    if (m != SCRAM_SHA_1) return saslprep(mem, password, out, err);
    static const char hex[] = "0123456789abcdef";
    uint8_t digest[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (ctx == NULL) return crypto_failed(err);
    bool ok = EVP_DigestInit_ex(ctx, EVP_md5(), NULL) == 1 && EVP_DigestUpdate(ctx, user.p, user.len) == 1 &&
        EVP_DigestUpdate(ctx, ":mongo:", 7) == 1 && EVP_DigestUpdate(ctx, password.p, password.len) == 1 &&
        EVP_DigestFinal_ex(ctx, digest, NULL) == 1;
    EVP_MD_CTX_free(ctx);
    for (int i = 0; ok && i < 16; i++) {
        buf_append_u8(out, (uint8_t) hex[digest[i] >> 4]);
        buf_append_u8(out, (uint8_t) hex[digest[i] & 15]);
    }
    OPENSSL_cleanse(digest, sizeof(digest));
    if (!ok) return crypto_failed(err);
    return out->failed ? RAISE(err, ST_NOMEM, "a password") : ST_OK;
}

static status salted_password(enum scram_mechanism m, struct slice secret, struct slice salt, uint32_t iterations,
                              uint8_t *out, struct err *err) {
    const char *p = secret.len != 0 ? (const char *) secret.p : "";
    if (PKCS5_PBKDF2_HMAC(p, (int) secret.len, salt.p, (int) salt.len, (int) iterations, digest_of(m),
                          (int) scram_hash_len(m), out) != 1)
        return crypto_failed(err);
    return ST_OK;
}

status scram_derive(enum scram_mechanism m, struct slice secret, uint32_t iterations, struct scram_credentials *c,
                    struct err *err) {
    uint8_t salted[SCRAM_HASH_LEN_MAX], client_key[SCRAM_HASH_LEN_MAX];
    size_t n = scram_hash_len(m);
    status st = ST_OK;
    c->iterations = iterations;
    TRY_OUT(salted_password(m, secret, slice_of(c->salt, c->salt_len), iterations, salted, err));
    TRY_OUT(hmac(m, salted, n, SLICE_LIT("Client Key"), client_key, err));
    TRY_OUT(hash(digest_of(m), slice_of(client_key, n), c->stored_key, err));
    TRY_OUT(hmac(m, salted, n, SLICE_LIT("Server Key"), c->server_key, err));
out:
    OPENSSL_cleanse(salted, sizeof(salted));
    OPENSSL_cleanse(client_key, sizeof(client_key));
    return st;
}

status scram_fake(enum scram_mechanism m, const uint8_t key[32], struct slice name, struct scram_credentials *c,
                  struct err *err) {
    uint8_t bytes[SCRAM_HASH_LEN_MAX];
    *c = (struct scram_credentials){.iterations = scram_iterations(m), .salt_len = (uint32_t) scram_salt_len(m)};
    TRY(hmac(m, key, 32, name, bytes, err));
    memcpy(c->salt, bytes, c->salt_len);
    /* Keys that nobody's password gives, as far as anyone can tell. */
    TRY(hmac(m, bytes, scram_hash_len(m), slice_of(key, 32), c->stored_key, err));
    return hmac(m, c->stored_key, scram_hash_len(m), slice_of(key, 32), c->server_key, err);
}

/* Takes what stands before the next comma (or the end) off `rest`; true when it begins with `key`=. */
static bool take_attribute(struct slice *rest, char key, struct slice *out) {
    const uint8_t *comma = rest->len != 0 ? memchr(rest->p, ',', rest->len) : NULL;
    size_t n = comma != NULL ? (size_t) (comma - rest->p) : rest->len;
    if (n < 2 || rest->p[0] != (uint8_t) key || rest->p[1] != '=') return false;
    *out = slice_of(rest->p + 2, n - 2);
    *rest = comma != NULL ? slice_of(comma + 1, rest->len - n - 1) : slice_of(rest->p + n, 0);
    return true;
}

/* "=2C" is a comma, "=3D" an equals sign. False when another escape stands there. */
static bool unescape(struct arena *arena, struct slice text, struct slice *out, bool *no_memory) {
    uint8_t *p = arena_alloc(arena, text.len + 1);
    size_t n = 0;
    *no_memory = p == NULL;
    if (p == NULL) return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.p[i] != '=') {
            p[n++] = text.p[i];
        } else {
            if (text.len - i < 3) return false;
            bool is_comma = memcmp(text.p + i, "=2C", 3) == 0;
            if (!is_comma && memcmp(text.p + i, "=3D", 3) != 0) return false;
            p[n++] = is_comma ? ',' : '=';
            i += 2;
        }
    }
    *out = slice_of(p, n);
    return true;
}

/* "n,," or "y,,", with a=name in between or not: what stands before client-first-bare. Channel binding (p=) is not offered. */
static bool take_gs2(struct scram_talk *talk, struct slice *rest, bool *no_memory) {
    struct slice whole = *rest, name;
    if (rest->len < 3 || (rest->p[0] != 'n' && rest->p[0] != 'y') || rest->p[1] != ',') return false;
    *rest = slice_of(rest->p + 2, rest->len - 2);
    if (rest->p[0] == ',') {
        *rest = slice_of(rest->p + 1, rest->len - 1);
    } else {
        if (!take_attribute(rest, 'a', &name) || !unescape(talk->arena, name, &talk->authorize, no_memory))
            return false;
        if (rest->len == 0) return false;
    }
    talk->gs2 = slice_of(whole.p, whole.len - rest->len);
    return true;
}

static bool is_printable(struct slice s) {
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] < 0x21 || s.p[i] > 0x7e || s.p[i] == ',') return false;
    return true;
}

status scram_begin(struct scram_talk *talk, struct arena *arena, enum scram_mechanism m, struct slice payload,
                   struct err *err) {
    *talk = (struct scram_talk){.arena = arena, .mechanism = m};
    bool no_memory = false;
    struct slice name;
    if (payload.len == 0 || payload.len > SCRAM_MESSAGE_LEN_MAX) return login_failed(err);
    const uint8_t *copy = arena_copy(arena, payload.p, payload.len);
    if (copy == NULL) return RAISE(err, ST_NOMEM, "a login");
    struct slice rest = slice_of(copy, payload.len);
    bool ok = take_gs2(talk, &rest, &no_memory);
    talk->client_first = rest;
    ok = ok && take_attribute(&rest, 'n', &name) && unescape(arena, name, &talk->user, &no_memory) &&
        take_attribute(&rest, 'r', &talk->client_nonce);
    if (no_memory) return RAISE(err, ST_NOMEM, "a login");
    /* Extensions may follow the nonce; optional ones are skipped, "m=" would stand first and has failed already. */
    if (!ok || talk->user.len == 0 || talk->client_nonce.len == 0 || !is_printable(talk->client_nonce))
        return login_failed(err);
    if (talk->authorize.p != NULL && !slice_equal(talk->authorize, talk->user)) return login_failed(err);
    return ST_OK;
}

status scram_challenge(struct scram_talk *talk, const uint8_t *chance, struct slice *reply, struct err *err) {
    struct buf out;
    status st = ST_OK;
    buf_init(&out, talk->arena->mem);
    buf_append_slice(&out, SLICE_LIT("r="));
    buf_append_slice(&out, talk->client_nonce);
    base64_append(&out, slice_of(chance, SCRAM_NONCE_LEN));
    size_t nonce_end = out.len;
    buf_append_slice(&out, SLICE_LIT(",s="));
    base64_append(&out, slice_of(talk->credentials.salt, talk->credentials.salt_len));
    buf_append_format(&out, ",i=%u", talk->credentials.iterations);
    const uint8_t *copy = out.failed ? NULL : arena_copy(talk->arena, out.p, out.len);
    if (copy == NULL) {
        st = RAISE(err, ST_NOMEM, "a login");
    } else {
        talk->server_first = *reply = slice_of(copy, out.len);
        talk->nonce = slice_of(copy + 2, nonce_end - 2);
    }
    buf_release(&out);
    return st;
}

/* AuthMessage, the nonces compared and the proof found; ST_OK only when all that is in its place. */
static status read_final(struct scram_talk *talk, struct slice payload, struct buf *message,
                         uint8_t proof[SCRAM_HASH_LEN_MAX], struct err *err) {
    struct slice rest = payload, binding, nonce, proof_text;
    uint8_t gs2[SCRAM_MESSAGE_LEN_MAX];
    size_t gs2_len = 0, proof_len = 0;
    if (payload.len > SCRAM_MESSAGE_LEN_MAX || !take_attribute(&rest, 'c', &binding) ||
        !take_attribute(&rest, 'r', &nonce))
        return login_failed(err);
    if (!base64_read(binding, gs2, sizeof(gs2), &gs2_len) || !slice_equal(slice_of(gs2, gs2_len), talk->gs2) ||
        !slice_equal(nonce, talk->nonce))
        return login_failed(err);
    /* The proof is last; extensions before it are part of AuthMessage. */
    struct slice last = rest, skipped;
    while (last.len > 2 && last.p[0] != 'p')
        if (last.p[1] != '=' || !take_attribute(&last, (char) last.p[0], &skipped)) return login_failed(err);
    size_t without_proof = (size_t) (last.p - payload.p);
    if (!take_attribute(&last, 'p', &proof_text) || last.len != 0 || without_proof == 0) return login_failed(err);
    if (!base64_read(proof_text, proof, SCRAM_HASH_LEN_MAX, &proof_len) || proof_len != scram_hash_len(talk->mechanism))
        return login_failed(err);
    buf_append_slice(message, talk->client_first);
    buf_append_u8(message, ',');
    buf_append_slice(message, talk->server_first);
    buf_append_u8(message, ',');
    buf_append(message, payload.p, without_proof - 1);
    return message->failed ? RAISE(err, ST_NOMEM, "a login") : ST_OK;
}

/* H(proof XOR HMAC(StoredKey, AuthMessage)) must be StoredKey. */
static status check_proof(const struct scram_talk *talk, struct slice message, uint8_t *proof, struct err *err) {
    enum scram_mechanism m = talk->mechanism;
    size_t n = scram_hash_len(m);
    uint8_t signature[SCRAM_HASH_LEN_MAX], stored[SCRAM_HASH_LEN_MAX];
    status st = hmac(m, talk->credentials.stored_key, n, message, signature, err);
    for (size_t i = 0; i < n; i++) proof[i] ^= signature[i];
    if (st == ST_OK) st = hash(digest_of(m), slice_of(proof, n), stored, err);
    if (st == ST_OK && CRYPTO_memcmp(stored, talk->credentials.stored_key, n) != 0) st = login_failed(err);
    OPENSSL_cleanse(signature, sizeof(signature));
    OPENSSL_cleanse(stored, sizeof(stored));
    return st;
}

status scram_finish(struct scram_talk *talk, struct slice payload, struct slice *reply, struct err *err) {
    uint8_t proof[SCRAM_HASH_LEN_MAX] = {0}, signature[SCRAM_HASH_LEN_MAX];
    struct buf message;
    status st = ST_OK;
    buf_init(&message, talk->arena->mem);
    TRY_OUT(read_final(talk, payload, &message, proof, err));
    TRY_OUT(check_proof(talk, buf_slice(&message), proof, err));
    TRY_OUT(hmac(talk->mechanism, talk->credentials.server_key, scram_hash_len(talk->mechanism), buf_slice(&message),
                 signature, err));
    buf_clear(&message);
    buf_append_slice(&message, SLICE_LIT("v="));
    base64_append(&message, slice_of(signature, scram_hash_len(talk->mechanism)));
    const uint8_t *copy = message.failed ? NULL : arena_copy(talk->arena, message.p, message.len);
    if (copy == NULL) st = RAISE(err, ST_NOMEM, "a login");
    else *reply = slice_of(copy, message.len);
out:
    OPENSSL_cleanse(proof, sizeof(proof)); /* it became ClientKey */
    buf_release(&message);
    return st;
}

status scram_proof(enum scram_mechanism m, struct slice secret, struct slice salt, uint32_t iterations,
                   struct slice auth_message, uint8_t *proof, uint8_t *signature, struct err *err) {
    uint8_t salted[SCRAM_HASH_LEN_MAX], stored[SCRAM_HASH_LEN_MAX], mask[SCRAM_HASH_LEN_MAX];
    size_t n = scram_hash_len(m);
    status st = ST_OK;
    TRY_OUT(salted_password(m, secret, salt, iterations, salted, err));
    TRY_OUT(hmac(m, salted, n, SLICE_LIT("Client Key"), proof, err));
    TRY_OUT(hash(digest_of(m), slice_of(proof, n), stored, err));
    TRY_OUT(hmac(m, stored, n, auth_message, mask, err));
    for (size_t i = 0; i < n; i++) proof[i] ^= mask[i];
    TRY_OUT(hmac(m, salted, n, SLICE_LIT("Server Key"), mask, err));
    TRY_OUT(hmac(m, mask, n, auth_message, signature, err));
out:
    OPENSSL_cleanse(salted, sizeof(salted));
    OPENSSL_cleanse(stored, sizeof(stored));
    OPENSSL_cleanse(mask, sizeof(mask));
    return st;
}

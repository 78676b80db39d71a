/* A driver's side of SCRAM; see scram_client.h. */
#include "support/scram_client.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void md5_hex(const char *text, char out[33]) {
    unsigned char digest[16];
    EVP_Digest(text, strlen(text), digest, NULL, EVP_md5(), NULL);
    for (int i = 0; i < 16; i++) snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

void scram_client_init(struct scram_client *c, const char *mechanism, const char *user, const char *password,
                       const char *nonce) {
    char digest_of[1024];
    size_t n = 0;
    *c = (struct scram_client){.is_sha256 = strcmp(mechanism, "SCRAM-SHA-256") == 0};
    for (const char *p = user; *p != 0 && n + 4 < sizeof(c->user); p++) {
        if (*p == ',') n += (size_t) snprintf(c->user + n, 4, "=2C");
        else if (*p == '=') n += (size_t) snprintf(c->user + n, 4, "=3D");
        else c->user[n++] = *p;
    }
    snprintf(digest_of, sizeof(digest_of), "%s:mongo:%s", user, password);
    if (c->is_sha256) snprintf(c->secret, sizeof(c->secret), "%s", password);
    else md5_hex(digest_of, c->secret);
    if (nonce != NULL) {
        snprintf(c->nonce, sizeof(c->nonce), "%s", nonce);
        return;
    }
    unsigned char chance[18];
    RAND_bytes(chance, sizeof(chance));
    EVP_EncodeBlock((unsigned char *) c->nonce, chance, sizeof(chance));
}

const char *scram_client_first(struct scram_client *c, char text[600]) {
    snprintf(c->first_bare, sizeof(c->first_bare), "n=%s,r=%s", c->user, c->nonce);
    snprintf(text, 600, "n,,%s", c->first_bare);
    return text;
}

static unsigned hmac(const EVP_MD *md, const unsigned char *key, unsigned key_len, const char *text,
                     unsigned char *out) {
    unsigned len = 0;
    HMAC(md, key, (int) key_len, (const unsigned char *) text, strlen(text), out, &len);
    return len;
}

bool scram_client_final(struct scram_client *c, const char *server_first, size_t len) {
    char first[2048], nonce[512], salt_text[256], message[4096], proof_text[128];
    unsigned char salt[256], salted[64], key[64], stored[64], mask[64], server[64];
    int iterations;
    if (len >= sizeof(first)) return false;
    memcpy(first, server_first, len);
    first[len] = 0;
    if (sscanf(first, "r=%511[^,],s=%255[^,],i=%d", nonce, salt_text, &iterations) != 3) return false;
    if (strncmp(nonce, c->nonce, strlen(c->nonce)) != 0) return false;
    int salt_len = EVP_DecodeBlock(salt, (unsigned char *) salt_text, (int) strlen(salt_text));
    for (size_t i = strlen(salt_text); i > 0 && salt_text[i - 1] == '='; i--) salt_len--;
    const EVP_MD *md = c->is_sha256 ? EVP_sha256() : EVP_sha1();
    unsigned n = c->is_sha256 ? 32 : 20;
    PKCS5_PBKDF2_HMAC(c->secret, (int) strlen(c->secret), salt, salt_len, iterations, md, (int) n, salted);
    hmac(md, salted, n, "Client Key", key);
    EVP_Digest(key, n, stored, NULL, md, NULL);
    snprintf(message, sizeof(message), "%s,%s,c=biws,r=%s", c->first_bare, first, nonce);
    hmac(md, stored, n, message, mask);
    for (unsigned i = 0; i < n; i++) key[i] ^= mask[i];
    EVP_EncodeBlock((unsigned char *) proof_text, key, (int) n);
    snprintf(c->final, sizeof(c->final), "c=biws,r=%s,p=%s", nonce, proof_text);
    hmac(md, salted, n, "Server Key", server);
    hmac(md, server, n, message, mask);
    snprintf(c->signature, sizeof(c->signature), "v=");
    EVP_EncodeBlock((unsigned char *) c->signature + 2, mask, (int) n);
    return true;
}

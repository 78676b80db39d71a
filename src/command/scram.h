/* SCRAM (RFC 5802, RFC 7677): what a server keeps of a password, and its side of the conversation. Pure: no files, no clock; chance comes in as bytes.
 *
 *   client-first   n,,n=user,r=cnonce
 *   server-first   r=cnonce snonce,s=salt,i=iterations
 *   client-final   c=biws,r=cnonce snonce,p=proof
 *   server-final   v=signature
 *
 *   SaltedPassword = PBKDF2(password, salt, iterations)     ClientKey = HMAC(SaltedPassword, "Client Key")    StoredKey = H(ClientKey)
 *   ServerKey = HMAC(SaltedPassword, "Server Key")          AuthMessage = client-first-bare , server-first , client-final-without-proof
 *   proof = ClientKey XOR HMAC(StoredKey, AuthMessage)      signature = HMAC(ServerKey, AuthMessage)
 *
 * The password of SCRAM-SHA-256 goes through SASLprep; that of SCRAM-SHA-1 is MongoDB's hex of md5("user:mongo:password").
 *
 * M1  Every failure of a conversation is 18 "Authentication failed.", whatever its cause; it is final.
 * M2  Credentials of a user that does not exist (scram_fake) lead through the same steps and fail at the proof. */
#ifndef ELMO_COMMAND_SCRAM_H
#define ELMO_COMMAND_SCRAM_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

enum scram_mechanism { SCRAM_SHA_256, SCRAM_SHA_1, SCRAM_COUNT };

#define SCRAM_HASH_LEN_MAX 32
#define SCRAM_SALT_LEN_MAX 64
#define SCRAM_NONCE_LEN 24 /* random bytes of the server's part */
#define SCRAM_MESSAGE_LEN_MAX 8192
#define SCRAM_ITERATIONS_MAX 10000000

struct scram_credentials {
    uint32_t iterations;
    uint32_t salt_len;
    uint8_t salt[SCRAM_SALT_LEN_MAX];
    uint8_t stored_key[SCRAM_HASH_LEN_MAX], server_key[SCRAM_HASH_LEN_MAX];
};

const char *scram_name(enum scram_mechanism m);
bool scram_of_name(struct slice name, enum scram_mechanism *m);
size_t scram_hash_len(enum scram_mechanism m);
/* What MongoDB takes for new credentials: 15000 and 28, 10000 and 16. */
uint32_t scram_iterations(enum scram_mechanism m);
size_t scram_salt_len(enum scram_mechanism m);

/* Appends what PBKDF2 is given for a password as it was typed: to be wiped by the caller. 2 BadValue when SASLprep refuses it. */
status scram_secret(const struct mem *mem, enum scram_mechanism m, struct slice user, struct slice password,
                    struct buf *out, struct err *err);
/* Fills iterations and keys from the secret; the salt stands in `c` already. */
status scram_derive(enum scram_mechanism m, struct slice secret, uint32_t iterations, struct scram_credentials *c,
                    struct err *err);
/* Credentials of a user that does not exist, always the same for a name as long as `key` is. */
status scram_fake(enum scram_mechanism m, const uint8_t key[32], struct slice name, struct scram_credentials *c,
                  struct err *err);
void scram_wipe(struct scram_credentials *c);

/* The server's side. The strings live in the arena that scram_begin was given. */
struct scram_talk {
    struct arena *arena;
    enum scram_mechanism mechanism;
    struct scram_credentials credentials;
    struct slice user;         /* its name, escapes undone */
    struct slice authorize;    /* whom it wants to be; p NULL: itself */
    struct slice gs2;          /* "n,," */
    struct slice client_first; /* without gs2 */
    struct slice client_nonce;
    struct slice server_first;
    struct slice nonce; /* of both */
};

/* Reads client-first: afterwards ->user is known and its credentials are to be put in. */
status scram_begin(struct scram_talk *talk, struct arena *arena, enum scram_mechanism m, struct slice payload,
                   struct err *err);
/* server-first, in the arena. `chance`: SCRAM_NONCE_LEN random bytes. */
status scram_challenge(struct scram_talk *talk, const uint8_t *chance, struct slice *reply, struct err *err);
/* Reads client-final, compares the proof in constant time and gives server-final. */
status scram_finish(struct scram_talk *talk, struct slice payload, struct slice *reply, struct err *err);

/* For tests and for clients: the two ends from a salted secret. */
status scram_proof(enum scram_mechanism m, struct slice secret, struct slice salt, uint32_t iterations,
                   struct slice auth_message, uint8_t *proof, uint8_t *signature, struct err *err);

#endif
